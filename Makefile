# `make demo` and `make test` set up everything themselves, in .venv, from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

CLIENTS := .venv-clients

.PHONY: demo test soak clients lint clean

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

# client libraries of OpenAI's API, which the server is tried with
$(CLIENTS)/.installed: tests/clients/requirements.txt
	test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --requirement $<
	touch $@

build/clients/.installed: tests/clients/package.json
	mkdir -p $(@D)
	cp $< $(@D)
	if command -v npm >/dev/null; then cd $(@D) && npm install --silent --no-audit --no-fund; fi
	touch $@

clients: $(CLIENTS)/.installed build/clients/.installed

test: $(VENV)/.installed-test clients
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q --durations=10 --numprocesses 2 --dist loadfile

# kills, mutated files and hostile run folders by the thousand: an hour and more
soak: $(VENV)/.installed-test
	$(BIN)/python -m tests.faults.soak kills --count 300
	$(BIN)/python -m tests.faults.soak inputs --count 20000
	$(BIN)/python -m tests.faults.soak runs --count 2000

clean:
	rm -rf $(VENV) $(CLIENTS) build
