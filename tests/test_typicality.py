"""What is unlike anything that was learnt: measured as defined, left out, said; and silence is not sound."""

import json
from pathlib import Path

import drawn
import finished
import numpy as np
import pytest
import torch
import typical
import yaml
from exported import write_dialogue, write_model
from safetensors.numpy import load_file, save_file
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from merc.__main__ import main
from merc.data.batches.dataset import read_split
from merc.data.records import labels
from merc.export import bundle
from merc.media import clip_reader, voice_activity
from merc.media.sound import ClipSound
from merc.runtime.errors import UserError
from merc.serve.commands import outputs
from merc.serve.predictor.explanations import PredictionExplainer
from merc.serve.predictor.predictor import Predictor
from merc.training.core import typicality
from merc.training.core.typicality import StreamTypicality

MODALITIES = ("text", "audio", "vision")


def parts(stream):
    """The steps of each utterance."""
    return [stream.parts[0][a : a + n].numpy() for a, n in zip(stream.starts, stream.lengths, strict=True)]


def test_a_distance_is_mahalanobis_of_standardised_means_and_deviations():
    train, dev = typical.drawn(40, 5, 1), typical.drawn(19, 5, 2)
    fitted = StreamTypicality.fit(train, dev)
    steps = train.parts[0].numpy()
    pooled = {}
    for name, stream in (("train", train), ("dev", dev)):
        scaled = [(one - steps.mean(0)) / steps.std(0) for one in parts(stream)]
        pooled[name] = np.stack([np.r_[one.mean(0), np.log(one.std(0) + 0.1)] for one in scaled])
    known = LedoitWolf().fit(pooled["train"])
    expected = [mahalanobis(one, known.location_, known.precision_) ** 2 for one in pooled["dev"]]
    assert fitted.distances(dev.parts[0].numpy(), dev.lengths.numpy()) == pytest.approx(expected, rel=1e-4)
    assert list(fitted.dev) == sorted(fitted.dev)
    judged = fitted.typicality(dev.parts[0].numpy(), dev.lengths.numpy())
    assert sorted(judged) == pytest.approx([(number + 1) / 20 for number in range(1, 20)])
    alone = [float(fitted.typicality(one, np.array([len(one)]))[0]) for one in parts(dev)]
    assert alone == judged.tolist()


def test_what_is_like_dev_is_seldom_left_out_and_what_is_not_always():
    fitted = typical.fitted(6, dev=400)
    limit = typicality.threshold(MODALITIES)
    for shift, low, high in ((0.0, 0.0, 0.03), (3.0, 1.0, 1.0)):
        stream = typical.drawn(1000, 6, 3, shift=shift)
        judged = fitted.typicality(stream.parts[0].numpy(), stream.lengths.numpy())
        assert low <= (judged <= limit).mean() <= high
    values = typical.drawn(1, 6, 4).parts[0].numpy()
    values[0, 0], values[1, 1] = np.nan, np.inf
    assert 0 < fitted.typicality(values, np.array([len(values)]))[0] <= 1
    assert fitted.typicality(np.full((1, 6), 3e38, np.float32), np.array([1]))[0] == pytest.approx(1 / 401)


def test_the_whole_is_its_least_typical_part_for_all_parts():
    assert typicality.as_a_whole([0.5, 0.01, None], MODALITIES) == pytest.approx(0.03)
    assert typicality.as_a_whole([0.9, 0.8, 0.7], MODALITIES) == 1.0
    assert typicality.as_a_whole([None, float("nan")], MODALITIES) is None


def test_streams_that_cannot_be_judged_are_not():
    none = typical.drawn(0, 5, 1)
    assert StreamTypicality.fit(typical.drawn(1, 5, 1), typical.drawn(9, 5, 2)) is None
    assert StreamTypicality.fit(typical.drawn(9, 5, 1), none) is None
    wide = typical.drawn(2, typicality.MAX_WIDTH + 1, 1)
    assert StreamTypicality.fit(wide, wide) is None


def test_a_split_loses_what_is_not_typical(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    finished.write(tmp_path, params, seeds=(1,))
    space = labels.label_space("meld")
    train, dev, test = (read_split(name, ["sample"], MODALITIES, space) for name in ("train", "dev", "test"))
    fitted = typicality.fit(train, dev)
    test.features["audio/prosody"].parts[0][:] += 50.0
    judged = typicality.of_split(fitted, test)
    assert np.isnan(judged[2, 1]) and np.isfinite(judged).sum() == 3 * len(test) - 1  # the third has no sound
    is_kept = judged != 1 / 30  # further than all of dev, whose 29 sounds are too few for the rule
    assert not is_kept[[0, 1, 3], 1].any() and typicality.kept(fitted, test).all()
    hidden = test.without(~is_kept)
    assert not hidden.present[:, 1].any() and torch.equal(hidden.present[:, 0], torch.from_numpy(is_kept[:, 0]))
    assert "audio/prosody" not in hidden.batch([0])["values"] and test.present[0].all()
    typicality.save(tmp_path / "one", fitted)
    typicality.save(tmp_path / "two", typicality.load(tmp_path / "one"))
    assert (tmp_path / "two").stat().st_size > (tmp_path / "one").stat().st_size  # in float64
    assert np.array_equal(typicality.of_split(typicality.load(tmp_path / "one"), test), judged, equal_nan=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of features around 5, which no encoder gives; dev had 99 utterances."""
    folder = write_model(tmp_path_factory.mktemp("model"))
    typical.write(folder, {"text/minilm": 384, "audio/prosody": 109, "vision/hog": 320}, dev=99, shift=5.0)
    bundle.write_hashes(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_dialogue(folder, 1)
    return folder / "dia0_utt0.mp4"


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor.load(model, engine="torch")


def test_what_is_not_typical_is_left_out_and_the_answer_abstains(predictor, model, clip):
    dialogue = predictor.read(clip, texts="What a day!")
    (row,) = predictor.answer(dialogue)
    assert row["typicality"] == {"text": 0.01, "audio": 0.01, "vision": 0.01, "whole": 0.03}
    assert row["missing"] == list(MODALITIES) and row["abstains"] and set(row["gates"].values()) == {0.0}
    (blind,) = predictor.answer(dialogue, hide=MODALITIES)
    assert row["emotion"] == blind["emotion"]
    (told,) = predictor.trusted(dialogue)
    assert told.missing["vision"] == "unlike anything the model has learnt (typicality 0.01): left out"
    assert not dialogue.utterances[0].missing and "vision" in dialogue.utterances[0].features
    reasons = PredictionExplainer(predictor)
    assert set(reasons.arguments_for(dialogue, 0).raw.values()) == {None}
    assert reasons.explain(dialogue, 0, ())["typicality"]["audio"] == pytest.approx(0.01)
    keeps = Predictor.load(model, engine="torch", keep_atypical=True)
    (kept,) = keeps.answer(dialogue)
    assert kept["missing"] == [] and kept["emotion"] != row["emotion"]
    assert kept["typicality"] == row["typicality"] and keeps.trusted(dialogue) is dialogue


def test_part_of_it_is_enough_to_answer(predictor, clip):
    dialogue = predictor.read(clip, texts="What a day!")
    utterance = dialogue.utterances[0]
    utterance.typicality |= {"text": 0.5, "vision": 0.0167}
    (row,) = predictor.answer(dialogue)
    assert row["missing"] == ["audio"] and row["gates"]["audio"] == 0.0
    (hidden,) = predictor.answer(dialogue, hide=["audio"])
    assert row["emotion"] == hidden["emotion"]


def test_the_command_says_so_in_a_line_and_has_a_flag(model, clip, tmp_path, capsys):
    words = ["predict", str(clip), "--model", str(model), "--no-asr", "--json", "--csv", str(tmp_path / "a.csv")]
    assert main(words) == 0
    told = capsys.readouterr()
    (row,) = json.loads(told.out)
    assert row["typicality"]["text"] is None and row["missing"] == list(MODALITIES)
    line = "merc: no vision: unlike anything the model has learnt (typicality 0.01): left out (1 of 1)"
    assert line in told.err.splitlines()
    header, values = (tmp_path / "a.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), values.split(","), strict=True))
    assert cells["typicality_audio"] == "0.01" and cells["typicality_text"] == ""
    assert main([*words[:-2], "--keep-atypical"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)[0]["missing"] == ["text"] and "unlike" not in told.err
    assert "(unsure)" in outputs.to_table([row])


def test_a_stream_says_so_too(model, clip, tmp_path, capsys):
    sound, _ = clip_reader.read_clip(clip, clip_reader.Limits(0.1, 60.0), ticks=False)
    assert sound.samples is not None
    (tmp_path / "a.wav").write_bytes(clip_reader.wav_bytes(np.pad(sound.samples, (0, 16000))))
    assert main(["predict", "--stream", str(tmp_path / "a.wav"), "--model", str(model), "--no-asr"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "(unsure)" in line and line.endswith("(left out, typicality: audio 0.01)")


def test_files_that_no_export_writes_are_refused(model, tmp_path):
    folder = tmp_path / "model"
    write_model(folder)
    whole = load_file(model / typicality.FILE)
    precision = "vision/hog/precision"
    changes = {
        "every stream has it": {name: array for name, array in whole.items() if name != precision},
        "no such stream": whole | {"smell/nose/mean": np.zeros(3, np.float32)},
        "vision/hog/centre = [3]": whole | {"vision/hog/centre": np.zeros(3, np.float32)},
        "finite numbers": whole | {precision: whole[precision] * np.float32(np.nan)},
        "not F32": whole | {precision: whole[precision].astype(np.float64)},
        "ascend": whole | {"text/minilm/dev": whole["text/minilm/dev"][::-1].copy()},
        "above 0": whole | {"text/minilm/scale": -whole["text/minilm/scale"]},
        "dev = [0]": whole | {"text/minilm/dev": np.zeros(0, np.float32)},
    }
    for reason, arrays in changes.items():
        save_file(arrays, folder / typicality.FILE)
        bundle.write_hashes(folder)
        with pytest.raises(UserError) as refused:
            Predictor.load(folder)
        message = str(refused.value)
        assert reason in message and typicality.FILE in message and "\n" not in message, message
    (folder / typicality.FILE).unlink()
    bundle.write_hashes(folder)
    with pytest.raises(UserError, match=r"typicality\.safetensors: cannot be read"):
        Predictor.load(folder)


@pytest.mark.parametrize(("level", "is_sound"), [(0.0, False), (0.0009, False), (0.1, True)])
def test_silence_is_not_sound_but_any_noise_is(level, is_sound):
    noise = (level * 32768 * np.random.default_rng(1).standard_normal(16000)).astype(np.int16)
    heard = voice_activity.without_silence(ClipSound(noise))
    assert (heard.samples is not None) == is_sound and ("silent" in heard.reason) != is_sound


def test_a_faint_voice_is_sound(clip):
    sound, _ = clip_reader.read_clip(clip, clip_reader.Limits(0.1, 60.0), ticks=False)
    assert sound.samples is not None
    faint = (sound.samples * (32 / np.abs(sound.samples).max())).astype(np.int16)
    assert np.square(faint / 32768.0).mean() < 1e-6
    assert voice_activity.without_silence(ClipSound(faint)).samples is not None


def test_a_silent_film_has_no_audio_when_it_is_extracted(predictor, tmp_path):
    pictures = drawn.flashes([index / 25 for index in range(25)], 0.5)
    silent = drawn.write(tmp_path / "still.mp4", pictures=pictures, sound=np.zeros(22050, np.float32))
    (one,) = predictor.read(silent)
    assert one.missing["audio"].startswith("it is silent") and "audio" not in one.typicality
