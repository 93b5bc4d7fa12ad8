# `make demo` and `make test` set up everything themselves, in .venv, from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

.PHONY: demo test lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

# a VAE on handwritten digits: samples and a report
demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/pinxit train vae digits --minutes 0.4 --out $(DEMO)
	$(BIN)/pinxit sample $(DEMO) -n 64

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q --durations=10

clean:
	rm -rf $(VENV) build
