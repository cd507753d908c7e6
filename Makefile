# make demo and make test do all their set-up from a bare clone; a repeated run does not install again.
PYTHON ?= python3
VENV = .venv
DEMO = .venv-demo
STAMP = $(VENV)/.installed
DEMO_STAMP = $(DEMO)/.installed
SOURCES = edgemeta export tests examples setup.py

.PHONY: demo test lint typecheck bench recipes clean

demo: $(DEMO_STAMP)
	$(DEMO)/bin/edgemeta demo

test: $(STAMP) lint typecheck
	$(VENV)/bin/pytest

lint: $(STAMP)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)

typecheck: $(STAMP)
	$(VENV)/bin/mypy

bench: $(STAMP)
	$(VENV)/bin/python tests/bench.py --out build/bench.json

recipes: $(STAMP)
	$(VENV)/bin/python examples/make_recipes.py

$(DEMO_STAMP): setup.py pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[onnx]"
	touch $@

$(STAMP): setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@

clean:
	rm -rf build dist .venv .venv-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
