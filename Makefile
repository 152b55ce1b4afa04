# Everything a newcomer or a CI machine types. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
export PYTHONSAFEPATH := 1
PYTHON ?= python3
BIN := .venv/bin
BESIDE := --numprocesses=3 --dist=loadscope --no-loadscope-reorder # most tests wait; one more at a time than this project's CI has cores
NONE_IS_FINE = $(if $(ARGS),|| [ $$? = 5 ]) # of one of two halves, when ARGS names a few

.PHONY: help run test check unit integration e2e soak scale cluster-up cluster-down cluster-parts kind-up images kubectl bench bench-peers crds dashboards environment s3-environment packages clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: environment ## the main job: sweeps over real data sets, on blocks that scale from 0 (ARGS=--chaos kills its parts meanwhile)
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m examples.sweep $(ARGS)

test: packages check s3-environment cluster-parts ## everything: static checks, then every test at its small size
	@BLOCKYARD_SIZE=small $(BIN)/python -m pytest -m 'not e2e' $(BESIDE) $(ARGS) $(NONE_IS_FINE)
	@BLOCKYARD_SIZE=small $(BIN)/python -m pytest -m e2e $(ARGS) $(NONE_IS_FINE)

check: environment ## static checks: ruff, mypy --strict, who may import whom
	@tools/check

unit: environment ## tests without processes, sockets or clocks (seconds)
	@$(BIN)/python -m pytest tests/meta tests/unit tests/property $(ARGS)

integration: packages environment s3-environment ## tests with real processes, a real PostgreSQL and a real sshd
	@$(BIN)/python -m pytest tests/contract tests/simulation tests/integration tests/api $(ARGS)

e2e: cluster-parts ## the tests on a whole cluster, which is brought up and taken down (one that runs is used and left)
	@$(BIN)/python -m pytest -m e2e tests $(ARGS)

soak: packages environment ## the long proofs at their full size (an hour or more)
	@BLOCKYARD_SIZE=full $(BIN)/python -m pytest -m soak --timeout=7200 -o faulthandler_timeout=7000 $(ARGS)

scale: packages environment ## the wide proofs at their full size: 10^4 managers, 10^6 and 10^7 tasks (an hour or more)
	@BLOCKYARD_SIZE=full $(BIN)/python -m pytest -m scale --timeout=7200 -o faulthandler_timeout=7000 $(ARGS)
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m bench.run_all --scale --rounds 1 $(BENCH_ARGS)

cluster-up: packages environment ## a Kubernetes of two nodes on this machine (root, Go; minutes the first time)
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.cluster up

cluster-down: environment ## end it and leave nothing of it
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.cluster down

cluster-parts: packages environment ## build what the cluster is made of, into ~/.cache/blockyard or BLOCKYARD_CACHE
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.cluster parts

kind-up: ## a cluster of three nodes on a machine with Docker and kind, from kind-config.yaml
	@command -v kind >/dev/null || { echo "make: kind is not installed (https://kind.sigs.k8s.io), see docs/cluster-for-tests.md" >&2; exit 1; }
	kind create cluster --config kind-config.yaml

images: cluster-parts ## the three images, without Docker or a registry, as OCI archives in the cache folder
	@$(BIN)/python -m tests.cluster.deployables

kubectl: environment ## kubectl on the cluster of cluster-up (ARGS="get pods --all-namespaces")
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m tests.cluster kubectl $(ARGS)

bench: environment ## speed, each figure beside the standard library's pool in the same run (half an hour; ARGS=--small: a minute)
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m bench.run_all $(ARGS)

bench-peers: environment ## the same measures on Parsl, Dask and Ray, each in a throw-away environment
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m bench.peers.run_all $(ARGS)

crds: environment ## crds/ and tables of the docs, from the code of the operator; tests fail when they differ
	@$(BIN)/python -m blockyard_operator.resources.crds crds
	@$(BIN)/python -m blockyard_operator.pages docs

dashboards: environment ## Grafana's dashboards in the chart, from tools/dashboards; a test fails when they differ
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m tools.dashboards charts/blockyard/files/dashboards

environment: ## .venv from pyproject.toml; at once when nothing changed
	@PYTHON=$(PYTHON) tools/environment

s3-environment: environment ## a second environment, for the tests of S3
	@tools/s3-environment

packages: ## the Debian packages that the tests use, when they are missing and this is root
	@tools/system-packages

clean: ## remove what make made
	rm -rf .venv .venv-s3 .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist results
