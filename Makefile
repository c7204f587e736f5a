# Everything here sets itself up: Python >= 3.11 and make are all that is presumed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)
export JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION := 1

ENV ?= dev

# A source distribution runs its own code when it is installed, a wheel does not
PIP_FLAGS = --quiet --disable-pip-version-check --require-hashes --only-binary :all:

# With LOCAL=1 a command runs against the local cloud instead of your account, or not at all
AWS = $(if $(LOCAL),python -m local exec)
LOCAL_CLOUD = $(if $(LOCAL),local-cloud)

.PHONY: help setup local test lint format scan audit sbom mutate test-retraining synth diff local-cloud deploy destroy acceptance lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

setup: .venv/.installed node_modules/.installed ## Install the pinned tools into .venv and node_modules

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install $(PIP_FLAGS) -r requirements.lock
	@touch $@

# checkov pins an old boto3 that cannot live beside the emulator's, hence an environment of its own
.venv-scan/.installed: requirements-scan.lock .venv/.installed
	$(PYTHON) -m venv .venv-scan
	.venv-scan/bin/python -m pip install $(PIP_FLAGS) -r requirements-scan.lock
	@touch $@

node_modules/.installed: package-lock.json .venv/.installed
	.venv/bin/npm ci --silent --no-audit --no-fund
	@touch $@

local: setup ## Deploy into a local AWS and classify real images there (no account needed)
	python -m local all $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(filter 0,$(KEEP)),--no-keep)

test: setup lint ## Lint, type-check and run every test but the slow ones
	python -m pytest

lint: setup ## Check style and types
	ruff check .
	ruff format --check .
	mypy

format: setup ## Rewrite the code in the project's style
	ruff check --fix-only .
	ruff format .

scan: setup .venv-scan/.installed ## Let cdk-nag, cfn-lint, checkov and an IAM linter look at every environment
	python -m scanners

mutate: setup ## Take every grant away in the local cloud, one at a time, and see that something fails
	python -m pytest -m slow -s tests/local/test_mutation.py tests/local/retraining/test_mutation.py

test-retraining: setup ## Retrain, release, fail and go back in the local cloud
	python -m pytest -m slow tests/local/retraining --ignore=tests/local/retraining/test_mutation.py

audit: setup .venv-scan/.installed ## Look the pinned dependencies up in the advisory database (needs the network)
	@.venv-scan/bin/python -m scanners.audit requirements.lock requirements-scan.lock

synth: setup ## Render the CloudFormation templates into cdk.out
	cdk synth --quiet

diff: setup ## Show what a change does to the cloud; since it left main, since BASE=REVISION, or against ENV=dev as it is deployed; DETAILS=1
	$(AWS) python -m ops diff $(if $(filter command,$(origin ENV)),--env "$(ENV)") $(if $(BASE),--base "$(BASE)") $(if $(DETAILS),--details)

deploy: setup $(LOCAL_CLOUD) ## Deploy environment ENV into your account, with a trained model; LOCAL=1 into the local cloud
	$(AWS) python -m ops deploy --env "$(ENV)" $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(SYNTHETIC),--synthetic)

destroy: setup ## Remove what environment ENV costs, and list what is kept; YES=1 does not ask
	$(AWS) python -m ops destroy --env "$(ENV)" $(if $(YES),--yes)

acceptance: setup $(LOCAL_CLOUD) ## Deploy environment ENV, use, retrain, roll back and destroy it, twice; report what that confirms of AWS
	$(AWS) python -m ops acceptance --env "$(ENV)" $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(SYNTHETIC),--synthetic) $(if $(YES),--yes)

local-cloud: setup
	@python -m local up --bootstrap $(if $(ARCHIVE),--archive "$(ARCHIVE)")

sbom: setup .venv-scan/.installed ## List every pinned package in build/, as CycloneDX bills of materials
	@mkdir -p build
	.venv-scan/bin/python -m scanners.bill_of_materials requirements.lock > build/python.cdx.json
	npm sbom --package-lock-only --sbom-format cyclonedx > build/npm.cdx.json

lock: setup ## Pin the whole dependency tree of requirements-dev.txt again
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-dev.txt -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-scan.txt -o requirements-scan.lock
	npm install --package-lock-only --silent

clean: ## Remove everything that make made
	rm -rf .venv .venv-scan node_modules cdk.out build
