# quality.mk - part of the Makefile: what looks for mistakes. Each builds in a folder of its own, BUILD-NAME.
#   make sanitize    address and undefined behaviour, then threads
#   make valgrind    the golden vectors and the corpora of the fuzz targets
#   make tidy        clang-tidy
#   make coverage    lines of native/ that the tests of the core run
#   make fuzz        libFuzzer on every parser, FUZZ_SECONDS each (clang)

SANITIZER ?= gcc
CLANG ?= clang
FUZZ_SECONDS ?= 600
TESTER ?= $(firstword $(abspath $(wildcard ../.venv/bin/python)) python3)
CHECKS = ../tests/native
FUZZ = $(CHECKS)/fuzz
TARGETS = bundle head journal reload
INPUTS = $(wildcard $(FUZZ)/corpus/$(1)/*)
# The tests of the core by way of the library in that folder, but those that build programs of their own.
PYTEST = cd .. && OMP_NUM_THREADS=1 EDGEMETA_NATIVE_LIBRARY=$(abspath $(1))/libedgemeta.so $(2) $(TESTER) -m pytest \
	-p no:cacheprovider tests/native $(patsubst %,--ignore tests/native/test_%.py,builds examples_c golden)
PROGRAM = $(CC) $(WARN) $(CFLAGS) $(filter %.c,$^) $(BUILD)/libedgemeta.a -o $@ -lm -pthread $(LDFLAGS)

# ---- programs without Python ------------------------------------------------------------------------------------------

replays: $(TARGETS:%=$(BUILD)/replay-%)
	$(foreach target,$(TARGETS),$(RUN) $(BUILD)/replay-$(target) $(call INPUTS,$(target)) && ) true

$(BUILD)/replay-%: $(FUZZ)/%.c $(FUZZ)/common.c $(FUZZ)/replay.c $(FUZZ)/fuzz.h $(BUILD)/libedgemeta.a
	$(PROGRAM)

$(BUILD)/threads: $(CHECKS)/threads.c $(FUZZ)/common.c $(FUZZ)/fuzz.h $(BUILD)/libedgemeta.a
	$(PROGRAM)

threads: $(BUILD)/threads
	$(RUN) $(BUILD)/threads

golden:
	+$(MAKE) -C $(CHECKS) check BUILD=$(abspath $(BUILD))

# ---- sanitizers -------------------------------------------------------------------------------------------------------

sanitize: sanitize-address sanitize-thread

sanitize-address: ADDRESS = $(BUILD)-address
sanitize-address:
	$(MAKE) CC=$(SANITIZER) BUILD=$(ADDRESS) all replays golden \
		CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
	$(call PYTEST,$(ADDRESS),LD_PRELOAD=$$($(SANITIZER) -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0)

sanitize-thread:
	$(MAKE) CC=$(SANITIZER) BUILD=$(BUILD)-thread threads CFLAGS="-O1 -g -fsanitize=thread"

valgrind:
	$(MAKE) BUILD=$(BUILD)-valgrind CFLAGS="-O1 -g" golden replays threads \
		RUN="valgrind --quiet --error-exitcode=1 --leak-check=full"

# ---- reading the code ---------------------------------------------------------------------------------------------------

TIDY = $(SOURCES:%.c=tidy-%)
tidy: $(TIDY)

$(TIDY): tidy-%:
	clang-tidy --quiet --warnings-as-errors='*' $*.c -- $(MEANING) -Wno-error $(SET)
tidy-kernels_sse2: SET = -msse2
tidy-kernels_avx2: SET = -mavx2 -mfma -mf16c
tidy-kernels_avx512: SET = -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c

# ---- coverage -----------------------------------------------------------------------------------------------------------

coverage: COVERED = $(BUILD)-coverage
coverage:
	rm -rf $(COVERED)
	$(MAKE) CC=gcc BUILD=$(COVERED) CFLAGS="-O0 -g --coverage" all replays golden threads
	$(call PYTEST,$(COVERED))
	$(TESTER) $(CHECKS)/coverage.py $(COVERED) --least 95

# ---- fuzzing ------------------------------------------------------------------------------------------------------------

FUZZED = -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
# What the fuzzer is to see is the parsers: not itself, and no loop of a checksum.
UNSEEN = -fno-sanitize-coverage=inline-8bit-counters,indirect-calls,trace-cmp,pc-table
fuzz: $(TARGETS:%=fuzz-%)

ifdef FUZZING
$(BUILD)/crc32.o: SET = $(UNSEEN)
endif

# What is found goes to BUILD-fuzz/found-TARGET, and is where the next run begins.
$(TARGETS:%=fuzz-%): fuzz-%:
	$(MAKE) CC=$(CLANG) BUILD=$(BUILD)-fuzz CFLAGS="$(FUZZED) -fsanitize=fuzzer-no-link" FUZZING=1 \
		$(BUILD)-fuzz/libedgemeta.a
	$(CLANG) $(WARN) $(FUZZED) -fsanitize=fuzzer $(UNSEEN) $(FUZZ)/$*.c $(FUZZ)/common.c \
		$(if $(filter journal reload,$*),$(FUZZ)/mutate.c) $(BUILD)-fuzz/libedgemeta.a -lm -o $(BUILD)-fuzz/fuzz-$*
	mkdir -p $(BUILD)-fuzz/found-$*
	$(BUILD)-fuzz/fuzz-$* -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 \
		-artifact_prefix=$(BUILD)-fuzz/$*- $(BUILD)-fuzz/found-$* $(FUZZ)/corpus/$*

.PHONY: replays threads golden sanitize sanitize-address sanitize-thread valgrind tidy $(TIDY) coverage fuzz \
	$(TARGETS:%=fuzz-%)
