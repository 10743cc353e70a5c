# Two commands on a fresh machine with python3 (3.11 or newer), git and make:
#   make demo   manifests become deployments on a simulated platform
#   make test   every test
# The rest is for people who change the program: see CONTRIBUTING.md.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: bench-peers compare power soak help env demo test check format lint types imports bench torture race fuzz wire defects schemas lock wheel wheel-check sbom audit image clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 12

env: $(STAMP) ## the environment: locked, hash-checked dependencies and the program itself, editable

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 3.11 or newer is needed; this is $$($(PYTHON) --version). Set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements/dev.lock
	PATH="$(abspath $(BIN)):$$PATH" $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## manifests become deployments on a simulated platform
	@$(BIN)/python tools/demo.py

test: $(STAMP) ## every test
	$(BIN)/python -m pytest -n auto

check: $(STAMP) format lint types imports test ## everything that .ci/run checks

format: $(STAMP) ## is it formatted?
	$(BIN)/ruff format --check .

lint: $(STAMP) ## ruff, codespell, deptry
	$(BIN)/ruff check .
	git ls-files -z -- ':!*.lock' ':!tests' ':!*.svg' ':!*.png' | xargs -0 $(BIN)/codespell
	$(BIN)/deptry .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

imports: $(STAMP) ## imports go down only
	$(BIN)/lint-imports

schemas: $(STAMP) ## write the generated files: schemas and references
	$(BIN)/python -m tools.generate

soak: $(STAMP) ## the loop for hours: storms, checkouts, kills, 2,000 passes over 500 deployments
	SOAK=1 $(BIN)/python -m pytest -q -s tests/properties/test_loop_soak.py tests/service/test_watch_files.py tests/service/test_watch_saves.py tests/service/test_watch_kills.py

bench: $(STAMP) ## speed and memory, as ratios beside something in the same run
	$(BIN)/python tests/bench/run.py

bench-peers: $(STAMP) ## beside octoDNS, Terraform, kubectl and Ansible on work of the same kind, as ratios
	$(BIN)/python tests/bench/peers.py

compare: $(STAMP) ## the crash judge over a shell script, a Python loop and an Ansible playbook (make bench-peers installs Ansible)
	PATH="$(abspath .bench/peers/bin):$$PATH" $(BIN)/python tools/compare.py $(COMPARE)

torture: $(STAMP) ## the crash tests in their long form: hours (TORTURE="campaign --runs 1000" for a part of it)
	$(BIN)/python tools/torture.py $(TORTURE)

power: $(STAMP) ## every power cut in a file store's life, and everything that each may leave
	POWER=1 $(BIN)/python -m pytest -q tests/crash/test_store_crashes.py -k power_cut

race: $(STAMP) ## pipelines that race and die at states elsewhere, in the long form (RACE="kills --store git" for a part of it)
	$(BIN)/python tools/race.py $(RACE)

defects: $(STAMP) ## seeded defects, each of which some test must notice (DEFECTS="--only redirect" for a part of them)
	nice $(BIN)/python tools/defects.py $(DEFECTS)

wire: $(STAMP) ## connections cut after every byte, and 500 invented requests of each kind for each call
	WIRE=1 $(BIN)/python -m pytest -q --hypothesis-profile=random tests/wire tests/contracts/test_invented_requests.py

fuzz: $(STAMP) ## hostile bytes in the long form (FUZZ="target loader --seconds 600" for a part of it)
	$(PIP) --require-hashes -r requirements/fuzz.lock
	$(BIN)/python tools/fuzz.py $(FUZZ)

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
lock: ## resolve the dependencies anew (needs uv); the files name no index
	$(COMPILE) pyproject.toml --extra server --extra notify --output-file requirements/runtime.lock
	$(COMPILE) pyproject.toml --all-extras --group test --group lint --group build --group supply --output-file requirements/dev.lock
	$(COMPILE) --group build --output-file requirements/build.lock
	$(COMPILE) --group audit --output-file requirements/audit.lock
	$(COMPILE) --group fuzz --output-file requirements/fuzz.lock

wheel: $(STAMP) ## the wheel, in dist/
	rm -rf dist
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

wheel-check: wheel ## the wheel, installed in an empty environment, gives the command
	rm -rf build/empty && $(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.lock
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/reconciler-*.whl
	cd build/empty && bin/reconciler --version && bin/python -m reconciler -C ../.. validate

sbom: $(STAMP) ## what the wheel needs, as a bill of materials (CycloneDX), in dist/
	$(BIN)/python tools/sbom.py wheel --out dist/reconciler.cdx.json

audit: build/audit/.installed ## known vulnerabilities of what is pinned, where the advisory service can be reached
	build/audit/bin/python tools/audit.py

build/audit/.installed: requirements/audit.lock
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.lock
	@touch $@

image: ## the container image, built and tried without an engine (root; buildah, debootstrap)
	tools/image.sh

clean: ## remove what was made
	rm -rf $(VENV) .demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
