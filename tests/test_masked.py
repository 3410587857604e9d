"""The best score under missing modalities: the posterior of what each line has left, and the documented table."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from merc.corpora.synthesis.plan import process
from merc.data.records.manifest import MODALITIES
from merc.studies.optimum import masked, optimum, posterior

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["sample"]


def test_a_line_that_lost_all_is_known_by_its_neighbours_alone():
    """Against the sum over the moods that the line could look like: losing it is not knowing how it looked."""
    lines = process.dialogue_lines(SAMPLE["seed"], "train", 6, [0, 1, 2, 3])
    left = [("text", "audio"), (), ("vision",), MODALITIES]
    moods = posterior.mood_posterior_by_line(lines, left)
    assert np.allclose(moods.sum(axis=1), 1)
    changed = [process.DialogueTurn(line.speaker, 3, ("text",)) if n == 1 else line for n, line in enumerate(lines)]
    assert np.allclose(moods, posterior.mood_posterior_by_line(changed, left))
    assert np.allclose(
        posterior.mood_posterior_by_line(lines, [MODALITIES] * 4), posterior.mood_posterior(lines, MODALITIES)
    )


def test_the_lines_have_the_ids_of_the_manifest():
    rows = optimum.split_rows(SAMPLE["seed"], "test", 40)
    ids = masked._test(SAMPLE["seed"], 40).ids
    assert ids["utterance"].tolist() == [row.path.stem for row in rows]
    assert sum(map(len, masked._test(SAMPLE["seed"], 40).lines)) == len(ids)


@pytest.mark.slow
def test_the_documented_loss_is_the_computed_one(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert masked.documented_table() in (ROOT / "docs/data.md").read_text(encoding="utf-8")
