# The two commands a newcomer needs are `make demo` and `make test`; both set everything up first.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-faults test-ohif lint format proto docs bench lock clean
SHELL := /bin/bash

BIN := .venv/bin
# Debian keeps Orthanc in /usr/sbin, which is not on everybody's path.
export PATH := $(PATH):/usr/sbin

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## Make .venv with everything in it; does nothing when it is up to date.
	@scripts/setup.sh

demo: setup ## The whole way once: films in by C-STORE, DICOM results back, clusters and a report.
	$(BIN)/vidi demo --output demo-output

test: setup lint ## Lint, then all tests. Installs Orthanc, dcmtk and Chromium first if missing and allowed.
	@scripts/install_debian_packages.sh
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-faults: setup ## Kill, freeze, fill and cut everything with 100 films in flight, and count exactly: an hour.
	@scripts/install_debian_packages.sh
	VIDI_FAULT_FILMS=100 $(BIN)/python -m pytest tests/faults

test-ohif: setup ## Show results in the viewer OHIF (fetched from npm) in Chromium; screenshots go to build/ohif.
	@scripts/install_debian_packages.sh
	VIDI_SCREENSHOTS=build/ohif $(BIN)/python -m pytest tests/e2e/orthanc -m ohif

lint: setup ## Style, formatting, types, import contracts, protos, stubs, tables of settings.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/python scripts/generate_stubs.py --check
	$(BIN)/python scripts/document_settings.py --check

format: setup ## Rewrite what ruff can put right by itself.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: setup ## Regenerate the Python stubs from protos/.
	$(BIN)/python scripts/generate_stubs.py

docs: setup ## Write the tables of settings into docs/operations.md.
	$(BIN)/python scripts/document_settings.py

bench: setup ## Measure on this machine, half an hour; `vidi bench --help` names what there is.
	$(BIN)/vidi bench rpc
	$(BIN)/vidi bench explain

lock: setup ## Write requirements.lock from what .venv holds.
	$(BIN)/python scripts/lock.py

clean: ## Remove .venv, caches and what the demo wrote.
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis demo-output build dist
	find vidi services gateway experiments tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
