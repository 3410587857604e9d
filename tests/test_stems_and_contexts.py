"""Stems and contexts against torch's own layers, and what padding may not do."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from models.context import CONTEXTS, GRUContext, TransformerContext, sinusoids, to_dialogues
from models.misls import AttentionPool
from models.sequences import longest, masked_mean, pack, pad, step_mask
from models.stems import MAX_STEPS, STEMS, BatchNorm, StepConvolution, adaptive_average, max_pool_pairs

LENGTHS = torch.tensor([4, 1, 7])
REAL = step_mask(LENGTHS, 7)
PLACE, SIZE = REAL.nonzero(), (3, 7)


def ragged(dim: int = 8, seed: int = 0) -> torch.Tensor:
    values = torch.randn(3, 7, dim, generator=torch.Generator().manual_seed(seed))
    return values.masked_fill(~step_mask(LENGTHS, 7).unsqueeze(-1), 0)


@pytest.mark.parametrize("name", STEMS)
def test_a_stem_gives_an_utterance_what_it_gives_it_alone(name):
    torch.manual_seed(0)
    stem, values = STEMS[name](8, 12, 0.0), ragged()
    stem.train()(pack(values, LENGTHS), LENGTHS)  # the norms' statistics are no longer 0 and 1
    together, steps = stem.eval()(pack(values, LENGTHS), LENGTHS)
    alone = [stem(one[:length], length.view(1)) for one, length in zip(values, LENGTHS, strict=True)]
    assert steps.min() >= 1
    assert torch.equal(steps, torch.cat([each for _, each in alone]))
    torch.testing.assert_close(together, torch.cat([each for each, _ in alone]))


def test_padding_restores_what_packing_dropped():
    values = ragged()
    assert torch.equal(pad(pack(values, LENGTHS), LENGTHS, 7), values)
    assert torch.equal(pack(values, LENGTHS), values[REAL])
    assert longest(LENGTHS) == 7
    assert longest(LENGTHS[:0]) == 1


def test_the_convolution_over_packed_steps_is_torchs_over_padded_ones():
    torch.manual_seed(0)
    ours, torchs = StepConvolution(8, 5), nn.Conv1d(8, 5, 3, padding=1)
    with torch.no_grad():
        ours.linear.weight.copy_(torchs.weight.permute(0, 2, 1).flatten(1))
        ours.linear.bias.copy_(torchs.bias)
    expected = torchs(ragged().transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours(pack(ragged(), LENGTHS), LENGTHS), pack(expected, LENGTHS))


def test_batch_norm_is_torchs_and_a_single_row_does_not_stop_training():
    torch.manual_seed(0)
    ours, torchs, values = BatchNorm(8), nn.BatchNorm1d(8), pack(ragged() * 3 + 1, LENGTHS)
    for training in (True, True, False):
        ours.train(training), torchs.train(training)
        assert torch.equal(ours(values), torchs(values))
    assert torch.equal(ours.train()(values[:1]), torchs(values[:1]))
    assert torch.equal(ours.running_mean, torchs.running_mean)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 20, 33])
def test_adaptive_average_is_torchs_for_each_length(length):
    values, other = torch.randn(length, 5), torch.randn(40, 5)
    pooled, steps = adaptive_average(torch.cat([other, values]), torch.tensor([40, length]), MAX_STEPS)
    assert steps.tolist() == [MAX_STEPS, min(length, MAX_STEPS)]
    expected = functional.adaptive_avg_pool1d(values.T, min(length, MAX_STEPS)).T
    torch.testing.assert_close(pooled[MAX_STEPS:], expected)


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_halving_is_torchs_max_pool(length):
    values = torch.rand(length + 3, 5)
    pooled, steps = max_pool_pairs(values, torch.tensor([length, 3]))
    expected = [functional.max_pool1d(each.T, 2, ceil_mode=True).T for each in (values[:length], values[length:])]
    assert torch.equal(pooled, torch.cat(expected))
    assert steps.tolist() == [len(each) for each in expected]


def test_the_pool_starts_as_the_mean_and_reads_real_steps_alone():
    pool, values = AttentionPool(8), ragged()
    torch.testing.assert_close(pool(values, LENGTHS), masked_mean(values, LENGTHS))
    expected = torch.stack([one[:length].mean(0) for one, length in zip(values, LENGTHS, strict=True)])
    torch.testing.assert_close(masked_mean(values, LENGTHS), expected)
    assert not masked_mean(values, torch.zeros(3, dtype=torch.long)).any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_gru_is_torchs_on_packed_sequences_and_goes_back_as_it_does(training, causal):
    torch.manual_seed(0)
    ours, torchs = GRUContext(8, 0.0).train(training), nn.GRU(8, 8, batch_first=True, bidirectional=True)
    weights = ours.ahead.state_dict() | {f"{n}_reverse": w for n, w in ours.back.state_dict().items()}
    torchs.load_state_dict(weights)
    own, other = (ragged().requires_grad_() for _ in range(2))
    packed = nn.utils.rnn.pack_padded_sequence(other, LENGTHS, batch_first=True, enforce_sorted=False)
    states = nn.utils.rnn.pad_packed_sequence(torchs(packed)[0], batch_first=True)[0]
    if causal:
        again = nn.GRU(8, 8, batch_first=True)
        again.load_state_dict(ours.back.state_dict())
        states = torch.cat([states[..., :8], again(other)[0]], -1)
    output, expected = ours(own[REAL], PLACE, SIZE, causal), (other + ours.out(states))[REAL]
    torch.testing.assert_close(output, expected)
    output.square().sum().backward(), expected.square().sum().backward()
    torch.testing.assert_close(own.grad, other.grad)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("context", [GRUContext, TransformerContext])
@pytest.mark.parametrize("training", [False, True])
def test_a_context_answers_the_same_for_a_dialogue_alone(context, causal, training):
    torch.manual_seed(0)
    context, x = context(8, 0.0).train(training), ragged()
    many = context(x[REAL], PLACE, SIZE, causal)
    for row, length in enumerate(LENGTHS.tolist()):
        place = torch.stack([torch.zeros(length, dtype=torch.long), torch.arange(length)], 1)
        alone = context(x[row, :length], place, (1, length), causal)
        torch.testing.assert_close(many[PLACE[:, 0] == row], alone)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_is_added_to_what_it_is_given(name, training):
    context, x = CONTEXTS[name](8, 0.0).train(training), ragged()[REAL]
    if name != "none":
        nn.init.zeros_(context.out.weight), nn.init.zeros_(context.out.bias)
    assert torch.equal(context(x, PLACE, SIZE, False), x)


def test_dialogues_are_placed_by_turn():
    place = torch.tensor([[1, 1], [0, 0], [1, 0]])
    grid, lengths = to_dialogues(torch.tensor([[1.0], [2.0], [3.0]]), place, (2, 2))
    assert grid[..., 0].tolist() == [[2.0, 0.0], [3.0, 1.0]]
    assert lengths.tolist() == [1, 2]


def test_sinusoids_tell_positions_apart():
    codes = sinusoids(torch.arange(50), 16)
    assert codes.shape == (50, 16)
    assert (torch.cdist(codes, codes) + 9 * torch.eye(50)).min() > 0.3
