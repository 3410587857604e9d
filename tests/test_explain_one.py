"""One utterance explained through its encoders: against captum, brute force, and planted evidence."""

import json

import numpy as np
import pytest
import tiny
import torch
from captum.attr import LayerIntegratedGradients
from explained import WIDTHS, write_params, write_student, write_world
from tiny import STAND_INS
from torch import nn

from merc.data.batches.dataset import read_split
from merc.data.records import encoder_inputs, labels
from merc.encoders.base import factory
from merc.encoders.vision.hog import Hog
from merc.encoders.vision.vision_model_encoder import InputScaling, VisionModelEncoder
from merc.explanation import counterfactual, one_utterance
from merc.explanation.methods import dialogue_influence, saliency_maps, token_shap, word_gradients
from merc.explanation.methods.encoder_probe import EncoderProbe
from merc.explanation.methods.integrated_gradients import gap_tolerance

MODALITIES = ("text", "audio", "vision")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A function: widths, changes of the network -> network and a batch of three dialogues."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)

    def make(widths=WIDTHS, **changes):
        if not (tmp_path / "out").exists():
            write_world(tmp_path, widths=widths)
        network = write_student(tmp_path, widths=widths, scale=5.0, **changes)
        return network, read_split("test", ["sample"], MODALITIES, labels.label_space("meld")).batch([0, 1, 2])

    return make


def language_model(name: str, folder):
    """A tiny model as Hugging Face publishes it, read as any language model is."""
    path, write = STAND_INS[name]
    write(folder / "data/weights" / path)
    return factory.build("text", path, factory.encoding_section("text"))


def face(side: int = 32) -> encoder_inputs.VisionInput:
    crops = np.random.default_rng(1).integers(0, 90, (3, side, side, 3)).astype(np.uint8)
    return encoder_inputs.VisionInput(
        crops, np.array([[5, 6, 50, 50]] * 3, np.float32), np.arange(3, dtype=np.float32) / 5
    )


@pytest.mark.parametrize("name", ["bert-base-uncased", "deberta-v3-base"])
def test_word_gradients_equal_captums_and_close_the_gap(world, tmp_path, name):
    network, batch = world({**WIDTHS, "text": 16})
    encoder, rows = language_model(name, tmp_path), torch.tensor([1, 6])
    lines = [encoder_inputs.TextInput("so odd", "Ann"), encoder_inputs.TextInput("glad, you", "Bob")]
    probe = counterfactual.Probe(network, batch)
    encoder_probe, emotion = EncoderProbe(probe, "text/toy", encoder), torch.tensor([2, 3])
    found = word_gradients.word_integrated_gradients(encoder_probe, rows, emotion, lines)
    assert (found.gap.abs() <= gap_tolerance(found.explained)).all()
    tensors = encoder_probe.prepare(lines)
    ids, unsaid = tensors.pop("input_ids"), encoder.unsaid(encoder.prepare(lines), lines)

    def worth(ids, number):
        selected = {name: tensor[number] for name, tensor in tensors.items()}
        return encoder_probe.log_odds(rows[number], emotion[number], {"input_ids": ids, **selected})

    assert worth(ids, torch.arange(2)) - worth(unsaid, torch.arange(2)) == pytest.approx(found.explained, abs=1e-4)
    layer = LayerIntegratedGradients(worth, encoder.model.get_input_embeddings())
    scores = layer.attribute(ids, unsaid, additional_forward_args=(torch.arange(2),), n_steps=200)
    expected = scores.sum(2).gather(1, tensors["kept"]).detach()
    for row, steps in enumerate(tensors["steps"].tolist()):
        assert found.steps[word_gradients.WORD_STREAM][row, :steps] == pytest.approx(
            expected[row, :steps], abs=0.02 * float(expected.abs().max()) + 2e-3
        )
    assert (found.steps[word_gradients.WORD_STREAM][:, 0] == 0).all()  # CLS is the same in both sentences


def test_only_the_utterances_own_pieces_are_unsaid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, encode__text__before=1, encode__text__speakers=True)
    encoder = language_model("bert-base-uncased", tmp_path)
    line = encoder_inputs.TextInput("I am", "Bob", before=(encoder_inputs.TextInput("no", "Ann"),))
    tensors = encoder.prepare([line])
    changed = (encoder.unsaid(tensors, [line]) != tensors["input_ids"])[0].nonzero()[:, 0].tolist()
    assert changed == tensors["kept"][0, 1:].tolist()
    assert len(changed) == 3  # I, a, m


class Planted(nn.Module):
    """Sees one channel: bright red where it is planted; its features are the mean of its maps."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(2, 2, 3, padding=1)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.fill_(0.01)
                layer.bias.zero_()
            self.first.weight[0, 0] = 1.0
            self.second.weight[0, 0] = torch.tensor([[0, 0, 0], [0, 1.0, 0], [0, 0, 0]])

    def forward(self, clips):
        return self.second(self.first(clips[:, 0]).relu()).relu().amax(dim=(2, 3))


def listens_to_vision(network):
    """The logit of the first emotion is what the vision stem, with weights of one, makes of it."""
    with torch.no_grad():
        for stream in network.stems:
            if stream.startswith("vision"):
                network.stems[stream].layers[0].weight.fill_(1.0)

    def fuse(latent, steps, present, deviation, batch):
        logits = torch.zeros(len(batch["place"]), 7)
        logits[:, 0] = latent["vision"].sum((1, 2))
        return {"emotion": logits, "weights": {}}

    network.misls.project = lambda modality, hidden: hidden
    network.misls.forward, network.fuse = lambda hidden, steps, present: (hidden, steps), fuse
    return network


@pytest.mark.parametrize("place", [(3, 20), (25, 9)])
def test_grad_cam_and_occlusion_point_at_the_planted_pixel(world, place):
    network, batch = world({**WIDTHS, "vision": 2})
    probe = counterfactual.Probe(listens_to_vision(network), batch)
    planted, row, emotion = face(), torch.tensor([2]), torch.tensor([0])
    planted.crops[:, place[0], place[1], 0] = 255
    encoder = VisionModelEncoder("planted", Planted(), 2, InputScaling(32, 32, (0.0,) * 3, (1.0,) * 3), 5.0)
    encoder_probe = EncoderProbe(probe, "vision/toy", encoder)
    sight = saliency_maps.compute_saliency(encoder_probe, row, emotion, planted)
    assert (sight.method, sight.maps.shape) == (saliency_maps.GRAD_CAM, (3, 32, 32))
    for one in sight.maps:
        assert np.unravel_index(one.argmax(), one.shape) == place
    (fall,) = saliency_maps.occlusion_map(encoder_probe, row, emotion, encoder_probe.prepare([planted]))
    assert np.unravel_index(fall.argmax(), fall.shape) == (place[0] // 4, place[1] // 4)


@pytest.mark.parametrize(
    "name", ["resnet50", "r3d_18", "face-expression", "vit-base-patch16-224", "timesformer-base-finetuned-k400"]
)
def test_every_kind_of_vision_encoder_has_its_map(world, tmp_path, monkeypatch, name):
    monkeypatch.setattr("torchvision.models.resnet50", tiny.resnet50)
    monkeypatch.setattr("torchvision.models.video.r3d_18", tiny.r3d_18)
    path, write = STAND_INS[name]
    write(tmp_path / "data/weights" / path)
    encoder = factory.build("vision", name, factory.encoding_section("vision"))
    network, batch = world({**WIDTHS, "vision": encoder.dim})
    encoder_probe = EncoderProbe(counterfactual.Probe(network, batch), "vision/toy", encoder)
    sight = saliency_maps.compute_saliency(encoder_probe, torch.tensor([2]), torch.tensor([0]), face())
    by_name = {
        "vit-base-patch16-224": saliency_maps.ROLLOUT,
        "timesformer-base-finetuned-k400": saliency_maps.OCCLUSION,
    }
    assert sight.method == by_name.get(name, saliency_maps.GRAD_CAM)
    assert np.isfinite(sight.maps).all()
    assert len(sight.maps) == (1 if sight.method == saliency_maps.OCCLUSION else 3)
    if name == "vit-base-patch16-224":
        tensors = encoder_probe.prepare([face()])
        model = encoder.backbone.network
        model.set_attn_implementation("eager")
        shown = ((tensors["clips"] - encoder.mean) / encoder.std)[:, 0]
        layers = model(pixel_values=shown, output_attentions=True).attentions
        total = torch.eye(5)
        for layer in layers:
            total = (layer[0].mean(0) + torch.eye(5)) / 2 @ total
        assert sight.maps[0].ravel() == pytest.approx(total[0, 1:].detach().numpy(), abs=1e-5)


def test_influence_adds_up_and_without_context_only_the_utterance_itself_counts(world):
    network, batch = world()
    probe = counterfactual.Probe(network, batch)
    found = dialogue_influence.influence(probe, 5, 3)
    scores = found.steps[dialogue_influence.UTTERANCE_STREAM][0]
    assert (found.gap.abs() <= gap_tolerance(found.explained)).all()
    assert len(scores) == 4
    assert float(scores.sum() + found.gap) == pytest.approx(float(found.explained), abs=1e-5)
    assert scores[[0, 2, 3]].abs().max() > 1e-4
    alone, batch = world(context="none")
    scores = dialogue_influence.influence(counterfactual.Probe(alone, batch), 5, 3).steps[
        dialogue_influence.UTTERANCE_STREAM
    ][0]
    assert scores[[0, 2, 3]].abs().max() == 0
    earlier, batch = world(causal=True)
    scores = dialogue_influence.influence(counterfactual.Probe(earlier, batch), 5, 3).steps[
        dialogue_influence.UTTERANCE_STREAM
    ][0]
    assert scores[[2, 3]].abs().max() == 0


def test_token_values_are_shapleys_for_two_tokens_and_always_add_up(world, tmp_path):
    """Against every coalition, its masked sentence read by the language model on its own."""
    network, batch = world({**WIDTHS, "text": 16})
    encoder, at = language_model("bert-base-uncased", tmp_path), torch.tensor([1])  # it knows no [MASK]: padding
    encoder_probe, emotion = (
        EncoderProbe(counterfactual.Probe(network, batch), "text/toy", encoder),
        torch.tensor([2]),
    )

    def worth(line, masked):
        tensors = encoder_probe.prepare([line])
        tensors["input_ids"][0, [1 + place for place in masked]] = token_shap.mask_token_id(encoder)
        with torch.no_grad():
            return float(encoder_probe.log_odds(at, emotion, tensors))

    two = encoder_inputs.TextInput("i a", "Ann")
    found = token_shap.token_shap_values(encoder_probe, at, emotion, two)
    assert found.spans == [(0, 1), (2, 3)]
    v = {masked: worth(two, masked) for masked in ((), (0,), (1,), (0, 1))}
    first = (v[()] - v[(0,)] + v[(1,)] - v[(0, 1)]) / 2
    assert found.scores == pytest.approx([first, v[()] - v[(0, 1)] - first], abs=1e-4)
    whole = factory.build("text", "minilm", factory.encoding_section("text"))
    assert whole.tokenizer.id_to_token(token_shap.mask_token_id(whole)) == "[MASK]"
    for text in ("i", "glad, you are so odd", ""):
        line = encoder_inputs.TextInput(text, "Ann")
        found = token_shap.token_shap_values(encoder_probe, at, emotion, line)
        assert (len(found.scores) > 0) == bool(text)
        assert found.gap < 1e-4
        all_masked = worth(line, range(len(found.scores)))
        assert sum(found.scores) == pytest.approx(worth(line, ()) - all_masked, abs=1e-4)


@pytest.mark.parametrize("fusion", ["esag", "crossmodal"])
def test_one_utterance_is_explained_in_values_that_json_knows(world, tmp_path, fusion):
    widths = {**WIDTHS, "text": 16, "vision": 320}
    network, batch = world(widths, fusion=fusion)
    coders = {"text/toy": language_model("bert-base-uncased", tmp_path), "vision/toy": Hog("hog", 5.0)}
    given = {"text": encoder_inputs.TextInput("so odd", "Ann"), "vision": face(64), "audio": None}
    found = one_utterance.explain(network, batch, 2, given, coders)
    assert json.loads(json.dumps(found))["emotion"] == found["emotion"]
    assert [word for word, _ in found["words"]] == ["so", "odd"]
    assert found["word_spans"] == [(0, 2), (3, 6)]
    assert sum(found["modalities"].values()) == pytest.approx(
        found["log_odds"] - found["log_odds_of_nothing"], abs=1e-5
    )
    assert np.shape(found["picture"][0]["map"]) == (8, 8)
    assert len(found["influence"]) == 4
    assert found["sound"] == []  # nobody brought the sound's encoder
    pairs = {f"{a}>{b}" for a in MODALITIES for b in MODALITIES if a != b}
    assert set(found["attention"]) == (pairs if fusion == "crossmodal" else set())
    for rows in found["attention"].values():
        assert np.sum(rows, 1) == pytest.approx(1, abs=1e-4)
