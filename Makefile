# Each target makes .venv and installs into it when pyproject.toml or constraints.txt changed.

PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed

# Tests run in JOBS processes of one thread each: threads of several processes on the same cores
# slow each other down by far more than they share. Python keeps what it compiled, whatever the
# environment says: the tests start some hundred processes.
JOBS ?= 2
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-docs test-ci test-all test-install coverage check format docs notebooks clean

help:
	@echo "make demo          train on real images, and write a report (about 8 minutes on 2 cores)"
	@echo "make test          the tests, without the slow ones; JOBS=8 for more processes than two"
	@echo "make test-docs     every page, notebook and link of the documentation"
	@echo "make test-ci       both of these, as before a merge"
	@echo "make test-all      the tests, with the slow ones"
	@echo "make test-install  what pip makes of the package: extras, floors, an environment with the base"
	@echo "make coverage      the tests, and which lines they run"
	@echo "make check         style, types and the order of imports"
	@echo "make format        what of the style can be put right by itself"
	@echo "make docs          the documentation as HTML, in docs/_build"
	@echo "make notebooks     the notebooks as .ipynb, in notebooks/_build"
	@echo "make clean         remove .venv and what the tools wrote; runs/ stays"

demo: $(INSTALLED)
	$(BIN)/holotype demo

test: $(INSTALLED)
	$(PYTEST)

test-docs: $(INSTALLED)
	$(PYTEST) -m "" tests/documentation

test-ci: $(INSTALLED)
	$(PYTEST) -m "not slow or documentation"

test-all: $(INSTALLED)
	$(PYTEST) -m ""

test-install: $(INSTALLED)
	$(BIN)/pytest -m slow tests/test_install.py

coverage: $(INSTALLED)
	$(PYTEST) --cov --cov-report=term:skip-covered

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(INSTALLED)
	$(BIN)/sphinx-build -q -W -n -b html docs docs/_build

notebooks: $(INSTALLED)
	mkdir -p notebooks/_build
	for file in notebooks/*.py; do \
		$(BIN)/jupytext --quiet --to ipynb --output notebooks/_build/$$(basename $$file .py).ipynb $$file || exit 1; \
	done

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Holotype needs Python 3.11 or newer, and '$(PYTHON)' is older"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[train,cluster,explain,export,heic,registry,samples,search,serve,tracking,dev,docs]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf docs/_build notebooks/_build .coverage dist
