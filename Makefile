# One place for every command; the continuous integration calls the same targets.
#   make setup PYTHON=python3.13      another interpreter (after `make clean`)
#   make run RUN_SECONDS=20           ends by itself
#   make test ARGS="-k migrations"    more for pytest
#   make bench ARGS="--rounds 3 fsm"  more for the benchmark
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
SOURCES := $(wildcard omninode_bridge store tasks worker migrations scripts tests benchmarks acceptance)

.DEFAULT_GOAL := help
.PHONY: help setup check check-format check-lint check-types check-arrows check-locks check-deploy format test bench run lock wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## the environment in .venv, from requirements.lock (needs Python 3.11 or newer)
	@:

# The stamp holds the checkout's path: a copied or moved checkout links itself anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
$(READY): requirements.lock scripts/link.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; '$(PYTHON)' is not. Name another: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "'$(PYTHON)' cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "installing what requirements.lock names"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(BIN)/python scripts/link.py
	@printf '%s\n' "$(CURDIR)" > $@

check: check-format check-lint check-types check-arrows check-locks check-deploy ## format, lint, types, import arrows, locks, deployment files

check-format: setup
	$(BIN)/ruff format --check $(SOURCES)

check-lint: setup
	$(BIN)/ruff check $(SOURCES)

check-types: setup
	$(BIN)/python -m mypy $(SOURCES)

check-arrows: setup
	$(BIN)/lint-imports --no-logo

check-locks: setup
	$(BIN)/python scripts/check_locks.py

check-deploy: setup
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

format: setup ## rewrite the sources as the formatter and the linter want them
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

test: setup ## every test
	$(BIN)/python -m pytest $(ARGS)

bench: setup ## rates and latencies beside what is wanted of them; leave the machine alone meanwhile
	$(BIN)/python -m benchmarks $(ARGS)

run: setup ## the whole fleet on this machine, with a demonstration load; Ctrl-C ends it
	$(BIN)/fleet demo $(if $(RUN_SECONDS),--seconds $(RUN_SECONDS) --exit,--seconds 20)

lock: ## requirements.lock and requirements-fleet.lock anew from pyproject.toml (LOCK_ARGS=--upgrade for newer versions)
	PYTHON="$(PYTHON)" scripts/lock.sh $(LOCK_ARGS)

wheel: setup ## dist/*.whl, with omninode_bridge alone in it
	$(PIP) wheel --no-deps --wheel-dir dist .

clean: ## remove .venv, caches and dist; data directories stay
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
