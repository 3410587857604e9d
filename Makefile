# `make repro` rebuilds every number, `make test` checks the code. Both set up .venv on a fresh machine.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS := 1
# if it is set, as in some containers, every process compiles its imports again (shap: 9 seconds instead of 4)
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro test test-all test-processors readme pins audit

repro:
	@.ci/setup $(PYTHON) requirements.lock
	@dvc repro
	@python -m merc results

test:
	@.ci/setup $(PYTHON) requirements-dev.lock
	@ruff check . && ruff format --check . && basedpyright
	@pytest -n 2 -m "not slow and not real"

test-all:
	@.ci/setup $(PYTHON) requirements-dev.lock
	@ruff check . && ruff format --check . && basedpyright
	@HYPOTHESIS_PROFILE=many pytest -n 2 --timeout 1800

# Every stage on emulated processors: the same bytes as here? Up to an hour each, two at once on two cores.
test-processors:
	@.ci/setup $(PYTHON) requirements-dev.lock
	@python tests/processors.py

# After a run whose metrics are to be committed: writes the results of README.md and docs/model-card.md.
readme:
	@python tests/readme.py

# After an edit of requirements*.txt, or of uv's version: pins every transitive version, with the SHA-256 of every file
# of it, for every supported platform and Python. A version that is pinned stays as it is, unless it has to change.
PIN = uv pip compile -q --override .ci/overrides.txt --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url

pins:
	@$(PIN) requirements.txt -c requirements-dev.lock -o requirements.lock
	@$(PIN) requirements.txt requirements-research.txt requirements-dev.txt -c requirements.lock -o requirements-dev.lock
	@$(PIN) .ci/uv.txt -o .ci/uv.lock

# Known vulnerabilities of what is pinned; what could not be looked up counts as found. Needs the network.
audit:
	@uv tool run pip-audit==2.10.1 --strict --disable-pip -r requirements.lock -r requirements-dev.lock
