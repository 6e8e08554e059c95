# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The C library would hand large blocks back to the system and fetch them again at every layer; kept, a
# training step is 1.3-1.7 times faster.
export MALLOC_MMAP_THRESHOLD_ = 4000000000
export MALLOC_TRIM_THRESHOLD_ = 8000000000

.PHONY: demo test test-all lint bench docs clean

demo: $(VENV)/.installed
	$(BIN)/reshim study first-look --out runs/first-look

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow" -n 2 -q

test-all: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/.installed-docs
	$(BIN)/python docs/build.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "reshim needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.lock torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.lock -e '.[fast,formats]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.lock -e '.[fast,features,formats,lint,segmentation,tensorboard,test]'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -c requirements.lock fastmri
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.lock -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) runs
