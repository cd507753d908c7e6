# make demo and make test do all their set-up from a bare clone; a repeated run does not install again.
PYTHON ?= python3
OMNIGLOT ?= ../shared/data/omniglot
SEED ?= 0
VENV = .venv
DEMO = .venv-demo
STAMP = $(VENV)/.installed
DEMO_STAMP = $(DEMO)/.installed
SOURCES = edgemeta export tests examples setup.py

.PHONY: demo test test-package test-core test-kernels lint typecheck bench bench-heads glyphs recipes golden test-arm wheels sanitize valgrind tidy coverage fuzz clean

demo: $(DEMO_STAMP)
	$(DEMO)/bin/edgemeta demo

# Two at a time, each with one thread, which two cores finish sooner than one after the other.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(MAKE) -j2 --output-sync=target --no-print-directory lint typecheck test-package test-core test-kernels

test-package: $(STAMP)
	MAKEFLAGS= $(VENV)/bin/pytest --ignore tests/native

test-core: $(STAMP)
	MAKEFLAGS= $(VENV)/bin/pytest tests/native

# What must hold whatever does the arithmetic, again under NumPy and each instruction set but the fastest, which the others have.
CONTRACTS = tests/test_kernels.py tests/test_heads.py tests/test_leaving_out.py tests/test_statistics.py tests/test_imaging.py \
	tests/test_learner.py tests/test_regressor.py
test-kernels: $(STAMP)
	set -e; for name in $$($(VENV)/bin/python -c "from edgemeta import kernels; print(*kernels.available()[:-1])"); do \
		echo "EDGEMETA_KERNELS=$$name"; MAKEFLAGS= EDGEMETA_KERNELS=$$name $(VENV)/bin/pytest $(CONTRACTS); done

lint: $(STAMP)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)

typecheck: $(STAMP)
	$(VENV)/bin/mypy

# Freed memory is kept: giving it back and taking it again costs a sixth of a training step.
glyphs: export MALLOC_MMAP_MAX_ = 0
glyphs: export MALLOC_TRIM_THRESHOLD_ = 100000000000
glyphs: $(STAMP)
	$(VENV)/bin/edgemeta train --data omniglot:$(OMNIGLOT) --method pretrain --backbone resnet --steps 24000 \
		--episodic-share 0.18 --batch 128 --margin 0.2 --mirror --held-out 3 --bf16 --seed $(SEED) \
		--out build/glyphs-$(SEED)
	$(VENV)/bin/edgemeta export build/glyphs-$(SEED) --name glyphs --out build/glyphs-$(SEED).edgemeta \
		--background held-out \
		--licence "Omniglot background set (training data)|MIT|Copyright (c) 2015 Brenden Lake" \
		--licence "weights|Apache-2.0|the edgemeta authors"

# The golden vectors anew, and the core against them.
golden: $(STAMP)
	OMP_NUM_THREADS=1 $(VENV)/bin/python tests/golden/make_golden.py
	$(MAKE) -C tests/native check

# What looks for mistakes in the core; native/quality.mk says how. `make fuzz FUZZ_SECONDS=60`: each parser for a minute.
sanitize valgrind tidy coverage fuzz: $(STAMP)
	$(MAKE) -C native $@

# Emulated ARM: the golden vectors, instruction counts, the package with its wheels. ARM="-i": install what is missing.
test-arm: $(STAMP)
	PYTHON=$(VENV)/bin/python tests/arm.sh $(ARM)

# Wheels for x86-64 and 64-bit ARM in dist/, each tested in a clean environment.
wheels: $(STAMP)
	PYTHON=$(VENV)/bin/python tests/wheels.sh

# Every figure of the README; each part says what missed its bar, and all of them run whatever the others say.
bench: $(STAMP)
	missed=0; $(VENV)/bin/python tests/bench.py --out build/bench.json || missed=1; \
	for part in native states image first_label; do \
		echo; OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(VENV)/bin/python tests/bench_$$part.py || missed=1; done; exit $$missed

# About 10 minutes: the heads against scikit-learn, the report, the unknown, on data that no choice was made on.
bench-heads: $(STAMP)
	test -f build/grocery.npz || ($(VENV)/bin/python -m pip install --quiet "ai-edge-litert>=1.2" && $(VENV)/bin/python tests/embed_grocery.py)
	$(VENV)/bin/python tests/bench_heads.py

recipes: $(STAMP)
	$(VENV)/bin/python examples/make_recipes.py

# The program for a device in C, in build/examples-c; flash and RAM of the one for a Cortex-M (arm-none-eabi-gcc).
.PHONY: examples-c size
examples-c:
	$(MAKE) -C examples/c

size:
	$(MAKE) -s -C examples/c/cortex_m size

$(DEMO_STAMP): setup.py pyproject.toml $(wildcard native/*.c native/*.h)
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[onnx]"
	touch $@

$(STAMP): setup.py pyproject.toml constraints.txt $(wildcard native/*.c native/*.h)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps timm==1.0.31
	touch $@

clean:
	rm -rf build dist .venv .venv-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
