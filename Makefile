# make demo    a human voice through the whole system      make up      the local stack, Ctrl-C stops it
# make test    what no whole stack is needed for           make lint    style, types, architecture
# make test-system   whole stacks, killed parts, a browser
# make chaos   kill processes and count what is lost       make lock    compile the lock files again (needs uv)
# make ctranslate2   the second engine, beside whisper.cpp
# FILE=...     your own recording for the demo
# PYTHON=...   another Python >= 3.11                      ROUNDS=...   rounds of chaos, 20 s each

PYTHON ?= python3
ROUNDS ?= 50
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# pip builds nothing from the index: every package is a wheel of the lock file, ours is linked in by hatchling.
INSTALL := $(PIP) install --no-deps --require-hashes --only-binary :all:
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

# What starts whole stacks: slow, and only as quick as the machine.
SYSTEM_TESTS := tests/system tests/chaos tests/cli/test_stack.py
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: demo up ctranslate2 test test-system chaos lint lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@$(BIN)/stt demo $${FILE:+"$$FILE"}

up: $(VENV)/.installed
	@$(BIN)/stt up

ctranslate2: $(VENV)/.installed-ctranslate2

# One worker a core; the tests start their own servers on free ports.
test: $(VENV)/.installed-dev
	@$(PYTEST) $(addprefix --ignore=,$(SYSTEM_TESTS)) $(ARGS)

test-system: $(VENV)/.installed-dev
	@$(PYTEST) $(SYSTEM_TESTS) $(ARGS)

# Goes on where it was stopped; remove .stt-chaos to begin afresh.
chaos: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.chaos --rounds $(ROUNDS) $(ARGS)

lint: $(VENV)/.installed-dev node_modules/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	npm run --silent lint

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "'$(PYTHON)' is no Python >= 3.11. Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "Making $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)

# The stamps hang on the lock files: a changed lock is installed, an unchanged one costs nothing.
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing from requirements.lock (once, about a minute)"
	@$(INSTALL) -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-ctranslate2: requirements-ctranslate2.lock $(VENV)/.installed
	@echo "Installing from requirements-ctranslate2.lock (once)"
	@$(INSTALL) -r requirements-ctranslate2.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	@echo "Installing from requirements-dev.lock (once)"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

# Only what checks the page's scripts: nothing of it runs or is shipped.
node_modules/.installed: package-lock.json
	@command -v npm >/dev/null || { echo "'make lint' checks the page's scripts with npm: install Node.js 20 or later." >&2; exit 1; }
	@npm ci --silent --no-fund --no-audit
	@touch $@

lock:
	$(LOCK) pyproject.toml --group build --output-file requirements.lock
	$(LOCK) pyproject.toml --group build --extra ctranslate2 --constraint requirements.lock --output-file requirements-ctranslate2.lock
	$(LOCK) pyproject.toml --group build --group dev --extra ctranslate2 --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
