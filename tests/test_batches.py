"""Batches equal what a slow reading of one utterance at a time gives; sampling draws what it promises."""

import numpy as np
import packed
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merc.data.batches import dataset, sampling
from merc.data.records import manifest as manifests
from merc.data.records import packs
from merc.data.records.labels import UNLABELLED, label_space


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=1)
    return read("train")


def read(split, corpora=("sample",), modalities=manifests.MODALITIES):
    return dataset.read_split(split, list(corpora), modalities, label_space("meld"))


def dialogue_rows(manifest, number):
    keys = list(dict.fromkeys(manifest["dialogue"]))
    return [row for row in range(len(manifest)) if manifest["dialogue"][row] == keys[number]]


@pytest.mark.parametrize("chosen", [[0], [3, 1], [11, 0, 5, 5], list(range(12))])
def test_a_batch_equals_a_slow_reading(train, chosen):
    manifest = manifests.read_manifests("train", ["sample"])
    rows = [row for number in chosen for row in dialogue_rows(manifest, number)]
    batch = train.batch(chosen)
    assert batch["index"].tolist() == rows
    lengths = [len(dialogue_rows(manifest, number)) for number in chosen]
    assert batch["place"].tolist() == [[b, t] for b, length in enumerate(lengths) for t in range(length)]
    for task in ("emotion", "sentiment"):
        assert batch[task].tolist() == label_space("meld").targets(manifest, task)[rows].tolist()
    for column, modality in enumerate(manifests.MODALITIES):
        pack = packs.read_pack(packs.pack_path("train", "sample", modality), manifest)
        stream = f"{modality}/toy"
        there = [position for position, row in enumerate(rows) if pack.present[row]]
        assert batch["present"][:, column].nonzero().flatten().tolist() == there
        assert batch["rows"].get(stream, torch.tensor([])).tolist() == there
        for number, position in enumerate(there):
            own, steps = pack.utterance(rows[position]), int(batch["steps"][stream][number])
            values = batch["values"][stream][number].numpy()
            assert steps == len(own) and np.array_equal(values[:steps], own.astype(np.float32))
            assert not values[steps:].any()


def test_roles_follow_first_speech(train):
    manifest = manifests.read_manifests("train", ["sample"])
    for number in range(train.dialogues):
        rows = dialogue_rows(manifest, number)
        order = list(dict.fromkeys(manifest["speaker"][rows]))
        assert train.speaker[rows].tolist() == [order.index(name) for name in manifest["speaker"][rows]]


@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=8),
    holes=st.lists(st.tuples(st.integers(0, 31), st.integers(0, 4)), max_size=20),
)
def test_a_stream_joins_packs_and_drops_rows_without_a_number(lengths, holes):
    from merc.data.batches.streams import _join

    features = [None if length == 0 else np.ones((length, 5)) * (row + 1) for row, length in enumerate(lengths)]
    values = packed.pack(features, 5, dtype=np.float32)
    for step, dim in holes:
        if step < len(values.values):
            values.values[step, dim] = np.nan
    rows = np.arange(len(lengths)) + 2  # two rows of another corpus come first
    other = packed.pack([np.zeros((1, 5)), np.zeros((2, 5))], 5, dtype=np.float32)
    stream = _join([(np.array([0, 1]), other), (rows, values)], len(lengths) + 2)
    gathered, which, steps = stream.gather(torch.arange(len(lengths) + 2))
    kept_rows = [row for row, length in enumerate(lengths) if length and np.isfinite(values.utterance(row)).any()]
    assert which.tolist() == [0, 1] + [row + 2 for row in kept_rows]
    for position, row in enumerate(kept_rows, start=2):
        own = gathered[position, : steps[position]].numpy()
        np.testing.assert_array_equal(own, values.utterance(row))
    assert packed.all_steps(stream).isnan().sum() == np.isnan(values.values).sum()


def test_statistics_are_those_of_present_steps(train):
    manifest = manifests.read_manifests("train", ["sample"])
    values = packs.read_pack(packs.pack_path("train", "sample", "audio"), manifest).values.astype(np.float64)
    mean, spread = train.statistics()["audio/toy"]
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(spread, values.std(0), rtol=1e-5)


def test_two_corpora_with_two_encoders_make_two_streams(train):
    manifest = packed.write_split("train", seed=5, dialogues=3, corpus="meld")
    features = [np.ones((2, 4))] * len(manifest)
    packs.write_pack(packs.pack_path("train", "meld", "text"), packed.pack(features, 4, "other"), manifest)
    both = read("train", ("sample", "meld"))
    assert both.streams["text/toy"] == packed.WIDTHS["text"] and both.streams["text/other"] == 4
    assert both.dialogues == train.dialogues + 3
    batch = both.batch([0, train.dialogues])
    first = len(train.batch([0])["index"])
    assert (batch["rows"]["text/other"] >= first).all() and (batch["rows"]["text/toy"] < first).all()
    assert read("train", ("meld",)).with_streams(["audio/toy"]).present[:, 0].sum() == 0


def test_shuffled_gives_each_dialogue_its_share(train):
    share = torch.ones(train.dialogues)
    share[:3], share[3:6] = 2.0, 0.5
    generator = torch.Generator().manual_seed(1)
    drawn = [
        torch.cat([draw.dialogues for draw in sampling.shuffled(train, share, 4, generator)]) for _ in range(400)
    ]
    counts = torch.stack([torch.bincount(dialogues, minlength=train.dialogues) for dialogues in drawn]).float()
    assert (counts[:, :3] == 2).all() and (counts[:, 6:] == 1).all()
    assert torch.allclose(counts[:, 3:6].mean(0), torch.tensor(0.5), atol=0.08)


def test_weighted_draws_classes_evenly_with_their_dialogues(train):
    generator, total = torch.Generator().manual_seed(1), torch.zeros(len(train))
    for _ in range(100):
        for draw in sampling.weighted(train, torch.ones(train.dialogues), 4, generator):
            own = train.batch(draw.dialogues)["index"]
            assert own.equal(train.rows(draw.dialogues)) and len(own) == len(draw.count)
            total[own] += draw.count
    target = train.targets["emotion"]
    classes = torch.zeros(7).index_add(0, target[target >= 0], total[target >= 0])
    assert total[target == UNLABELLED].sum() == 0
    occurring = classes[torch.bincount(target[target >= 0], minlength=7) > 0]
    assert torch.allclose(occurring / occurring.sum(), torch.tensor(1 / len(occurring)), atol=0.03)


def test_stratified_batches_keep_the_class_proportions_and_miss_no_dialogue(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=3, dialogues=90)
    split = read("train")
    share, whole = torch.ones(split.dialogues), sampling.class_counts(split).sum(0)

    def unevenness(method: str) -> float:
        """The mean distance of a batch's class shares from those of the whole."""
        apart = []
        for seed in range(5):
            draws = list(sampling.SAMPLERS[method](split, share, 8, torch.Generator().manual_seed(seed)))
            assert sorted(torch.cat([draw.dialogues for draw in draws]).tolist()) == list(range(90))
            assert max(len(draw.dialogues) for draw in draws) <= 8 and len(draws) == 12
            counts = torch.stack([sampling.class_counts(split)[draw.dialogues].sum(0) for draw in draws])
            apart.append((counts / counts.sum(1, keepdim=True) - whole / whole.sum()).abs().sum(1).mean())
        return float(torch.stack(apart).mean())

    assert unevenness("stratified") < 0.6 * unevenness("shuffled")


@pytest.mark.parametrize("method", sampling.SAMPLERS)
def test_the_shares_that_were_drawn_are_those_of_a_slow_count(train, method):
    draws = list(sampling.SAMPLERS[method](train, torch.ones(train.dialogues), 4, torch.Generator().manual_seed(1)))
    seen = dict.fromkeys(train.labels["emotion"], 0.0)
    for draw in draws:
        for place, row in enumerate(train.batch(draw.dialogues)["index"].tolist()):
            if train.targets["emotion"][row] >= 0:
                name = train.labels["emotion"][train.targets["emotion"][row]]
                seen[name] += 1 if draw.count is None else draw.count[place].item()
    fractions = sampling.drawn_class_fractions(train, draws)
    assert fractions == {f"drawn_{name}": pytest.approx(count / sum(seen.values())) for name, count in seen.items()}


def test_a_long_dialogue_is_taken_in_equal_parts(train, monkeypatch):
    lengths = train.starts.diff().tolist()
    monkeypatch.setattr(dataset, "MAX_TURNS", 3)
    cut = read("train")
    parts = cut.starts.diff().tolist()
    assert max(lengths) > 3 and max(parts) <= 3
    for length in lengths:
        number = -(-length // 3)
        own, parts = parts[:number], parts[number:]
        assert sum(own) == length and max(own) - min(own) <= 1
    assert not parts and cut.speaker.equal(train.speaker)
    assert torch.cat([batch["index"] for batch in cut.batches(4)]).tolist() == list(range(len(train)))
