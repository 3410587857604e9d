"""Exported folders that somebody else made: each mistake is one line that names the file; nothing is built."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported import write_model
from safetensors import numpy as arrays_files
from safetensors.torch import load_file, save_file

from merc.encoders.lipsync import clip_inputs
from merc.export import bundle, needed_encoders, onnx_encoders, onnx_network
from merc.runtime import results
from merc.runtime.errors import UserError
from merc.serve.commands.predict import predict
from merc.serve.predictor import folder_contents
from merc.serve.predictor.predictor import Predictor
from merc.training.core import speaker_offsets
from models import checkpoint, lipsync
from models.lipsync import Synchrony, TowersConfig

Change = Callable[[Any], Any]  # of a JSON file's content: changes it in place, or returns another one
TOWERS = TowersConfig(
    height=clip_inputs.HEIGHT,
    width=clip_inputs.WIDTH,
    bands=clip_inputs.BANDS,
    frames_per_picture=clip_inputs.FRAMES_PER_PICTURE,
    dim=8,
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of JSON files, the network, and lip-sync."""
    folder = write_model(tmp_path / "model")
    lipsync.save(folder / "lipsync", Synchrony(TOWERS), TOWERS)
    return _sealed(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder that has ONNX files of the network and of the text encoder, too."""
    folder = write_model(tmp_path_factory.mktemp("whole"))
    onnx_network.export_network(folder, checkpoint.load(folder))
    text = results.read_json(folder / "encoders.json")["text"]
    encoder = needed_encoders.restore_encoder("text", text, folder)
    assert encoder is not None and onnx_encoders.export_text_encoder(folder / "encoders/text", encoder) is None
    (folder / "encoders/text/model.onnx").unlink()  # 90 MB, to be hashed at every opening
    return _sealed(folder)


def _sealed(folder: Path) -> Path:
    bundle.write_hashes(folder)
    return folder


def refusal(folder: Path, name: str | Path, engine: str = "auto", *, reseal: bool = True) -> str:
    """The one line in which the folder is refused, which names the file."""
    if reseal:
        bundle.write_hashes(folder)
    with pytest.raises(UserError) as refused:
        Predictor.load(folder, engine=engine)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 700 and str(folder / name) in message, message
    return message


def put(*path: str, value: Any) -> Change:
    """Set the value at this path of keys."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def drop(*path: str) -> Change:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


JSON_FILES = ("labels.json", "calibration.json", "extraction.json", "encoders.json", "config.json")
MISTAKES: list[tuple[str, Change, str]] = [
    ("labels.json", lambda labels: labels["emotion"].pop(), r"emotion = \['neutral'.*config\.json has"),
    ("labels.json", lambda labels: labels["emotion"].reverse(), "emotion = "),
    ("labels.json", drop("sentiment"), "sentiment = None"),
    ("labels.json", put("emotion", value="joy"), "emotion = 'joy'"),
    ("labels.json", put("emotion", value=[1, 2]), "emotion.0 = 1"),
    ("calibration.json", drop("sentiment"), "the tasks are"),
    ("calibration.json", put("emotion", "temperature", value=float("nan")), "emotion.temperature = nan"),
    ("calibration.json", put("emotion", "temperature", value=float("inf")), "emotion.temperature = inf"),
    ("calibration.json", put("emotion", "temperature", value=0), "emotion.temperature = 0"),
    ("calibration.json", put("emotion", "temperature", value=-1.5), "emotion.temperature = -1.5"),
    ("calibration.json", put("emotion", "temperature", value=10**400), "emotion.temperature = 1000"),
    ("calibration.json", put("emotion", "threshold", value=7), "emotion.threshold = 7"),
    ("calibration.json", put("emotion", "threshold", value="0.5"), "emotion.threshold = '0.5'"),
    ("calibration.json", put("emotion", "threshold", value=None), "emotion.threshold = None"),
    ("calibration.json", drop("emotion", "threshold"), "emotion.threshold is missing"),
    ("calibration.json", put("anger", value={}), "the tasks are"),
    ("extraction.json", put("audio", "max_seconds", value=-3.0), "audio.max_seconds = -3.0"),
    ("extraction.json", put("audio", "max_seconds", value=1e-9), "audio.max_seconds = 1e-09"),
    ("extraction.json", put("audio", "max_seconds", value=1e12), "audio.max_seconds"),
    ("extraction.json", put("audio", "min_seconds", value=1e9), "audio.min_seconds"),
    ("extraction.json", put("audio", "min_seconds", value=20), "audio.min_seconds = 20"),
    ("extraction.json", put("video", "side", value=10**9), "video.side"),
    ("extraction.json", put("video", "fps", value=-1), "video.fps"),
    ("extraction.json", put("video", "frame", value="last"), "video.frame = 'last'"),
    ("extraction.json", put("faces", "size", value=10**9), "faces.size"),
    ("extraction.json", put("faces", "detector", value="eyes"), "faces.detector = 'eyes'"),
    ("extraction.json", put("faces", value=[]), "faces = "),
    ("extraction.json", drop("align"), "align is missing"),
    ("encoders.json", drop("vision"), "streams of"),
    ("encoders.json", put("smell", value={}), "smell.encoder is missing"),
    ("encoders.json", put("audio", "encoder", value="log-mel"), "audio.encoder = 'log-mel'.*audio/prosody"),
    ("encoders.json", put("audio", "encoder", value="../../etc"), "audio.encoder"),
    ("encoders.json", put("audio", "encoder", value=7), "audio.encoder = 7"),
    ("encoders.json", put("audio", "weights", value="/etc"), "audio.weights = '/etc': null or encoders/audio"),
    ("encoders.json", put("audio", "weights", value="encoders/../../../x"), "audio.weights"),
    ("encoders.json", put("audio", "sha256", value="abc"), "audio.sha256"),
    ("encoders.json", put("audio", "settings", "frame_rate", value=1e-12), "audio.settings.frame_rate"),
    ("encoders.json", put("audio", "settings", "frame_rate", value=float("nan")), "audio.settings.frame_rate"),
    ("encoders.json", put("audio", "settings", value={}), "audio.settings.frame_rate is missing"),
    ("encoders.json", put("text", "settings", "max_tokens", value=-1), "text.settings.max_tokens"),
    ("encoders.json", put("vision", "settings", "picture", value="x"), "vision.settings.picture"),
    ("config.json", put("model", "dim", value=10**9), "model.dim = 1000000000"),
    ("config.json", put("model", "dim", value=-16), "model.dim = -16"),
    ("config.json", put("model", "fused", value=8192), r"model\.safetensors"),
    ("config.json", put("model", "fusion", value="magic"), "model.fusion = 'magic'"),
    ("config.json", put("model", "fusion", value="concat"), r"model\.safetensors"),
    ("config.json", put("model", "modalities", value=["text"]), "streams = 'audio'"),
    ("config.json", put("model", "modalities", value=[]), "model.modalities"),
    ("config.json", put("streams", "text/minilm", value=385), r"model\.safetensors"),
    ("config.json", put("streams", "text/minilm", value=10**18), "streams.text/minilm"),
    ("config.json", put("streams", "text/minilm", value=-1), "streams.text/minilm"),
    ("config.json", put("streams", "text/other", value=4), r"model\.safetensors"),
    ("config.json", put("streams", value=[]), "streams = "),
    ("config.json", put("offsets", value=["mood"]), "offsets = 'mood': the tasks are"),
    ("config.json", put("offsets", value=[]), r"model\.safetensors"),
    ("config.json", drop("labels", "emotion"), "emotion"),
    ("config.json", put("labels", "emotion", value=["joy", "joy"]), "each label once"),
    ("config.json", put("labels", "emotion", value=["joy", "anger"]), r"labels\.json"),
    ("config.json", put("labels", "Hunger", value=["yes", "no"]), "labels.Hunger"),
    ("lipsync/config.json", put("dim", value=10**9), "describes no network"),
    ("lipsync/config.json", put("dim", value=2**15), r"lipsync/model\.safetensors"),
    ("lipsync/config.json", put("height", value=-8), "height = -8"),
    ("lipsync/config.json", put("bands", value="x"), "bands = 'x'"),
    ("lipsync/config.json", drop("dim"), "dim is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), MISTAKES)
def test_a_mistake_in_a_description_is_named(folder, name, change, words):
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    change(content)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    message = refusal(folder, Path(name).parent)  # the file, or the other of two that do not fit
    assert re.search(words, message) and ("json" in words or "safetensors" in words or name in message), message


@pytest.mark.parametrize("name", [*JSON_FILES, "lipsync/config.json"])
@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "7", '"x"', deep(100_000), '{"a":' * 5_000, "\x00", '{"emotion": 1e999}', " " * 2**21],
    ids=["empty", "half", "null", "list", "number", "word", "deep", "deeper", "zero", "infinite", "long"],
)
def test_what_is_no_description_is_named(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    refusal(folder, name)


@pytest.mark.parametrize("name", [*JSON_FILES, "lipsync/config.json"])
def test_a_missing_description_is_named(folder, name):
    (folder / name).unlink()
    refusal(folder, name, reseal=False)
    refusal(folder, name)


@pytest.mark.parametrize("name", ["model.safetensors", "lipsync/model.safetensors"])
def test_damaged_weights_are_named(folder, name):
    content = (folder / name).read_bytes()
    for damage in (b"", b"no weights", content[: len(content) // 2], b"\xff" * 64 + content[64:]):
        (folder / name).write_bytes(damage)
        refusal(folder, name, reseal=False)
        refusal(folder, name)


SPEAKER_MISTAKES = [
    ({"text/other/usual": np.zeros(384, np.float32)}, "text/other"),
    ({"text/minilm/usual": np.zeros(383, np.float32)}, r"\[383\]"),
    ({"text/minilm/ratio": None}, "text/minilm/ratio = 'missing'"),
    ({"text/minilm/more": np.zeros(384, np.float32)}, "text/minilm/more"),
    ({"text/minilm/ratio": np.full(384, -1, np.float32)}, "ratio 0 at least"),
    ({"text/minilm/ratio": np.full(384, np.nan, np.float32)}, "ratio 0 at least"),
    ({"text/minilm/usual": np.full(384, np.inf, np.float32)}, "usual is finite"),
    ({"text/minilm/usual": np.zeros(384, np.float64)}, "F64"),
]


@pytest.mark.parametrize(("change", "words"), SPEAKER_MISTAKES)
def test_a_mistake_in_what_is_said_of_speakers_is_named(folder, change, words):
    path = folder / speaker_offsets.FILE
    arrays = arrays_files.load_file(path) | change
    arrays_files.save_file({name: array for name, array in arrays.items() if array is not None}, path)
    assert re.search(words, message := refusal(folder, path.name)), message


def test_damaged_onnx_files_are_named(whole, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    for name in ("model.int8.onnx", "encoders/text/model.int8.onnx"):
        content = (folder / name).read_bytes()
        for damage in (b"", b"no weights", content[: len(content) // 2]):
            (folder / name).write_bytes(damage)
            refusal(folder, name, "int8")
        (folder / name).write_bytes(content)
    (folder / "encoders/text/tokenizer.json").write_text('{"model": {}}', encoding="utf-8")
    refusal(folder, "encoders/text/tokenizer.json", "int8")
    shutil.copy(whole / "encoders/text/tokenizer.json", folder / "encoders/text")
    name = "encoders/text/special_tokens.json"
    known = results.read_json(folder / name)
    for content in (
        [],
        None,
        {},
        known | {"more": 1},
        *(known | {"first": token} for token in (10**9, -1, "x", 1.5)),
    ):
        results.write_json(folder / name, content)
        refusal(folder, name, "int8")
    results.write_json(folder / name, known)
    shutil.copy(folder / "encoders/text/model.int8.onnx", folder / "model.int8.onnx")
    assert "asks for an input 'input_ids'" in refusal(folder, "model.int8.onnx", "int8")
    shutil.copy(whole / "model.int8.onnx", folder / "encoders/text/model.int8.onnx")
    assert "has no output 'hidden'" in refusal(folder, "encoders/text/model.int8.onnx", "int8")


def test_an_onnx_file_of_other_labels_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("exported.LABELS", {"emotion": ("joy", "anger"), "sentiment": ("good", "bad")})
    other = write_model(tmp_path / "other")
    onnx_network.export_network(other, checkpoint.load(other))
    shutil.copy(other / "model.onnx", folder)
    assert "'emotion' has the shape (9, 2)" in refusal(folder, "model.onnx", "onnx")


def test_weights_that_are_no_numbers_are_named(folder):
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point() and "heads" in name)
    path.unlink()
    save_file(weights | {name: torch.full_like(weights[name], torch.nan)}, path)
    assert f"{name} is not finite" in refusal(folder, "model.safetensors")


def test_nothing_is_built_of_an_absurd_description(folder, monkeypatch):
    """Only the headers of the weights are read: a network of the largest widths would take gigabytes."""
    content = results.read_json(folder / "config.json")
    largest = copy.deepcopy(content)
    largest["model"] |= {"dim": 8192, "fused": 8192, "roles": 8192, "fusion": "graph-multiattn"}
    results.write_json(folder / "config.json", largest)
    monkeypatch.setattr(checkpoint, "load", lambda *arguments: pytest.fail("a network was built"))
    state = torch.get_rng_state()
    refusal(folder, "model.safetensors")
    assert torch.equal(state, torch.get_rng_state()), "no random number was drawn"


def test_a_folder_of_other_hashes_than_those_trusted_is_refused(folder, tmp_path, capsys):
    _sealed(folder)
    trusted = bundle.sha256(folder / "hashes.json")
    assert Predictor.load(folder, trust=trusted.upper()).labels
    results.write_json(folder / "calibration.json", results.read_json(folder / "calibration.json"))
    (folder / "card.md").write_text("another", encoding="utf-8")
    _sealed(folder)  # damage would be found, a hand that writes the hashes, too, would not
    assert Predictor.load(folder).labels
    with pytest.raises(UserError, match=r"hashes\.json: has the SHA-256 [0-9a-f]{64}, not "):
        Predictor.load(folder, trust=trusted)
    (tmp_path / "clip.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match=r"hashes\.json: has the SHA-256"):
        predict(str(tmp_path / "clip.mp4"), "--model", str(folder), "--trust", trusted)


def test_the_descriptions_are_as_they_were_written(folder):
    contents = folder_contents.read(folder)
    assert contents.calibration == results.read_json(folder / "calibration.json")
    assert contents.encoders == results.read_json(folder / "encoders.json")
    assert contents.network.labels == results.read_json(folder / "labels.json")
