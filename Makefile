# Two commands: `make demo` and `make test`. Everything else is what they are made of.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# TORCH=cpu takes the build without CUDA (0.7 GB on disk instead of 5.5 GB).
TORCH  ?=
INDEX  := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu,)

.PHONY: demo test check format clean

demo: $(VENV)/installed
	$(BIN)/equipoise train digits --seconds 240

# Small nets are fastest with one thread a process and two processes.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(INDEX) -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet $(INDEX) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
