# `make` prints this help.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

.DEFAULT_GOAL := help
.PHONY: help run setup test test-deps check fix bench lock

help: ## print this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: setup ## start the registry on 127.0.0.1:5000, SQLite and a folder under ./data
	@at=$${REGISTRY_HTTP_ADDR:-127.0.0.1:5000}; printf 'Push a first image from another terminal:\n  docker tag IMAGE %s/demo/app:v1\n  docker push %s/demo/app:v1\n' "$$at" "$$at"
	@exec $(BIN)/digestry serve

setup: $(VENV)/.setup ## make .venv with the command in it, .venv/bin/digestry

test: $(VENV)/.dev ## run every test; real parts that this machine lacks are skipped by name
	@if [ "$$CI" = true ]; then $(MAKE) test-deps; fi
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	PYTEST_DEBUG_TEMPROOT=$$scratch $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-deps: ## as root on Debian: install every real part that the tests use
	tests/support/install-deps

check: $(VENV)/.dev ## format, lint, types, import contracts, unused dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry registry storage migrations

fix: $(VENV)/.dev ## format, and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## compare with CNCF Distribution on an idle machine (needs go and wrk); ARGS=--quick for a first look
	$(BIN)/python -m bench $(ARGS)

lock: ## resolve the dependencies anew (needs uv)
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) --group build -o requirements/build.txt
	$(LOCK) -c requirements/runtime.txt pyproject.toml --group test --group check -o requirements/dev.txt

$(VENV)/.setup: requirements/runtime.txt requirements/build.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.setup requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
