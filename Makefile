# Two commands on a fresh machine with python3 (3.11 or newer), git and make:
#   make demo   manifests become deployments on a simulated platform
#   make test   every test
# The rest is for people who change the program: see CONTRIBUTING.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help env demo test check format lint types imports bench lock clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 12

env: $(STAMP) ## the environment: locked, hash-checked dependencies and the program itself, editable

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 3.11 or newer is needed; this is $$($(PYTHON) --version). Set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: $(STAMP) ## every test
	$(BIN)/python -m pytest -n auto

check: $(STAMP) format lint types imports test ## everything that .ci/run checks

format: $(STAMP) ## is it formatted?
	$(BIN)/ruff format --check .

lint: $(STAMP) ## ruff, codespell
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

imports: $(STAMP) ## imports go down only
	$(BIN)/lint-imports

clean: ## remove what was made
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
