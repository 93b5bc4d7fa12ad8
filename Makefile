# `make demo` and `make test` set up everything themselves, in .venv, from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := build/demo

CLIENTS := .venv-clients
PIP := $(BIN)/python -m pip --disable-pip-version-check
OPENAI2 := .venv-clients-openai2

.PHONY: demo docs dist figures test test-fast test-long mutants fuzz soak clients lock lock-clients clean onnxruntime-web

# The versions and hashes of all packages are in the lock files. Torch is not: its build depends on
# the machine and the index (CPU, CUDA), so constraints.txt has its version only.
$(VENV)/.installed: pyproject.toml constraints.txt requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(PIP) install --quiet --constraint constraints.txt torch
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.lock
	$(PIP) install --quiet --no-deps --require-hashes --requirement requirements-test.lock
	$(PIP) check
	touch $@

# The newest versions that pyproject.toml allows; `uv` resolves for all versions of Python at once.
# The packages in requirements.in are those that torch and the build of pinxit need.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-annotate --no-header --excludes build/excludes.txt requirements.in pyproject.toml
lock: $(VENV)/.installed
	$(PIP) install --quiet uv
	mkdir -p build
	echo torch >build/excludes.txt
	$(LOCK) --extra test --output-file requirements-test.lock
	$(LOCK) --constraint requirements-test.lock --output-file requirements.lock

# a VAE on handwritten digits: samples and a report
demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/pinxit train vae digits --minutes 0.4 --out $(DEMO)
	$(BIN)/pinxit sample $(DEMO) -n 64

# the documentation, in build/site; it needs no network access once the packages are installed
docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# screenshots and figures of small runs in docs/images, and the numbers of docs/lecture.md; it needs
# Chromium, and a quarter of an hour
figures: $(VENV)/.installed-test
	$(BIN)/python docs/make_figures.py build/figures

# Wheel and sdist in dist/, whose README has absolute links: make dist URL=https://HOST/OWNER/pinxit
dist: $(VENV)/.installed-test
	@test -n "$(URL)" || { echo "make dist URL=https://HOST/OWNER/pinxit: the repository that the README's links lead to" >&2; exit 2; }
	rm -rf dist
	PINXIT_URL=$(URL) $(BIN)/python -m hatchling build
	$(BIN)/twine check --strict dist/*

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

# the runtime that a page of `pinxit report --live` holds
ONNXRUNTIME_WEB ?= 1.30.0
RUNTIME := src/pinxit/reports/runtime
onnxruntime-web:
	mkdir -p build/onnxruntime-web
	cd build/onnxruntime-web && npm pack --silent onnxruntime-web@$(ONNXRUNTIME_WEB) && tar xzf onnxruntime-web-$(ONNXRUNTIME_WEB).tgz
	for name in ort.wasm.bundle.min.mjs ort-wasm-simd-threaded.wasm; do \
	gzip -9nc build/onnxruntime-web/package/dist/$$name >$(RUNTIME)/$$name.gz || exit 1; done

# Types are checked beside the tests, and three processes share two cores: a quarter of the time of a test is waiting.
test: $(VENV)/.installed-test clients
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p build
	$(BIN)/pyright >build/pyright.txt & types=$$!; \
	$(BIN)/python -m pytest -q -m "not long" --randomly-seed 1 --durations=25 --numprocesses 3 --dist loadfile; \
	tests=$$?; wait $$types || tests=1; cat build/pyright.txt; exit $$tests

# the tests that take less than a second or so each
test-fast: $(VENV)/.installed-test
	$(BIN)/python -m pytest -q -m "not slow and not long" --numprocesses 2 --dist loadfile

# the tests that take half a minute and more each
test-long: $(VENV)/.installed-test clients
	$(BIN)/python -m pytest -q -m long

# The share of small bugs that no test notices: in the files that differ from main, or
# `make mutants MUTANTS="--all --sample 100 --minutes 60 --seed 1"`, or `MUTANTS=src/pinxit/x.py`
mutants: $(VENV)/.installed-test
	$(BIN)/python -m tests.mutants $(MUTANTS)

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
