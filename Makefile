# Two commands matter: make quickstart and make test. Both set up .venv on their first run.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := plots,baselines,text,dev
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.14 python,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(p))))

.PHONY: setup quickstart test check docs metal gpu clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11, or can't be run"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) can't make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

quickstart: setup
	$(BIN)/melpa quickstart --out runs/quickstart

test: setup
	$(BIN)/pytest -q -n auto

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_levels.py

# The documentation as a site in build/site; a link that leads nowhere is an error.
docs: setup
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

metal: setup
	$(BIN)/pytest -v -m metal
	$(BIN)/melpa doctor

# On a machine with a CUDA card: torch as its own site says for that card, or what pip chooses.
gpu: setup
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[$(EXTRAS),torch]' torchopt
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("error: torch sees no CUDA card here. The same measurements, tiny and on the CPU: MELPA_REHEARSAL=1 $(BIN)/pytest -m gpu tests/gpu")'
	MELPA_DTYPE=float32 $(BIN)/pytest -v tests/torch
	$(BIN)/pytest -v -m gpu tests/gpu
	@cat runs/gpu/numbers.json

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
