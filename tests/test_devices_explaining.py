"""On a pretended GPU and a Mac's: every way to explain gives what it gives on the CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from explained import case_of, write_params, write_student, write_world
from pretend_device import pretend
from tiny import STAND_INS
from torch import nn

from merc.data.batches.dataset import read_split
from merc.data.records import labels, truth
from merc.data.records.encoder_inputs import AudioInput, TextInput, VisionInput
from merc.encoders.base import factory
from merc.encoders.vision.vision_model_encoder import InputScaling, VisionModelEncoder
from merc.explanation import counterfactual, explainer, one_utterance, units
from merc.explanation.checks import ground_truth, randomisation
from merc.explanation.methods import saliency_maps, shap_values, token_shap, word_masking
from merc.explanation.methods.encoder_probe import EncoderProbe

MODALITIES = ("text", "audio", "vision")
WIDTHS = {"text": 16, "audio": 109, "vision": 320}  # of the encoders behind the network: tiny BERT, prosody, HOG
CONFIG = explainer.ExplainConfig(utterances=6, random_orders=1, seed=1)
RAW = {
    "text": TextInput("so odd", "Ann"),
    "audio": AudioInput((0.1 * np.random.default_rng(1).standard_normal(8000)).astype(np.float32)),
    "vision": VisionInput(
        np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8),
        np.array([[5, 6, 50, 50]] * 3, np.float32),
        np.arange(3, dtype=np.float32) / 5,
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """A test split of two dialogues, and a tiny language model."""
    place = tmp_path_factory.mktemp("device")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        write_world(place, dialogues=2, turns=3, widths=WIDTHS)
        write_params(place)
        path, write = STAND_INS["bert-base-uncased"]
        write(Path("data/weights") / path)
        yield place


def sources(device: torch.device | str) -> explainer.Sources:
    split = read_split("test", ["sample"], MODALITIES, labels.label_space("meld"))
    language = factory.build("text", "bert-base-uncased", factory.encoding_section("text"))
    readings = {
        "text/toy": word_masking.WordMasker(language, [TextInput(text, "") for text in split.manifest["text"]])
    }
    return explainer.Sources(split.to(device), units.read("test", ["sample"], split), readings)


def student(project: Path, device: torch.device | str, **changes) -> Any:
    return write_student(project, widths=WIDTHS, scale=5.0, **changes).to(device)


def test_everything_that_the_stage_explains(project):
    """Coalitions, gates, integrated gradients, occlusion, SHAP, unread words, deletion and insertion."""
    with pretend("mps") as gpu:
        network = student(project, gpu.device)
        found = explainer.explain(network, network, sources(gpu.device), CONFIG, [0, 1])
    assert any("log_sigmoid" in kernel._schema.name for kernel in gpu.kernels)  # ESAG's
    for name, one in vars(found).items():
        assert not isinstance(one, np.ndarray) or np.isfinite(one).any(), name
    for method in (*explainer.PART_METHODS, explainer.UNREAD):
        assert found.parts[method].notna().any(), method


def test_what_the_stage_checks(project, monkeypatch):
    """Redrawn weights, noise, SHAP of features, and verdicts by the truth."""
    monkeypatch.setattr(randomisation, "LAYERS", {})
    monkeypatch.setattr(shap_values, "SAMPLES", 2)
    with pretend("mps") as gpu:
        network, known = student(project, gpu.device), sources(gpu.device)
        checked = randomisation.sanity_checks(network, known, 1, 0)
        features, means, names = shap_values.feature_shap_values(case_of(network, known), [1], 1)
        verdict = ground_truth.ground_truth_hits(network, known, truth.read_truth("test", ["sample"]), [0], 1)
        randomisation.redraw_weights(network.fusion, torch.Generator().manual_seed(1))
        assert {one.device for one in network.fusion.parameters()} == {gpu.device}
    assert np.isfinite(checked["rank"]).any()
    assert features.values["emotion"].shape == means.shape == (1, len(names))
    assert isinstance(verdict.judged, pd.DataFrame)


def coders(*modalities: str) -> dict[str, Any]:
    """The encoders behind the network, as if the toy streams were theirs."""
    named = {"text": "bert-base-uncased", "audio": "prosody", "vision": "hog"}
    return {f"{m}/toy": factory.build(m, named[m], factory.encoding_section(m)) for m in modalities}


def test_one_utterance_through_its_encoders(project):
    """Words, tokens, sound, picture by occlusion, influence of the dialogue."""
    with pretend("mps") as gpu:
        network, batch = student(project, gpu.device), sources(gpu.device).split.batch([0])
        arguments = (network, batch, 1, RAW, coders(*MODALITIES))
        found = one_utterance.explain(*arguments) | token_shap.explain(*arguments)
    assert found["picture"][0]["method"] == saliency_maps.OCCLUSION
    for name in ("words", "tokens", "influence", "sound"):
        assert np.isfinite([scored[-1] for scored in found[name]]).all()
        assert len(found[name]) > 1


def test_one_utterance_without_its_encoders(project):
    """What can be said without: modalities and attention."""
    with pretend() as gpu:
        network, batch = student(project, gpu.device, fusion="crossmodal"), sources(gpu.device).split.batch([0])
        found = one_utterance.explain(network, batch, 1, {}, coders("audio"))
    assert found["modalities"].keys() == set(MODALITIES)
    assert found["attention"]


class Maps(nn.Module):
    """A network whose last maps Grad-CAM weighs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(clips[:, 0]).relu()).mean(dim=(2, 3))


def vit() -> VisionModelEncoder:
    path, write = STAND_INS["vit-base-patch16-224"]
    write(Path("data/weights") / path)
    return factory.build("vision", path, factory.encoding_section("vision"))


SEERS = {
    saliency_maps.GRAD_CAM: lambda: VisionModelEncoder(
        "maps", Maps(), 4, InputScaling(32, 32, (0.5,) * 3, (0.5,) * 3), 5.0
    ),
    saliency_maps.ROLLOUT: vit,
}


@pytest.mark.parametrize("method", SEERS)
def test_pictures_by_gradients_and_by_attention(project, method):
    with pretend("mps") as gpu:
        seer, batch = SEERS[method](), sources(gpu.device).split.batch([0])
        shape = batch["values"]["vision/toy"].shape[:2]
        batch["values"]["vision/toy"] = torch.ones(*shape, seer.dim, device=gpu.device)
        network = write_student(project, widths=WIDTHS | {"vision": seer.dim}).to(gpu.device)
        encoder_probe = EncoderProbe(counterfactual.Probe(network, batch), "vision/toy", seer)
        row = torch.tensor([1], device=gpu.device)
        sight = saliency_maps.compute_saliency(
            encoder_probe, row, encoder_probe.probe.changed_logits(row).argmax(1), RAW["vision"]
        )
    assert sight.method == method
    assert np.isfinite(sight.maps).all()
