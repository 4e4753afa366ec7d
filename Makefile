# Each target makes .venv and installs into it when pyproject.toml or constraints.txt changed.

PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check clean

help:
	@echo "make demo      train on real images, and write a report (about 8 minutes on 2 cores)"
	@echo "make test      the tests, without the slow ones"
	@echo "make test-all  the tests, with the slow ones"
	@echo "make check     style, types and the order of imports"
	@echo "make clean     remove .venv and the caches of the tools; runs/ stays"

demo: $(INSTALLED)
	$(BIN)/holotype demo

test: $(INSTALLED)
	$(BIN)/pytest

test-all: $(INSTALLED)
	$(BIN)/pytest -m ""

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Holotype needs Python 3.11 or newer, and '$(PYTHON)' is older"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[train,samples,dev]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
