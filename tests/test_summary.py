"""`merc results` prints the scores of the corpora that params.yaml names, and no others."""

import shutil
from pathlib import Path

import pytest

from merc.runtime.errors import UserError
from merc.studies import summary

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    for name in ("params.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "metrics", tmp_path / "metrics")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "params.yaml"


def test_the_committed_scores_are_printed_where_they_belong(clone, capsys):
    summary.results_command()
    assert "emotion: student" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    - sample\n", "    - folder\n", r"are of data.corpora = \['sample'\], and params.yaml names \['fold"),
        ("  labels: meld\n", "  labels: mosi\n", "of data.labels = meld, and params.yaml names mosi; run `dvc"),
    ],
)
def test_scores_of_another_corpus_or_other_labels_are_not(clone, capsys, old, new, words):
    text = clone.read_text(encoding="utf-8")
    assert old in text
    clone.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=words):
        summary.results_command()
    assert not capsys.readouterr().out
