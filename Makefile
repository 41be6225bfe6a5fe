# Everything a newcomer needs. `make` lists what there is; each command may be repeated at any time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo install studio test lint types clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*##\(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: install  ## install Reverie, fetch the default model, write a story, draw a picture, animate it, compose a jig
	@$(BIN)/reverie write "Write one paragraph: a story about a robot dog that finds a friend." --seed 1 </dev/null
	@$(BIN)/reverie draw "a red panda riding a skateboard" -o panda.png --seed 1 </dev/null
	@$(BIN)/reverie animate "a red panda riding a skateboard to the right" --init panda.png -o panda.mp4 --seed 1 </dev/null
	@$(BIN)/reverie compose "a lively Irish jig in D major" -o jig.wav -o jig.png --backing --seed 1 </dev/null
	@echo "That was $(BIN)/reverie write, draw, animate and compose. What else there is: $(BIN)/reverie --help" >&2

install: $(VENV)/.installed  ## install Reverie in .venv

studio: $(VENV)/.tests-installed  ## build the web page
	$(BIN)/python hatch_build.py

test: $(VENV)/.tests-installed lint types studio  ## install what tests need, check style and types, run all tests
	$(BIN)/python hatch_build.py check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2  # two tests at a time, each on a thread of its own

lint: $(VENV)/.tests-installed  ## check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.tests-installed  ## check types
	$(BIN)/mypy

clean:  ## remove everything that these commands made, except models
	rm -rf $(VENV) build dist studio/node_modules src/reverie/serve/studio src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Reverie needs Python 3.11 or newer, and $(PYTHON) is not: run make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	@echo "Making $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python cannot make a virtual environment: install its venv module (on Debian: apt install python3-venv)" >&2; \
	  exit 1; }

$(VENV)/.installed: $(BIN)/python $(INPUTS)
	@echo "Installing Reverie and what it needs (a few minutes the first time) ..." >&2
	@$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.tests-installed: $(BIN)/python $(INPUTS)
	@echo "Installing what the tests need ..." >&2
	@$(PIP) install -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.installed
