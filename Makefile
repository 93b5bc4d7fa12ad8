# `make demo` and `make test` set up everything themselves, in .venv, from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

CLIENTS := .venv-clients
OPENAI2 := .venv-clients-openai2

.PHONY: demo test fuzz soak clients lock-clients clean

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

# Client libraries of OpenAI's API, which the server is tried with, in the versions of the lock files.
# uv takes 3 s of processor time for what takes pip 80; where it does not reach the index, pip does it.
$(CLIENTS)/.installed: tests/clients/requirements.lock
$(OPENAI2)/.installed: tests/clients/requirements-openai2.lock
$(CLIENTS)/.installed $(OPENAI2)/.installed: $(CLIENTS)/bin/uv
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	lock=$(filter %.lock,$^); \
	$(CLIENTS)/bin/uv pip install --quiet --python $(@D)/bin/python --no-deps --requirement $$lock || \
	$(@D)/bin/python -m pip install --quiet --no-deps --no-compile --requirement $$lock
	touch $@

$(CLIENTS)/bin/uv:
	test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet uv==0.13.9

# the newest versions that the requirements allow
lock-clients: $(CLIENTS)/bin/uv
	for name in requirements requirements-openai2; do \
	$(CLIENTS)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade \
	tests/clients/$$name.txt --output-file tests/clients/$$name.lock || exit 1; done

build/clients/.installed: tests/clients/package.json
	mkdir -p $(@D)
	cp $< $(@D)
	if command -v npm >/dev/null; then cd $(@D) && npm install --silent --no-audit --no-fund; fi
	touch $@

clients: $(CLIENTS)/.installed $(OPENAI2)/.installed build/clients/.installed

test: $(VENV)/.installed-test clients
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -q --durations=10 --numprocesses 2 --dist loadfile

# requests that no client should send, on SQLite and PostgreSQL: CASES=1000 SEED=1 chooses others
CASES ?= 20000
SEED ?= 0
fuzz: $(VENV)/.installed-test
	PINXIT_FUZZ_CASES=$(CASES) PINXIT_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest -s tests/serve/test_fuzz.py

# kills, mutated files and hostile run folders by the thousand: an hour and more
soak: $(VENV)/.installed-test
	$(BIN)/python -m tests.faults.soak kills --count 300
	$(BIN)/python -m tests.faults.soak inputs --count 20000
	$(BIN)/python -m tests.faults.soak runs --count 2000

clean:
	rm -rf $(VENV) $(CLIENTS) $(OPENAI2) build
