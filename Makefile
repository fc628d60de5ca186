# Every target sets itself up: a virtual environment in .venv from requirements.lock, nothing else on the machine is touched.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
UV_VERSION := 0.13.9
ARGS ?=

help: ## what can be made
	@echo "Spillway: make TARGET [ARGS=\"...\"]"; echo
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(READY) ## the virtual environment, as locked

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Spillway needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "setting up .venv (once)"
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@UV_LINK_MODE=copy $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . 2>/dev/null || $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

demo: $(READY) ## the main job on this machine: a real control plane, simulated GPUs, a recording cloud (ARGS="--seconds 60")
	@$(BIN)/spillway demo $(ARGS)

# Files are dealt out in their order, those of a real control plane first: they wait for it, and each process has its own.
PARALLEL ?= --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(READY) ## the whole suite (ARGS="-k name"; PARALLEL= for one process)
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

E2E := PYTHONPATH=tests $(BIN)/python -m e2e

e2e: $(READY) ## the stories on a real kind cluster (ARGS="-k spills"; KEEP=1 leaves the cluster)
	@$(E2E) test $(ARGS)

e2e-obstacle: $(READY) ## why there can be no cluster on this machine; nothing where there can be one
	@$(E2E) obstacle

kind-up: $(READY) ## a kind cluster with Spillway on it, images and all
	@$(E2E) up

kind-down: $(READY) ## remove it
	@$(E2E) down

kind-demo: $(READY) ## the main job on that cluster
	@$(E2E) demo $(ARGS)

bench-operator: $(READY) ## the operator's speed and quiet, beside a bare client (ARGS="--objects 100")
	@$(BIN)/python -m bench.operator $(ARGS)

prove: $(READY) ## the invariants under requests, faults, restarts and changes (ARGS="--requests 100000 --seed 1")
	@$(BIN)/python -m bench.prove $(ARGS)

check: $(READY) ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generate: $(READY) ## write the generated files anew (CRDs, and what the chart takes from them and from manifests/base)
	@$(BIN)/python tools/generate.py .

verify: $(READY) ## generated files are current
	@tools/verify $(BIN)

LOCK := $(BIN)/uv pip compile --generate-hashes --universal --python-version 3.11 -q

lock: $(READY) ## resolve requirements.lock anew, and the image's parts of it
	@$(LOCK) pyproject.toml --extra demo --group dev -U -o requirements.lock
	@$(LOCK) pyproject.toml --constraint requirements.lock -U -o operator/requirements.lock
	@printf 'cryptography\nopenai\n' | $(LOCK) - --constraint requirements.lock -U -o e2e/images/engine/requirements.lock
	@echo 'hatchling>=1.27' | $(LOCK) - -U -o operator/build-requirements.lock

clean: ## remove what was made here (the cache of built binaries stays: ~/.cache/spillway)
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: help setup demo test e2e e2e-obstacle kind-up kind-down kind-demo bench-operator prove check format generate verify lock clean
