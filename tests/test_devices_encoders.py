"""On a GPU (pretended): encoders are adapted, fine-tuned and used, killed trainings go on, lip-sync learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pretend_device import pretend
from tuned_project import set_up

from merc.data.records import manifest
from merc.encoders.base import factory, packing
from merc.encoders.lipsync.candidates import METRIC_NAMES
from merc.runtime.results import read_json
from merc.training.core.saved_training import SavedTraining
from stages import adapt, finetune, lipsync

ADAPT = {"epochs": 2, "unfreeze_layers": 1, "batch": 8, "accumulate": 2, "average": 0.5, "label_smoothing": 0.1}
FINETUNE = {"epochs": 2, "freeze_epochs": 1, "encoders": ["text"], "batch": 3, "accumulate": 2}


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    """What extract leaves, a tiny language model, and parameters that choose the device that is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("device"))
        yield


def configure(section: str, **changes) -> None:
    set_up(section, **changes)
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("device: cpu", "device: auto"), encoding="utf-8")


class Killed(BaseException):
    """Nothing catches it."""


def killed_after_an_epoch(write):
    def and_die(saved, *state):
        write(saved, *state)
        raise Killed

    return and_die


def test_an_encoder_is_adapted_and_a_killed_training_goes_on(monkeypatch):
    configure("adapt.text", **ADAPT)
    with pretend() as gpu:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(SavedTraining, "write", killed_after_an_epoch(SavedTraining.write))
            adapt.main("text")
        adapt.main("text")
    assert torch.ops.aten.native_layer_norm_backward.default in gpu.kernels
    assert read_json(Path("metrics/adapt/text.json"))["best_epoch"] in (1, 2)


def test_what_has_learnt_nothing_before_is_adapted():
    augment = dict.fromkeys(("speed", "gain", "noise", "time_mask", "band_mask"), 0.1) | {
        "mixup": 0.5,
        "seconds": 0.5,
    }
    changes = ADAPT | {"epochs": 2, "freeze_epochs": 0, "augment": augment}
    configure("adapt.audio", encoder="mel-network", **changes)
    with pretend("mps") as gpu:
        adapt.main("audio")
    assert torch.ops.aten.convolution_backward.default in gpu.kernels


def test_encoders_learn_inside_the_network_and_a_killed_training_goes_on(monkeypatch):
    configure("finetune", **FINETUNE)
    with pretend("mps") as gpu:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(SavedTraining, "write", killed_after_an_epoch(SavedTraining.write))
            finetune.main()
        finetune.main()
    assert torch.ops.aten.native_layer_norm_backward.default in gpu.kernels
    assert read_json(Path("metrics/finetune.json"))["best_epoch"] in (1, 2)


def test_a_network_encodes_on_the_gpu_and_signal_processing_on_the_cpu():
    configure("finetune", **FINETUNE)
    rows, folder = manifest.read_manifests("dev", ["sample"]), manifest.split_folder("dev", "sample")
    for modality, name, kind in (("text", "tiny", "cuda"), ("audio", "prosody", "cpu"), ("vision", "hog", "cpu")):
        section = factory.encoding_section(modality)
        reader = factory.modality_package(modality).reader(section)
        expected = packing.encode_to_pack(factory.build(modality, name, section), reader, folder, rows)
        with pretend():
            encoder = packing.to_compute_device(factory.build(modality, name, section))
            assert {one.device.type for one in (*encoder.parameters(), *encoder.buffers())} == {kind}
            found = packing.encode_to_pack(encoder, reader, folder, rows)
        np.testing.assert_allclose(found.values.astype(float), expected.values.astype(float), atol=2e-3)


def test_lip_sync_learns_and_answers():
    configure("lipsync", epochs=1, batch=8)
    with pretend("mps") as gpu:
        lipsync.main()
    assert torch.ops.aten.searchsorted.Tensor in gpu.kernels
    assert set(read_json(Path("metrics/lipsync.json"))) == set(METRIC_NAMES)
