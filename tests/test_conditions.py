"""Masks follow from ids alone: not from the model, the rows beside, nor how many conditions there are."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merc.evaluation import missing_modalities
from merc.runtime.errors import UserError

MODALITIES = ("text", "audio", "vision")


def rows(count, start=0):
    return pd.DataFrame(
        {
            "corpus": "sample",
            "split": "test",
            "dialogue": [str(number // 5) for number in range(start, start + count)],
            "utterance": [f"dia{number // 5}_utt{number % 5}" for number in range(start, start + count)],
        }
    )


def test_names_are_the_contract():
    names = missing_modalities.condition_names(MODALITIES, [0.3, 0.5], [{"text": 0.7, "audio": 0.1}], 2)
    assert names[:7] == [
        "full",
        "only:text",
        "only:audio",
        "only:vision",
        "only:text+audio",
        "only:text+vision",
        "only:audio+vision",
    ]
    assert names[7:] == ["rate:0.3/1", "rate:0.3/2", "rate:0.5/1", "rate:0.5/2"] + [
        f"rate:text=0.7+audio=0.1/{repeat}" for repeat in (1, 2)
    ]


def test_a_mask_is_the_documented_hash():
    """Recomputed from the words of the design, with the whole 256-bit number."""
    table = rows(30)
    mask = missing_modalities.condition_mask("rate:0.3/2", table, MODALITIES, 9)
    for index, row in enumerate(table.itertuples()):
        for column, modality in enumerate(MODALITIES):
            name = f"9/sample/test/{row.dialogue}/{row.utterance}/{modality}/2"
            fraction = int(hashlib.sha256(name.encode()).hexdigest(), 16) / 2**256
            assert mask[index, column] == (fraction >= 0.3)


@given(st.floats(0, 1), st.floats(0, 1))
def test_rates_nest(one, other):
    low, high = sorted((one, other))
    table = rows(40)
    less = missing_modalities.condition_mask(f"rate:{low!r}/1", table, MODALITIES, 1)
    more = missing_modalities.condition_mask(f"rate:{high!r}/1", table, MODALITIES, 1)
    assert not (more & ~less).any()


def test_rows_and_modalities_beside_change_nothing():
    whole = missing_modalities.condition_mask("rate:0.5/1", rows(40), MODALITIES, 1)
    part = missing_modalities.condition_mask("rate:0.5/1", rows(10, start=20), ("vision", "text"), 1)
    assert np.array_equal(whole[20:30][:, [2, 0]], part)


def test_seeds_repeats_and_modalities_draw_apart():
    drawn = [
        missing_modalities.missing_fractions(rows(400), MODALITIES, seed, repeat)
        for seed in (1, 2)
        for repeat in (1, 2)
    ]
    columns = np.concatenate(drawn, axis=1)
    assert abs(np.corrcoef(columns.T) - np.eye(12)).max() < 0.2
    assert columns.mean() == pytest.approx(0.5, abs=0.02)


def test_subsets_and_uneven_rates():
    assert (
        missing_modalities.condition_mask("only:text+vision", rows(2), MODALITIES, 1).tolist()
        == [[True, False, True]] * 2
    )
    uneven = missing_modalities.condition_mask("rate:text=1+audio=0/1", rows(20), MODALITIES, 1)
    assert uneven.mean(axis=0).tolist() == [0, 1, 1]
    assert missing_modalities.condition_mask("full", rows(2), MODALITIES, 1).all()


def test_exported_masks_reproduce_the_condition():
    table = rows(20)
    exported = missing_modalities.mask_table(table, MODALITIES, 1, 2).to_pandas()
    again = np.stack([exported[f"{modality}/2"] >= 0.5 for modality in MODALITIES], axis=1)
    assert np.array_equal(again, missing_modalities.condition_mask("rate:0.5/2", table, MODALITIES, 1))


def test_an_empty_corpus_has_empty_masks():
    assert missing_modalities.condition_mask("rate:0.5/1", rows(0), MODALITIES, 1).shape == (0, 3)


def test_an_unknown_condition_is_refused():
    with pytest.raises(UserError, match="'fog'"):
        missing_modalities.condition_mask("fog", rows(1), MODALITIES, 1)
