"""Words explained through the language model that reads them."""

import numpy as np
import pytest
import torch
from explained import case_of, write_params, write_student, write_world

from merc.data.batches.dataset import read_split
from merc.data.records import encoder_inputs, labels
from merc.encoders.base import factory
from merc.explanation import counterfactual, explainer, units
from merc.explanation.methods import word_masking

MODALITIES = ("text", "audio", "vision")


def test_a_word_left_unread_is_neither_attended_to_nor_kept(tmp_path, monkeypatch):
    """Through a real language model: another word in its place changes nothing, another word elsewhere does."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    encoder = factory.build("text", "minilm", factory.encoding_section("text"))
    lines = [
        encoder_inputs.TextInput("so wonderful today", "Ann"),
        encoder_inputs.TextInput("so terrible today", "Ann"),
        encoder_inputs.TextInput("so wonderful again", "Ann"),
    ]
    hit = torch.zeros(3, 4, dtype=torch.bool)
    hit[:, 2] = True  # CLS, so, wonderful, today
    kept, same, other = word_masking._masked_features(encoder, lines, hit)
    rest = [0, 1, 3]
    assert torch.allclose(kept[rest], same[rest], atol=1e-5)
    assert not torch.allclose(kept[rest], other[rest], atol=1e-2)


def test_unread_words_are_scored_through_the_language_model(tmp_path, monkeypatch):
    """Only words get a score: the fall that the network shows for a sentence read without the word."""
    monkeypatch.chdir(tmp_path)
    write_world(tmp_path)
    write_params(tmp_path)
    split = read_split("test", ["sample"], MODALITIES, labels.label_space("meld"))
    case = case_of(
        write_student(tmp_path, scale=5.0), explainer.Sources(split, units.read("test", ["sample"], split), {})
    )
    read = word_masking.WordMasker(Blind(), [encoder_inputs.TextInput(text, "") for text in split.manifest["text"]])
    scores = word_masking.masked_word_scores(case, {"text/toy": read}, np.arange(len(split)))
    table = case.parts.table
    spoken = (table["word"] != "").to_numpy()
    own = scores[table["row"], table["part"]]
    assert np.isfinite(own[spoken]).all()
    assert np.isnan(own[~spoken]).all()
    first = table[spoken].iloc[0]
    gone = torch.arange(scores.shape[1])[None] == first["part"]
    row = torch.tensor([first["row"]])
    case.probe.batch["values"]["text/toy"].zero_()  # what Blind reads, whatever it is given
    after = counterfactual.log_odds(case.emotion_logits_without(row, gone), case.emotion[row])
    before = scores[first["row"], first["part"]] + float(after)
    assert before == pytest.approx(
        float(counterfactual.log_odds(case.probe.logits(row), case.emotion[row])), abs=1e-5
    )


class Blind:
    """A language model that reads nothing but zeros, in five steps at most."""

    def to(self, device):
        return self

    def prepare(self, lines):
        shape = (len(lines), 6)
        return {"kept": torch.arange(6).expand(shape), "attention_mask": torch.ones(shape, dtype=torch.long)}

    def __call__(self, tensors):
        return torch.zeros(*tensors["kept"].shape, 12), None
