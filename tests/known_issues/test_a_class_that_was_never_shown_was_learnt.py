"""With class weights a class without a training example had the largest weight of all."""

from dataclasses import replace

import pytest
import torch
from test_batches import read, train  # noqa: F401 (a fixture)
from test_objectives import TASKS

from merc.training.core.objectives import CLASS_COUNTS, LabelLoss


@pytest.mark.parametrize("counted", CLASS_COUNTS)
def test_a_class_that_train_does_not_show_is_only_unlearnt(train, counted):  # noqa: F811
    target = train.targets["emotion"]
    shown = (target == 1) | (target == 3)
    train = replace(train, targets=train.targets | {"emotion": torch.where(shown, target, -100)})
    loss = LabelLoss.of(train, 0.5, TASKS, 0.1, counted=counted)
    assert loss.weights["emotion"].nonzero().flatten().tolist() == [1, 3]
    batch = train.batch(range(train.dialogues))
    logits = torch.zeros(len(train), 7, requires_grad=True)
    loss({"emotion": logits, "sentiment": torch.zeros(len(train), 3)}, batch)["emotion"].backward()
    down = logits.grad[batch["emotion"] >= 0][:, [0, 2, 4, 5, 6]]
    assert (down > 0).all()
