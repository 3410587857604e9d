# `make repro` rebuilds every number, `make test` checks the code. Both set up .venv on a fresh machine.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS := 1
# if it is set, as in some containers, every process compiles its imports again (shap: 9 seconds instead of 4)
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro test test-all test-processors readme pins

repro:
	@.ci/setup $(PYTHON) requirements.txt
	@dvc repro
	@python -m merc results

test:
	@.ci/setup $(PYTHON) requirements-dev.txt
	@ruff check . && ruff format --check . && basedpyright
	@pytest -n 2 -m "not slow and not real"

test-all:
	@.ci/setup $(PYTHON) requirements-dev.txt
	@ruff check . && ruff format --check . && basedpyright
	@HYPOTHESIS_PROFILE=many pytest -n 2 --timeout 1800

# Every stage on emulated processors: the same bytes as here? Up to an hour each, two at once on two cores.
test-processors:
	@.ci/setup $(PYTHON) requirements-dev.txt
	@python tests/processors.py

# After a run whose metrics are to be committed: writes the results of README.md and docs/model-card.md.
readme:
	@python tests/readme.py

# After an edit of requirements*.txt: pins every transitive version, for every supported platform and Python.
pins:
	@uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url -q \
		requirements-dev.txt -o constraints.txt
