# `make repro` rebuilds every number, `make test` checks the code. Both set up .venv on a fresh machine.

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export OMP_NUM_THREADS := 1
# if it is set, as in some containers, every process compiles its imports again (shap: 9 seconds instead of 4)
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro test test-all test-processors readme pictures table results docs pins audit

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

# What somebody has computed and pushed to the remote of .dvc/config, and then `merc results`, which prints the scores.
results:
	@.ci/setup $(PYTHON) requirements.lock
	@dvc pull -q || { echo "merc: the remote lacks these outputs (dvc remote list): compute them by make repro" >&2; exit 2; }
	@python -m merc results

# The experiments of this commit: what was changed, and the scores on dev that rank them; test is shown, never sorted by.
COLUMNS = train\.lr$$
SCORES = .*(train|distill)\.json:emotion\.macro_f1$$|.*student\.emotion\.macro_f1$$
table:
	@dvc exp show --md --only-changed --drop '.*' --keep 'Experiment|$(COLUMNS)|$(SCORES)' \
	  --sort-by metrics/train.json:emotion.macro_f1 --sort-order desc

# After a run whose outputs the README shows, or an edit of the page: draws docs/pictures in Chromium.
pictures:
	@python tests/pictures.py

# The pages of docs/ as a site, out/docs/index.html: a warning, or a link to nothing, is an error.
docs:
	@.ci/setup $(PYTHON) requirements-dev.lock
	@python -m sphinx -W -n --keep-going -q -b html -d out/.doctrees docs out/docs
	@echo out/docs/index.html

# After an edit of requirements*.txt, or of uv's version: pins every transitive version, with the SHA-256 of every file
# of it, for every supported platform and Python. A version that is pinned stays as it is, unless it has to change.
PIN = uv pip compile -q --override .ci/overrides.txt --universal --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url

pins:
	@$(PIN) requirements.txt -c requirements-dev.lock -o requirements.lock
	@$(PIN) requirements.txt requirements-research.txt requirements-ray.txt requirements-dev.txt -c requirements.lock -o requirements-dev.lock
	@$(PIN) .ci/uv.txt -o .ci/uv.lock

# Known vulnerabilities of what is pinned; what could not be looked up counts as found. Needs the network.
audit:
	@uv tool run pip-audit==2.10.1 --strict --disable-pip -r requirements.lock -r requirements-dev.lock
