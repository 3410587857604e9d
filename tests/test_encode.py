"""The encode stage on a manifest of four utterances: every medium, every way of missing it."""

import itertools
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from safetensors.torch import save_file

from merc.data.records import encoder_inputs, face_tracks, manifest, packs
from merc.encoders.base import factory, packing
from merc.encoders.base.encoder import extract_features
from merc.runtime import results
from merc.runtime.errors import UserError
from merc.runtime.shards import Shard
from stages import encode

PARAMS = Path(__file__).resolve().parent.parent / "params.yaml"
TEXTS = ["Where are you?", "", "Gone.", None]


def row(split, turn):
    """The first has everything, the second no face, the third no sound, the fourth nothing."""
    name = f"dia0_utt{turn}"
    status = {"text_status": "ok", "audio_status": "ok", "vision_status": "ok"}
    missing = [(), (), ("audio",), ("text", "audio", "vision")][turn]
    status |= {f"{modality}_status": manifest.MISSING for modality in missing}
    return {
        **dict.fromkeys(manifest.SCHEMA.names),
        **{"corpus": "sample", "split": split, "dialogue": "0", "turn": turn, "utterance": name, "speaker": "Ann"},
        **{"text": TEXTS[turn], "wav": f"audio/{name}.wav", "frame": f"frames/{name}.jpg"},
        **{"tracks": None if turn == 1 else f"tracks/{name}.safetensors", **status},
    }


def picture(seed, side, frames):
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3)).astype(np.uint8)


def track(seed, frames, size):
    boxes = np.tile(np.array([5, 6, size, size], np.float32), (frames, 1))
    return face_tracks.Track(np.arange(2, 2 + frames, dtype=np.int32), boxes, picture(seed, 64, frames))


def extract(split):
    folder = manifest.split_folder(split, "sample")
    for kind in ("audio", "frames", "tracks"):
        (folder / kind).mkdir(parents=True)
    rows = pd.DataFrame(
        [row(split, turn) for turn in range(0 if split == "test" else 4)], columns=manifest.SCHEMA.names
    )
    manifest.write_manifest(folder / "manifest.parquet", rows)
    for utterance in rows[: 3 if len(rows) else 0].itertuples():
        samples = 0.1 * np.random.default_rng(utterance.turn).standard_normal(9_000)
        soundfile.write(folder / utterance.wav, samples, 16_000, subtype="PCM_16")
        Image.fromarray(picture(utterance.turn, 40, 1)[0]).save(folder / utterance.frame)
        if isinstance(utterance.tracks, str):
            (folder / utterance.tracks).write_bytes(
                face_tracks.tracks_to_bytes([track(utterance.turn, 9, 20), track(utterance.turn + 5, 12, 30)])
            )


@pytest.fixture(autouse=True)
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS.read_text(encoding="utf-8").replace("workers: 0", "workers: 1"))
    for split in manifest.SPLITS:
        extract(split)


def pack(modality, split="train"):
    return packs.read_pack(packs.pack_path(split, "sample", modality), manifest.read_manifests(split, ["sample"]))


@pytest.mark.parametrize(
    ("modality", "present"),
    [("text", [1, 1, 1, 0]), ("audio", [1, 1, 0, 0]), ("vision", [1, 1, 1, 0])],
)
def test_what_is_missing_is_absent_and_has_no_steps(modality, present):
    encode.main("sample", modality)
    made = pack(modality)
    assert made.present.tolist() == [bool(one) for one in present]
    assert (np.diff(made.offsets) > 0).tolist() == made.present.tolist()
    assert len(made.units) == len(made.values)
    assert made.values.dtype == np.float16
    assert len(made.blank) >= 1
    assert pack(modality, "test").present.shape == (0,)


def test_a_pack_holds_what_the_encoder_says_of_each_utterance():
    encode.main("sample", "audio")
    config = factory.encoding_section("audio")
    encoder = factory.build("audio", "prosody", config)
    rows = manifest.read_manifests("train", ["sample"])
    sounds = encoder_inputs.audio_inputs(manifest.split_folder("train", "sample"), rows)
    for index in (0, 1):
        expected = extract_features(encoder, [sounds[index]])[0]
        assert np.allclose(pack("audio").utterance(index), expected, atol=0.01)


def test_the_largest_face_is_encoded_and_without_a_face_the_whole_picture():
    encode.main("sample", "vision")
    made = pack("vision")
    first, second = (made.units[made.offsets[index] : made.offsets[index + 1]] for index in (0, 1))
    assert (first[:, 3] == 30).all()
    assert second[:, 1:].tolist() == [[0, 0, 40, 40]]


def test_twice_is_the_same_to_the_bit_whatever_the_number_of_workers():
    written = []
    for workers in (1, 2):
        text = PARAMS.read_text(encoding="utf-8").replace("workers: 0", f"workers: {workers}")
        Path("params.yaml").write_text(text)
        encode.main("sample", "audio")
        written.append(packs.pack_path("train", "sample", "audio").read_bytes())
    assert written[0] == written[1]


def test_none_writes_the_same_rows_all_absent():
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("encoder: prosody", "encoder: none"))
    encode.main("sample", "audio")
    made = pack("audio")
    assert (made.encoder, made.dim, made.present.tolist()) == ("none", 0, [False] * 4)


def tuned_weights(stage, factor, name="minilm"):
    encoder = factory.build("text", "minilm", factory.encoding_section("text"))
    folder = Path("out") / stage / "text"
    folder.mkdir(parents=True)
    save_file({key: value * factor for key, value in encoder.state_dict().items()}, folder / "model.safetensors")
    results.write_json(folder / "config.json", {"encoder": name})


def test_finetuned_weights_win_over_adapted_over_original_ones():
    seen = []
    for stage, factor in ((None, 1), ("adapt", 0.9), ("finetune", 0.8)):
        if stage:
            tuned_weights(stage, factor)
        encode.main("sample", "text")
        seen.append(pack("text").values.astype(np.float32))
    assert all(np.abs(one - other).max() > 0.05 for one, other in itertools.pairwise(seen))


def test_weights_of_another_encoder_and_a_stage_that_is_off_change_nothing():
    encode.main("sample", "text")
    before = packs.pack_path("train", "sample", "text").read_bytes()
    tuned_weights("adapt", 0.5, "another")
    Path("out/finetune/text").mkdir(parents=True)
    results.write_json(Path("out/finetune/text/off.json"), {"off": "finetune.epochs is 0"})
    encode.main("sample", "text")
    assert packs.pack_path("train", "sample", "text").read_bytes() == before


def test_a_pack_of_shards_has_the_bytes_of_a_pack_written_at_once(tmp_path):
    random = np.random.default_rng(0)
    rows = pd.concat([manifest.read_manifests("train", ["sample"]).iloc[:3]] * 3, ignore_index=True)
    rows["dialogue"] = np.repeat(["0", "1", "2"], 3)
    steps = [3, None, 1, None, None, None, 2, 5, None]  # the second part is absent throughout
    about = {"encoder": "x", "unit_names": ("start", "end"), "step_seconds": 0.1}
    blank = random.random((2, 7))
    for dtype in (np.float16, np.float32):
        values = [None if count is None else random.random((count, 7)) for count in steps]
        units = [None if count is None else random.random((count, 2)) for count in steps]

        def pack(own, values=values, units=units, dtype=dtype):
            return packs.build_pack(values[own], units[own], blank, **about, dtype=dtype)

        parts = []
        for number in range(3):
            own = slice(3 * number, 3 * number + 3)
            parts.append(packs.PackPart(tmp_path / f"{number}", rows.iloc[own]))
            packs.write_pack(parts[-1].file, pack(own), rows.iloc[own])
        packs.write_pack(tmp_path / "at-once", pack(slice(None)), rows)
        packs.join_packs(tmp_path / "joined", parts, rows)
        assert (tmp_path / "joined").read_bytes() == (tmp_path / "at-once").read_bytes()


def test_joining_holds_one_part_at_a_time(tmp_path):
    rows = pd.concat([manifest.read_manifests("train", ["sample"]).iloc[:1]] * 40, ignore_index=True)
    parts = [packs.PackPart(tmp_path / f"{number}", rows.iloc[[number]]) for number in range(40)]
    blank, units = np.zeros((1, 250)), np.zeros((1000, 2))
    about = {"encoder": "x", "unit_names": ("start", "end"), "step_seconds": 0.1}
    for part in parts:  # half a megabyte each
        packs.write_pack(part.file, packs.build_pack([np.ones((1000, 250))], [units], blank, **about), part.rows)
    tracemalloc.start()
    packs.join_packs(tmp_path / "joined", parts, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "joined").stat().st_size > 20_000_000
    assert peak < 5_000_000
    assert packs.read_pack(tmp_path / "joined", rows).values.all()


def encode_in_small_parts(monkeypatch):
    """Encode the audio with a dialogue for each train utterance, so that a pack has several parts."""
    monkeypatch.setattr(packing, "MIN_SHARD_ROWS", 1)
    file = manifest.split_folder("train", "sample") / "manifest.parquet"
    rows = manifest.read_manifests("train", ["sample"])
    rows["dialogue"] = [str(number) for number in range(len(rows))]
    manifest.write_manifest(file, rows)
    encode.main("sample", "audio")


class Killed(BaseException):
    """Nothing catches it."""


def test_killed_and_continued_encodes_no_shard_twice_and_gives_the_same_bytes(monkeypatch):
    encode_in_small_parts(monkeypatch)
    whole = packs.pack_path("train", "sample", "audio").read_bytes()
    done, write = [], packing._ShardEncoder.write

    def killed(job, shard, sounds):
        if len(done) == 2:
            raise Killed
        done.append(shard.file.name)
        write(job, shard, sounds)

    with monkeypatch.context() as patch:
        patch.setattr(packing._ShardEncoder, "write", killed)
        with pytest.raises(Killed):
            encode.main("sample", "audio")
    done.append("")
    monkeypatch.setattr(
        packing._ShardEncoder, "write", lambda job, shard, sounds: done.append(shard) or write(job, shard, sounds)
    )
    encode.main("sample", "audio")
    assert packs.pack_path("train", "sample", "audio").read_bytes() == whole
    assert [one.file.name for one in done[3:]][:2] == ["2.safetensors", "3.safetensors"]
    assert not list(Path("out/.partial").glob("encode-*/*"))


def test_three_shards_and_a_merge_give_the_bytes_of_the_whole(monkeypatch):
    encode_in_small_parts(monkeypatch)
    whole = {path: path.read_bytes() for path in Path("out/encode").rglob("*.*")}
    shutil.rmtree("out/encode")
    for index in (2, 0, 1):
        encode.main("sample", "audio", Shard(index, 3))
    assert not Path("out/encode").exists()

    def nothing_left(*_):
        raise AssertionError

    monkeypatch.setattr(packing._ShardEncoder, "write", nothing_left)
    encode.main("sample", "audio")
    assert {path: path.read_bytes() for path in Path("out/encode").rglob("*.*")} == whole


def test_shards_are_whole_dialogues():
    names = [str(number) for number in range(40) for _ in range(9)]
    shards = list(packing.split_into_shards(pd.DataFrame({"dialogue": names})))
    assert [name for shard in shards for name in shard["dialogue"]] == names
    assert all(len(shard) % 9 == 0 and len(shard) >= packing.MIN_SHARD_ROWS for shard in shards[:-1])


def test_lines_know_their_own_dialogue_only():
    rows = pd.DataFrame([row("train", turn) for turn in (0, 1, 2, 0)])
    rows["dialogue"] = ["0", "0", "0", "1"]
    lines = encoder_inputs.text_inputs(Path(), rows)
    assert [len(line.before) for line in lines] == [0, 1, 2, 0]
    assert [len(line.after) for line in lines] == [2, 1, 0, 0]
    assert lines[2].before[-1].text == ""


def pictures_of_a_second(fps):
    """What extract leaves with extract.video.fps on: of the first two utterances, the second too short for any."""
    folder = manifest.split_folder("train", "sample")
    results.write_json(folder / manifest.FRAMES_RATE, {"fps": fps})
    (folder / "frames/dia0_utt0").mkdir()
    for number in range(6):
        shade = np.full((24, 40, 3), 40 * number, np.uint8)
        Image.fromarray(shade).save(folder / f"frames/dia0_utt0/{number:04}.jpg")


def test_frames_at_a_fixed_rate_are_read_with_their_times():
    pictures_of_a_second(4.0)
    rows = manifest.read_manifests("train", ["sample"])
    read = encoder_inputs.frame_inputs(manifest.split_folder("train", "sample"), rows)
    assert [one and one.times.tolist() for one in read] == [[n / 4 for n in range(6)], [0.0], [0.0], None]
    assert [int(crop.mean()) // 10 for crop in read[0].crops] == [4 * n for n in range(6)]
    assert read[0].boxes.tolist() == [[0, 0, 40, 24]] * 6
    assert read[1].crops.shape == (1, 40, 40, 3)


def test_frames_are_encoded_and_without_any_it_says_what_to_set():
    text = Path("params.yaml").read_text(encoding="utf-8").replace("picture: face", "picture: frames")
    Path("params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"set extract\.video\.fps"):
        encode.main("sample", "vision")
    for split in manifest.SPLITS:
        results.write_json(manifest.split_folder(split, "sample") / manifest.FRAMES_RATE, {"fps": 4.0})
    (manifest.split_folder("train", "sample") / manifest.FRAMES_RATE).unlink()
    pictures_of_a_second(4.0)
    encode.main("sample", "vision")
    made = pack("vision")
    assert (made.offsets[1], made.offsets[2] - made.offsets[1]) == (6, 1)  # hog at 5 steps a second, 4 pictures


def test_what_passes_float16_is_stored_as_float32():
    text = Path("params.yaml").read_text(encoding="utf-8").replace("encoder: prosody", "encoder: egemaps")
    Path("params.yaml").write_text(text)
    encode.main("sample", "audio")
    assert pack("audio").values.dtype == pack("audio").blank.dtype == np.float32
    assert np.diff(pack("audio").offsets).tolist() == [1, 1, 0, 0]
