# Everything that one does here, by its usual name. Each target installs into .venv/ what it needs.
# `make demo ARGS='--once --json'` passes arguments on; so do `test`, `proofs` and `bench`.

SHELL := /bin/bash
BIN := .venv/bin
ARGS ?=

# Tests and demo start hundreds of Pythons; without bytecode each compiles all of the source anew.
unexport PYTHONDONTWRITEBYTECODE

# The newest supported Python that runs and can make virtual environments (a shim may exist and yet fail).
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

# Two processes of tests for each core, since half of what they do is to wait for a service, a browser or a clock. Whoever has
# finished takes from the others; ARGS='-n 0' runs one after the other.
PARALLEL := --numprocesses $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN)))) --dist worksteal

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --no-input
INSTALL := $(PIP) install --require-hashes -r

.PHONY: help demo install test check lint types format proofs seeds simulate mutants chaos alerts blocks walks bench figures screenshots docs docs-serve diagrams browser audit sbom lock monitoring upgrade-dump clean

help:
	@echo "make demo          take payments: PostgreSQL, gateway, merchant, a shop and a dozen shoppers (ARGS='--help' tells more)"
	@echo "make install       what a running Tallystick needs, into .venv/, and nothing else"
	@echo "make test          every test but the long ones"
	@echo "make check         lint, types and tests: what has to pass before a change lands"
	@echo "make proofs        the long tests, bounded in time"
	@echo "make seeds         2,000 short seeds of the simulation and five long ones (make proofs runs 250 short ones)"
	@echo "make simulate      200 long seeds under virtual time: three days, 20 merchants, 500 orders each"
	@echo "make mutants       plant some eighty bugs, one at a time: the simulation or a test must notice each"
	@echo "make chaos         five minutes of kill -9 and a bad network, then the audit"
	@echo "make alerts        five faults in the sandbox: Prometheus and the services tell each, alone, within a minute"
	@echo "make blocks        run every code block of the documentation, minutes against one demo: whoever changes a page does"
	@echo "make walks         do what the pages have an operator do on bad days, with payments going on: restore, rotate, outages"
	@echo "make bench         measure, beside the same job written in other ways"
	@echo "make figures       every benchmark after the other, with its controls, as the table of the README"
	@echo "make screenshots   take the pictures of the console in docs/images again"
	@echo "make docs          build the documentation as a site, build/site (make docs-serve: and show it)"
	@echo "make audit         look for known weaknesses in what a running Tallystick is made of"
	@echo "make sbom          write build/sbom.json: what a Tallystick is made of (CycloneDX)"
	@echo "make monitoring    write the rules of Prometheus and the dashboards of Grafana from their tables"
	@echo "make format        let ruff sort imports and lay out the code"
	@echo "make lock          pin anew what requirements/*.in ask for (UPGRADE=--upgrade takes the newest)"

demo: .venv/.runtime
	@$(BIN)/tallystick demo $(ARGS)

install: .venv/.runtime

test: .venv/.dev browser
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: lint types test

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

proofs: .venv/.dev .venv/.docs browser
	$(BIN)/python -m pytest -m "proof and not alone" $(PARALLEL) $(ARGS)
	$(BIN)/python -m pytest -m "proof and alone" $(ARGS)

seeds: .venv/.dev
	TALLYSTICK_PROOF_SEEDS=$${TALLYSTICK_PROOF_SEEDS:-2000} TALLYSTICK_PROOF_LONG_SEEDS=$${TALLYSTICK_PROOF_LONG_SEEDS:-5} \
		$(BIN)/python -m pytest -m proof tests/simulation $(ARGS)

simulate: .venv/.runtime
	$(BIN)/tallystick simulate --long --seeds 200 $(ARGS)

mutants: .venv/.dev
	$(BIN)/python scripts/mutants.py $(ARGS)

chaos: .venv/.dev
	TALLYSTICK_CHAOS_S=$${TALLYSTICK_CHAOS_S:-300} $(BIN)/python -m pytest -s -m proof tests/process/test_chaos.py $(ARGS)

alerts: .venv/.dev
	TALLYSTICK_ALERTS=all $(BIN)/python -m pytest -s -m proof tests/process/test_alerting.py $(ARGS)

blocks: .venv/.dev .venv/.docs
	TALLYSTICK_DOCUMENTATION=all $(BIN)/python -m pytest -m proof tests/process/test_documentation.py $(ARGS)

walks: .venv/.dev
	$(BIN)/python -m pytest -m walk tests/process/walks $(ARGS)

bench: .venv/.bench
	$(BIN)/python -m benchmarks $(ARGS)

figures: .venv/.bench
	$(BIN)/python -m benchmarks.figures $(ARGS)

screenshots: .venv/.dev browser
	TALLYSTICK_PICTURES=docs/images $(BIN)/python -m pytest -n 0 tests/browser -k pictures $(ARGS)

# Warnings are faults: a link that leads nowhere, a page in no list, a reference that is not there.
docs: .venv/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder dirhtml docs build/site
	@echo "build/site/index.html"

docs-serve: docs
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $(or $(PORT),8000)

diagrams: .venv/.runtime
	$(BIN)/python scripts/diagrams.py docs/diagrams

audit: .venv/.audit
	$(BIN)/python scripts/audit.py

sbom: .venv/.audit
	@mkdir -p build
	@.venv/audit/bin/cyclonedx-py requirements requirements/runtime.txt --pyproject pyproject.toml --output-reproducible \
		--output-format JSON --output-file build/sbom.json 2>/dev/null
	@echo "build/sbom.json"

browser: .venv/.dev
	@scripts/browser

monitoring: .venv/.dev
	$(BIN)/python scripts/monitoring.py

upgrade-dump: .venv/.dev
	$(BIN)/python scripts/upgrade_dump.py $(ARGS)

.venv/bin/python:
	@test -n "$(PYTHON)" || { \
		if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
		then echo "Python's venv module is missing: install it with 'apt-get install python3-venv' (Debian, Ubuntu), then run make again."; \
		else echo "Tallystick needs Python 3.11 or newer: 'apt-get install python3 python3-venv' (Debian 12, Ubuntu 24.04 or later), then run make again."; \
		fi >&2; exit 1; }
	$(PYTHON) -m venv .venv

# The stamps: what was installed from which lock file. The dev lock contains the runtime lock.
.venv/.runtime: requirements/build.txt requirements/runtime.txt pyproject.toml | .venv/bin/python
	$(INSTALL) requirements/build.txt
	$(INSTALL) requirements/runtime.txt
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.dev: requirements/dev.txt requirements/opa.txt .venv/.runtime
	$(INSTALL) requirements/dev.txt
	@$(INSTALL) requirements/opa.txt --no-deps --ignore-requires-python || echo "no OPA engine for this machine: its tests are skipped"
	@touch $@

# What looks at dependencies has an environment of its own.
.venv/.audit: requirements/audit.txt | .venv/bin/python
	@$(BIN)/python -m venv .venv/audit
	@.venv/audit/bin/python -m pip --disable-pip-version-check --quiet --no-input install --require-hashes -r requirements/audit.txt
	@touch $@

.venv/.docs: requirements/docs.txt .venv/.runtime
	$(INSTALL) requirements/docs.txt
	@touch $@

.venv/.bench: requirements/bench.txt .venv/.runtime
	$(INSTALL) requirements/bench.txt
	@touch $@

# The locks carry no address of an index, and hashes of every file that the index offers for a version.
# UPGRADE=--upgrade takes the newest versions; without it pins stay where the .in files still allow them.
COMPILE := ../$(BIN)/pip-compile --quiet --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	--no-emit-options --strip-extras --generate-hashes --allow-unsafe $(UPGRADE)
lock: .venv/.dev
	cd requirements && for lock in build runtime dev bench audit docs; do \
		PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= $(COMPILE) --output-file $$lock.txt $$lock.in || exit 1; done

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
