# One line a target. `make up` is all a new machine with Python 3.11 needs; ARGS go to the command.
PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
ARGS ?=
# Tests of a running city wait more than they compute: more workers than the two cores of a small machine.
WORKERS ?= 3

.PHONY: setup style types test sim bench load up
.ONESHELL:
.SILENT:

setup: $(VENV)/.installed-dev
style: $(VENV)/.installed-dev ; $(BIN)/ruff format --check . && $(BIN)/ruff check .
types: $(VENV)/.installed-dev ; $(BIN)/mypy
test: $(VENV)/.installed-dev ; $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup --no-loadscope-reorder $(ARGS)
sim: $(VENV)/.installed-dev ; $(BIN)/python -m pytest -q tests/simulation $(ARGS)
bench: $(VENV)/.installed-bench ; $(BIN)/python -m load.bench $(ARGS)
load: $(VENV)/.installed ; $(BIN)/synchronia load $(ARGS)
up: $(VENV)/.installed ; exec $(BIN)/synchronia up $(ARGS)

# Installed anew only when pyproject.toml changed: the stamps are as old as the last installation.
$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python ; echo "installing into $(VENV)" && $(PIP) --editable . && touch $@
$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python ; echo "installing into $(VENV), with what the tests need" && $(PIP) --editable '.[dev]' && touch $@ $(VENV)/.installed
$(VENV)/.installed-bench: pyproject.toml | $(VENV)/bin/python ; echo "installing into $(VENV), with the servers it is measured beside" && $(PIP) --editable '.[bench]' && touch $@ $(VENV)/.installed
$(VENV)/bin/python:
	test -n "$(PYTHON)" || { echo "Synchronia needs Python 3.11 or later; python3 here is: $$(python3 --version 2>&1)" >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
