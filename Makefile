# Every target works from a bare clone: `setup` makes .venv and installs everything into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt $(shell find native -name '*.cpp' -o -name '*.h')
BUILD_TOOLS := nanobind scikit-build-core cmake ninja
# pip's own build of the project must find the venv's cmake and ninja.
PIP := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -q -n 2

.PHONY: setup demo test test-all check bench clean sanitize fuzz debian debian-all

setup: $(VENV)/.stamp debian

# torch goes first: whatever else asks for it would bring the much larger CUDA build.
$(VENV)/.dependencies: constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt torch==2.13.0
	$(PIP) install -q -c constraints.txt $(BUILD_TOOLS)
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[train,bench,dev]'
	touch $@

$(VENV)/.stamp: $(VENV)/.dependencies $(NATIVE)
	$(PIP) install -q --no-build-isolation --no-deps -e .
	touch $@

debian:
	@bash scripts/debian.sh data

debian-all:
	@bash scripts/debian.sh all

demo: setup
	$(BIN)/lowbit demo

test: setup
	$(PYTEST) -m "not slow"

test-all: setup debian-all
	$(PYTEST)
	bash scripts/sanitize.sh
	bash scripts/fuzz.sh 60

check: $(VENV)/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find native -name '*.cpp' -o -name '*.h' | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/python scripts/check_sizes.py

bench: $(VENV)/.stamp
	$(BIN)/lowbit bench --layers

sanitize: $(VENV)/.stamp
	bash scripts/sanitize.sh

fuzz: $(VENV)/.stamp
	bash scripts/fuzz.sh 600

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
