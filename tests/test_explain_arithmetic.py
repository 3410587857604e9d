"""The arithmetic of explanations: Shapley values, parts, intervals, hits."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merc.explanation import parts
from merc.explanation.checks import deletion, ground_truth
from merc.explanation.methods import shapley

MODALITIES = ("text", "audio", "vision")


@given(st.integers(1, 4), st.integers(0, 99))
def test_shapley_values_equal_the_mean_over_all_orders_and_add_up(players, seed):
    worth = np.random.default_rng(seed).normal(size=(3, 2**players))
    phi = shapley.values(worth)
    assert np.allclose(phi.sum(1), worth[:, -1] - worth[:, 0])
    orders = list(itertools.permutations(range(players)))
    for player in range(players):
        before = [sum(1 << one for one in order[: order.index(player)]) for order in orders]
        gains = [worth[:, code | 1 << player] - worth[:, code] for code in before]
        assert np.allclose(phi[:, player], np.mean(gains, axis=0))


def test_leaving_in_any_order_is_the_mean_over_all_orders():
    worth, present = np.random.default_rng(1).normal(size=(2, 8)), np.array([[1, 1, 1], [1, 0, 1]], bool)
    worth = shapley.restrict_to_present(worth, present)
    scores = np.array([[0.1, 0.3, 0.2], [0.1, 0.9, 0.2]])
    own, random = (list(map(shapley.curve_area, one)) for one in shapley.removal_curves(worth, scores, present))
    path = worth[0, [7, 5, 1, 0]]  # audio goes first, then vision, then text
    assert own[0] == pytest.approx(np.trapezoid(path, [0, 1 / 3, 2 / 3, 1]))
    areas = []
    for order in itertools.permutations(range(3)):
        codes = [7 & ~sum(1 << one for one in order[:gone]) for gone in range(4)]
        areas.append(np.trapezoid(worth[0, codes], [0, 1 / 3, 2 / 3, 1]))
    assert random[0] == pytest.approx(np.mean(areas))
    assert own[1] == pytest.approx(np.trapezoid(worth[1, [5, 1, 0]], [0, 0.5, 1]))  # text and vision alone


def test_text_is_taken_apart_into_words_and_the_sentence():
    spans = np.array([[0, 0], [0, 2], [3, 9], [9, 12], [12, 13]], np.float32)
    found = parts.take_apart({"text/toy": [spans]}, ["so wonderful!"], {"text/toy": None})
    assert found.table["word"].tolist() == ["", "so", "wonderful!"]
    assert found.owner["text/toy"].tolist() == [[0, 1, 2, 2, 2]]


@given(st.integers(1, 60))
def test_sound_is_taken_apart_into_few_spans_that_cover_it(steps):
    starts = np.arange(steps) / 10
    own = {"audio/toy": [np.stack([starts, starts + 0.1], 1)]}
    found = parts.take_apart(own, [""], {"audio/toy": 0.1})
    assert len(found.table) == min(steps, parts.SPANS)
    assert found.table["start"].iloc[0] == 0
    assert found.table["end"].iloc[-1] == pytest.approx(steps / 10)
    assert np.allclose(found.table["start"][1:], found.table["end"][:-1])
    assert sorted(set(found.owner["audio/toy"][0])) == list(range(len(found.table)))


def test_the_lower_bound_draws_whole_groups():
    groups = np.repeat(["a", "b", "c", "d", "e"], 40)
    gains = np.repeat([1.0, 0.0, 1.0, 0.0, 1.0], 40) + 0.01 * np.random.default_rng(0).normal(size=200)
    assert 0.1 < deletion.bootstrap_lower_bound(gains, groups, 1) < 0.3  # of 200 independent rows it would be 0.53
    assert np.isnan(deletion.bootstrap_lower_bound(gains[:0], groups[:0], 1))


def test_hits_count_the_cases_that_truth_decides():
    scores = np.array([[3.0, 1.0, 2.0], [0.0, np.nan, 1.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    hits = ground_truth.modality_hits(scores, MODALITIES, [["text"], ["text"], ["text", "audio"], []])
    assert hits["hit"].tolist() == [True, False]
    assert hits["chance"].tolist() == [pytest.approx(1 / 3), 0.5]
    table = pd.DataFrame(
        {"row": 0, "modality": "text", "word": ["", "so", "glad"], "start": [0, 0, 3], "end": [0, 2, 7]}
    )
    words = ground_truth.word_hits(table.assign(score=[9.0, 1.0, 2.0]), "score", {0: [{"start": 3, "end": 7}]})
    assert (words["hit"].tolist(), words["chance"].tolist()) == ([True], [0.5])
