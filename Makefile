# make setup   an environment of its own in .venv        make test        all tests but the slow ones
# make demo    train, export, verify, profile, run       make test-slow   training runs and wheel builds
# make lint    formatting, types, import contracts       make docs        write docs/cli.md from --help
# make bench   the tables behind the README's figures    make clean       remove what was made (distclean: .venv too)
# make test-aarch64  on emulated ARM processors
# make test-c  the C runtime: tests, sanitizers, ARM     make test-bindings  Kotlin, Java, Swift, ctypes, WebAssembly
# make test-all  test and test-slow in one run

PYTHON ?= python3
# Installed first and by exact version: a later requirement then never replaces a CPU build of torch by a larger one.
TORCH ?= torch==2.13.0
# Each worker begins with a stretch of its own, so that few build the same fixture, and then takes over from the slower.
PYTEST_ARGS ?= -n auto --dist worksteal

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUNTIME := runtime/python
BINDINGS := build/bindings
C_SOURCES = $(shell find runtime/c tests/c -name '*.[ch]' -o -name '*.cpp')
CLANG_FORMAT := $(BIN)/clang-format --style=file:runtime/c/.clang-format

.PHONY: setup tools userland test test-all test-aarch64 test-c test-bindings test-slow lint format bench demo docs clean distclean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml scripts/hatch_metadata.py $(RUNTIME)/pyproject.toml $(RUNTIME)/sharcs_edge_runtime/version.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "SHARCS Edge needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1); name one: make setup PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable $(RUNTIME) --editable ".[train,export,tflite,calibrate,demo,dev]"
	@touch $@

# One thread a process: the tests run side by side, and tiny models gain nothing from more.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not aarch64" $(PYTEST_ARGS)

# An aarch64 userland, unless this machine cannot: it says why.
userland: $(INSTALLED)
	tests/aarch64/userland.sh || [ $$? = 77 ]

# The runtime's wheel with ONNX and TFLite artifacts on emulated Cortex-A53, -A72 and -A76; skipped, with the reason,
# where this machine cannot. Its own tests keep all cores busy.
test-aarch64: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/aarch64 -v

# Natively, under sanitizers, and on an emulated Cortex-A72 where this machine can.
test-c: $(INSTALLED)
	tests/c/run.sh

# Tools that cannot be had are named, and their tests skipped.
tools:
	tests/bindings/get_tools.sh build/tools

test-bindings: $(INSTALLED) tools
	cmake -S runtime/c -B $(BINDINGS)/c --log-level=WARNING -DSHARCS_WERROR=ON -DSHARCS_TESTS=OFF -DSHARCS_TOOLS=OFF \
	  -DSHARCS_JNI=$(if $(shell command -v javac),ON,OFF)
	cmake --build $(BINDINGS)/c --parallel 2
	cmake --install $(BINDINGS)/c --prefix $(BINDINGS)/prefix >/dev/null
	SHARCS_EDGE_BINDINGS=$(BINDINGS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/bindings -n 2 --dist loadfile

test-slow: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

test-all: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not aarch64" $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(CLANG_FORMAT) --dry-run --Werror $(C_SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(CLANG_FORMAT) -i $(C_SOURCES)

bench: $(INSTALLED)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

demo: $(INSTALLED)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo.sh build/demo

docs: $(INSTALLED)
	$(BIN)/python scripts/generate_cli_docs.py

clean:
	rm -rf build dist $(RUNTIME)/dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path "./$(VENV)/*" -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
