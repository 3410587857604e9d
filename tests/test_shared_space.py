"""Order prediction, and what is measured of the shared latent space, against brute force and scikit-learn."""

import itertools

import networks
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch.nn import functional

from merc.training.pretrain import alignment_loss, latent_space


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_who_follows_is_who_comes_next_in_the_dialogue(lengths):
    owner = np.repeat(np.arange(len(lengths)), lengths)
    found = alignment_loss.is_followed(torch.tensor(np.append(0, np.cumsum(lengths))), len(owner))
    assert found.tolist() == [bool(a == b) for a, b in itertools.pairwise(owner)]


def test_order_is_told_of_neighbours_with_something_present_and_turns_with_them():
    network = networks.network()
    torch.nn.init.normal_(network.misls.order)
    latent = {m: torch.randn(6, 16) for m in networks.MODALITIES}
    present = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 0]], dtype=torch.bool)
    following = torch.tensor([True, True, True, True, False])
    log_odds = alignment_loss.order_log_odds(network, latent, present, following)
    means = [
        torch.stack(
            [latent[m][row] for m, here in zip(networks.MODALITIES, present[row], strict=True) if here]
        ).mean(0)
        for row in (0, 1, 3, 4)
    ]
    way = network.misls.order - network.misls.order.T
    expected = torch.stack([a @ way @ b / 4 for a, b in (means[:2], means[2:])])  # 4: the root of the width
    torch.testing.assert_close(log_odds, expected)
    torch.testing.assert_close(network.misls.earlier(means[1][None], means[0][None]), -expected[:1])


def test_the_order_of_a_drift_is_learnt_and_without_one_it_is_not():
    torch.manual_seed(1)
    network, present = networks.network(), torch.ones(400, 3, dtype=torch.bool)
    following, turn = torch.arange(399) % 8 != 7, torch.arange(400) % 8
    drift = torch.randn(400, 16) + torch.stack([turn.sin(), turn.cos()], 1).repeat(1, 8)  # turns keep to a circle
    for vectors, least, most in ((drift, 0.85, 1.0), (torch.randn(400, 16), 0.3, 0.7)):
        torch.nn.init.zeros_(network.misls.order)
        latent = dict.fromkeys(networks.MODALITIES, vectors)
        optimiser = torch.optim.Adam([network.misls.order], 0.01)
        for _ in range(60):
            optimiser.zero_grad()
            log_odds = alignment_loss.order_log_odds(network, latent, present, following)[:175]
            functional.softplus(-log_odds).mean().backward()
            optimiser.step()
        unseen = alignment_loss.order_log_odds(network, latent, present, following)[175:]
        assert least <= (unseen > 0).float().mean() <= most


def test_the_probe_is_a_ridge_regression_on_each_half():
    random = np.random.default_rng(1)
    sets = [random.standard_normal((size, 5)) + shift for size, shift in ((40, 0.0), (61, 0.4), (30, -0.4))]
    owner = np.repeat(np.arange(3), [40, 61, 30])
    values = np.hstack([np.concatenate(sets), np.ones((131, 1))])
    odd = np.concatenate([np.arange(len(one)) % 2 for one in sets]).astype(bool)
    hits = 0
    for half in (odd, ~odd):
        ridge = Ridge(latent_space.RIDGE_PENALTY, fit_intercept=False).fit(values[half], np.eye(3)[owner[half]])
        hits += (ridge.predict(values[~half]).argmax(1) == owner[~half]).sum()
    assert latent_space.linear_probe(sets) == (pytest.approx(hits / 131), pytest.approx(61 / 131))


def test_the_probe_tells_what_is_apart_and_not_what_is_one():
    random = np.random.default_rng(1)
    apart = [random.standard_normal((200, 4)) + 10 * np.eye(4)[index] for index in range(3)]
    same = [random.standard_normal((2000, 4)) for _ in range(3)]
    assert latent_space.linear_probe(apart)[0] > 0.99 and latent_space.linear_probe(same)[0] == pytest.approx(
        1 / 3, abs=0.03
    )
    assert np.isnan(latent_space.linear_probe([apart[0], apart[1][:1]])[0])  # nothing to fit on
    assert latent_space.norm_ratio([np.full((2, 4), 3.0), np.ones((5, 4))]) == 3.0
