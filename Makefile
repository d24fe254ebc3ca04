# One door: every command a person or CI needs. `make` alone prints this list.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Test files run side by side, each process with a broker and an engine of its own.
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint format docs faults faults-stream faults-sink soak bench requirements clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the environment in .venv (exact versions, hashes checked)

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"backchannel needs Python 3.11 or newer, this is {sys.version.split()[0]}: call make PYTHON=/path/to/a/newer/python3")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing pinned requirements into $(VENV) (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## the whole pipeline for about a minute: bots, Kafka, Faust, ClickHouse, alerts
	@$(BIN)/backchannel demo --data-dir build/demo

test: lint ## what CI runs: format, lint, types, all tests
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

check: lint ## the fast part: format, lint, types, unit tests; under a minute
	@$(BIN)/python -m pytest -q tests/unit

lint: $(STAMP) ## format, lint and types alone
	@$(BIN)/ruff format --check --quiet . || (echo "make format mends this" && false)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/mypy tests

format: $(STAMP) ## rewrite the code as the formatter and the linter want it
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

docs: $(STAMP) ## write the generated pages and schemas of docs/ anew
	@$(BIN)/backchannel schema --output docs/schema
	@BACKCHANNEL_WRITE_DOCS=1 $(BIN)/python -m pytest -q tests/unit/test_alerts_page.py \
	  tests/unit/processors/test_metrics_page.py tests/unit/deploy/test_data_map_page.py \
	  tests/integration/test_tables_page.py

faults: faults-stream faults-sink ## the long form of everything that can go wrong, under load
	@BACKCHANNEL_FAULTS=full $(BIN)/python -m pytest tests/consistency tests/property $(PYTEST_ARGS)

faults-stream: $(STAMP) ## what faults do to the workers: lost, doubled, recovery (FAULTS_ARGS="--full --seed 7")
	@PYTHONPATH=tests $(BIN)/python -m faults stream $(FAULTS_ARGS)

faults-sink: $(STAMP) ## the same for the sink and ClickHouse
	@PYTHONPATH=tests $(BIN)/python -m faults sink $(FAULTS_ARGS)

soak: $(STAMP) ## one hour of load while the broker goes away at random: nothing may grow or be lost
	@PYTHONPATH=tests $(BIN)/python -m soak $(SOAK_ARGS)

# Some peers want other versions of what we stand on.
PEERS  := build/peers

$(PEERS)/.installed: requirements/peers.txt
	@$(PYTHON) -m venv $(PEERS)
	@echo "Installing the peers of the benchmarks into $(PEERS) ..."
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	@touch $@

bench: $(STAMP) $(PEERS)/.installed ## measure beside the peers, print a table, write build/bench.json
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(BENCH_ARGS)

requirements: $(STAMP) ## pin again after pyproject.toml changed (needs uv on PATH)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --extra all pyproject.toml -o requirements/all.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --all-extras --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --group peers -o requirements/peers.txt

clean: ## remove the environment and everything built
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
