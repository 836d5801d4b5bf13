# Everything that is done with this checkout. `make` alone lists the targets.
#
# Nothing is installed outside the checkout: Python tools go to $(VENV), what is compiled goes to cargo's target folder.
#   PYTHON=python3.12   the interpreter to use instead of the newest found
#   VENV=.venv-3.12     another virtual environment, to keep two interpreters side by side
#   DIR=folder          what `make demo` counts the words of, instead of Python's own library
#   FUZZ_SECONDS=60     how long `make fuzz` feeds each target

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VENV ?= .venv
PYTHON ?=
DIR ?=
FUZZ_SECONDS ?= 60
BIN := $(CURDIR)/$(VENV)/bin
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
LOCKED := $(if $(CI),--locked)
export PYO3_PYTHON := $(BIN)/python
export TASUKI_TARGET := $(TARGET)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' $(firstword $(MAKEFILE_LIST)) | awk -F '\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

.PHONY: demo
demo: build ## count words and find divisors in every way there is, and draw who worked when (DIR=folder)
	@$(BIN)/python demo/python/demo.py $(if $(DIR),"$(DIR)")

.PHONY: test
test: test-rust test-python ## run every test

.PHONY: test-rust
test-rust: $(VENV)/.tools ## run the tests of the crates, kill points compiled in
	cargo test $(LOCKED) --no-fail-fast --workspace --exclude tasuki-python --exclude tasuki-examples --features tasuki/kill-points,tasuki/tokio

.PHONY: test-python
test-python: build ## run the tests of the Python package and of the examples
	@cargo build $(LOCKED) --quiet -p tasuki-examples
	$(BIN)/python -m pytest

.PHONY: check
check: check-rust check-python ## look without running any test

.PHONY: check-rust
check-rust: $(VENV)/.tools ## formatting, clippy and documentation of the crates
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets --features tasuki/kill-points,tasuki/tokio -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --workspace --no-deps --document-private-items --features tasuki/tokio --quiet

.PHONY: check-python
check-python: build ## formatting, lints, types and stubs of the Python files
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy.stubtest tasuki._tasuki --concise

.PHONY: compat
compat: build ## run CPython's own tests of multiprocessing on tasuki and print the count
	$(BIN)/python python/compat/run.py

.PHONY: bench
bench: build ## compare what runs on the engine with its peers, side by side in one run
	cd bench && $(MAKE) PYTHON=$(BIN)/python

.PHONY: soak
soak: soak-rust soak-python ## kill processes at random instants for half an hour and account for every message

# In the order of how long they take: 150 s each for storms of kills, for semaphores, and for memory that is overwritten; then every
# step of every primitive some hundred times, millions of messages with kills, 3 GiB, and thousands of forks.
.PHONY: soak-rust
soak-rust: $(VENV)/.tools ## the half of it in Rust
	TASUKI_SOAK=1 cargo test $(LOCKED) --no-fail-fast -p tasuki --features kill-points --test 'crash_*' --test 'corruption_*' --test 'stress_*' --test 'table_*' \
		--test barrier --test condition --test event --test semaphore

# Millions of messages with kills, waits cancelled at random, 3 GiB, real frozen programs; storms of kills and of signals; the table of crashes; every
# pair of the tables of handlers, of stopped peers, of what descriptors say, and of what is used inside waits.
.PHONY: soak-python
soak-python: build ## the half of it in Python
	TASUKI_SOAK=1 $(BIN)/python -m pytest python/tests/test_stress.py python/tests/test_stress_waiting.py python/tests/test_frozen.py
	TASUKI_STORM_ROUNDS=300 $(BIN)/python -m pytest python/tests/test_storm.py python/tests/test_signals.py
	TASUKI_STORM_ROUNDS=50 $(BIN)/python -m pytest python/tests/test_crash_table.py
	TASUKI_SOAK=1 $(BIN)/python -m pytest python/tests/test_table_*.py
	$(MAKE) soak-points

# The native module that has the points is built in a place of its own, beside a copy of the package; the one that is used stays.
POINTS := $(TARGET)/kill-points
.PHONY: soak-points
soak-points: build ## the part of that which stops a process at each step of everything
	PYO3_BUILD_EXTENSION_MODULE=1 cargo build $(LOCKED) --quiet --release -p tasuki-python --features kill-points --target-dir $(POINTS)
	rm -rf $(POINTS)/python && mkdir $(POINTS)/python && cp -R python/src/tasuki $(POINTS)/python
	cp $(POINTS)/release/lib_tasuki.so $(POINTS)/python/tasuki/_tasuki.abi3.so
	PYTHONPATH=$(POINTS)/python $(BIN)/python -c 'from tasuki._tasuki import arm_stop' # else all were skipped
	TASUKI_SOAK=1 PYTHONPATH=$(POINTS)/python $(BIN)/python -m pytest python/tests/test_table_stopped.py -k at_each_point

.PHONY: fuzz
fuzz: ## play a broken peer, FUZZ_SECONDS for each target (needs nightly Rust and cargo-fuzz)
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
		cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; done

.PHONY: fmt
fmt: $(VENV)/.tools ## format all Rust and Python
	cargo fmt --all
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: docs
docs: ## build the documentation of the crates
	cargo doc $(LOCKED) --workspace --no-deps
	@echo "open $(TARGET)/doc/tasuki/index.html"

.PHONY: build
build: $(VENV)/.native ## build the Python package and the demo
	@cargo build $(LOCKED) --release --quiet -p tasuki-demo

.PHONY: clean
clean: ## remove everything that was built or installed here
	rm -rf .venv .venv-* target bench/target fuzz/target .pytest_cache .pytest_tmp .mypy_cache .ruff_cache
	find python examples demo bench -name __pycache__ -prune -exec rm -rf {} +
	rm -f python/src/tasuki/*.so

# The virtual environment is built anew when its requirements or PYTHON change, the native module when a source of it does.
$(if $(filter-out $(shell cat $(VENV)/.python 2>/dev/null),$(PYTHON)),$(shell rm -f $(VENV)/.tools))
$(VENV)/.tools: requirements.txt tools/make-venv
	@command -v cargo >/dev/null || { echo "tasuki needs Rust: https://rustup.rs" >&2; exit 1; }
	@tools/make-venv $(VENV) requirements.txt $(PYTHON)
	@touch $@

NATIVE := Cargo.toml Cargo.lock pyproject.toml \
	$(shell find crates -name '*.rs' -not -path '*/tests/*' -o -name Cargo.toml)

$(VENV)/.native: $(VENV)/.tools $(NATIVE)
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --quiet $(LOCKED)
	@touch $@
