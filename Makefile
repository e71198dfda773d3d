# make setup   an environment of its own in .venv        make test        all tests but the slow ones
# make demo    train, export, verify, profile, run       make test-slow   training runs and wheel builds
# make lint    formatting, types, import contracts       make docs        write docs/cli.md from --help
# make bench   the tables behind the README's figures    make clean       remove what was made (distclean: .venv too)

PYTHON ?= python3
# Installed first and by exact version: a later requirement then never replaces a CPU build of torch by a larger one.
TORCH ?= torch==2.13.0
PYTEST_ARGS ?= -n auto

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUNTIME := runtime/python

.PHONY: setup test test-slow lint format bench demo docs clean distclean

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
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-slow: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

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
