# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test gate lint benchmark clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --editable . --group lint
	touch $@

demo: $(VENV)/.ready
	$(BIN)/raftswarm demo

test: $(VENV)/.ready
	$(BIN)/pytest -n 2

# A slice of the gate (docs/testing.md): about two CPU minutes.
gate: $(VENV)/.ready
	$(BIN)/raftswarm lab run --random --seeds 100 --seconds 60 --keep $(VENV)

lint: $(VENV)/.ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/basedpyright
	$(BIN)/lint-imports

benchmark: $(VENV)/.ready
	$(BIN)/python benchmarks/commits.py

clean:
	rm -rf $(VENV)
