"""Stems and contexts against torch's own layers, and what padding may not do."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from models.context import CONTEXTS, GRUContext, TransformerContext, sinusoids, to_dialogues
from models.misls import AttentionPool, masked_mean
from models.stems import MAX_STEPS, STEMS, MaskedBatchNorm, adaptive_average, max_pool_pairs, pad_packed, step_mask

LENGTHS = torch.tensor([4, 1, 7])
REAL = step_mask(LENGTHS, 7)
PLACE, SIZE = REAL.nonzero(), (3, 7)


def ragged(dim: int = 8, seed: int = 0) -> torch.Tensor:
    values = torch.randn(3, 7, dim, generator=torch.Generator().manual_seed(seed))
    return values.masked_fill(~step_mask(LENGTHS, 7).unsqueeze(-1), 0)


@pytest.mark.parametrize("name", STEMS)
def test_a_stem_reads_no_padding_in_training_either(name):
    torch.manual_seed(0)
    stem, values = STEMS[name](8, 12, 0.0).train(), ragged()
    clean, steps = stem(values, LENGTHS)
    dirty, _ = stem(torch.where(step_mask(LENGTHS, 7).unsqueeze(-1), values, 9.0), LENGTHS)
    real = step_mask(steps, clean.shape[1])
    assert steps.min() >= 1
    torch.testing.assert_close(clean[real], dirty[real])


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6), name=st.sampled_from(list(STEMS)))
def test_packed_steps_give_the_answers_and_gradients_of_padded_ones(lengths, name):
    torch.manual_seed(0)
    steps, padded_stem = torch.tensor(lengths), STEMS[name](8, 12, 0.0).train()
    packed_stem = copy.deepcopy(padded_stem)
    packed = torch.randn(sum(lengths), 8, requires_grad=True)
    padded = pad_packed(packed.detach(), steps).requires_grad_()
    padded_output, left = padded_stem(padded, steps)
    briefly, kept = packed_stem(packed, steps)
    briefly = functional.pad(pad_packed(briefly, kept), (0, 0, 0, padded_output.shape[1] - int(kept.max())))
    real = step_mask(left, padded_output.shape[1])
    wanted = torch.randn_like(padded_output)[real]
    for answer in (padded_output[real], briefly[real]):
        (answer - wanted).square().mean().backward()
    assert torch.equal(left, kept)
    torch.testing.assert_close(briefly[real], padded_output[real], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pad_packed(packed.grad, steps), padded.grad, rtol=1e-4, atol=1e-5)
    for own, other in zip(packed_stem.parameters(), padded_stem.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(packed_stem.state_dict(), padded_stem.state_dict())  # running statistics


def test_masked_batch_norm_is_batch_norm_over_the_real_steps():
    torch.manual_seed(0)
    ours, torchs, values = MaskedBatchNorm(8), nn.BatchNorm1d(8), ragged() * 3 + 1
    real = step_mask(LENGTHS, 7)
    for training in (True, True, False):
        ours.train(training), torchs.train(training)
        torch.testing.assert_close(ours(values, real)[real], torchs(values[real]))
    torch.testing.assert_close(ours.state_dict(), torchs.state_dict())


@pytest.mark.parametrize("length", [1, 7, 8, 9, 20, 33])
def test_adaptive_average_is_torchs_for_each_length(length):
    values = torch.randn(1, 40, 5)
    pooled, steps = adaptive_average(values, torch.tensor([length]), MAX_STEPS)
    assert steps.tolist() == [min(length, MAX_STEPS)]
    expected = functional.adaptive_avg_pool1d(values[:, :length].transpose(1, 2), min(length, MAX_STEPS))
    torch.testing.assert_close(pooled[:, : int(steps)], expected.transpose(1, 2))


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_halving_is_torchs_max_pool(length):
    values = torch.rand(2, length, 5)
    pooled, steps = max_pool_pairs(values, torch.tensor([length, 1]))
    expected = functional.max_pool1d(values.transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)
    assert torch.equal(pooled, expected)
    assert steps.tolist() == [expected.shape[1], 1]


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
