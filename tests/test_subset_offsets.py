"""Offsets of logits by the subset of modalities present: what they are, and that a checkpoint has them."""

from pathlib import Path

import networks
import numpy as np
import packed
import pytest
import torch
from safetensors.torch import load_file

from merc.data.batches import dataset
from merc.data.records.labels import label_space
from merc.export import onnx_files, onnx_network
from merc.training.core import loop
from merc.training.distill import subset_prior
from models import checkpoint
from models.network import Network
from models.subset_offsets import subset_numbers
from stages import distill, pretrain, train

TABLES = {"emotion": torch.randn(8, 7, generator=torch.Generator().manual_seed(1))}


def filled() -> Network:
    network = networks.network()
    network.offsets.fill({"emotion": TABLES["emotion"] * (torch.arange(8) < 7).unsqueeze(1)})
    return network


def test_a_table_takes_from_the_logits_of_its_subset_and_its_task_alone():
    batch = networks.batch()
    batch["present"][2], batch["present"][3] = torch.tensor([True, False, True]), torch.tensor([True, True, True])
    plain, offset = networks.network()(batch), filled()(batch)
    numbers = subset_numbers(batch["present"])
    assert numbers[:4].tolist() == [7, 0, 5, 7]
    visible = batch["present"] & torch.stack(
        [networks.network().encode(batch)[1][m] > 0 for m in networks.MODALITIES], 1
    )
    for row, number in enumerate(subset_numbers(visible).tolist()):
        taken = TABLES["emotion"][number] if number < 7 else torch.zeros(7)
        torch.testing.assert_close(offset["emotion"][row], plain["emotion"][row] - taken)
    assert torch.equal(offset["sentiment"], plain["sentiment"]) and torch.equal(offset["context"], plain["context"])
    hidden = torch.ones_like(batch["present"])
    hidden[:, 1] = False
    assert not torch.equal(filled()(batch, hidden)["emotion"], networks.network()(batch, hidden)["emotion"])


def test_a_checkpoint_has_the_tables_that_were_filled_and_no_others(tmp_path):
    checkpoint.save(tmp_path / "with", filled())
    checkpoint.save(tmp_path / "without", networks.network())
    assert not [name for name in networks.network().state_dict() if name.startswith("offsets")]
    loaded, plain = (checkpoint.load(tmp_path / name) for name in ("with", "without"))
    batch = networks.batch()
    assert torch.equal(loaded(batch)["emotion"], filled()(batch)["emotion"])
    assert torch.equal(plain(batch)["emotion"], networks.network()(batch)["emotion"])


def test_a_table_of_another_shape_is_another_network(tmp_path):
    network = networks.network()
    network.offsets.fill({"emotion": torch.zeros(4, 7)})
    checkpoint.save(tmp_path, network)
    with pytest.raises(checkpoint.UnreadableCheckpoint, match="another network"):
        checkpoint.load(tmp_path)


def test_the_exported_network_has_them(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "quantize", lambda *_: None)
    own = filled()
    onnx_network.export_network(tmp_path, own)
    session = onnx_files.OnnxSession(tmp_path / onnx_files.FULL)
    made = networks.batch((4, 2, 3), seed=5)
    found = session(onnx_network.named_arrays(made, own.streams))["emotion"]
    np.testing.assert_allclose(found, own(made)["emotion"].detach().numpy(), atol=1e-4, rtol=1e-4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=1, dialogues=30)
    packed.write_split("dev", seed=2, dialogues=6)


def test_the_tables_are_how_much_more_often_a_class_is_answered(folder):
    split = dataset.read_split("train", ["sample"], networks.MODALITIES, label_space("meld"))
    torch.manual_seed(1)
    network = Network(networks.config(), split.streams, split.heads()).eval()
    loop.standardise(network, split)
    generator = torch.Generator().manual_seed(3)
    tables = subset_prior.fit_subset_offsets(network, split, 0.5, generator)
    assert set(tables) == {"emotion", "sentiment"} and not tables["emotion"][7].any()
    views = torch.rand(2, *split.present.shape, generator=torch.Generator().manual_seed(3)) >= 0.5
    means = {}
    for view in (*views, torch.ones_like(split.present)):
        answers = torch.from_numpy(loop.predict(network, split, view)["emotion"]).softmax(1)
        for row, number in enumerate(subset_numbers(split.present & view).tolist()):
            means.setdefault(number, []).append(answers[row])
    for number, rows in means.items():
        expected = 0.5 * (torch.stack(rows).mean(0).log() - torch.stack(means[7]).mean(0).log())
        expected = expected if len(rows) >= subset_prior.MIN_ROWS else torch.zeros(7)
        torch.testing.assert_close(tables["emotion"][number], expected, rtol=1e-4, atol=1e-5)


def test_the_stage_fits_them_if_asked_and_changes_nothing_else(folder):
    saved = {}
    for strength in (0.0, 1.0):
        packed.copy_parameters(
            Path(), **packed.QUICK | {"train__seeds": [3], "train__epochs": 1, "distill__subset_prior": strength}
        )
        for stage in (pretrain, train, distill) if not strength else (distill,):
            stage.main()
        saved[strength] = load_file("out/distill/seed-3/model.safetensors")
    added = {name for name in saved[1.0] if name not in saved[0.0]}
    assert added == {"offsets.emotion", "offsets.sentiment"} and saved[0.0].keys() < saved[1.0].keys()
    assert all(torch.equal(saved[1.0][name], tensor) for name, tensor in saved[0.0].items())
