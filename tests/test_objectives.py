"""Losses, class weights and modality dropout against their formulas, one utterance at a time."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_batches import read, train  # noqa: F401 (a fixture)
from torch.nn import functional

from merc.training.core import objectives
from merc.training.core.objectives import CLASS_COUNTS, LOSSES, LabelLoss, ModalityDropout, TaskWeights

TASKS = TaskWeights(emotion=1.0, sentiment=0.5)


def by_hand(name: str, logits: list[float], target: int, weight: list[float], smoothing: float) -> float:
    """The loss of one utterance from its published formula, in plain Python."""
    total = sum(math.exp(logit) for logit in logits)
    p = [math.exp(logit) / total for logit in logits]
    smooth = [smoothing / len(p) + (1 - smoothing) * (index == target) for index in range(len(p))]
    crossed = -sum(w * s * math.log(logit) for w, s, logit in zip(weight, smooth, p, strict=True))
    return {
        "cross_entropy": crossed,
        "focal": (1 - p[target]) ** 2 * crossed,
        "poly": crossed + weight[target] * (1 - p[target]),
    }[name]


@pytest.mark.parametrize("name", LOSSES)
@given(
    rows=st.lists(st.lists(st.floats(-6, 6), min_size=3, max_size=3), min_size=1, max_size=5),
    weight=st.lists(st.floats(0.1, 4), min_size=3, max_size=3),
    smoothing=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_a_loss_is_its_formula_and_nothing_without_a_label(name, rows, weight, smoothing):
    targets = [(index * 2) % 3 for index in range(len(rows))]
    logits = torch.tensor([*rows, [1.0, 2.0, 3.0]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([*targets, -100])
    losses = LOSSES[name](logits, target, torch.tensor(weight, dtype=torch.float64), smoothing)
    expected = [by_hand(name, row, one, weight, smoothing) for row, one in zip(rows, targets, strict=True)]
    assert losses[:-1].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9) and losses[-1] == 0
    losses.sum().backward()
    assert torch.isfinite(logits.grad).all() and not logits.grad[-1].any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_sure_answer_has_a_finite_loss_and_gradient(name):
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    losses = LOSSES[name](logits, torch.tensor([0, 0]), torch.ones(2), 0.0)
    losses.sum().backward()
    assert torch.isfinite(losses).all() and torch.isfinite(logits.grad).all() and losses[0] < losses[1]


def test_the_cross_entropy_with_weights_is_torchs(train):  # noqa: F811
    batch = train.batch(range(4))
    logits = {"emotion": torch.randn(len(batch["index"]), 7), "sentiment": torch.randn(len(batch["index"]), 3)}
    loss = LabelLoss.of(train, 0.5, TASKS, 0.1)
    for task, share in (("emotion", 1.0), ("sentiment", 0.5)):
        expected = functional.cross_entropy(logits[task], batch[task], loss.weights[task], label_smoothing=0.1)
        assert loss(logits, batch)[task].item() == pytest.approx(share * expected.item(), rel=1e-5)


def test_effective_numbers_are_the_papers():
    count = torch.tensor([900.0, 90.0, 10.0, 0.0])
    b = 999 / 1000
    expected = [(1 - b**n) / (1 - b) for n in (900, 90, 10, 0)]
    assert CLASS_COUNTS["effective"](count).tolist() == pytest.approx(expected, rel=1e-5)
    assert CLASS_COUNTS["plain"](count).tolist() == count.tolist()


@pytest.mark.parametrize("counted", CLASS_COUNTS)
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_class_weights_are_inverse_counts_with_a_mean_of_one(train, counted, power):  # noqa: F811
    weights = objectives.class_weights(train, "emotion", power, counted)
    frequency = objectives.class_counts(train, "emotion")
    assert (weights * frequency).sum() / frequency.sum() == pytest.approx(1.0, abs=1e-5)
    product = weights * CLASS_COUNTS[counted](frequency).clamp(min=1) ** power
    assert torch.allclose(product, product[0].expand(7))
    order = frequency.argsort()
    assert power == 0 or (weights[order].diff() <= 1e-6).all()


def test_logit_adjustment_adds_the_log_of_the_class_shares_in_the_loss(train):  # noqa: F811
    batch = train.batch(range(4))
    logits = {task: torch.randn(len(batch["index"]), size) for task, size in (("emotion", 7), ("sentiment", 3))}
    adjusted = LabelLoss.of(train, 0.0, TASKS, 0.0, tau=1.5)(logits, batch)["emotion"]
    count = torch.bincount(train.targets["emotion"][train.targets["emotion"] >= 0], minlength=7).clamp(min=1)
    moved = logits["emotion"] + 1.5 * (count / count.sum()).log()
    assert adjusted.item() == pytest.approx(functional.cross_entropy(moved, batch["emotion"]).item(), rel=1e-5)


def test_a_chance_of_hiding_that_rises(train):  # noqa: F811
    batch = train.batch(range(train.dialogues)) | {"present": torch.ones(len(train), 3, dtype=torch.bool)}
    seen = {}
    for done in (0.0, 0.25, 0.5, 1.0):
        hide = ModalityDropout(0.8, torch.Generator().manual_seed(1), warmup=0.5)
        seen[done] = torch.stack([hide(batch | {"progress": done}) for _ in range(40)]).float().mean().item()
    assert seen[0.0] == 1.0 and seen[0.25] == pytest.approx(0.6, abs=0.06)
    assert seen[0.5] == seen[1.0] == pytest.approx(0.2, abs=0.06)
    constant = ModalityDropout(0.8, torch.Generator().manual_seed(1))
    assert torch.stack([constant(batch) for _ in range(40)]).float().mean().item() == seen[1.0]
