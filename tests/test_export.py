"""The exported folder: complete, sealed, chosen by dev alone, and the same network as the checkpoint."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from explained import LABELS, write_params, write_student, write_world
from safetensors.torch import save_file
from tiny import BertConfig, BertModel, language

from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base.encoder import extract_features
from merc.export import bundle, model_card, needed_encoders, onnx_encoders
from merc.runtime import results
from merc.runtime.errors import UserError
from models import checkpoint
from stages import export

CALIBRATION = {task: {"temperature": 1.5, "threshold": 0.1} for task in LABELS}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What export reads: two seeds' students, the second better on dev, and nothing of test."""
    folder = tmp_path_factory.mktemp("export")
    write_world(folder, split="dev")
    for seed in (1, 2):
        write_student(folder, seed=seed, scale=20.0)
        results.write_json(folder / f"out/distill/seed-{seed}/calibration.json", CALIBRATION)
    results.write_json(folder / "metrics/distill.json", {"by_seed": {"1": 0.4, "2": 0.5}})
    write_params(folder)
    return folder


@pytest.fixture
def exported(world, tmp_path, monkeypatch):
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("merc.export.needed_encoders.describe_encoder", lambda modality, streams: dict(ENCODER))
    monkeypatch.setattr("merc.export.needed_encoders.restore_encoder", lambda *about: None)
    export.main()
    return Path("out/export")


ENCODER = {"encoder": "toy", "source": "a test", "weights": None, "sha256": "0"}


def test_what_is_exported_is_the_checkpoint_and_loads_without_parameters(exported):
    metrics = results.read_json(Path("metrics/export.json"))
    assert metrics["torch"] == {"difference": 0, "emotion": 1, "sentiment": 1}
    engines = results.read_json(Path("metrics/bench/export.json"))
    assert engines["onnx"]["difference"] <= 2e-4  # of logits that were made 20 times as large
    assert engines["onnx"]["emotion"] == engines["onnx"]["sentiment"] == 1
    assert engines["int8"]["emotion"] >= 0.9
    assert metrics["bytes"]["total"] == sum(path.stat().st_size for path in exported.rglob("*") if path.is_file())
    assert metrics["bytes"]["model.int8.onnx"] == (exported / "model.int8.onnx").stat().st_size
    Path("params.yaml").unlink()
    own, other = checkpoint.load("out/distill/seed-2"), checkpoint.load(exported)
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters(), strict=True))
    assert results.read_json(exported / "labels.json") == {task: list(names) for task, names in LABELS.items()}
    assert results.read_json(exported / "calibration.json") == CALIBRATION
    assert set(results.read_json(exported / "encoders.json")) == {"text", "audio", "vision"}


def test_the_same_inputs_give_the_same_bytes(exported):
    before = bundle.verify(exported)
    export.main()
    assert bundle.verify(exported) == before


def test_a_folder_that_is_not_what_was_exported_is_refused_by_name(exported):
    bundle.verify(exported)
    with (exported / "labels.json").open("a") as opened:
        opened.write(" ")
    with pytest.raises(UserError, match=r"labels\.json: was changed"):
        bundle.verify(exported)
    (exported / "labels.json").unlink()
    with pytest.raises(UserError, match=r"labels\.json: is missing"):
        bundle.verify(exported)


def test_a_foreign_file_a_newer_format_and_no_model_are_refused(exported):
    (exported / "extra.py").write_text("")
    with pytest.raises(UserError, match=r"extra\.py"):
        bundle.verify(exported)
    known = results.read_json(exported / "hashes.json")
    results.write_json(exported / "hashes.json", known | {"format": bundle.FORMAT + 1})
    with pytest.raises(UserError, match="newer"):
        bundle.verify(exported)
    results.write_json(exported / "hashes.json", known | {"format": bundle.OLDEST - 1})
    with pytest.raises(UserError, match="old; export it again"):
        bundle.verify(exported)
    with pytest.raises(UserError, match="dvc repro export"):
        bundle.verify(exported / "nothing")


def test_tuned_encoders_and_the_lip_sync_network_go_along(world, tmp_path, monkeypatch):
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for place in ("out/adapt/text", "out/lipsync/vision"):
        Path(place).mkdir(parents=True)
        save_file({"weight": torch.ones(2)}, f"{place}/model.safetensors")
        results.write_json(Path(place) / "config.json", {"encoder": "toy"})
    tuned = {"text": "out/adapt/text"}
    monkeypatch.setattr(
        "merc.export.needed_encoders.describe_encoder",
        lambda modality, streams: ENCODER | {"weights": tuned.get(modality)},
    )
    monkeypatch.setattr("merc.export.needed_encoders.restore_encoder", lambda *about: None)
    export.main()
    files = bundle.verify(Path("out/export"))
    assert {"encoders/text/model.safetensors", "lipsync/model.safetensors", "lipsync/config.json"} <= set(files)
    assert {"model.onnx", "model.int8.onnx"} <= set(files)
    needed = json.loads(Path("out/export/encoders.json").read_text())
    assert needed["text"]["weights"] == "encoders/text"
    assert needed["audio"]["weights"] is None


def test_the_seed_is_the_best_on_dev_or_the_one_asked_for():
    scores = {"1": 0.4, "2": 0.5, "3": 0.5, "4": None}
    assert bundle.choose_seed("best", [1, 2, 3, 4], scores) == 2
    assert bundle.choose_seed(4, [1, 2, 3, 4], scores) == 4
    with pytest.raises(UserError, match=r"export\.seed = 9"):
        bundle.choose_seed(9, [1, 2], scores)


def test_the_card_tells_dev_figures_and_the_limits(exported):
    card = (exported / "card.md").read_text()
    network = checkpoint.load(exported)
    assert f"{model_card.count_parameters(network):,} parameters" in card
    assert "| emotion | " in card
    assert "drawn by a program" in card
    assert "seed 2" in card


def test_untouched_encoders_are_named_by_the_digest_of_their_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    text, sound = (
        needed_encoders.describe_encoder(m, [s]) for m, s in (("text", "text/minilm"), ("audio", "audio/prosody"))
    )
    assert text["weights"] is None
    assert len(text["sha256"]) == 64
    assert "all-MiniLM-L6-v2" in text["source"]
    assert sound["sha256"] is None  # it has no weights
    assert needed_encoders.describe_encoder("vision", ["text/minilm"]) is None


def test_weights_that_were_tuned_here_are_copied_computed_and_sealed(tmp_path, monkeypatch):
    """A tiny BERT under data/weights, as adapt leaves it: the folder needs nothing else of the project."""
    monkeypatch.chdir(tmp_path)
    language(BertModel, BertConfig, tmp_path / "data/weights/tiny-bert")
    write_params(tmp_path, encode__text__encoder="tiny-bert")
    original = needed_encoders.describe_encoder("text", ["text/tiny-bert"])
    assert original["weights"] is None
    tuned = needed_encoders.restore_encoder("text", original, tmp_path)
    with torch.no_grad():
        tuned.model.get_input_embeddings().weight.add_(0.5)
    Path("out/adapt/text").mkdir(parents=True)
    save_file(dict(tuned.state_dict()), "out/adapt/text/model.safetensors")
    results.write_json(Path("out/adapt/text/config.json"), {"encoder": "tiny-bert"})
    own = write_student(tmp_path, modalities=["text"], widths={"text": 16}, stem={"text": "mlp"})
    own.streams = {"text/tiny-bert": 16}
    needed = export.write_encoders(own)["text"]
    assert needed["weights"] == "encoders/text"
    assert needed["onnx"] == "exported"
    assert needed["sha256"] == needed_encoders.weights_sha256(tuned) != original["sha256"]
    shutil.rmtree("out/adapt")
    Path("params.yaml").unlink()
    lines = [TextInput("so good", "Ann"), TextInput("no", "Bob")]
    restored = needed_encoders.restore_encoder("text", needed, Path("out/export"))
    expected = extract_features(tuned, lines)
    exported = onnx_encoders.load_text_encoder(Path("out/export/encoders/text/model.onnx"), needed)
    assert exported.dim == restored.dim
    for encoder in (restored, exported):
        for one, other in zip(extract_features(encoder, lines), expected, strict=True):
            assert np.abs(one - other).max() < 1e-4
    save_file(
        {name: tensor + 1 for name, tensor in tuned.state_dict().items()},
        "out/export/encoders/text/model.safetensors",
    )
    with pytest.raises(UserError, match="not those that the model was trained with"):
        needed_encoders.restore_encoder("text", needed, Path("out/export"))
