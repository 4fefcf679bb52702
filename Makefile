# The menu. `make demo` and `make test` do all the set-up they need on a fresh machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCK   := uv pip compile --quiet --generate-hashes --no-header --no-annotate --universal --python-version 3.11 pyproject.toml

.PHONY: help setup setup-test demo test test-long check format bench soak image hostile lock clean

help:
	@echo "make setup   install the service into $(VENV) (nps is then $(BIN)/nps)"
	@echo "make demo    install, fill a labelled synthetic data set, serve it; prints address, sign-ins and keys"
	@echo "make test    install what the tests need (Debian's Chromium too) and run every check and test"
	@echo "make test-long  the few tests that take longest and are left out of make test"
	@echo "make check   the fast checks only: format, lint, types, import directions"
	@echo "make bench   print speed and memory as ratios, side by side in one run"
	@echo "make soak    the faults on both databases; then kill every process at random moments, KILLS=200 times on each database, or for MINUTES; counts what was lost"
	@echo "make image   run the steps of the Dockerfile in an empty folder without a container engine, and start what they leave"
	@echo "make hostile send 10,000 generated inputs to a server of its own and time another client meanwhile"
	@echo "make lock    renew the locked dependencies (needs uv)"

setup: $(VENV)/.installed
setup-test: $(VENV)/.installed-test

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python requirements/base.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/base.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements/test.txt requirements/reference-sets.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/reference-sets.txt
	touch $@

demo: setup
	$(BIN)/nps demo

test: setup-test
	tests/tools/ensure-chromium
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long"

test-long: setup-test
	tests/tools/ensure-chromium
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m long

check: setup-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BIN)/python -m tests.bench

soak: setup-test
	NPS_EVERY_DATABASE=1 $(BIN)/python -m pytest -n 2 tests/faults tests/app/notifications/test_faults.py tests/app/notifications/test_email.py
	$(BIN)/python -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(KILLS),--kills $(KILLS))

image: setup-test
	$(BIN)/python -m tests.image

hostile: setup-test
	$(BIN)/python -m tests.hostile

lock:
	$(LOCK) --no-strip-extras -o requirements/base.txt
	$(LOCK) --extra test -o requirements/test.txt
	$(LOCK) --extra test --extra bench -o requirements/bench.txt

clean:
	rm -rf $(VENV) build *.egg-info
