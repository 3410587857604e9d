"""Optimisers, schedules and steps of the training loop."""

from itertools import groupby

import loops
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from merc.training.core import loop, optim


def optimiser_of(*parameters: nn.Parameter, **changes) -> torch.optim.Optimizer:
    network = nn.ParameterList(parameters)
    return optim.new_optimiser(network, [optim.TrainablePart(list(parameters), 0.1)], 0, loops.config(**changes))


def rate(config, before: float, after: float, scores=()) -> float:
    """The learning rate of a step, of a part whose rate is 1."""
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = optim.new_optimiser(
        nn.ParameterList([parameter]), [optim.TrainablePart([parameter], 1.0)], 0, config
    )
    optim.set_learning_rate(optimiser, config, before, after, scores)
    return optimiser.param_groups[0]["lr"]


def test_warmup_then_cosine():
    config = loops.config(schedule="cosine", warmup=0.1)
    rates = [rate(config, done, done) for done in (0.05, 0.1, 0.55, 1.0)]
    assert rates[0] == pytest.approx(0.5, rel=0.02) and rates[1] > 0.97 and rates[3] == pytest.approx(0.0)
    assert rate(loops.config(schedule="constant", warmup=0.0), 0.5, 0.6) == 1.0


@pytest.mark.parametrize("schedule", optim.SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_no_step_of_any_schedule_has_learning_rate_0(monkeypatch, schedule, warmup, steps):
    rates = []
    torchs = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda own: rates.append(own.param_groups[0]["lr"]) or torchs(own)
    )
    network = nn.Linear(2, 1)
    config = loops.config(epochs=2, schedule=schedule, warmup=warmup, lr=1.0)
    batches = loops.FixedBatches([torch.ones(1, 2)] * steps)
    loop.fit(network, lambda net, batch: {"answer": net(batch).sum()}, batches, lambda _: {loop.SCORE: 0.0}, config)
    assert len(rates) == 2 * steps and min(rates) > 0 and max(rates) <= 1
    assert warmup or rates[0] == 1  # from the first step on


def test_plateau_is_torchs_reduce_on_plateau():
    torch.manual_seed(2)
    scores = [*torch.rand(40).tolist(), 0.5, 0.5, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    torchs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reduce = ReduceLROnPlateau(torchs, mode="max", factor=0.1, patience=2, threshold=0.0, threshold_mode="abs")
    expected, own, config = [], [], loops.config(schedule="plateau", warmup=0.0)
    for epoch, score in enumerate(scores):
        own.append(rate(config, epoch / len(scores), (epoch + 1) / len(scores), scores[:epoch]))
        expected.append(torchs.param_groups[0]["lr"])
        reduce.step(score)
    # torch stops at reductions smaller than 1e-8
    assert own[:20] == pytest.approx(expected[:20]) and own[-1] < own[19] < 0.1


@pytest.mark.parametrize("name", optim.OPTIMISERS)
def test_a_parameter_without_a_gradient_keeps_its_value_and_its_moments(name):
    torch.manual_seed(1)
    used, unused = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))
    optimiser = optimiser_of(used, unused, optimiser=name, weight_decay=0.5)
    for parameter in (used, unused):
        parameter.grad = torch.ones(3)
    optimiser.step()
    values = [parameter.detach().clone() for parameter in (used, unused)]
    moments = {kind: moment.clone() for kind, moment in optimiser.state[unused].items()}
    unused.grad = None
    optimiser.step()
    assert torch.equal(unused, values[1]) and not torch.equal(used, values[0])
    assert all(torch.equal(optimiser.state[unused][kind], moment) for kind, moment in moments.items())


def test_adam_decays_through_the_gradient_and_adamw_apart_from_it():
    """Without a gradient of its own, Adam's step is a whole one whatever the decay; AdamW's is the decay's."""
    ends = {}
    for name in optim.OPTIMISERS:
        parameter = nn.Parameter(torch.full((2,), 10.0))
        optimiser = optimiser_of(parameter, optimiser=name, weight_decay=0.01)
        parameter.grad = torch.zeros(2)
        optimiser.step()
        ends[name] = parameter[0].item()
    assert ends["adam"] == pytest.approx(9.9) and ends["adamw"] == pytest.approx(9.99)


class Doubling(nn.Module):
    """A loss that is linear in what it is given: gradients of batches can be read off."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, batch):
        return {"loss": (self.weight * batch["values"]).sum()}


def linear(network, batch) -> dict[str, torch.Tensor]:
    return network(batch)


def test_accumulated_batches_make_one_step_of_their_mean_gradient():
    network = Doubling()
    training = loop.Training(network, [], loops.config(clip=1e9), None)
    batches = [{"values": torch.tensor(one)} for one in ([1.0, 2.0], [3.0, 6.0])]
    losses = loop._gradients(training, network, batches)
    assert network.weight.grad.tolist() == [2.0, 4.0] and len(losses) == 2


@pytest.mark.parametrize(("accumulate", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_every_batch_of_an_epoch_is_in_a_step(accumulate, sizes):
    batches = loops.FixedBatches([{"values": torch.ones(2)} for _ in range(5)])
    config = loops.config(epochs=2, accumulate=accumulate)
    loop.fit(Doubling(), linear, batches, lambda _: {loop.SCORE: 0.0}, config)
    second = batches.built[5:]
    groups = [list(group) for _, group in groupby(second, key=lambda built: built[1])]
    assert [len(group) for group in groups] == sizes and second[-1][1] == 1.0
    assert all(built is drawn for (built, _), drawn in zip(second, batches.batches, strict=True))
