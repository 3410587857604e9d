"""What `make repro` says last: how the result compares with the last commit's."""

import subprocess
from pathlib import Path

import pytest

from merc.runtime.results import write_json
from merc.studies import committed

COMMIT = ["git", "-c", "user.name=x", "-c", "user.email=x@y.z", "commit", "-qm", "result"]


def result(score: float | None, other: float = 0.7) -> None:
    """Metrics with this macro F1 of the student, and with a number of the teacher."""
    student = {"macro_f1": score, "macro_f1_low": 0.6625, "macro_f1_high": 0.7634}
    write_json(committed.SCORES, {"student": {"emotion": student}, "teacher": {"emotion": {"uar": other}}})


def parameters(rate: float, workers: int = 0) -> None:
    Path("params.yaml").write_text(f"train:\n  lr: {rate}\ncompute:\n  workers: {workers}\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch) -> Path:
    """A repository whose last commit has a result."""
    monkeypatch.chdir(tmp_path)
    result(0.7263)
    parameters(0.002)
    Path("models").mkdir()
    Path("models/network.py").touch()
    for words in (["git", "init", "-q"], ["git", "add", "-A"], COMMIT):
        subprocess.run(words, check=True)
    return tmp_path


def test_the_same_result():
    result(0.7263)
    assert committed.compare_with_last_commit() == "identical to the result of the last commit"


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (0.7021, "emotion macro F1 0.702, within the committed 0.726 [0.662, 0.763]"),
        (0.7263, "emotion macro F1 0.726, within the committed 0.726 [0.662, 0.763]"),  # another number differs
        (0.6011, "emotion macro F1 0.601, outside the committed 0.726 [0.662, 0.763]"),
        (None, "nothing to compare with: a macro F1 is not defined"),
    ],
)
def test_another_result(score, said):
    result(score, other=0.5)
    parameters(0.002, workers=1)
    assert committed.compare_with_last_commit() == said
    assert len(said) <= 71


def test_other_parameters_and_other_code_are_named_and_not_the_machine():
    result(0.6)
    Path("models/network.py").write_text("# changed\n", encoding="utf-8")
    assert committed.compare_with_last_commit() == "emotion macro F1 0.600; the committed 0.726 is of other code"
    parameters(0.003)
    said = "emotion macro F1 0.600; the committed 0.726 is of another params.yaml"
    assert committed.compare_with_last_commit() == said


def test_without_git_or_a_committed_result_there_is_nothing_to_compare_with(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        assert committed.compare_with_last_commit().startswith("nothing to compare with: no Git here")
    subprocess.run(["git", "rm", "-rq", "--cached", "metrics"], check=True)
    subprocess.run(COMMIT, check=True)
    assert committed.compare_with_last_commit().startswith("nothing to compare with")
