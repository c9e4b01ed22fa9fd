PYTHON ?= python3
BIN := .venv/bin
# A worker for each core; one that has no more to do takes tests from another.
PYTEST := $(BIN)/pytest -n auto --dist worksteal

.PHONY: run test quick check mutations verdicts bench pictures clean

run: .venv/run
	$(BIN)/python app.py $(ARGS)

# `make test ARGS=tests/test_database.py` runs what ARGS tells pytest to run.
test: .venv/test
	$(PYTEST) $(or $(ARGS),--cov)

# Without a browser.
quick: .venv/test
	$(PYTEST) --ignore tests/test_browser.py $(ARGS)

check: .venv/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(MAKE) test ARGS=
	$(BIN)/coverage report --fail-under=100

# The tests of the recipes can fail: patches that they have to find.
mutations: .venv/test
	$(BIN)/python -m tests.mutations

# The FAQ's claims, on seven releases of aiohttp.
verdicts: .venv/test
	$(BIN)/python -m verdicts

bench: .venv/bench
	$(BIN)/python benchmarks/pages.py

# Those of the README.
pictures: .venv/test
	$(BIN)/pytest tests/test_browser.py -k picture --pictures docs

clean:
	rm -rf .venv .verdicts

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

# A stamp each, so that a second `make` neither installs nor asks a network.
.venv/run: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/bench: .venv/run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

.venv/test: .venv/run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@
