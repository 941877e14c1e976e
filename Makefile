# The one door. `make` alone lists what there is. Everything runs from .venv, which each target first brings up to date.

SHELL := /bin/sh
RUN := .venv/bin/python -m
# Without .venv nothing of ours can be running: stopping and asking install nothing.
RUN_IF_INSTALLED := ! test -x .venv/bin/python || $(RUN)
COMPILE := $(RUN) uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --quiet --extra local --extra build

.DEFAULT_GOAL := help
.PHONY: help venv install up down status clean demo demo-money test chaos simulate unit check format schemas lock bench bench-sessions bench-money bench-windows bench-fairness fuzz fuzz-ingest

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "Settings are DAYTWO_* variables: deploy/local/README.md lists them."

# PYTHON, when set, goes first. A candidate counts when it runs and is new enough; a shim that only exists does not.
venv:
	@for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$python" -m deploy.local.bootstrap; \
		fi; \
	done; \
	echo "daytwo: Python 3.11 or newer is needed: install it (on Debian: apt-get install python3 python3-venv), or type make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 2

install: venv ## Install everything that is missing, start nothing
	@$(RUN) deploy.local install

up: venv ## Start Kafka, Redis, Milvus, the model and all services; returns when they answer
	@$(RUN) deploy.local up

down: ## Stop everything; what it knows stays
	@$(RUN_IF_INSTALLED) deploy.local down

status: ## Show pid, state, health and address of each program
	@$(RUN_IF_INSTALLED) deploy.local status

clean: ## Stop everything and remove the state folder
	@$(RUN_IF_INSTALLED) deploy.local clean

demo: venv ## Watch questions of several tenants travel the whole road
	@$(RUN) deploy.demo

demo-money: venv ## Watch caps hold under a runaway, a crowd and kill -9; the provider's bill, the week, the audit
	@$(RUN) deploy.demo_money

test: venv ## Run every test, on a stack of its own on free ports
	@$(RUN) pytest -m "stack or not stack"

chaos: venv ## Hurt the running system in every way and check it: SEED=1 SECONDS=300, PLAN, ONLY, SABOTAGE, REPORT
	@$(RUN) tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PLAN),--plan $(PLAN)) \
		$(if $(ONLY),--only "$(ONLY)") $(if $(SABOTAGE),--sabotage $(SABOTAGE)) $(if $(REPORT),--report $(REPORT))

unit: venv ## Run the tests that need no stack
	@$(RUN) pytest

simulate: venv ## Run daytwo in virtual time from SEEDS=1000 seeds; SEED=7 tells one as a story; CRASHES=1 crashes everywhere once
	@$(RUN) tests.simulation $(if $(CRASHES),--crashes) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST))

check: venv ## Lint, formatting, types, module boundaries, generated files, documents
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@.venv/bin/lint-imports
	@$(RUN) schemas.generate --check
	@$(RUN) pytest tests/docs tests/schemas

format: venv ## Format the code and fix what can be fixed
	@$(RUN) ruff check --fix
	@$(RUN) ruff format

schemas: venv ## Generate records, topics and their documents from schemas/
	@$(RUN) schemas.generate

lock: venv ## Choose versions anew and write both lock files
	@$(COMPILE) --upgrade --output-file requirements.lock
	@$(COMPILE) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock

bench: venv ## Measure throughput and latency; writes docs/benchmarks.md
	@$(RUN) deploy.bench

bench-windows: venv ## Measure rate limits: overshoot, fairness, ten thousand tenants, processor time; writes docs/bench-windows.json
	@$(RUN) deploy.bench_windows.cost
	@$(RUN) deploy.bench_windows

bench-fairness: venv ## Measure what a tenant that floods does to the latency of the others; into the same file
	@$(RUN) deploy.bench_windows --only fairness

bench-money: venv ## Measure admissions, latency, memory and a rebuilt ledger; writes docs/bench-money.json
	@$(RUN) deploy.bench_money

bench-sessions: venv ## Ten thousand sessions (SESSIONS, SECONDS), the knee, overload; writes docs/benchmarks-sessions.md
	@$(RUN) deploy.bench.sessions

fuzz: venv ## Fuzz TARGET (none: all) for SECONDS=60, guided by coverage, from SEED=1
	@$(RUN) tests.fuzz guided $(TARGET) --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

fuzz-ingest: venv ## Send RECORDS=1000000 hostile records through ingest, from SEED=1, and account for each
	@$(RUN) tests.fuzz ingest --records $(or $(RECORDS),1000000) --from $(or $(FROM),0) --seed $(or $(SEED),1)
