# SPDX-License-Identifier: Apache-2.0
# The project's verbs, thin over meson and the scripts in tools/. Each one does its own set-up on a fresh Debian 12 or
# 13 (packages need root); SETUP=true leaves the machine as it is.

BUILD	?= build
PREFIX	?= /usr/local
SETUP	?= tools/setup
FUZZ_SECONDS ?= 60
PYTEST	?= tools/pytest
TESTS	?= tests/system
# System tests at a time. Each has one to three guests, and waits most of the time: up to three, as far as the machine's
# CPUs and memory go.
SIDE_BY_SIDE ?= auto
# STRICT=1: `make test` fails if it skips a test that tests/skipped does not list.
STRICT	?=
BUILDTYPE ?= debugoptimized

# Programs' output is parsed, and not all of the project's text is ASCII.
export LC_ALL := C.UTF-8

# A finding of a sanitizer ends the program: a test that goes on would pass.
export ASAN_OPTIONS  ?= abort_on_error=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS ?= abort_on_error=1:halt_on_error=1:print_stacktrace=1

SANITIZE := -Db_sanitize=address,undefined -Db_lundef=false

.PHONY: all demo test test-unit unit-plain unit-asan test-system test-asan bench lint format fuzz install testbed guests packages clean help
.DEFAULT_GOAL := all

all: packages $(BUILD)/build.ninja
	ninja -C $(BUILD)

help:
	@echo 'make              build: $(BUILD)/vpfd, $(BUILD)/vpfctl'
	@echo 'make demo         two VMs split their virtual PFs into VFs, pods talk through them, a VF moves to another back-end'
	@echo 'make test         all tests: test-unit and test-system; the last line says how many passed, failed and were skipped'
	@echo 'make test-unit    unit tests, then the same under ASan and UBSan'
	@echo 'make test-system  tests with guests, DPDK and vpfctl (TESTS=tests/system/test_x.py: only these)'
	@echo 'make test-asan    the system tests against vpfd and vpfctl under ASan and UBSan'
	@echo 'make bench        vpf beside its peers (CASE=GLOB: these cases; QUICK=1: once and short, for the function)'
	@echo 'make lint         formatting, static analysis, gcc and clang with warnings as errors'
	@echo 'make format       format the C sources'
	@echo 'make fuzz         each fuzzer for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make install      into PREFIX ($(PREFIX)), below DESTDIR'
	@echo 'make testbed      what guests are made of, in the cache'
	@echo 'make clean        remove $(BUILD)/'

packages:
	@$(SETUP) packages

testbed: packages
	@$(SETUP) testbed

# With what is built for guests: vpf.ko, and Kubernetes' parts.
guests: packages
	@$(SETUP) guests

$(BUILD)/build.ninja:
	meson setup $(BUILD) --buildtype=$(BUILDTYPE) --prefix=$(PREFIX)

$(BUILD)/asan/build.ninja:
	meson setup $(BUILD)/asan $(SANITIZE)

$(BUILD)/fuzz/build.ninja:
	CC=clang meson setup $(BUILD)/fuzz $(SANITIZE) -Dfuzzers=enabled

demo: all guests
	VPF_BUILD=$(abspath $(BUILD)) tools/own-net tools/demo

test:
	@rm -f $(BUILD)/meson-logs/testlog.json $(BUILD)/asan/meson-logs/testlog.json $(BUILD)/system.xml
	@status=0; \
	{ $(MAKE) --no-print-directory test-unit && $(MAKE) --no-print-directory test-system; } || status=1; \
	tools/test-summary $(if $(STRICT),--strict) $(BUILD) || status=1; \
	exit $$status

test-unit: all $(BUILD)/asan/build.ninja
	@$(MAKE) --no-print-directory -j2 -Otarget unit-plain unit-asan

# Their tests often wait: side by side.
unit-plain:
	meson test -C $(BUILD) --suite unit --print-errorlogs --timeout-multiplier 2

unit-asan:
	ninja -C $(BUILD)/asan
	meson test -C $(BUILD)/asan --suite unit --print-errorlogs --timeout-multiplier 4

test-system: all guests
	VPF_BUILD=$(abspath $(BUILD)) $(PYTEST) -ra --durations=30 --junitxml=$(BUILD)/system.xml -n $(SIDE_BY_SIDE) --dist loadgroup $(TESTS)

test-asan: packages guests $(BUILD)/asan/build.ninja
	ninja -C $(BUILD)/asan
	VPF_BUILD=$(abspath $(BUILD)/asan) $(PYTEST) -ra -n $(SIDE_BY_SIDE) --dist loadgroup $(TESTS)

bench: all testbed
	@$(SETUP) bench
	VPF_BUILD=$(abspath $(BUILD)) CASE='$(CASE)' QUICK='$(QUICK)' tools/own-net bench/run

lint: packages
	@$(SETUP) headers # of the kernels that vpf.ko is checked with
	tools/lint

format:
	tools/lint --fix

fuzz: packages $(BUILD)/fuzz/build.ninja
	ninja -C $(BUILD)/fuzz
	tools/fuzz $(BUILD)/fuzz $(FUZZ_SECONDS)

install: all
	meson configure $(BUILD) --prefix=$(PREFIX)
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
