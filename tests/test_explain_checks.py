"""What explanations are checked with: rank correlation, SHAP by permutation, redrawn weights, what is shown."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from merc.explanation.checks import agreement, deletion, randomisation
from merc.explanation.gallery import selection
from merc.explanation.methods.shap_values import import_shap, permutation_values


@given(st.integers(2, 12), st.integers(0, 99))
def test_rank_correlation_is_spearmans_also_with_ties(parts, seed):
    random = np.random.default_rng(seed)
    one, other = random.integers(0, 6, (2, 3, parts)).astype(float)
    one[0, :2], other[0, :2] = (0, 1), (2, 1)  # else a row of equal scores, which scipy does not answer
    expected = spearmanr(one[0], other[0]).statistic
    assert agreement.rank_correlation(one, other)[0] == pytest.approx(expected)


def test_rank_correlation_leaves_out_what_is_not_scored():
    one = np.array([[3.0, 1.0, np.nan, 2.0], [1.0, 1.0, 1.0, 1.0], [1.0, np.nan, np.nan, np.nan]])
    other = np.array([[30.0, 10.0, 99.0, 20.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    found = agreement.rank_correlation(one, other)
    assert found[:2] == pytest.approx([1.0, 0.0])
    assert np.isnan(found[2])
    assert agreement.same_top(one, other)[0] == 0.0


def test_permuted_values_of_a_pairwise_game_are_exact_for_both_outputs():
    """One order there and back gives exact Shapley values where no more than two players interact."""
    random = np.random.default_rng(1)
    linear, pairs = random.normal(size=(5, 2)), np.triu(random.normal(size=(5, 5)), 1)

    def model(games, playing):
        both = ((playing @ pairs) * playing).sum(1)
        return playing @ linear + both[:, None]

    found = permutation_values(model, np.array([5]), 1)[0]
    assert found == pytest.approx(linear + 0.5 * (pairs.sum(0) + pairs.sum(1))[:, None])


def test_permuted_values_are_those_of_shaps_permutation_explainer():
    """Of three games of any interaction, evaluated together: the library's values, which has seen one at a time."""
    random, counts = np.random.default_rng(1), np.array([6, 0, 3])
    worth = random.normal(size=(3, 2**6, 2))

    def model(games, playing):
        return worth[games, playing @ (1 << np.arange(playing.shape[1]))]

    found = permutation_values(model, counts, 7)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2, 3:]).all()
    for game, count in ((0, 6), (2, 3)):
        own = lambda mask, row: (row * mask)[None]  # noqa: E731
        alone = lambda playing, game=game: model(np.full(len(playing), game), playing.astype(int))  # noqa: E731
        explainer = import_shap().PermutationExplainer(alone, own, seed=7)
        theirs = explainer(np.ones((1, count)), max_evals=2 * count + 1, silent=True).values[0]
        assert found[game, :count] == pytest.approx(theirs)


def test_redrawn_weights_are_others_with_the_same_spread():
    layer = torch.nn.Linear(200, 100)
    before = layer.weight.clone()
    randomisation.redraw_weights(layer, torch.Generator().manual_seed(1))
    assert not torch.allclose(before, layer.weight)
    assert float(layer.weight.std() / before.std()) == pytest.approx(1, abs=0.05)
    randomisation.redraw_weights(None, torch.Generator())


def test_naming_the_modality_that_decides_is_comprehensive_and_sufficient():
    worth = np.array([[0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9]])  # the first of three alone decides
    own, every = deletion.modality_measures(worth, np.array([[2.0, 1.0, 0.0]]), np.ones((1, 3), bool))
    assert own.iloc[0].to_dict() == pytest.approx(
        {"deletion": 0.1 + 0.8 / 6, "insertion": 0.9 - 0.8 / 6, "comprehensiveness": 0.8, "sufficiency": 0.0}
    )
    assert every["comprehensiveness"][0] == pytest.approx(0.8 / 3)


def test_the_gallery_shows_right_wrong_uncertain_and_every_emotion_once():
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55], [0.1, 0.9], [0.7, 0.3]])
    picks = selection.choose_utterances(shares, np.array([0, 0, 1, 1, 0, -1]), ("joy", "fear"))
    assert picks == [
        (0, "surest that is right"),
        (4, "surest that is wrong"),
        (3, "least certain"),
        (1, "surest joy"),
        (2, "surest fear"),
    ]
