# Needs make and Python 3.11 or newer; everything else goes into .venv.

# The first interpreter on the path that is new enough and can make a virtual environment.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup demo test lint bench calibrate recalibrate clean

setup: .venv/.dev

demo: .venv/.run
	mkdir -p demo
	$(BIN)/assay compare --scenario examples/demo.toml --out demo/report.html

test: .venv/.dev
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# make bench ONLY='kernel memory' runs some sections.
bench: .venv/.run
	$(BIN)/python benchmarks/run.py $(ONLY)

# Derives every fitted constant and band again from the shipped table of published runs. With a thread for each core its matrices take a
# third longer than with one: they are small, and other processes have the cores.
calibrate recalibrate: export OPENBLAS_NUM_THREADS = 1
calibrate: .venv/.run
	$(BIN)/python docs/make_calibration.py
	$(BIN)/python docs/make_tables.py

# The same from the constants that ship, in half the time.
recalibrate: .venv/.run
	$(BIN)/python docs/make_calibration.py --onwards
	$(BIN)/python docs/make_tables.py

clean:
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv found: install one, or run make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	touch $@

.venv/.dev: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[dev]'
	touch $@ .venv/.run
