# Two commands need nothing but Python >= 3.10 (with venv), git and make:  make demo   and   make test
# Everything is written inside the checkout, except for pip's cache and temporary directories.

PYTHON ?= python3
PREFIX ?= /usr/local
DESTDIR ?=
ARGS ?=
T ?=
PYTEST_ARGS ?=

SHELL := /bin/bash
# hundreds of processes start in the tests: none of them should compile our modules anew
unexport PYTHONDONTWRITEBYTECODE
# scripts in .venv/bin are never called by name: their first line breaks on a path with a space
PY := .venv/bin/python
# -qq: errors only, not what pip thinks of the machine
PIP := -m pip --disable-pip-version-check -qq
STAMP := .venv/.installed
PROGRAMS := .venv/debian
# of `make t`: kept from run to run, until `make clean`
TEST_SERVER := $(CURDIR)/.venv/testserver
# twice as many as there are cores, from 3 to 6: they wait often, and start servers and workers of their own
JOBS := $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 2 ? 3 : n > 3 ? 6 : n * 2)))

.DEFAULT_GOAL := help
.PHONY: help demo run t test test-odoo lint style format bench bench-full bench-odoo chaos reloads verify-fresh dist man schema-dump install install-files clean FORCE

help:
	@echo 'make demo            the main job on a sample application, with its own PostgreSQL (ARGS=...)'
	@echo 'make test            everything: install, lint, types, tests (PYTEST_ARGS=...)'
	@echo 'make t T=PATHS        these tests alone, without lint, on a server that is kept for the next time'
	@echo 'make test-odoo       what runs beside a real Odoo: ODOO_PATH=its tree ODOO_PYTHON=an interpreter with its addon'
	@echo 'make run             the supervisor, on its own PostgreSQL unless ARGS name another'
	@echo 'make lint            ruff and mypy --strict; make format rewrites the files'
	@echo 'make bench           drain, latency, recovery, limits, memory, in four minutes; make bench-full takes longer'
	@echo 'make chaos           everything dies at random for CHAOS_SECONDS (300); CHAOS_SEED repeats a run'
	@echo 'make reloads         descriptors over RELOADS (100) reloads under load'
	@echo 'make verify-fresh    clones HEAD; runs demo and test twice, as root and as another user'
	@echo 'make dist            sdist and wheel in dist/'
	@echo 'make install         the service, in an environment of its own under PREFIX ($(PREFIX))'
	@echo 'make man             docs/queuemaster.1, from the help of the commands'
	@echo 'make schema-dump     tests/data, the schema of this version'
	@echo 'make clean           removes what was made here, .venv too'

demo: $(STAMP)
	@$(PY) -m queuemaster demo $(ARGS)

run: $(STAMP)
	@$(PY) -m queuemaster run $(ARGS)

# mypy runs beside the tests, which wait often; what it finds is said at the end
test: style $(PROGRAMS)
	@$(PY) -m mypy --no-error-summary > .venv/mypy.log 2>&1 & types=$$!; \
	$(PY) -m pytest -q -n $(JOBS) $(PYTEST_ARGS); tests=$$?; \
	wait $$types || { cat .venv/mypy.log >&2; exit 1; }; exit $$tests

t: $(STAMP)
	@test -n "$(T)" || { echo 'Which tests? For instance: make t T=tests/unit/channels' >&2; exit 2; }
	@QUEUEMASTER_TEST_SERVER="$(TEST_SERVER)" $(PY) -m pytest -q $(T) $(PYTEST_ARGS)

# ODOO_PYTHON has Odoo's requirements and the addon: pip install odoo-addon-queue-job
test-odoo: $(STAMP)
	@test -d "$$ODOO_PATH" || { echo "make test-odoo ODOO_PATH=/path/to/odoo ODOO_PYTHON=/path/to/its/python" >&2; exit 1; }
	@$(PY) -m pytest -q tests/odoo $(PYTEST_ARGS)

lint: style
	@$(PY) -m mypy --no-error-summary

style: $(STAMP)
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check . || { echo "These files are not formatted: run 'make format'." >&2; exit 1; }

format: $(STAMP)
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format --quiet .

bench: $(STAMP)
	@$(PY) -m bench.drain --jobs 300
	@$(PY) -m bench.latency --samples 100
	@$(PY) -m bench.recovery --kills 5
	@$(PY) -m bench.exporter --rows 100000 --rounds 1 --window 0.3
	@$(PY) -m bench.limits --jobs 3
	@$(PY) -m bench.memory

bench-full: $(STAMP)
	@$(PY) -m bench.drain --jobs 5000 --rounds 5
	@$(PY) -m bench.latency --samples 1000
	@$(PY) -m bench.recovery --kills 50
	@$(PY) -m bench.exporter --rounds 6
	@$(PY) -m bench.limits --jobs 20
	@$(PY) -m bench.enqueue
	@$(PY) -m bench.memory

bench-odoo: $(STAMP)
	@PYTHONPATH=tests:tests/apps $(PY) -m bench.beside_odoo $(ARGS)

# CHAOS_SEED repeats a run's dice
chaos: export CHAOS_SECONDS ?= 300
chaos: $(STAMP)
	@$(PY) -m pytest -q -s tests/faults/test_chaos.py

reloads: export RELOADS ?= 100
reloads: $(STAMP)
	@$(PY) -m pytest -q -s tests/faults/test_reload.py -k descriptors

verify-fresh:
	@tests/verify_fresh.sh

dist: $(STAMP)
	@rm -rf build dist
	@$(PY) -m build --outdir dist . > .venv/build.log 2>&1 || { cat .venv/build.log >&2; exit 1; }
	@ls dist

# the page of the manual, from the help of the commands
man: $(STAMP)
	@$(PY) docs/manpage.py > docs/queuemaster.1

# a release's stays: the tests upgrade it from then on
schema-dump: $(STAMP)
	@$(PY) tests/dump_schema.py

install:
	$(check_python)
	@etc/install.sh program
	@etc/install.sh files

# the same without the program: cheap to look at, with DESTDIR
install-files:
	@etc/install.sh files

install install-files: export PREFIX := $(PREFIX)
install install-files: export DESTDIR := $(DESTDIR)
install install-files: export PYTHON := $(PYTHON)
# below /usr it is a service of the system; elsewhere somebody's own, with all that belongs to it
BELOW := $(if $(filter /usr /usr/%,$(PREFIX)),,$(PREFIX))
install install-files: export SYSCONFDIR ?= $(BELOW)/etc
install install-files: export LOCALSTATEDIR ?= $(BELOW)/var
install install-files: export RUNSTATEDIR ?= $(BELOW)/run
install install-files: export SERVICE_USER ?= $(if $(BELOW),,queuemaster)

clean:
	@! test -d "$(TEST_SERVER)" || PYTHONPATH=tests:supervisor:workers $(PY) -m support.testserver stop "$(TEST_SERVER)"
	@rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find . -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the checkout's path: a copied or moved checkout must not run the first one's code.
# Otherwise the environment is brought up to date in place: somebody may be running from it.
ifneq ($(file < $(STAMP)),$(CURDIR))
CLEAR := --clear
$(STAMP): FORCE
endif
$(STAMP): setup.cfg
	$(check_python)
	@echo "Installing into .venv (Python $$("$(PYTHON)" -c 'import platform; print(platform.python_version())'))"
	@"$(PYTHON)" -m venv $(CLEAR) .venv
	@$(PY) $(PIP) install --editable '.[service,test]'
	@printf '%s\n' "$(CURDIR)" > $@

$(PROGRAMS): | $(STAMP)
	@mkdir -p $@
	@tests/fetch_programs.sh $@

FORCE:

# As root the one Debian package that may be missing is installed; others are told what to do.
define check_python
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "Python 3.10 or newer is needed, '$(PYTHON)' is not: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    echo "Installing Debian's python3-venv"; \
	    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv; } > /dev/null; \
	  fi; \
	  "$(PYTHON)" -c 'import ensurepip, venv' || { \
	    echo "'$(PYTHON)' has no venv: install python3-venv (Debian), or make PYTHON=/path/to/python3 ..." >&2; \
	    exit 1; }; }
endef
