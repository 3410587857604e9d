"""What tells speakers apart is found without labels, and taken out of a stream's features."""

from pathlib import Path

import networks
import numpy as np
import packed
import pytest
import torch

from merc.data.batches import dataset
from merc.data.records import manifest as manifests
from merc.data.records.labels import label_space
from merc.runtime import params, results
from merc.training.core import loop
from merc.training.pretrain import speaker_directions
from merc.training.pretrain.speaker_directions import MIN_UTTERANCES, directions_between, find_speaker_directions
from models import checkpoint
from models.network import Network
from models.standardise import Standardise
from stages import pretrain as pretrain_stage

WIDTH = 12


def utterances(
    speakers: int, apart: float, each: int = 40, seed: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (N, D), which differ between speakers in two dimensions, turned; who; the turning (D, D)."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(speakers), each)
    means = random.standard_normal((len(who), WIDTH))
    means[:, :2] += apart * random.standard_normal((speakers, 2))[who]
    turning = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0]
    return means @ turning.T, who, turning


def test_the_directions_are_those_in_which_speakers_differ():
    means, who, turning = utterances(6, apart=4.0)
    found = directions_between(means, who, 0.5)
    assert found.shape == (WIDTH, 2) and np.allclose(found.T @ found, np.eye(2))
    assert np.linalg.norm(turning[:, :2].T @ found) == pytest.approx(np.sqrt(2), abs=0.05)  # the same plane
    assert (np.take_along_axis(found, np.abs(found).argmax(0)[None], 0) > 0).all()


@pytest.mark.parametrize(
    ("speakers", "apart", "each", "share"),
    [(6, 0.0, 40, 0.5), (6, 4.0, 40, 0.999), (1, 4.0, 40, 0.5), (6, 4.0, MIN_UTTERANCES - 1, 0.5)],
)
def test_speakers_that_are_alike_or_one_or_rarely_heard_have_none(speakers, apart, each, share):
    means, who, _ = utterances(speakers, apart, each)
    assert directions_between(means, who, share).shape == (WIDTH, 0)


def test_speakers_of_a_constant_dimension_have_no_direction_there():
    means, who, _ = utterances(3, apart=4.0)
    found = directions_between(np.pad(means, ((0, 0), (0, 4))), who, 0.0)
    assert found.shape == (WIDTH + 4, 2) and np.allclose(found[WIDTH:], 0, atol=1e-9)


def test_what_is_taken_out_no_longer_matters():
    made, batch = networks.network(), networks.batch()
    directions = torch.linalg.qr(torch.randn(6, 2))[0]
    made.take_out("audio/prosody", directions)
    with torch.inference_mode():
        before = made(batch)["emotion"]
        moved = made.spread("audio/prosody") * directions[:, 1] * 5.0
        batch["values"]["audio/prosody"] = batch["values"]["audio/prosody"] + moved
        assert torch.allclose(made(batch)["emotion"], before, atol=1e-4)
        batch["values"]["audio/prosody"] = batch["values"]["audio/prosody"] + made.spread("audio/prosody") * 5.0
        assert not torch.allclose(made(batch)["emotion"], before, atol=1e-2)


def test_a_checkpoint_has_the_directions_and_one_without_has_no_trace_of_them(tmp_path):
    made, batch = networks.network(), networks.batch()
    checkpoint.save(tmp_path, made)
    loaded = checkpoint.load(tmp_path)
    assert loaded.directions == made.directions == dict.fromkeys(made.streams, 2)
    with torch.inference_mode():
        assert loaded(batch)["emotion"].equal(made(batch)["emotion"])
    for stream, dim in made.streams.items():
        made.take_out(stream, torch.zeros(dim, 0))
    checkpoint.save(tmp_path, made)
    assert "directions" not in (tmp_path / "config.json").read_text(encoding="utf-8")
    assert made.directions == checkpoint.load(tmp_path).directions == {}
    assert not any("directions" in name for name in made.state_dict())


def test_no_directions_change_nothing():
    standard, values = Standardise(WIDTH), torch.randn(5, WIDTH)
    assert standard(values).equal(values)
    standard.take_out(torch.eye(WIDTH)[:, :2])
    assert standard(values)[:, :2].count_nonzero() == 0 and standard(values)[:, 2:].equal(values[:, 2:])


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A corpus whose speakers differ in what is heard: by ten in the first dimension, and not in words."""
    monkeypatch.chdir(tmp_path)
    for split, seed in (("train", 1), ("dev", 2)):
        table = packed.write_split(split, seed=seed, dialogues=60)
        names = np.array(["Ann", "Bob", "Cy"])
        table["speaker"] = names[np.arange(len(table)) % 3]
        table.loc[table.index[:3], "speaker"] = None
        manifests.write_manifest(manifests.split_folder(split, "sample") / "manifest.parquet", table)
        heard = [None if status != "ok" else np.random.default_rng(row).normal(size=(3, 9)).astype(np.float32)
                 for row, status in enumerate(table["audio_status"])]  # fmt: skip
        for row, values in enumerate(heard):
            if values is not None:
                values[:, 0] += 10.0 * (row % 3)
        packed.packs.write_pack(packed.packs.pack_path(split, "sample", "audio"), packed.pack(heard, 9), table)
    packed.copy_parameters(
        tmp_path, **(packed.QUICK | {"pretrain__epochs": 0, "pretrain__speaker_share": 0.5, "compute__workers": 1})
    )
    return tmp_path


def test_the_stage_takes_speakers_out_of_what_is_heard_and_leaves_words(folder):
    pretrain_stage.main()
    measured = results.read_json(Path("metrics/pretrain.json"))
    assert measured["speaker_directions"] == {"audio/toy": 1}
    assert measured["best_epoch"] == {"3": None, "4": None} and not Path("out/pretrain/off.json").exists()
    network = checkpoint.load("out/pretrain/seed-3")
    direction = network.standards[next(key for key in network.standards if key.startswith("audio"))].directions[
        :, 0
    ]
    assert abs(direction[0]) > 0.95


def test_no_more_than_a_part_of_a_large_corpus_is_read(folder, monkeypatch):
    train = dataset.read_split("train", ["sample"], list(packed.WIDTHS), label_space("meld"))
    model = params.read("model", networks.NetworkConfig)
    network = Network(model, train.streams, train.heads(), train.kinds())
    loop.standardise(network, train)
    monkeypatch.setattr(speaker_directions, "MAX_UTTERANCES", len(train) // 2)
    found = find_speaker_directions(network, train, 0.5)
    assert found["audio/toy"].shape == (9, 1) and abs(found["audio/toy"][0, 0]) > 0.95
