"""On a pretended GPU and a Mac's: every way to explain gives what it gives on the CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from explained import case_of, write_params, write_student, write_world
from pretend_device import pretend
from tiny import STAND_INS

from merc import (
    encoders,
    explain_one,
    explanation,
    labels,
    probe,
    reading,
    sanity,
    shapvalues,
    sights,
    tokenshap,
    truth,
    units,
    verdicts,
)
from merc.batches import read_split
from merc.encoders.raw import Faces, Line, Sound
from merc.through import Through

MODALITIES = ("text", "audio", "vision")
WIDTHS = {"text": 16, "audio": 109, "vision": 320}  # of the encoders behind the network: tiny BERT, prosody, HOG
CONFIG = explanation.ExplainConfig(utterances=6, random_orders=1, seed=1)
RAW = {
    "text": Line("so odd", "Ann"),
    "audio": Sound((0.1 * np.random.default_rng(1).standard_normal(8000)).astype(np.float32)),
    "vision": Faces(
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


def sources(device: torch.device | str) -> explanation.Sources:
    split = read_split("test", ["sample"], MODALITIES, labels.space("meld"))
    language = encoders.build("text", "bert-base-uncased", encoders.section("text"))
    readings = {"text/toy": reading.Reading(language, [Line(text, "") for text in split.manifest["text"]])}
    return explanation.Sources(split.to(device), units.read("test", ["sample"], split), readings)


def student(project: Path, device: torch.device | str, **changes) -> Any:
    return write_student(project, widths=WIDTHS, scale=5.0, **changes).to(device)


def explained(project: Path, device: torch.device | str) -> dict[str, np.ndarray]:
    network = student(project, device)
    found = explanation.explain(network, network, sources(device), CONFIG, [0, 1])
    arrays = {name: one for name, one in vars(found).items() if isinstance(one, np.ndarray)}
    scores = found.parts[[*explanation.PART_METHODS, explanation.UNREAD]].to_numpy()
    return arrays | {"scores": scores}


def test_everything_that_the_stage_explains(project):
    """Coalitions, gates, integrated gradients, occlusion, SHAP, unread words, deletion and insertion."""
    expected = explained(project, "cpu")
    with pretend("mps") as gpu:
        found = explained(project, gpu.device)
    assert torch.ops.aten.softplus.default in gpu.kernels
    for name, one in expected.items():
        np.testing.assert_allclose(found[name], one, atol=1e-4, err_msg=name)


def test_what_the_stage_checks(project, monkeypatch):
    """Redrawn weights, noise, SHAP of features, and verdicts by the truth."""
    monkeypatch.setattr(sanity, "LAYERS", {"fusion": ("fusion",)})
    monkeypatch.setattr(shapvalues, "SAMPLES", 4)
    with pretend("mps") as gpu:
        network, known = student(project, gpu.device), sources(gpu.device)
        checked = sanity.checks(network, known, 1, 0)
        features, means, names = shapvalues.of_features(case_of(network, known), [1], 1)
        verdict = verdicts.verdict(network, known, truth.read("test", ["sample"]), [0, 1], 1)
    assert np.isfinite(checked["rank"]).any()
    assert features.values["emotion"].shape == means.shape == (1, len(names))
    assert isinstance(verdict.judged, pd.DataFrame)


def coders() -> dict[str, Any]:
    """The encoders behind the network, as if the toy streams were theirs."""
    named = {"text": "bert-base-uncased", "audio": "prosody", "vision": "hog"}
    return {f"{m}/toy": encoders.build(m, name, encoders.section(m)) for m, name in named.items()}


@pytest.mark.parametrize("fusion", ["esag", "crossmodal"])
def test_one_utterance_through_its_encoders(project, fusion):
    """Words, tokens, sound, picture by occlusion, influence of the dialogue, attention."""

    def told(device: torch.device | str) -> dict[str, Any]:
        network, batch = student(project, device, fusion=fusion), sources(device).split.batch([0])
        asked = (network, batch, 1, RAW, coders())
        return explain_one.explain(*asked) | tokenshap.explain(*asked)

    expected = told("cpu")
    with pretend("mps") as gpu:
        found = told(gpu.device)
    assert expected.keys() == found.keys()
    assert found["words"] and found["sound"] and found["picture"] and found["tokens"]
    for name in ("words", "tokens", "influence"):
        assert [score for _, score in found[name]] == pytest.approx(
            [score for _, score in expected[name]], abs=1e-4
        )


@pytest.mark.parametrize(
    ("name", "method"), [("resnet50", sights.GRAD_CAM), ("vit-base-patch16-224", sights.ROLLOUT)]
)
def test_pictures_by_gradients_and_by_attention(project, monkeypatch, name, method):
    monkeypatch.setattr("torchvision.models.resnet50", tiny.resnet50)
    path, write = STAND_INS[name]
    write(Path("data/weights") / path)
    with pretend("mps") as gpu:
        seer, batch = (
            encoders.build("vision", name, encoders.section("vision")),
            sources(gpu.device).split.batch([0]),
        )
        shape = batch["values"]["vision/toy"].shape[:2]
        batch["values"]["vision/toy"] = torch.ones(*shape, seer.dim, device=gpu.device)
        network = write_student(project, widths=WIDTHS | {"vision": seer.dim}).to(gpu.device)
        asked = Through(probe.Probe(network, batch), "vision/toy", seer)
        row = torch.tensor([1], device=gpu.device)
        sight = sights.look(asked, row, asked.probe.ask(row).argmax(1), RAW["vision"])
    assert sight.method == method
    assert np.isfinite(sight.maps).all()
