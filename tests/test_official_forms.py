"""The files of well-known models in the form in which they were published: older names, heads, half precision."""

import json
import os
import shutil
import subprocess
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
)

from merc.data.records.encoder_inputs import AudioInput, TextInput, VisionInput
from merc.encoders.base import factory
from merc.encoders.base.encoder import extract_features

PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"
RAW = {
    "text": [TextInput("What is that?", "Ann"), TextInput("", "Bob")],
    "audio": [
        AudioInput(0.1 * np.random.default_rng(n).standard_normal(n).astype(np.float32)) for n in (4_000, 9_999)
    ],
    "vision": [
        VisionInput(
            np.random.default_rng(1).integers(0, 256, (5, 40, 40, 3)).astype(np.uint8),
            np.zeros((5, 4), np.float32),
            np.arange(5) / 25,
        )
    ],
}
DEBERTA = {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
           "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0}  # fmt: skip


def bert(tensors: dict) -> dict:
    """google-bert/bert-base-uncased, model.safetensors: LayerNorm as TensorFlow names it, two heads."""
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    named = {f"bert.{_renamed(name, old)}": tensor for name, tensor in tensors.items()}
    heads = ("cls.predictions.bias", "cls.predictions.transform.LayerNorm.gamma", "cls.seq_relationship.bias")
    return named | {name: torch.zeros(9) for name in heads}


def deberta(tensors: dict) -> dict:
    """microsoft/deberta-v3-base, pytorch_model.bin: half precision, the generator's heads."""
    named = {f"deberta.{name}": tensor.half() for name, tensor in tensors.items()}
    heads = {"lm_predictions.lm_head.bias": 9, "mask_predictions.dense.bias": 16}
    return named | {name: torch.zeros(size).half() for name, size in heads.items()}


def hubert(tensors: dict) -> dict:
    """facebook/hubert-base-ls960, pytorch_model.bin: weight norm as torch named it before 2.0."""
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    return {_renamed(name, old): tensor for name, tensor in tensors.items()}


def wav2vec2(tensors: dict) -> dict:
    """facebook/wav2vec2-base, pytorch_model.bin: the same, and the heads of its pretraining."""
    named = {f"wav2vec2.{name}": tensor for name, tensor in hubert(tensors).items()}
    return named | {"quantizer.codevectors": torch.zeros(1, 640, 8), "project_hid.bias": torch.zeros(8)}


def _renamed(name: str, table: dict[str, str]) -> str:
    for new, old in table.items():
        name = name.replace(new, old)
    return name


def as_safetensors(tensors: dict, folder: Path) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def as_bin(tensors: dict, folder: Path, zipped: bool = True) -> None:
    torch.save(OrderedDict(tensors), folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    (folder / "model.safetensors").unlink()


STORED_OLD = partial(as_bin, zipped=False)  # as torch stored before 1.6
FORMS = {  # name -> modality, who writes the plain form, the published names, how they are stored
    "bert-base-uncased": ("text", partial(tiny.language, BertModel, BertConfig), bert, as_safetensors),
    "deberta-v3-base": (
        "text",
        partial(tiny.language, DebertaV2Model, DebertaV2Config, **DEBERTA),
        deberta,
        as_bin,
    ),
    "wav2vec2-base": ("audio", partial(tiny.speech, Wav2Vec2Model, Wav2Vec2Config), wav2vec2, as_bin),
    "hubert-base-ls960": ("audio", partial(tiny.speech, HubertModel, HubertConfig), hubert, STORED_OLD),
}


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")
    monkeypatch.setattr("torchvision.models.resnet50", tiny.resnet50)
    monkeypatch.setattr("torchvision.models.video.r3d_18", tiny.r3d_18)
    return tmp_path / "data/weights"


def encoded(modality: str, name: str) -> list[np.ndarray]:
    encoder = factory.build(modality, name, factory.encoding_section(modality))
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())
    return extract_features(encoder, RAW[modality])


@pytest.mark.parametrize("name", FORMS)
def test_the_published_form_gives_the_same_features(weights, name):
    modality, write, published, store = FORMS[name]
    folder = weights / name
    write(folder)
    plain = load_file(folder / "model.safetensors")
    if name.startswith("deberta"):  # what half precision keeps of the weights
        plain = {key: tensor.half().float() for key, tensor in plain.items()}
        as_safetensors(plain, folder)
    before = encoded(modality, name)
    assert set(published(plain)) & set(plain) != set(plain)
    store(published(plain), folder)
    config = json.loads((folder / "config.json").read_text())
    del config["dtype"]  # older than the key
    (folder / "config.json").write_text(json.dumps(config))
    for one, other in zip(before, encoded(modality, name), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["resnet50", "r3d_18"])
def test_torchvisions_older_files_give_the_same_features(weights, name):
    path, write = tiny.STAND_INS[name]
    write(weights / path)
    before = encoded("vision", name)
    tensors = torch.load(weights / path, weights_only=True)
    torch.save(tensors, weights / path, _use_new_zipfile_serialization=False)
    for one, other in zip(before, encoded("vision", name), strict=True):
        assert np.array_equal(one, other)


UNREACHED = """
import sys
from merc.encoders.base import factory
from merc.runtime.errors import UserError
try:
    factory.build(sys.argv[1], sys.argv[2], factory.encoding_section(sys.argv[1]))
except UserError as problem:
    print(problem)
print([name for name in ("torchvision", "transformers", "huggingface_hub.hf_api") if name in sys.modules])
"""


@pytest.mark.parametrize(("modality", "name"), [("text", "deberta-v3-base"), ("vision", "resnet50")])
def test_what_is_not_there_is_said_before_anything_slow_is_imported(modality, name):
    environment = os.environ | {
        "HF_HOME": "no-cache",
        "PYTHONPATH": str(PARAMS.parent),
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", UNREACHED, modality, name],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    said, imported = done.stdout.splitlines()
    assert f"not in data/weights/{name}" in said and imported == "[]"
