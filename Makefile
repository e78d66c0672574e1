# make help lists the targets. Everything a target needs it installs itself (tools/bootstrap).
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help bootstrap lint test chaos chaos-mutations demo demo-down bench locks

export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/uv/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

# MOLECULE=0 leaves the lab hosts out of `make test`
MOLECULE ?= 1
PYTEST ?= python -m pytest -q --numprocesses 2 --dist loadgroup
PYTHON_DIRS := $(wildcard src tests lab tools bench chaos plugins)
SHELL_SCRIPTS = $$(grep -rIlE '^\#!.*[ /](ba)?sh$$' .ci $(wildcard tools lab roles))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap: ## install Debian packages and .venv (quick when nothing is missing)
	@tools/bootstrap

lint: bootstrap ## check style, types, sizes, spelling, YAML, roles and shell
	ruff check $(PYTHON_DIRS) molecule
	ruff format --check $(PYTHON_DIRS) molecule
	mypy $(PYTHON_DIRS)
	python tools/check_file_size.py
	python tools/settings_doc.py --check
	codespell
	yamllint --strict .
	$(if $(wildcard site.yml),ansible-lint --offline --strict -q)
	shellcheck -x $(SHELL_SCRIPTS)

test: bootstrap ## run all tests: unit, integration, acceptance, deploy, and then molecule
	@$(MAKE) --no-print-directory --jobs 1 pytest $(if $(filter 1,$(MOLECULE)),molecule)

.PHONY: pytest molecule
pytest:
	$(PYTEST) --durations 25 tests

molecule: # its tasks fill hundreds of lines: shown when it fails
	@mkdir -p build
	@echo "molecule test: its output goes to build/molecule-{default,sources}.log"
	@for scenario in default sources; do \
	  log=build/molecule-$$scenario.log; \
	  molecule test --scenario-name $$scenario >$$log 2>&1 || { cat $$log; exit 1; }; \
	  sed -nE '/ok=|passed|Executed/p' $$log; \
	done

chaos: bootstrap ## break everything at random (CHAOS_FAULTS=200, CHAOS_SEED, CHAOS_SOURCE) and check the books: one JSON line
	@python -m chaos

chaos-mutations: bootstrap ## the same on five broken versions of the product: each must be caught, and nothing without them
	@python -m chaos --mutations

demo: bootstrap ## boot a lab host, deploy onto it, ingest a corpus, ask it a question, leave it running
	@tools/demo/up

demo-down: bootstrap ## remove what make demo left running
	@tools/demo/down

bench: bootstrap ## measure; prints one JSON line a bench (python -m bench --check also fails on a missed limit)
	@python -m bench

locks: bootstrap ## resolve the dependencies again and write locks/*.lock
	.tools/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --all-extras pyproject.toml -o locks/runtime.lock
	.tools/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --all-extras --group lint --group test pyproject.toml -o locks/dev.lock
	for name in $(basename $(notdir $(wildcard bench/peers/*.in))); do \
	  .tools/uv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    bench/peers/$$name.in -o bench/peers/$$name.lock; done
