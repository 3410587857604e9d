"""What each fusion promises beyond the contract of all: gates, causality, token-level attention, edges."""

import itertools

import pytest
import torch
from networks import LABELS, MODALITIES, batch, every_combination, every_fusion, network

from models import blocks, esag, graph
from models.graph import relation_masks
from models.network import Network


def gates(made: Network, many: dict, present: torch.Tensor | None = None) -> torch.Tensor:
    return made(many, present)["weights"]["gate"]


@pytest.mark.parametrize("hidden", itertools.product((False, True), repeat=3))
def test_gates_are_zero_where_absent_and_sum_to_one(hidden):
    made, many = network(fusion="esag"), batch()
    gate = gates(made, many, ~torch.tensor(hidden))
    present = many["present"] & ~torch.tensor(hidden)
    assert gate.shape == (8, 7, 3)
    assert not gate[~present.unsqueeze(1).expand_as(gate)].any()
    torch.testing.assert_close(gate.sum(-1), present.any(1, keepdim=True).float().expand(8, 7))
    assert (gate[present.unsqueeze(1).expand_as(gate)] > 0).all()


def test_permuting_modalities_with_their_parameters_permutes_the_gates():
    made, many = network(fusion="esag"), batch()
    for order in itertools.permutations(range(3)):
        other = network(seed=9, fusion="esag", modalities=[MODALITIES[m] for m in order])
        other.load_state_dict(made.state_dict())
        permuted = gates(other, {**many, "present": many["present"][:, list(order)]})
        torch.testing.assert_close(permuted, gates(made, many)[..., list(order)], atol=1e-6, rtol=0)


def test_the_gate_depends_on_earlier_turns_of_the_dialogue_alone():
    made = network(fusion="esag")
    many, changed = batch((4, 3)), batch((4, 3))
    many["present"][:], changed["present"][:] = True, True
    changed["values"]["audio/prosody"][changed["rows"]["audio/prosody"] == 2] += 3.0
    before, after = gates(made, many), gates(made, changed)
    moved = (before - after).abs().amax((1, 2)) > 1e-7
    assert moved.tolist() == [False, False, True, True, False, False, False]


def test_an_utterance_with_nothing_present_still_has_an_answer():
    made, many = network(fusion="esag"), batch()
    out = made(many, torch.zeros_like(many["present"]))
    assert not out["weights"]["gate"].any()
    assert all(torch.isfinite(out[task]).all() for task in LABELS)


def influence(made: Network, many: dict, name: str) -> torch.Tensor:
    """(N, N) bool: does output `name` of utterance n depend on the features of utterance j."""
    for values in many["values"].values():
        values.requires_grad_(True)
    out, count = made(many)[name], len(many["place"])
    felt = torch.zeros(count, count, dtype=torch.bool)
    for row in range(count):
        gradients = torch.autograd.grad(out[row].square().sum(), list(many["values"].values()), retain_graph=True)
        for stream, gradient in zip(many["values"], gradients, strict=True):
            felt[row, many["rows"][stream]] |= gradient.flatten(1).any(1)
    return felt


@every_combination
def test_causal_sees_no_later_utterance_and_others_no_other_dialogue(fusion, context):
    many = batch((5, 1, 3), seed=3)
    dialogue, turn = many["place"].unbind(1)
    same, later = dialogue.unsqueeze(1) == dialogue, turn > turn.unsqueeze(1)
    for causal in (True, False):
        felt = influence(network(fusion=fusion, context=context, causal=causal), many, "emotion")
        assert not (felt & ~same).any()
        assert not (felt & later).any() or not causal
        has = many["present"].any(1)
        assert felt.diagonal().equal(has)
    sees_future = context != "none" or fusion in ("graph", "multiattn", "graph-multiattn")
    assert (felt & same & later).any() == sees_future


@pytest.mark.parametrize("fusion", ["esag", "graph", "graph-multiattn"])
def test_a_batch_of_many_utterances_is_taken_by_dialogues(fusion, monkeypatch):
    """Answers and gradients are those of the whole; no table of pairs is larger than a block's."""
    many, made = batch((3, 1, 6, 2, 2), seed=5), network(fusion=fusion)
    shapes = []
    real = blocks.by_dialogues

    def watched(function, position, *rows):
        return real(lambda place, *part: shapes.append(len(place)) or function(place, *part), position, *rows)

    for module in (esag, graph):
        monkeypatch.setattr(module, "by_dialogues", watched)
    answers = []
    for limit in (14, 13):
        monkeypatch.setattr(blocks, "MAX_ROWS", limit)
        monkeypatch.setattr(blocks, "BLOCK_ROWS", 5)
        made.zero_grad()
        out = made(many)["emotion"]
        out.square().sum().backward()
        answers.append((out, [one.grad.clone() for one in made.parameters() if one.grad is not None]))
    assert shapes == [14, 4, 6, 4]
    torch.testing.assert_close(*(out for out, _ in answers))
    for one, other in zip(answers[0][1], answers[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@every_fusion
def test_a_causal_fusion_hears_no_later_utterance_before_the_context(fusion):
    many = batch((6, 2), seed=4)
    felt = influence(network(fusion=fusion, causal=True), many, "utterance")
    dialogue, turn = many["place"].unbind(1)
    assert not (felt & ((turn > turn.unsqueeze(1)) | (dialogue.unsqueeze(1) != dialogue))).any()
    assert (felt & (turn < turn.unsqueeze(1))).any() == (fusion not in ("concat", "crossmodal"))


@pytest.mark.parametrize("stem", ["linear", "conv1d"])
def test_cross_modal_attention_sees_sequences(stem):
    made, many = network(fusion="crossmodal", stem=dict.fromkeys(MODALITIES, stem)), batch()
    weights = made(many)["weights"]
    assert sorted(weights) == sorted(f"{a}>{b}" for a in MODALITIES for b in MODALITIES if a != b)
    for name, weight in weights.items():
        looked_at = (weight > 0).sum(-1)  # (N, S_a): steps of b that each step of a weighs
        assert weight.shape[1] > 1 and looked_at.max() > 1, name
        torch.testing.assert_close(weight.sum(-1), torch.ones_like(weight[..., 0]))


def test_cross_modal_attention_knows_the_order_of_steps():
    made = network(fusion="crossmodal", context="none", stem=dict.fromkeys(MODALITIES, "linear"))
    many, turned = batch((1,)), batch((1,))
    turned["values"]["audio/prosody"] = turned["values"]["audio/prosody"].flip(1)
    many["steps"]["audio/prosody"][:] = turned["steps"]["audio/prosody"][:] = many["values"]["audio/prosody"].shape[
        1
    ]
    assert not torch.allclose(made(many)["utterance"], made(turned)["utterance"], atol=1e-4)


def test_graph_edges_are_typed_by_speaker_and_direction_within_the_window():
    place = torch.tensor([(0, t) for t in range(12)] + [(1, 0)])
    speaker = torch.tensor([0, 1] * 6 + [0])
    edges = relation_masks(place, speaker, causal=False)
    hears = [{j for j in range(13) if edges[r, 11, j]} for r in range(4)]
    assert hears == [{1, 3, 5, 7, 9}, {2, 4, 6, 8, 10}, set(), set()]  # turn 11; turn 0 is beyond the window
    assert [int(one) for one in edges[:, 0].sum(1)] == [0, 0, 5, 5]
    assert edges.sum(0).max() == 1
    assert not relation_masks(place, speaker, causal=True)[2:].any()


def test_graph_absent_nodes_say_nothing():
    made, many = network(fusion="graph", context="none"), batch((4,))
    other = batch((4,))
    other["values"]["vision/hog"] = other["values"]["vision/hog"] + 5
    silent = torch.tensor([True, True, False]).expand(4, 3)
    torch.testing.assert_close(made(many, silent)["emotion"], made(other, silent)["emotion"], atol=0, rtol=0)


@pytest.mark.parametrize("modality", MODALITIES)
def test_noise_lowers_the_gate_by_its_power(modality):
    """The keys aside, which noise may move either way: what is left of the score is - 2 log(1 + mean square)."""
    made, many = network(fusion="esag"), batch()
    for parameter in made.fusion.keys.parameters():
        torch.nn.init.zeros_(parameter)
    generator, column = torch.Generator().manual_seed(1), MODALITIES.index(modality)
    means = []
    for level in (0.0, 0.5, 1.0, 2.0):
        noisy = {
            s: own + (s.startswith(modality)) * level * made.spread(s) * torch.randn(own.shape, generator=generator)
            for s, own in many["values"].items()
        }
        gate = gates(made, {**many, "values": noisy})
        deviation = made.encode({**many, "values": noisy})[2]
        here = many["present"]
        expected = torch.where(here, (-2 * deviation).exp(), 0)
        expected = expected / expected.sum(1, keepdim=True).clamp(min=1e-9)
        torch.testing.assert_close(gate, expected.unsqueeze(1).expand_as(gate))
        means.append(gate[here[:, column] & (here.sum(1) > 1)][..., column].mean())
    assert all(later < earlier for earlier, later in itertools.pairwise(means))
