# Everything here sets itself up: Python >= 3.11 and make are all that is presumed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
CONTAINER_PYTHON = $(if $(filter command,$(origin PYTHON)),$(PYTHON),python3.12)
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE # or each of a test run's many processes would compile the project again
# A fifth less for each start of cdk
export NODE_COMPILE_CACHE := $(CURDIR)/build/node
export JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION := 1

ENV ?= dev

# A source distribution runs its own code when it is installed, a wheel does not
LOCKED = --require-hashes --only-binary :all:

# With LOCAL=1 a command never reaches your account: `local exec` runs it against the local cloud, and fails if there is none.
# The targets that create an environment start the local cloud first.
AWS = $(if $(LOCAL),python -m local exec)
LOCAL_CLOUD = $(if $(LOCAL),local-cloud)

.PHONY: help setup browser local check test lint format scan audit sbom mutate test-retraining test-slow coverage fuzz test-container synth diff local-cloud deploy destroy acceptance lock clean

##@ Two commands to begin with; each installs what it needs

local: setup ## Deploy into a local AWS and classify real images there; no account is needed
	python -m local all $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(filter 0,$(KEEP)),--no-keep)

test: setup browser lint ## Lint, type-check and run every test but the slow ones
	python -m pytest -n 4 $(if $(TESTS),$(TESTS)) # processes; those with a local cloud mostly wait

setup: .venv/.installed node_modules/.installed ## Install the pinned tools into .venv and node_modules

.venv/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	@echo "Installing the Python packages of $< into .venv"
	@sed -n '/^uv==/,/[^\\]$$/p' $< | .venv/bin/python -m pip install --quiet --disable-pip-version-check $(LOCKED) -r /dev/stdin
	@.venv/bin/uv pip sync --python .venv $(LOCKED) $<
	@# These warn when they are compiled, which uv leaves to the first import; in a test a warning is an error
	@.venv/bin/python -W ignore -m compileall -q .venv/lib/python*/site-packages/{sagemaker,smdebug_rulesconfig}
	@touch $@

# checkov pins an old boto3 that cannot live beside the emulator's, hence an environment of its own
.venv-scan/.installed: requirements-scan.lock .venv/.installed
	@.venv/bin/uv venv --quiet --allow-existing --python .venv .venv-scan
	@echo "Installing the Python packages of $< into .venv-scan"
	@.venv/bin/uv pip sync --python .venv-scan $(LOCKED) $<
	@touch $@

# The container's Python and packages are not the project's: tests/container/requirements.txt
.venv-container/.installed: tests/container/requirements.lock .venv/.installed
	@$(CONTAINER_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2> /dev/null || \
	  { echo "The container has Python 3.12, and $(CONTAINER_PYTHON) is none: name one with PYTHON=..."; exit 1; }
	@.venv/bin/uv venv --quiet --allow-existing --python "$(CONTAINER_PYTHON)" .venv-container
	@echo "Installing the Python packages of $< into .venv-container"
	@.venv/bin/uv pip sync --python .venv-container $(LOCKED) $<
	@touch $@

node_modules/.installed: package-lock.json .venv/.installed
	@echo "Installing the command line of CDK into node_modules"
	@.venv/bin/npm ci --loglevel=error --omit=optional
	@touch $@

# npm has Chromium for Linux on x86-64 only, and 140 MB of it that most machines do without
node_modules/.browser/chromium: node_modules/.installed
	@echo "Installing Chromium into node_modules"
	@npm install --loglevel=error --no-save --include=optional
	@mkdir -p $(@D)
	@TMPDIR=$(@D) node --input-type=module --eval "import { inflate } from '@sparticuz/chromium'; \
	  for (const part of ['al2023.tar', 'fonts.tar', 'chromium']) await inflate('node_modules/@sparticuz/chromium/bin/' + part + '.br')"

browser: setup
	@python -m tests.integration.browser || if [ "$$(uname -sm)" = "Linux x86_64" ]; then \
	  $(MAKE) node_modules/.browser/chromium; else echo "Install Chrome or Chromium: npm has none for this machine"; fi

##@ An environment, in your account, or with LOCAL=1 in the local cloud

deploy: setup $(LOCAL_CLOUD) ## Deploy environment ENV with a trained model, and run a smoke test
	$(AWS) python -m ops deploy --env "$(ENV)" $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(SYNTHETIC),--synthetic) $(if $(VERBOSE),--verbose)

diff: setup ## Show what a change does to the cloud: since this branch left main, or BASE or ENV
	$(AWS) python -m ops diff $(if $(filter command,$(origin ENV)),--env "$(ENV)") $(if $(BASE),--base "$(BASE)") $(if $(DETAILS),--details)

destroy: setup ## Remove what environment ENV costs, and list what is retained
	$(AWS) python -m ops destroy --env "$(ENV)" $(if $(YES),--yes)

acceptance: setup $(LOCAL_CLOUD) ## Deploy ENV, use, retrain, roll back and destroy it, twice; report the findings
	$(AWS) python -m ops acceptance --env "$(ENV)" $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(SYNTHETIC),--synthetic) $(if $(YES),--yes)

local-cloud: setup
	@python -m local up --bootstrap $(if $(ARCHIVE),--archive "$(ARCHIVE)")

##@ The code

check: setup lint ## Lint, type-check and run the unit and template tests: before every commit
	python -m pytest -n auto tests/infrastructure tests/unit

lint: setup ## Check style and types
	ruff check .
	ruff format --check .
	mypy

format: setup ## Rewrite the code in the project's style
	ruff check --fix-only .
	ruff format .

synth: setup ## Render the CloudFormation templates into cdk.out
	cdk synth --quiet

scan: setup .venv-scan/.installed ## Run cdk-nag, cfn-lint, checkov and an IAM linter on every environment
	python -m scanners

audit: setup .venv-scan/.installed ## Look the pinned packages up in the advisory database; needs the network
	@.venv-scan/bin/python -m scanners.audit requirements.lock requirements-scan.lock tests/fuzz/requirements.lock tests/container/requirements.lock

sbom: setup .venv-scan/.installed ## List every pinned package in build/, as CycloneDX bills of materials
	@mkdir -p build
	.venv-scan/bin/python -m scanners.bill_of_materials requirements.lock > build/python.cdx.json
	npm sbom --package-lock-only --sbom-format cyclonedx > build/npm.cdx.json

mutate: setup ## Take the grants of each role in the local cloud: all must be missed
	python -m pytest -n 2 -m slow tests/local/test_mutation.py tests/local/retraining/test_mutation.py

test-retraining: setup ## Retrain, release, fail and go back in the local cloud
	python -m pytest -m slow tests/local/retraining --ignore=tests/local/retraining/test_mutation.py

coverage: setup ## Report what the unit and template tests leave out, by line and branch
	python -m pytest -n auto --cov --cov-report= tests/unit tests/infrastructure
	coverage report --show-missing $(if $(GITHUB_STEP_SUMMARY),--format=markdown | tee -a "$(GITHUB_STEP_SUMMARY)")

fuzz: setup ## Search for bytes that break a reader of what others wrote, for a minute each
	@.venv/bin/uv pip install --quiet --python .venv $(LOCKED) -r tests/fuzz/requirements.lock
	TMPDIR=/dev/shm python -m tests.fuzz # two readers take files

test-container: .venv-container/.installed ## Test the model with the versions of SageMaker's scikit-learn container
	OPENBLAS_NUM_THREADS=1 .venv-container/bin/python -m pytest -o addopts= -p tests.container.plugin --confcutdir tests/unit/model_src \
	  tests/container/served_by_gunicorn.py tests/unit/model_src

test-slow: setup ## Run the tests that take minutes: make mutate, make test-retraining, interruptions
	python -m pytest -n 5 -m slow # processes, one for each local cloud

lock: setup ## Pin the whole dependency tree of requirements-dev.txt again
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-dev.txt -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements-scan.txt -o requirements-scan.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header tests/fuzz/requirements.txt -o tests/fuzz/requirements.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header tests/container/requirements.txt -o tests/container/requirements.lock
	npm install --package-lock-only --silent

clean: ## Remove everything that make made
	rm -rf .venv .venv-scan .venv-container node_modules cdk.out build

help: ## Show this list
	@if test -t 1 && test -z "$${NO_COLOR:-}"; then colour=yes; fi; awk -v colour="$${colour:-}" ' \
	  BEGIN { FS = ":.*## "; if (colour) { bold = "\033[1m"; name = "\033[36m"; end = "\033[0m" } } \
	  /^##@ / { printf "\n%s%s%s\n", bold, substr($$0, 5), end } \
	  /^[a-z-]+:.*## / { printf "  %s%-16s%s %s\n", name, $$1, end, $$2 } \
	  /^## [A-Z]+=/ { split($$0, words, " "); text = $$0; sub(/^## [^ ]+ +/, "", text); \
	                  printf "  %s%-16s%s %s\n", name, words[2], end, text }' $(MAKEFILE_LIST)

##@ Variables
## ENV=NAME         an environment of cdk.json; dev unless named
## LOCAL=1          use the local cloud, never your account; deploy and acceptance start it
## ARCHIVE=PATH     train on this archive in CIFAR-100's format; the local cloud remembers it
## SYNTHETIC=1      train on synthetic images
## KEEP=0           make local: stop the local cloud at the end
## BASE=REVISION    make diff: compare with this commit
## DETAILS=1        make diff: every permission and every value
## VERBOSE=1        make deploy LOCAL=1: the output of cdk
## YES=1            make destroy, make acceptance: do not ask
## TESTS=PATHS      make test: only these files or folders
## PYTHON=PATH      make setup: a Python from 3.11 on; make test-container: a Python 3.12
