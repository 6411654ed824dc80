# One command a job; the first one makes .venv and installs the project.
# PYTHON is the interpreter that .venv is made with, JOBS is how many tests run at a time.
PYTHON ?= python3
JOBS ?= 2

VENV := .venv
STAMP := $(VENV)/.installed
RUN := $(VENV)/bin/python
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo dashboard lint test test-slow test-all bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## only make .venv and install the project (every target below does so where needed)

demo: $(STAMP)  ## train three methods on the digits, judge them, show the leaderboard
	@$(RUN) scripts/demo.py

dashboard: $(STAMP)  ## open the leaderboard in a browser
	@$(VENV)/bin/temper dashboard

lint: $(STAMP)  ## ruff and mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

test: lint  ## lint, then the fast tests
	$(PYTEST) --durations=5
	@echo "Not run: slow tests, and those in a browser, which need chromium (make test-slow)."

test-slow: $(STAMP)  ## the slow tests and those that need chromium, without the fast ones
	$(PYTEST) -m 'slow or browser' --durations=5

test-all: test  ## all tests
	@$(MAKE) --no-print-directory test-slow

bench: $(STAMP)  ## the speed benchmarks, one at a time
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests/speed -m speed -s

clean:  ## remove caches and built packages; .venv, records and unfinished trials stay
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache
	find app.py bench methods scripts tests -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml
	@test -x $(VENV)/bin/pip || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Temper needs Python 3.11 or newer, and $(PYTHON) is" \
	        "$$($(PYTHON) --version 2>/dev/null | grep -m1 . || echo 'not there'): name another one, make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing Temper into $(VENV). PyTorch alone is several GB, so the first time takes some minutes."
	@$(VENV)/bin/pip install --quiet -e '.[dev]'
	@touch $@
