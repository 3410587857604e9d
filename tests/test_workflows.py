"""The workflows of .github run what .ci/run runs; what the project says of itself, it says everywhere alike."""

import json
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from closure import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def workflow(name):
    return yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text(encoding="utf-8"))


def commands(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_tests_run_what_ci_runs_on_every_supported_python():
    jobs = workflow("tests")["jobs"]
    assert commands(jobs["linux"]) == [".ci/run"]
    assert commands(jobs["macos"])[-1] == (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1]
    lowest, end = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert jobs["linux"]["strategy"]["matrix"]["python"] == [f"3.{n}" for n in range(int(lowest), int(end))]


def test_workflows_are_what_github_reads():
    """By the schema that check-jsonschema brings along."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_documents_and_reports_are_made_as_they_are_here():
    assert commands(workflow("docs")["jobs"]["site"]) == ["make docs"]
    *_, report = commands(workflow("report")["jobs"]["numbers"])
    assert report == '.ci/report "$BASE" && cml comment create report.md'


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_files_that_exist_and_asks_for_no_more_rights_than_it_needs(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["permissions"]["contents"] == ("write" if path.stem == "release" else "read")
    for job in content["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for command in commands(job):
            for script in re.findall(r"\.ci/\w+", command):
                assert (ROOT / script).stat().st_mode & 0o100


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    codemeta = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and newest[1] == PROJECT["version"] == citation["version"] == codemeta["version"]
    assert newest[2] == citation["date-released"] == codemeta["datePublished"]
    assert citation["license"] == PROJECT["license"]


def test_the_notes_of_a_version_are_its_section():
    run = subprocess.run([ROOT / ".ci/notes", "v0.1.0"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip().startswith("- The pipeline") and "##" not in run.stdout
    unknown = subprocess.run([ROOT / ".ci/notes", "v9.9.9"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert unknown.returncode == 1 and unknown.stderr == "merc: CHANGELOG.md has no section 9.9.9\n"


@pytest.mark.parametrize("would_run", [True, False])
def test_an_old_lock_is_refused(tmp_path, would_run):
    """.ci/locked reads dvc's words, since its exit code is 0 in any case."""
    words = "Running stage 'train':" if would_run else "Stage 'train' didn't change, skipping"
    (tmp_path / ".venv/bin").mkdir(parents=True)
    dvc = tmp_path / ".venv/bin/dvc"
    dvc.write_text(f'#!/bin/sh\necho "{words}"\n', encoding="utf-8")
    dvc.chmod(0o755)
    run = subprocess.run([ROOT / ".ci/locked"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == would_run
    assert ("make repro" in run.stderr) == would_run
