"""Optimisers and schedules against torch's own."""

import pytest
import torch
from torch import nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.lr_scheduler import ReduceLROnPlateau

from merc.training.core import loop, optim

REFERENCES = {"adamw": adamw, "adam": adam}


@pytest.mark.parametrize("name", optim.OPTIMISERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_step_equals_torchs(name, decay):
    torch.manual_seed(1)
    own = [nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.randn(5))]
    other = [
        [parameter.detach().clone(), torch.zeros_like(parameter), torch.zeros_like(parameter), torch.tensor(0.0)]
        for parameter in own
    ]
    rates = [0.01, 0.002]
    groups = [optim.ParameterGroup.of([parameter], rate) for parameter, rate in zip(own, rates, strict=True)]
    ours = optim.OPTIMISERS[name](groups, decay)
    for _ in range(20):
        for parameter, (value, mean, square, steps), rate in zip(own, other, rates, strict=True):
            parameter.grad = torch.randn_like(parameter)
            REFERENCES[name](
                [value], [parameter.grad], [mean], [square], [], [steps], lr=rate, weight_decay=decay, beta1=0.9,
                beta2=0.999, eps=1e-8, amsgrad=False, maximize=False, foreach=False,
            )  # fmt: skip
        ours.step()
    assert all(
        torch.allclose(parameter, value, atol=1e-6) for parameter, (value, *_) in zip(own, other, strict=True)
    )


def test_warmup_then_cosine():
    shares = [optim.learning_rate_factor("cosine", 0.1, done) for done in (0.05, 0.1, 0.55, 1.0)]
    assert shares[0] == pytest.approx(0.5, rel=0.02) and shares[1] > 0.97 and shares[3] == pytest.approx(0.0)
    assert optim.learning_rate_factor("constant", 0.0, 0.5) == 1.0


@pytest.mark.slow  # torch.optim imports torch's compiler
def test_plateau_is_torchs_reduce_on_plateau():
    torch.manual_seed(2)
    scores = [*torch.rand(40).tolist(), 0.5, 0.5, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    torchs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reduce = ReduceLROnPlateau(torchs, mode="max", factor=0.1, patience=2, threshold=0.0, threshold_mode="abs")
    expected, own = [], []
    for epoch, score in enumerate(scores):
        own.append(optim.learning_rate_factor("plateau", 0.0, epoch / len(scores), scores[:epoch]))
        expected.append(torchs.param_groups[0]["lr"])
        reduce.step(score)
    # torch stops at reductions smaller than 1e-8
    assert own[:20] == pytest.approx(expected[:20]) and own[-1] < own[19] < 0.1


class Doubling(nn.Module):
    """A loss that is linear in what it is given: gradients of batches can be read off."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, batch):
        return {"loss": (self.weight * batch["values"]).sum()}


def test_accumulated_batches_make_one_step_of_their_mean_gradient():
    network, config = Doubling(), loop.OptimisationConfig.model_construct(clip=1e9, precision="float32")
    batches = [{"values": torch.tensor(one), "present": torch.ones(1)} for one in ([1.0, 2.0], [3.0, 6.0])]
    losses = loop._gradients(network, lambda net, batch: net(batch), batches, config)
    assert network.weight.grad.tolist() == [2.0, 4.0] and len(losses) == 2


@pytest.mark.parametrize(("accumulate", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_every_batch_of_an_epoch_is_in_a_step(accumulate, sizes):
    config = loop.OptimisationConfig.model_construct(accumulate=accumulate, epochs=2)
    steps = list(loop._steps(1, list(range(5)), config))
    assert [len(group) for _, group in steps] == sizes and steps[-1][0] == 1.0
    assert [draw for _, group in steps for draw in group] == list(range(5))
