# Everything a user or a contributor types. `make` alone lists the targets.
.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -o pipefail -c
SHELL := bash

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= tidemill-data
KEEP ?=
TEST_PROCESSES ?= 2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# LightGBM's wheel brings everything but the runtime of OpenMP; without it trainings fail long after the installation.
define OPENMP
import ctypes, sys
try:
    ctypes.CDLL("libgomp.so.1") if sys.platform == "linux" else None
except OSError:
    sys.exit("The OpenMP runtime libgomp.so.1 is missing: apt-get install libgomp1 (dnf install libgomp)")
endef
export OPENMP

# Stamps: an install is repeated only when its lock or the package's metadata changed.
$(VENV)/.platform: requirements/platform.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Tidemill needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -c "$$OPENMP"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the platform (locked and hashed) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/platform.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q src # children of a worker can write no bytecode
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.platform
	@echo "Installing what the tests need (locked and hashed) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

.PHONY: install
install: $(VENV)/.platform ## Install the platform into .venv

.PHONY: demo
demo: $(VENV)/.platform ## Run the whole loop on real flights (KEEP=1 leaves the platform running)
	@$(BIN)/tidemill demo $(if $(KEEP),--keep)

.PHONY: up
up: $(VENV)/.platform ## Start the platform in ./tidemill-data and stay
	@exec $(BIN)/tidemill up --data-dir $(DATA)

# The last commit before the project was archived, as the Go module proxy serves it; its checksum is in Go's public log.
MINIO_MODULE := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

.PHONY: minio
minio: $(BIN)/minio ## Build the MinIO server that the tests use beside another S3 server (needs Go)

$(BIN)/minio: | $(VENV)/.platform
	@echo "Building MinIO ..."
	@GOBIN=$(abspath $(BIN)) go install $(MINIO_MODULE)

.PHONY: test
test: $(VENV)/.dev ## Run all tests that need no Docker; the last lines say what was left out for want of a program
	@$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

# Where this machine has no Docker Engine but lies beside a folder that can install one with stand-ins for base images.
STANDINS ?= ../shared/containers

.PHONY: docker
docker: ## See that a Docker Engine runs
	@docker version >/dev/null 2>&1 || { [ -x $(STANDINS)/setup.sh ] && $(STANDINS)/setup.sh; } \
	  || { echo "Docker is missing: install the engine and its Compose plugin."; exit 1; }

COMPOSE := docker compose --env-file deploy/staging.env -f deploy/compose.yaml --profile '*'

.PHONY: tool-images
tool-images: docker ## Pull the images whose programs `make test` runs (promtool, amtool, Nginx)
	@$(COMPOSE) pull --quiet prometheus alertmanager docker-logs

FOREIGN := postgres nginx prometheus alertmanager postgres-exporter nginx-exporter node-exporter grafana loki docker-logs alloy

.PHONY: test-tools
test-tools: $(VENV)/.dev docker ## Read the shipped files with the programs that read them in a stack; nothing is left out
	@TESTS_COMPLETE=1 $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile tests/deploy tests/observability

.PHONY: stack-images
stack-images: docker ## Pull every image of a stack that is not built here
	@$(COMPOSE) pull --quiet $(FOREIGN)
	@TIDEMILL_OBJECT_STORE_KIND=seaweedfs $(COMPOSE) pull --quiet object-store

.PHONY: test-edge
test-edge: $(VENV)/.dev docker ## Run the Nginx files in front of real and fake servers (needs Docker)
	@$(BIN)/pytest --numprocesses 0 tests/edge

.PHONY: test-stack
test-stack: $(VENV)/.dev docker ## Build the images, run the whole loop on a stack through Nginx, and break it (needs Docker)
	@$(BIN)/pytest --numprocesses 0 --timeout 900 tests/stack

.PHONY: lint
lint: $(VENV)/.dev ## Check style, types and the contracts between the rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@for script in init rollout smoke; do $(BIN)/mypy --scripts-are-modules deploy/$$script; done
	@$(BIN)/mypy release/check.py
	@release/lint-files $(BIN)

.PHONY: format
format: $(VENV)/.dev ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: docs
docs: $(VENV)/.dev ## Write the reference pages (settings, command line, metrics) from the code
	@$(BIN)/python -m tidemill.api.openapi > docs/openapi.json
	@$(BIN)/python docs/generate.py

.PHONY: dashboards
dashboards: $(VENV)/.dev ## Write Grafana's dashboards and the rules of the objectives from observability/
	@$(BIN)/python -m observability

BENCHES := ingest training leaderboard platform stack

.PHONY: bench
bench: $(BENCHES:%=bench-%) ## Measure everything side by side; figures go to build/bench/

.PHONY: $(BENCHES:%=bench-%)
$(BENCHES:%=bench-%): bench-%: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.$*

# Which extras a lock holds; release/check.py compares.
LOCKS := platform dev image model-server build
EXTRAS_platform := server training tracing local demo
EXTRAS_dev := $(EXTRAS_platform) dev
EXTRAS_image := server training tracing
EXTRAS_model-server := serving tracing

.PHONY: lock
lock: $(LOCKS:%=lock-%) ## Renew the lock files (needs uv: pip install uv); UPGRADE= keeps what need not change
UPGRADE ?= --upgrade

.PHONY: $(LOCKS:%=lock-%)
$(LOCKS:%=lock-%): lock-%:
	@uv pip compile $(if $(filter-out build,$*),pyproject.toml) $(if $(filter platform dev build,$*),requirements/build.in) --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet $(UPGRADE) \
	  $(EXTRAS_$*:%=--extra %) -o requirements/$*.lock

.PHONY: test-upgrade
test-upgrade: $(VENV)/.dev ## Upgrade a database of the last release (FROM=REVISION for another), and return to it
	@from='$(FROM)'; from=$${from:-$$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)}; \
	if [ -z "$$from" ]; then echo "No release yet: there is nothing to upgrade from."; exit 0; fi; \
	echo "Upgrading from $$from"; LAST_RELEASE="$$from" $(BIN)/pytest --numprocesses 0 tests/upgrade

.PHONY: release-check
release-check: $(VENV)/.dev ## May this be released? TAG=v0.2.0 SIGNERS=FILE also check the tag
	@$(BIN)/python release/check.py $(if $(TAG),--tag '$(TAG)') $(if $(SIGNERS),--signers '$(SIGNERS)')

.PHONY: dist
dist: $(VENV)/.dev ## Build wheel and source archive into dist/; the same commit gives the same bytes
	@rm -rf dist
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/hatchling build -d dist

.PHONY: clean
clean: ## Remove what builds and tests leave behind (not data)
	@rm -rf build dist .mypy_cache .ruff_cache .import_linter_cache
