"""A part of the labels: whole dialogues, the same ones for a seed, more of them for a larger fraction."""

from pathlib import Path

import numpy as np
import packed
import pandas as pd
import pytest
import torch
from test_batches import read, train  # noqa: F401 (a fixture)

from merc.data.batches import label_fraction
from merc.data.batches.label_fraction import LabelSubset
from merc.data.batches.sampling import SAMPLERS, passes, sampling_shares
from merc.runtime import params, results
from merc.runtime.errors import UserError
from merc.training.core.supervision import SeedRandomness
from stages import train as train_stage


def manifest(dialogues: int = 40) -> pd.DataFrame:
    rows = [(corpus, f"d{number}") for corpus in ("sample", "meld") for number in range(dialogues) for _ in "abc"]
    return pd.DataFrame(rows, columns=["corpus", "dialogue"])


def test_whole_dialogues_keep_their_labels_and_larger_fractions_keep_more_of_the_same():
    rows, before = manifest(), np.zeros(240, dtype=bool)
    for fraction in (0.01, 0.05, 0.1, 0.25, 0.5, 1.0):
        kept = LabelSubset(fraction, 3).rows(rows)
        assert (kept.reshape(80, 3) == kept.reshape(80, 3)[:, :1]).all()
        assert kept.reshape(2, 40, 3)[:, :, 0].sum(1).tolist() == [int(np.ceil(fraction * 40))] * 2
        assert (kept | ~before).all()
        before = kept
    shuffled = rows.sample(frac=1, random_state=1)
    again = LabelSubset(0.25, 3).rows(shuffled)
    assert (LabelSubset(0.25, 3).rows(rows)[shuffled.index] == again).all()
    assert (LabelSubset(0.25, 4).rows(rows) != LabelSubset(0.25, 3).rows(rows)).any()


def test_a_split_with_hidden_labels_loses_nothing_else(train):  # noqa: F811
    subset = LabelSubset(0.25, 1)
    split, kept = subset.hide_labels(train), subset.rows(train.manifest)
    for task, target in train.targets.items():
        assert split.targets[task][kept].equal(target[kept]) and (split.targets[task][~kept] == -100).all()
    assert split.present is train.present and subset._replace(fraction=1.0).hide_labels(train) is train
    shares = sampling_shares(split, {"sample": 1.0}, unlabelled=False)
    starts = train.starts[:-1].numpy()
    assert set(np.flatnonzero(shares.numpy())) <= set(np.flatnonzero(kept[starts]))
    assert shares.sum() >= 1 and sampling_shares(split, {"sample": 1.0}, unlabelled=True).sum() == train.dialogues


@pytest.mark.parametrize("sampling", SAMPLERS)
def test_an_epoch_of_few_labels_repeats_them_until_it_has_enough_batches(train, sampling):  # noqa: F811
    split = LabelSubset(0.1, 1).hide_labels(train)
    labelled = set(np.flatnonzero(sampling_shares(split, {"sample": 1.0}, unlabelled=False).numpy()))
    seed = SeedRandomness(1, torch.Generator().manual_seed(1))
    for least in (1, 2, 7):
        batches = seed.batches(split, {"sample": 1.0}, sampling, 4, min_batches=least, unlabelled=False)
        draws = batches.draw()
        assert len(draws) == least and {int(one) for draw in draws for one in draw.dialogues} <= labelled
        rows = sum(len(split.rows(draw.dialogues)) if draw.count is None else draw.count.sum() for draw in draws)
        assert rows >= (least - 1) * 4


@pytest.mark.parametrize(
    ("dialogues", "size", "least", "expected"),
    [(6, 8, 8, 10), (60, 8, 8, 1), (57, 8, 8, 1), (56, 8, 8, 2), (0.3, 4, 1, 1)],
)
def test_passes_are_the_fewest_that_fill_the_batches(dialogues, size, least, expected):
    assert passes(dialogues, size, least) == expected
    assert np.ceil(expected * dialogues / size) >= least
    assert expected == 1 or np.ceil((expected - 1) * dialogues / size) < least


def test_a_teacher_learns_from_a_part_of_the_labels(train, tmp_path):  # noqa: F811
    packed.write_split("dev", seed=2, dialogues=6)
    results.write_json(Path("out/pretrain/off.json"), {"off": "not tried here"})
    curves = {}
    for fraction in (0.2, 1.0):
        changes = packed.QUICK | {"train__seeds": [3], "compute__workers": 1, "data__label_fraction": fraction}
        packed.copy_parameters(tmp_path, **changes)
        train_stage.main()
        curves[fraction] = pd.read_csv("plots/train/learning.csv")
    drawn = [name for name in curves[1.0] if name.startswith("drawn_")]
    assert (curves[0.2][drawn] > 0).sum(axis=1).max() <= (curves[1.0][drawn] > 0).sum(axis=1).min()
    assert not curves[0.2][drawn].equals(curves[1.0][drawn])


@pytest.mark.parametrize("value", [0, -0.1, 1.5, "half"])
def test_a_fraction_that_is_none_is_refused(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    packed.copy_parameters(tmp_path, data__label_fraction=value)
    with pytest.raises(UserError, match=r"data\.label_fraction"):
        label_fraction.read()
    assert params.FILE.exists()
