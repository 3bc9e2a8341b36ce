# Everything on a machine with Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2

.PHONY: help install demo up test check format lock bench clean
.DEFAULT_GOAL := help

help: ## Show what there is to do.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv and install the pinned requirements.

$(STAMP): requirements.lock pyproject.toml requirements.in hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## Live two weeks in a pretend town and report what they earned.
	@$(BIN)/reactivation demo

up: install ## Start servers, Dagster's UI and daemon, and the HTTP API.
	@$(BIN)/reactivation up

test: check ## Run all checks and the whole test suite.
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: install ## Lint, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Resolve requirements.in into requirements.lock (needs uv).
	uv pip compile requirements.in --output-file requirements.lock --generate-hashes --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url

bench: install ## Compare the campaign day with hand-written DuckDB SQL.
	$(BIN)/python benchmarks/daily.py --clients 100000

clean: ## Remove the virtual environment and caches; homes with data stay.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
