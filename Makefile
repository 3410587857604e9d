# Two doors: `make repro` rebuilds every number, `make test` checks the code. Both set up .venv on a fresh machine.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS := 1
# some containers set it, and then every process compiles its imports anew (shap: 9 seconds instead of 4)
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro test test-all test-processors deps readme pins

repro:
	@.ci/setup $(PYTHON) requirements.txt
	@dvc repro
	@python -m merc results

test:
	@.ci/setup $(PYTHON) requirements-dev.txt
	@ruff check . && ruff format --check .
	@pytest -n 2 -m "not slow and not real"

test-all:
	@.ci/setup $(PYTHON) requirements-dev.txt
	@ruff check . && ruff format --check .
	@HYPOTHESIS_PROFILE=many pytest -n 2 --timeout 1800

# Every stage on emulated processors: the same bytes as here? Up to an hour each, two at once on two cores.
test-processors:
	@.ci/setup $(PYTHON) requirements-dev.txt
	@python tests/processors.py

# After an edit of an import: the code deps of every stage in dvc.yaml.
deps:
	@python tests/closure.py

# After a run whose metrics are to be committed: README's results.
readme:
	@python tests/readme.py

# After an edit of requirements*.txt: every transitive version, for every platform and Python that we support.
pins:
	@grep -v '^-c' requirements.txt > .venv/requirements.in
	@sed 's/^-r .*/-r requirements.in/' requirements-dev.txt > .venv/requirements-dev.in
	@uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url -q \
		.venv/requirements-dev.in -o constraints.txt
