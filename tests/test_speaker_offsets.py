"""What is usual of a speaker is found without labels, and subtracted wherever a network reads features."""

from dataclasses import replace
from pathlib import Path

import networks
import numpy as np
import packed
import pytest
import torch

from merc.data.batches import dataset, offsets
from merc.data.batches.streams import FeatureStream
from merc.data.records import manifest as manifests
from merc.data.records.labels import label_space
from merc.export import onnx_network
from merc.runtime import results
from merc.runtime.errors import UserError
from merc.training.core import loop, speaker_offsets, supervision
from merc.training.core.speaker_offsets import StreamSpeakers
from merc.training.core.task_scores import headline
from models import checkpoint
from stages import distill as distill_stage
from stages import evaluate as evaluate_stage
from stages import pretrain as pretrain_stage
from stages import train as train_stage

WIDTH, APART = 6, 2.0


def utterances(speakers: int, each: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (N, D) of deviation 1, which differ between speakers by APART in the first half; who; their offsets."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(speakers), each)
    offsets = APART * random.standard_normal((speakers, WIDTH)) * (np.arange(WIDTH) < WIDTH // 2)
    return 5.0 + offsets[who] + random.standard_normal((len(who), WIDTH)), who, offsets


def test_the_variances_are_told_apart():
    means, who, _ = utterances(400, each=5)
    blocks = [(means[:700], who[:700]), (means[700:], who[700:])]
    fitted = StreamSpeakers.fit(blocks, 400)
    assert fitted is not None and np.allclose(fitted.usual, 5.0, atol=0.4)
    assert fitted.ratio[: WIDTH // 2] == pytest.approx(1 / APART**2, rel=0.3)
    assert (fitted.ratio[WIDTH // 2 :] > 10).all()
    assert fitted.share == pytest.approx(0.5 * APART**2 / (1 + APART**2), abs=0.03)


@pytest.mark.parametrize("each", [1, 3, 40])
def test_the_estimate_is_nearer_to_the_offset_than_the_mean_or_nothing(each):
    means, who, truth = utterances(400, each, seed=2)
    fitted = StreamSpeakers(np.full(WIDTH, 5.0, np.float32), np.repeat([1 / APART**2, np.inf], WIDTH // 2))
    found = fitted.offsets([(means, who)], 400)
    error = ((found - truth) ** 2).mean(0)
    of_means = np.stack([means[who == one].mean(0) - 5.0 for one in range(400)])
    assert (error <= 1.01 * ((of_means - truth) ** 2).mean(0)).all()
    assert (error[: WIDTH // 2] < (truth**2).mean(0)[: WIDTH // 2]).all() and not found[:, WIDTH // 2 :].any()


def test_few_utterances_are_trusted_less():
    fitted = StreamSpeakers(np.zeros(1, np.float32), np.ones(1, np.float32))
    means, who = np.array([[3.0], [3.0], [3.0], [3.0]]), np.array([0, 1, 1, 1])
    assert fitted.offsets([(means, who)], 3).tolist() == [[1.5], [2.25], [0.0]]


@pytest.mark.parametrize(("speakers", "each"), [(1, 40), (40, 1), (0, 0)])
def test_where_nobody_can_be_told_apart_nothing_is_fitted(speakers, each):
    means, who, _ = utterances(speakers, each)
    assert StreamSpeakers.fit([(means, who)] if len(means) else [], speakers) is None


def test_numbers_that_are_none_are_left_out():
    means, who, _ = utterances(50, each=4)
    fitted = StreamSpeakers.fit([(means, who)], 50)
    holed = np.concatenate([means, np.full((3, WIDTH), np.nan)])
    again = StreamSpeakers.fit([(holed, np.concatenate([who, [0, 1, 2]]))], 50)
    assert fitted is not None and again is not None and np.allclose(fitted.ratio, again.ratio, rtol=1e-4)
    assert np.isfinite(again.offsets([(holed[-3:], np.arange(3))], 3)).all()
    values = torch.tensor([[1.0, np.nan], [3.0, np.inf], [5.0, 7.0]])
    stream = FeatureStream.of(values, torch.tensor([0, 2]), torch.tensor([2, 1]))
    found = offsets.row_means(stream, torch.tensor([0, 1]))
    assert np.array_equal(found, [[2.0, np.nan], [5.0, 7.0]], equal_nan=True)


def test_the_network_subtracts_them_and_so_does_who_feeds_its_onnx_file():
    made, batch = networks.network(), networks.batch()
    bare = {**batch, "speaker_offsets": {}, "values": {
        stream: values - batch["speaker_offsets"][stream][batch["rows"][stream]].unsqueeze(1)
        for stream, values in batch["values"].items()}}  # fmt: skip
    without = {name: value for name, value in bare.items() if name != "speaker_offsets"}
    with torch.inference_mode():
        expected = made(bare)["emotion"]
        assert made(batch)["emotion"].equal(expected) and made(without)["emotion"].equal(expected)
        assert not made({**batch, "speaker_offsets": {}})["emotion"].allclose(expected, atol=1e-2)
    fed, alike = (onnx_network.named_tensors(each, made.streams) for each in (batch, bare))
    assert all(fed[name].equal(alike[name]) for name in alike)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A corpus whose speakers differ in what is heard, by ten in the first dimension, and not in words."""
    monkeypatch.chdir(tmp_path)
    for split, seed in (("train", 1), ("dev", 2), ("test", 3)):
        table = packed.write_split(split, seed=seed, dialogues=40)
        table["speaker"] = np.array(["Ann", "Bob", "Cy"])[np.arange(len(table)) % 3]
        table.loc[table.index[:3], "speaker"] = None
        manifests.write_manifest(manifests.split_folder(split, "sample") / "manifest.parquet", table)
        heard = [None if status != "ok" else np.random.default_rng(row).normal(size=(3, 9)).astype(np.float32)
                 for row, status in enumerate(table["audio_status"])]  # fmt: skip
        for row, values in enumerate(heard):
            if values is not None:
                values[:, 0] += 10.0 * (row % 3)
        packed.packs.write_pack(packed.packs.pack_path(split, "sample", "audio"), packed.pack(heard, 9), table)
    changes = {"pretrain__epochs": 0, "pretrain__speakers": True, "compute__workers": 1, "train__seeds": [3]}
    changes |= {"evaluate__corruptions": ["shuffle:audio"], "evaluate__repeats": 1, "evaluate__rounds": 20}
    packed.copy_parameters(tmp_path, **(packed.QUICK | changes))
    return tmp_path


def read(split: str) -> dataset.Split:
    return dataset.read_split(split, ["sample"], list(packed.WIDTHS), label_space("meld"))


def test_the_stage_finds_them_in_what_is_heard(folder):
    pretrain_stage.main()
    measured = results.read_json(Path("metrics/pretrain.json"))
    assert measured["speaker_share"]["audio/toy"] > 1 / 9 and measured["best_epoch"] == {"3": None}
    assert Path("out/pretrain/off.json").exists()  # no epochs
    split = speaker_offsets.with_offsets(
        read("train"), speaker_offsets.load(Path("out/pretrain/speakers.safetensors"))
    )
    found = split.speaker_offsets["audio/toy"].of(torch.arange(len(split)))
    assert found[3:6, 0].sort().values.diff() == pytest.approx([10.0, 10.0], abs=0.5)
    alone = found[:3, 0][split.features["audio/toy"].lengths[:3] > 0]
    assert len(alone.unique()) == len(alone)  # nobody's name: each a speaker of its own
    mean, deviation = split.statistics()["audio/toy"]
    assert float(deviation[0]) < 2 < 5 < float(read("train").statistics()["audio/toy"][1][0])
    assert float(mean[0]) == pytest.approx(10.0, abs=0.7)


def test_a_part_of_a_split_keeps_its_speakers(folder):
    pretrain_stage.main()
    whole = speaker_offsets.with_offsets(
        read("train"), speaker_offsets.load(Path("out/pretrain/speakers.safetensors"))
    )
    half = whole.subset(len(whole) // 2)
    names = dict(zip(whole.manifest["utterance"] + whole.manifest["dialogue"], range(len(whole)), strict=True))
    rows = [names[name] for name in half.manifest["utterance"] + half.manifest["dialogue"]]
    found = half.speaker_offsets["audio/toy"].of(torch.arange(len(half)))
    assert len(half) < len(whole) and found.equal(whole.speaker_offsets["audio/toy"].of(torch.tensor(rows)))


def test_half_of_the_batches_name_nobody(folder):
    pretrain_stage.main()
    train = read("train")
    named, nameless = ways = speaker_offsets.ways_to_show(train, supervision.fitted_speakers())
    alone = nameless.speaker_offsets["audio/toy"].of(torch.arange(len(train)))
    assert len(alone.unique(dim=0)) >= (train.features["audio/toy"].lengths > 0).sum()
    sizes = [len(way.speaker_offsets["audio/toy"].table) for way in ways]
    assert 0 < sizes[0] < len(train) / 10 and sizes[1] == 0  # no row of a table for each utterance
    seed = supervision.SeedRandomness.seed_all(1)
    batches = seed.batches(train, {"sample": 1.0}, "shuffled", 8, min_batches=60, ways=ways)
    shown = [batches.build(drawn, 0.0) for drawn in batches.draw()]
    is_named = [
        batch["speaker_offsets"]["audio/toy"].equal(named.speaker_offsets["audio/toy"].of(batch["index"]))
        for batch in shown
    ]
    assert len(is_named) >= 60 and 0.3 < np.mean(is_named) < 0.7
    assert speaker_offsets.ways_to_show(train, {}) == [train]
    only = seed.batches(train, {"sample": 1.0}, "shuffled", 8)
    drawn, before = only.draw()[0], seed.generator.get_state()
    assert "speaker_offsets" not in only.build(drawn, 0.0) and seed.generator.get_state().equal(before)


def test_every_stage_shows_its_network_the_same(folder):
    """The student's scores on dev are those that `distill` chose it by, when `evaluate` asks it again."""
    pretrain_stage.main()
    train_stage.main()
    distill_stage.main()
    fitted = speaker_offsets.load(Path("out/distill") / speaker_offsets.FILE)
    assert fitted.keys() == speaker_offsets.load(Path("out/pretrain") / speaker_offsets.FILE).keys()
    network = checkpoint.load("out/distill/seed-3")
    dev = speaker_offsets.with_offsets(read("dev"), fitted)
    outputs = loop.predict(network, dev)["emotion"]
    bare = loop.predict(network, read("dev"))["emotion"]
    assert not np.allclose(outputs, bare, atol=1e-3)
    measured = results.read_json(Path("metrics/distill.json"))["by_seed"]["3"]
    assert macro_f1(dev, outputs) == pytest.approx(measured, abs=1e-4)
    evaluate_stage.main()
    test = speaker_offsets.with_offsets(read("test"), fitted)
    scored = results.read_json(Path("metrics/evaluate.json"))["student"]["emotion"]["macro_f1"]
    assert macro_f1(test, loop.predict(network, test)["emotion"]) == pytest.approx(scored, abs=1e-4)


def macro_f1(split: dataset.Split, outputs: np.ndarray) -> float:
    return headline(split.tasks["emotion"], split.targets["emotion"].numpy(), outputs)["macro_f1"]


def test_without_names_nothing_is_written(folder):
    for split in manifests.SPLITS:
        path = manifests.split_folder(split, "sample") / "manifest.parquet"
        table = manifests.read_manifests(split, ["sample"]).assign(speaker=None)
        manifests.write_manifest(path, table)
        for modality in packed.WIDTHS:
            file = packed.packs.pack_path(split, "sample", modality)
            packed.packs.write_pack(file, replace(packed.packs.read_pack(file, table)), table)
    pretrain_stage.main()
    assert not Path("out/pretrain/speakers.safetensors").exists()
    assert results.read_json(Path("metrics/pretrain.json"))["speaker_share"] is None


def test_the_parameter_is_checked(folder):
    packed.copy_parameters(folder, **(packed.QUICK | {"pretrain__speakers": "yes"}))
    with pytest.raises(UserError, match="speakers"):
        pretrain_stage.main()
