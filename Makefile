# What a person types. Every target sets up what it needs; nothing needs root, docker or an account.
# Bytecode is kept (an environment that forbids it doubles every start), and compiled once by `make setup`.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help setup demo test browser bench wrk audit check generate up down status lock clean

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed
TOOLS := .venv-tools/.installed
# What `make check` compares the contracts with (a git revision), and the folder it writes its reports to.
AGAINST ?=
REPORTS ?=
reports = $(if $(REPORTS),--sarif $(REPORTS)/$(1).sarif --junit $(REPORTS)/$(1).xml)

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## venv and locked install

$(STAMP): requirements/lock.txt requirements/uv.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python requirements/lock.txt
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	touch $(STAMP)

$(TOOLS): requirements/tools.txt | $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-tools
	$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode --python .venv-tools/bin/python requirements/tools.txt
	touch $(TOOLS)

demo: setup ## the whole loop on real data; stays up until Ctrl-C (ONCE=1 ends by itself)
	$(BIN)/nextbest demo $(if $(ONCE),--once)

test: setup browser ## every test, in two processes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# One test looks at the Dagster UI. Only here is root of any use; elsewhere install Chromium as you install programs.
browser: ## Chromium for the test that needs it, on Debian as root
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	  else echo "install Chromium: tests/test_data_engineer.py looks at the Dagster UI with it" >&2; fi

wrk: ## the load generator of the benchmarks, on Debian as root
	@command -v wrk >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk >/dev/null; \
	  else echo "install wrk: benchmarks/decisions.py asks with it" >&2; fi

bench: setup wrk $(TOOLS) ## every benchmark, side by side with peers and limits
	for script in benchmarks/*.py; do $(BIN)/python -P $$script || exit 1; done

audit: setup $(TOOLS) ## known vulnerabilities of everything that is locked; asks PyPI
	.venv-tools/bin/pip-audit --disable-pip --require-hashes -r requirements/lock.txt
	.venv-tools/bin/pip-audit --disable-pip --require-hashes -r requirements/tools.txt

check: setup $(TOOLS) ## lint, types, imports, SQL, generated files, contracts (AGAINST=REF: and what changed), policy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd feature_repo && MYPYPATH=. ../$(BIN)/mypy --config-file ../pyproject.toml *.py
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models dbt_project/tests
	$(BIN)/dbt parse --quiet --project-dir dbt_project --profiles-dir dbt_project
	$(BIN)/nextbest contracts generate --check
	$(if $(REPORTS),mkdir -p $(REPORTS))
	$(BIN)/nextbest contracts check $(if $(AGAINST),--against $(AGAINST)) $(call reports,contracts)
	$(BIN)/nextbest policy schema --check
	$(BIN)/nextbest policy check $(call reports,policy)
	printf '%s\0' data_contracts/*.odcs.yaml | xargs -0 -n 1 -P 2 .venv-tools/bin/datacontract lint

generate: setup ## what is made from data_contracts/ (dbt's YAML, docs/contracts/) and from the policy's model (policies/schema/)
	$(BIN)/nextbest contracts generate
	$(BIN)/nextbest policy schema

up down status: setup ## the servers: start, stop, show
	$(BIN)/nextbest $@

lock: ## resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
	  --group dev pyproject.toml -o requirements/lock.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade \
	  --group pyproject.toml:tools -o requirements/tools.txt
	awk '/^[^ ]/{keep = /^uv==/} keep' requirements/lock.txt > requirements/uv.txt

clean: ## remove what was built; your data in .nextbest/ stays
	rm -rf .venv .venv-tools .mypy_cache .ruff_cache .pytest_cache .hypothesis dbt_project/target
