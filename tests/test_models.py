"""Contracts over every fusion and context, the whole network, and its checkpoint."""

import json

import pytest
import torch
from networks import LABELS, MODALITIES, STREAMS, batch, config, every_combination, every_fusion, network, only
from pydantic import ValidationError
from torch.nn import functional

from merc.runtime import params
from models import checkpoint
from models.heads import HEADS
from models.network import Network, NetworkConfig
from models.sequences import pack
from models.standardise import feature_deviation
from models.stems import STEMS


@every_combination
def test_shapes(fusion, context):
    made, many = network(fusion=fusion, context=context), batch()
    out = made(many)
    assert out["emotion"].shape == (8, 7)
    assert out["sentiment"].shape == (8, 3)
    assert out["utterance"].shape == out["context"].shape == (8, 20)  # config's `fused`
    assert {m: z.shape for m, z in made.latent(many).items()} == dict.fromkeys(MODALITIES, (8, 16))
    assert all(torch.isfinite(out[task]).all() for task in LABELS)


def loss(made: Network, many: dict) -> torch.Tensor:
    out = made(many)
    return sum(functional.cross_entropy(out[task], many[task]) for task in LABELS)


@every_combination
def test_every_parameter_gets_a_gradient(fusion, context):
    made, many = network(fusion=fusion, context=context).train(), batch((5, 1, 4, 6))
    rebuilt = made.misls.reconstruct(made.latent(many), many["present"])
    ahead = made.misls.earlier(*torch.randn(2, 3, 16)).sum()
    (loss(made, many) + sum(parameter.square().sum() for parameter in rebuilt.values()) + ahead).backward()
    missing = [
        name for name, parameter in made.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert not missing


@every_combination
def test_padding_and_batch_mates_change_nothing(fusion, context):
    made = network(fusion=fusion, context=context, stem=dict.fromkeys(MODALITIES, "conv1d"))
    many = batch()
    padded, out = made(batch(extra=9)), made(many)
    for task in LABELS:
        torch.testing.assert_close(padded[task], out[task], atol=1e-5, rtol=1e-5)
        for dialogue in many["place"][:, 0].unique():
            alone, here = made(only(many, dialogue))[task], many["place"][:, 0] == dialogue
            torch.testing.assert_close(alone, out[task][here], atol=1e-5, rtol=1e-5)


@every_combination
def test_overfits_one_batch(fusion, context):
    made, many = network(fusion=fusion, context=context, dropout=0.0).train(), batch((5, 1, 4), seed=2)
    many["emotion"][~many["present"].any(1)] = -100  # nothing to tell them by
    optimiser = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        functional.cross_entropy(made(many)["emotion"], many["emotion"]).backward()
        optimiser.step()
    known = many["emotion"] >= 0
    assert (made(many)["emotion"].argmax(1) == many["emotion"])[known].all()


@every_fusion
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_single_modality_is_built_and_trained(fusion, modality):
    made, many = network(fusion=fusion, modalities=[modality]).train(), batch()
    many["present"] = many["present"][:, [MODALITIES.index(modality)]]
    assert all(stream.startswith(modality) for stream in made.streams)
    loss(made, many).backward()
    assert made(many)["weights"].get("gate", torch.zeros(8, 7, 1)).shape == (8, 7, 1)
    assert made.misls.reconstruct(made.latent(many), many["present"]) == {}


@every_combination
def test_nothing_present_and_one_utterance(fusion, context):
    made, one = network(fusion=fusion, context=context).train(), batch((1,))
    hidden = torch.zeros_like(one["present"])
    for present in (None, hidden):
        out = made(one, present)
        assert torch.isfinite(out["emotion"]).all()
        made.zero_grad()
        out["emotion"].square().sum().backward()
        assert all(one.grad is None or torch.isfinite(one.grad).all() for one in made.parameters())


def test_a_missing_condition_equals_missing_features():
    made, many = network(), batch()
    hidden = many["present"] & torch.tensor([True, False, True])
    without = {name: entry for name, entry in many.items() if name not in ("values", "rows", "steps")}
    for name in ("values", "rows", "steps"):
        without[name] = {stream: entry for stream, entry in many[name].items() if not stream.startswith("audio")}
    for task in LABELS:
        torch.testing.assert_close(made(many, hidden)[task], made(without)[task], atol=1e-6, rtol=1e-6)


def test_every_stream_has_a_stem_and_a_standardisation_of_its_own():
    made, many = network(), batch()
    assert list(made.streams) == sorted(STREAMS)
    before, latent = made(many), made.latent(many)["text"]
    made.standardise("text/other", torch.full((5,), 4.0), torch.ones(5))
    moved = (made(many)["utterance"] - before["utterance"]).abs().amax(1) > 1e-6
    other = torch.zeros(8, dtype=torch.bool)
    other[many["rows"]["text/other"]] = True
    assert moved[other].all()
    assert (made.latent(many)["text"] != latent).any(1).equal(other)


def test_standardisation_is_safe():
    made = network(streams={"audio/prosody": 3}, modalities=["audio"])
    nan, inf = float("nan"), float("inf")
    made.standardise("audio/prosody", torch.tensor([1.0, nan, 2.0]), torch.tensor([2.0, nan, 0.0]))
    values = made.standards["audio/prosody"](torch.tensor([[5.0, 3.0, 2.5], [nan, inf, 2.0]]))
    torch.testing.assert_close(values[0], torch.tensor([2.0, 3.0, 0.5]))
    assert not values[1].any()


def test_latents_share_one_scale_and_are_rebuilt_from_the_others_alone():
    made, many = network(), batch()
    latent = made.latent(many)
    for column, m in enumerate(MODALITIES):
        norms = latent[m][many["present"][:, column]].norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, 4.0), atol=1e-3, rtol=0)  # sqrt(D)
    rebuilt = made.misls.reconstruct(latent, many["present"])
    changed = made.misls.reconstruct({**latent, "audio": latent["audio"] + 1}, many["present"])
    torch.testing.assert_close(rebuilt["audio"], changed["audio"], atol=1e-5, rtol=0)
    heard = many["present"][:, 1]
    assert ((rebuilt["text"] - changed["text"]).abs().amax(1) > 1e-4).equal(heard)


@pytest.mark.parametrize("roles", [0, 1, 3])
def test_roles_beyond_the_last_share_its_embedding(roles):
    made, many = network(roles=roles, fusion="concat", context="none"), batch()
    logits = {role: made({**many, "speaker": torch.full((8,), role)})["emotion"] for role in (0, 1, 2, 9)}
    assert torch.equal(logits[2], logits[9])
    assert torch.equal(logits[0], logits[1]) == (roles < 2)


@pytest.mark.parametrize("heads", HEADS)
def test_a_task_without_labels_gets_no_head(heads):
    made = Network(config(heads=heads), STREAMS, {"emotion": LABELS["emotion"]})
    out = made.eval()(batch())
    assert "sentiment" not in out
    assert out["emotion"].shape == (8, 7)


def test_the_hierarchical_sentiment_follows_the_emotion():
    made = network(heads="hierarchical")
    implied = made.heads.implied["sentiment"].weight
    with torch.no_grad():
        implied.zero_()
        implied[2, 1] = 50.0  # joy is positive
        made.heads.tasks["emotion"][-1].bias[1] = 50.0
    assert (made(batch())["sentiment"].argmax(1) == 2).all()


@every_combination
def test_checkpoint_round_trip_is_bitwise(fusion, context, tmp_path):
    made, many = network(fusion=fusion, context=context), batch()
    made.train()(many)  # moves the running statistics
    made.eval()
    for name in ("once", "twice"):
        checkpoint.save(tmp_path / name, made)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "twice" / file).read_bytes()
    read = checkpoint.load(tmp_path / "once")
    assert not read.training
    assert (read.config, read.streams, read.labels) == (made.config, made.streams, made.labels)
    out, again = made(many), read(many)
    assert all(torch.equal(out[task], again[task]) for task in LABELS)


def test_a_checkpoint_repeats_its_labels_and_refuses_others_when_asked(tmp_path):
    checkpoint.save(tmp_path, network())
    assert json.loads((tmp_path / "config.json").read_text())["labels"]["emotion"] == list(LABELS["emotion"])
    assert checkpoint.load(tmp_path, labels=LABELS).labels == LABELS
    with pytest.raises(ValueError, match="train again"):
        checkpoint.load(tmp_path, labels={**LABELS, "emotion": LABELS["emotion"][::-1]})


def test_the_section_of_params_is_the_config():
    assert params.read("model", NetworkConfig).dim % 4 == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fusion": "esagg"}, "choose one of concat, esag, crossmodal, graph, multiattn, graph-multiattn"),
        ({"context": "lstm"}, "choose one of none, gru, transformer"),
        ({"heads": "both"}, "choose one of independent, hierarchical"),
        ({"stem": {"text": "conv2d"}}, "choose one of linear, mlp, conv1d"),
        ({"stem": {"text": "mlp", "audio": "mlp"}}, "vision has none"),
        ({"modalities": ["text", "smell"]}, "choose one of text, audio, vision"),
        ({"modalities": ["text", "text"]}, "each at most once"),
        ({"modalities": []}, "at least 1"),
        ({"dim": 30}, "multiple of 4"),
        ({"fusoin": "esag"}, "Extra inputs"),
        ({"dropout": 1.0}, "less than 1"),
        ({"causal": 1}, "boolean"),
    ],
)
def test_a_mistake_in_the_config_names_the_choices(changes, words):
    with pytest.raises(ValidationError, match=words):
        config(**changes)


@every_combination
def test_bfloat16_autocast_is_near(fusion, context):
    made, many = network(fusion=fusion, context=context), batch()
    exact = made(many)["emotion"].softmax(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = made(many)["emotion"].float().softmax(1)
    assert (exact - rough).abs().max() < 0.05


def test_parameters_of_a_modality_are_its_own():
    made = network()
    owned = [set(map(id, made.parameters_of(m))) for m in MODALITIES]
    assert all(owned)
    assert not owned[0] & owned[1] and not owned[1] & owned[2] and not owned[0] & owned[2]
    assert set(map(id, made.stems.parameters())) < set.union(*owned)


@pytest.mark.parametrize("stem", STEMS)
@every_fusion
def test_every_stem_under_every_fusion(stem, fusion):
    made, many = network(stem=dict.fromkeys(MODALITIES, stem), fusion=fusion), batch()
    out, padded = made(many), made(batch(extra=5))
    torch.testing.assert_close(out["emotion"], padded["emotion"], atol=1e-5, rtol=1e-5)


def test_a_batch_may_know_its_size():
    made, many = network(), batch()
    assert torch.equal(made({**many, "size": (3, 4)})["emotion"], made(many)["emotion"])


class OneDialogue(torch.nn.Module):
    """A network as it is exported: one dialogue of text, all present."""

    def __init__(self, inner: Network):
        super().__init__()
        self.inner = inner

    def forward(self, values, steps):
        count = values.shape[0]
        turn = torch.arange(count)
        stream = {"values": values, "rows": turn, "steps": steps}
        return self.inner(
            {name: {"text/minilm": one} for name, one in stream.items()}
            | {"present": torch.ones(count, 1, dtype=torch.bool), "speaker": turn % 2, "size": (1, count)}
            | {"place": torch.stack([torch.zeros_like(turn), turn], 1)}
        )["emotion"]


@pytest.mark.slow
@every_fusion
def test_exports_with_free_lengths(fusion):
    # conv1d is exported by tracing alone (tests/test_onnx.py): batch norm refuses a size not known before
    changes = {"modalities": ["text"], "stem": {"text": "mlp"}, "context": "transformer", "fusion": fusion}
    made = OneDialogue(network(streams={"text/minilm": 5}, **changes)).eval()
    turns, words = torch.export.Dim("turns", min=2, max=64), torch.export.Dim("words", min=3, max=512)
    example = torch.randn(6, 8, 5), torch.tensor([8, 3, 1, 8, 5, 2])
    shapes = ({0: turns, 1: words}, {0: turns})
    exported = torch.export.export(
        made, example, dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=True
    ).module()
    other = torch.randn(4, 11, 5), torch.tensor([11, 2, 9, 4])
    torch.testing.assert_close(exported(*other), made(*other), atol=1e-5, rtol=1e-5)


def test_oddity_is_the_log_of_one_and_the_mean_square_of_real_steps():
    generator = torch.Generator().manual_seed(1)
    steps = torch.tensor([3, 1, 7])
    values = torch.randn(3, 9, 5, generator=generator)  # padded; what is beyond the steps must not count
    expected = torch.stack([values[i, :n].square().mean() for i, n in enumerate(steps)]).log1p()
    torch.testing.assert_close(feature_deviation(pack(values, steps), steps), expected)
    values[1, 0] = 1e30
    deviation = feature_deviation(pack(values, steps), steps)
    assert deviation.isfinite().all() and deviation.argmax() == 1
