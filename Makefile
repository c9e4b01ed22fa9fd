PYTHON ?= python3
BIN := .venv/bin
# Workers: see tests/conftest.py. One that has no more to do takes tests from
# another.
PYTEST := $(BIN)/pytest -n auto --dist worksteal

# What runs the jobs of a cluster.
JOBS := recipes/production/after_response.py

# The tests start hundreds of processes: each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run cluster test quick check check-full check-cluster mutations verdicts bench bench-house attack site transcripts readme pictures clean
.PHONY: types covered same-python

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

run: .venv/run  ## serve all recipes; ARGS=--help lists the options
	$(BIN)/python app.py $(ARGS)

cluster: .venv/engines  ## serve them by nginx, gunicorn, Valkey, PostgreSQL
	$(BIN)/python -m cookbook.cluster --jobs $(JOBS) $(ARGS)

test: .venv/test .venv/bench  ## prove them; ARGS=tests/test_database.py runs a part
	$(PYTEST) $(or $(ARGS),--cov)

quick: .venv/test  ## prove them without a browser and what is slow
	$(PYTEST) --ignore tests/test_browser.py -m "not slow and not full" $(ARGS)

check: .venv/test .venv/bench  ## what has to pass: lint, types, tests, coverage
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(MAKE) --jobs 2 types covered
	$(BIN)/coverage report --fail-under=100

# Beside each other: tests wait a part of their time.
types:
	$(BIN)/mypy

covered:
	$(PYTEST) -m "not full" --cov --cov-report=

check-full: .venv/test .venv/bench  ## what repeats the proof elsewhere, and takes long
	$(PYTEST) -m full $(ARGS)

check-cluster: .venv/test  ## the part of check-full that asks a cluster
	$(PYTEST) -m full -k "test_cluster or behind_nginx" $(ARGS)

mutations: .venv/test  ## break the recipes: the tests have to find it
	$(BIN)/python -m tests.mutations

verdicts: .venv/test  ## measure the FAQ's claims on seven releases of aiohttp
	$(BIN)/python -m verdicts
	$(BIN)/python -m verdicts.messages

bench: .venv/bench  ## measure the recipes beside their peers; RECIPE=... one
	$(BIN)/python -m benchmarks.recipes $(RECIPE) $(ARGS)
	$(BIN)/python -m benchmarks.pictures

bench-house: .venv/bench  ## measure what the house and the pages cost
	$(BIN)/python -m benchmarks.house
	$(BIN)/python -m benchmarks.pages
	$(BIN)/python -m benchmarks.growth

attack: .venv/test .venv/bench  ## break what is promised; ARGS=NAME for one
	$(BIN)/python -m benchmarks.attacks $(ARGS)

site: .venv/site  ## write the public edition to site/; ARGS=--base=ADDRESS
	rm -rf site
	$(BIN)/python -m edition build site $(ARGS)

transcripts: .venv/site  ## record what the public edition shows
	$(BIN)/python -m edition record

readme: .venv/test  ## write the table of the README
	$(BIN)/python -m tests.readme

pictures: .venv/test  ## take the pictures of the README
	$(BIN)/pytest tests/test_browser.py -k picture --pictures docs

clean:  ## remove what was installed
	rm -rf .venv .verdicts

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	    echo "No .venv was made. On Debian: apt install python3-venv"; exit 1; }

# What `make PYTHON=...` names has no effect on a .venv that is there.
same-python: .venv/bin/python
ifneq ($(origin PYTHON),file)
	@show='import sys; print(sys.version)'; \
	test "$$($(PYTHON) -c "$$show")" = "$$($(BIN)/python -c "$$show")" || \
	    { echo "The .venv is of another Python than $(PYTHON): make clean"; exit 1; }
endif

# A stamp each, so that a second `make` neither installs nor asks a network.
.venv/run: .venv/bin/python pyproject.toml constraints.txt | same-python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[fast]'
	@touch $@

.venv/bench: .venv/run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

.venv/engines: .venv/run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[engines]'
	@touch $@

.venv/site: .venv/run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[site]'
	@touch $@

.venv/test: .venv/run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@
