"""bench/: peers' networks have the shapes and gradients of their papers, and every way does the same thing."""

import importlib

import pytest
import torch
from closure import ROOT

from bench import encode, extract, train, turns
from bench.peers import PEERS
from bench.peers.mm_dfn import adjacency

WIDTHS = {"text": 12, "audio": 5, "vision": 7}
LENGTHS = (4, 1, 3)


def dialogues(longest: int = 4) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Features, speakers and lengths, zero beyond a dialogue's length."""
    generator, lengths = torch.Generator().manual_seed(1), torch.tensor(LENGTHS)
    features = {}
    for modality, width in WIDTHS.items():
        features[modality] = torch.zeros(len(LENGTHS), longest, width)
        for dialogue, length in enumerate(LENGTHS):
            features[modality][dialogue, :length] = torch.randn(length, width, generator=generator)
    return features, torch.arange(longest).remainder(2).repeat(len(LENGTHS), 1), lengths


@pytest.fixture
def network(request) -> torch.nn.Module:
    torch.manual_seed(1)
    return PEERS[request.param].build(WIDTHS, 7)


every_peer = pytest.mark.parametrize("network", PEERS, indirect=True)


@every_peer
def test_every_parameter_of_a_peer_learns(network):
    logits = network(*dialogues())
    assert logits.shape == (3, 4, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@every_peer
def test_a_peer_does_not_see_padding(network):
    network.eval()
    short, long = network(*dialogues(4)), network(*dialogues(6))
    for dialogue, length in enumerate(LENGTHS):
        torch.testing.assert_close(long[dialogue, :length], short[dialogue, :length], rtol=1e-4, atol=1e-5)


@every_peer
def test_a_peer_hears_later_turns_of_the_dialogue_and_no_other_dialogue(network):
    network.eval()
    features, speaker, lengths = dialogues()
    before = network(features, speaker, lengths)
    features["text"][0, 3] += 1
    changed = (network(features, speaker, lengths) - before).abs().amax(2) > 1e-7
    assert changed[0, 0] and not changed[1, :1].any() and not changed[2, :3].any()


def test_the_graph_joins_modalities_of_an_utterance_and_utterances_of_a_modality():
    edges = adjacency(torch.randn(1, 6, 5), torch.ones(1, 6, dtype=torch.bool), modalities=2)
    torch.testing.assert_close(edges, edges.transpose(1, 2))
    joined = edges[0] > 0  # three turns of two modalities
    assert joined[0, :3].all() and joined[0, 3] and not joined[0, 4:].any()


def test_train_compares_merc_with_every_peer_at_equal_and_at_its_own_batch(monkeypatch):
    monkeypatch.setattr(train, "SIZES", (8,))
    monkeypatch.setattr(train, "PRODUCT", 64)
    report = train.compare(("concat",), train.synthetic(20, 4), rounds=1)
    ours = report["concat"]
    for name, peer in PEERS.items():
        assert {f"{name}@8", f"{name}@{peer.batch}"} <= set(report["epoch_seconds"])
        assert ours[f"vs_{name}_equal@8"] > 0 and ours[f"vs_{name}_defaults"] > 0
    assert ours["of_limit@8"] > 0 and report["product_gflops"] > 0


def test_vectors_are_the_means_of_the_steps():
    split = train.synthetic(20, 3)
    means, stream = train.with_means(split).features["audio/random"], split.features["audio/random"]
    last = stream.parts[0][stream.starts[-1] : stream.starts[-1] + stream.lengths[-1]].mean(0)
    torch.testing.assert_close(means.gather(torch.tensor([19]))[0][0, 0], last)


def test_ways_of_encoding_agree():
    assert set(encode.agreement(encode.torch_ways(), encode.draw_lines(3)).values()) == {True}


@pytest.mark.slow
def test_onnx_ways_of_encoding_agree_with_ours(tmp_path):
    ways = encode.torch_ways() | encode.onnx_ways(tmp_path)
    assert set(encode.agreement(ways, encode.draw_lines(5)).values()) == {True}


def test_a_peer_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(extract, "OPTIONAL", {"decord": "no_such_package"})
    assert f"uv pip install -r {turns.PEERS}" in extract.load_peers()["decord"]
    assert (ROOT / turns.PEERS).is_file()


def test_every_way_takes_its_turn_and_the_first_round_does_not_count():
    order = []
    seconds = turns.measure({name: lambda name=name: order.append(name) for name in "ab"}, rounds=2)
    assert order == [*"ababab"] and set(seconds) == {"a", "b"} and min(seconds.values()) >= 0


@pytest.mark.parametrize("name", ["encode", "extract", "page", "predict", "scale", "train"])
def test_a_bench_starts(name):
    assert callable(importlib.import_module(f"bench.{name}").main)
