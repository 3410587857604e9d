"""Dropout drawn 16 bits at a time, and what training does without for the sake of speed."""

import pytest
import torch

from models.dropout import Dropout
from models.esag import EarlierBelief
from models.misls import MISLS, AttentionPool
from models.packed import AttentionPooling, GatherRows, PairMaximum, ScatterRows, WithNeighbours
from models.stems import step_mask

VALUES = torch.ones(400, 250)


@pytest.mark.parametrize("chance", [0.1, 0.3, 0.5, 0.9])
def test_as_many_are_dropped_as_is_said_and_the_mean_stays(chance):
    torch.manual_seed(1)
    found = Dropout(chance)(VALUES)
    kept = found > 0
    spread = (chance * (1 - chance) / VALUES.numel()) ** 0.5
    assert abs(kept.float().mean().item() - (1 - chance)) < 4 * spread
    assert found[kept].allclose(torch.tensor(1 / (1 - chance)), rtol=1e-3)
    assert found.mean().item() == pytest.approx(1, abs=4 * spread / (1 - chance))


def test_what_is_dropped_is_independent_of_row_and_neighbour():
    torch.manual_seed(2)
    kept = (Dropout(0.5)(VALUES) > 0).float() - 0.5
    for one, other in ((kept[:, 1:], kept[:, :-1]), (kept[1:], kept[:-1]), (kept[:, 4:], kept[:, :-4])):
        assert abs((one * other).mean().item()) < 4 * 0.25 / one.numel() ** 0.5


def test_a_seed_repeats_it_and_the_gradient_is_what_was_kept():
    values = torch.randn(31, 7, requires_grad=True)
    torch.manual_seed(3)
    first = Dropout(0.4)(values)
    torch.manual_seed(3)
    assert Dropout(0.4)(values).equal(first)
    first.sum().backward()
    torch.testing.assert_close(values.grad * values, first)


def test_nothing_is_dropped_outside_of_training_or_without_a_chance():
    assert Dropout(0.5).eval()(VALUES) is VALUES
    assert Dropout(0.0)(VALUES).equal(VALUES)


@pytest.mark.parametrize("steps", [[1], [2], [3, 1, 4], [1, 1, 5, 2]])
def test_the_ways_back_through_pairs_and_neighbours_are_right(steps):
    torch.manual_seed(4)
    steps = torch.tensor(steps)
    first, size = steps.cumsum(0) - steps, int(steps.sum())
    values = torch.randn(size, 3, dtype=torch.float64, requires_grad=True)
    even = torch.cat([torch.arange(0, int(n), 2) + s for n, s in zip(steps, first, strict=True)])
    odd = torch.minimum(even + 1, torch.repeat_interleave(steps.cumsum(0), (steps + 1) // 2) - 1)
    assert torch.autograd.gradcheck(lambda x: PairMaximum.apply(x, even, odd), values)
    inner = torch.ones(size, 1, dtype=torch.float64).index_fill(0, steps.cumsum(0) - 1, 0)[:-1]
    assert torch.autograd.gradcheck(lambda x: WithNeighbours.apply(x, inner), values)


def test_the_ways_back_through_what_is_laid_out_and_attended_to_are_right():
    torch.manual_seed(6)
    values = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    query = torch.randn(2, dtype=torch.float64, requires_grad=True)
    real = step_mask(torch.tensor([4, 1, 2]), 4)
    assert torch.autograd.gradcheck(lambda x, q: AttentionPooling.apply(x, q, real), (values, query))
    where = torch.tensor([5, 0, 3])
    assert torch.autograd.gradcheck(lambda x: ScatterRows.apply(x, where, 7), values[:, 0])
    assert torch.autograd.gradcheck(lambda x: GatherRows.apply(x, torch.tensor([2, 0])), values[:, 0])
    assert ScatterRows.apply(values[:, 0], where, 7)[[1, 2, 4, 6]].eq(0).all()


def test_an_utterance_is_pooled_in_training_as_in_an_answer():
    torch.manual_seed(7)
    pool, steps = AttentionPool(4), torch.tensor([3, 1, 2])
    torch.nn.init.normal_(pool.query)
    values = torch.randn(3, 3, 4)
    torch.testing.assert_close(pool.train()(values, steps), pool.eval()(values, steps))


def test_earlier_turns_are_believed_in_training_as_in_an_answer():
    torch.manual_seed(8)
    earlier, speaker = EarlierBelief(3), torch.tensor([0, 1, 0, 2, 0, 0, 0, 1])
    place = torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3], [1, 0], [2, 0], [2, 1], [2, 2]])
    for parameter in earlier.parameters():
        torch.nn.init.normal_(parameter)
    ways = []
    for training in (True, False):
        belief = torch.randn(8, 3, generator=torch.Generator().manual_seed(9)).softmax(1).requires_grad_()
        prior = earlier.train(training)(belief, place, speaker)
        ways.append((prior, *torch.autograd.grad(prior.square().sum(), [belief, *earlier.parameters()])))
    for trained, answered in zip(*ways, strict=True):
        torch.testing.assert_close(trained, answered)


def test_training_tells_of_the_absent_what_an_answer_tells():
    torch.manual_seed(5)
    space, steps = MISLS(("text", "audio"), 4), {m: torch.tensor([3, 1, 2, 3]) for m in ("text", "audio")}
    sequences = {m: torch.randn(4, 3, 4) for m in steps}
    present = torch.tensor([[True, True], [False, True], [True, False], [False, False]])
    trained, answered = (space.train(mode)(sequences, steps, present) for mode in (True, False))
    for m in steps:
        lengths = answered[1][m]
        assert trained[1][m].equal(lengths)
        assert lengths.tolist() == torch.where(present[:, space.modalities.index(m)], steps[m], 1).tolist()
        assert trained[0][m][step_mask(lengths, 3)].equal(answered[0][m][step_mask(lengths, 3)])
