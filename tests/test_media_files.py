"""data.shards: a corpus extracted into shards gives what it gives as small files."""

import shutil
import tarfile
from pathlib import Path

import extracted
import pandas as pd
import pytest
import yaml
from closure import ROOT

from merc.data.records import face_tracks, manifest, media_files
from merc.encoders.lipsync import candidates
from merc.evaluation import protocol
from merc.runtime import resume
from merc.runtime.errors import UserError
from stages import encode, extract

COUNT = 6


@pytest.fixture
def project(here, monkeypatch) -> Path:
    """A small corpus with pictures at a fixed rate, and shards of some utterances each."""
    extracted.corpus(here / "data/raw/sample", count=COUNT)
    extracted.truthless(here)
    monkeypatch.setattr(media_files, "MEGABYTE", 40_000)
    return here


def extract_into(shards: int, picture: str = "face") -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = yaml.safe_load(extracted.PARAMS)
    params |= {key: own[key] for key in ("extract", "compute", "data")}
    params["data"]["shards"], params["extract"]["video"]["fps"] = shards, 10.0
    params["encode"]["vision"]["picture"] = picture
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    extract.main("sample")


def packs() -> dict[str, str]:
    for modality in ("audio", "vision"):
        encode.main("sample", modality)
    return extracted.hashes(Path("out/encode"))


@pytest.mark.parametrize("picture", ["face", "frames"])
def test_shards_encode_to_the_bytes_of_small_files(project, picture):
    extract_into(0, picture)
    wanted, rows = packs(), extracted.table_of()
    sounds = {name: (manifest.split_folder("train", "sample") / name).read_bytes() for name in rows["wav"]}
    extract_into(1, picture)
    assert packs() == wanted
    folder = manifest.split_folder("train", "sample")
    assert {path.name for path in folder.iterdir()} == {"manifest.parquet", "truth.parquet", "frames", "shards"}
    assert [path.name for path in (folder / "frames").iterdir()] == ["rate.json"]
    shards = sorted((folder / "shards").iterdir())
    assert len(shards) > 1
    members = {}
    for shard in shards:  # plain tars, which other programs read
        with tarfile.open(shard) as archive:
            members |= {one.name: archive.extractfile(one).read() for one in archive}
    assert sounds.items() <= members.items()
    assert {Path(name).parts[0] for name in members} == {"audio", "frames", "tracks"}
    now = extracted.table_of()
    columns = list(media_files.COLUMNS)
    assert now.drop(columns=columns).equals(rows.drop(columns=columns))
    for name, place in zip(rows["wav"], now["wav"], strict=True):
        assert media_files.read_media(folder, place) == sounds[name]
        assert media_files.media_size(folder, place) == len(sounds[name])


@pytest.mark.parametrize("place", [(media_files, "write_shards"), (manifest, "write_manifest"), (resume, "move")])
def test_an_interruption_of_the_last_steps_costs_no_utterance(project, monkeypatch, capsys, place):
    """Killed at the second split: nothing is decoded again, and the bytes are those of an undisturbed run."""
    extract_into(1)
    wanted = extracted.hashes(Path("out"))
    original, calls = getattr(*place), []

    def killed_at_the_second_split(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    shutil.rmtree("out")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*place, killed_at_the_second_split)
        extract_into(1)
    shutil.rmtree("out/extract", ignore_errors=True)  # as DVC does before it runs a stage again
    capsys.readouterr()
    extract_into(1)
    whole = len(manifest.SPLITS) * COUNT
    assert f"{whole} of {whole} utterances were finished by an earlier run" in capsys.readouterr().out
    assert extracted.hashes(Path("out")) == wanted


def test_lipsync_and_the_check_of_the_splits_read_shards(project):
    seen = []
    for shards in (0, 1):
        extract_into(shards)
        folder, rows = manifest.split_folder("train", "sample"), manifest.read_manifests("train", ["sample"])
        seen.append([face_tracks.read_tracks(folder, name) for name in rows["tracks"]])
        assert candidates.read_candidates("train", ["sample"]) == []  # a clip without a face
        with pytest.raises(UserError, match=r"the same recording in two splits"):
            protocol._check_recordings("train", rows, "dev", manifest.read_manifests("dev", ["sample"]))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("picture", ["face", "frames"])
def test_a_shard_that_is_cut_off_or_gone_is_one_line_with_its_name(project, picture):
    extract_into(1, picture)
    shard = sorted((manifest.split_folder("train", "sample") / "shards").iterdir())[-1]
    whole = shard.read_bytes()
    for size in (len(whole) // 2, 700, 0):
        shard.write_bytes(whole[:size])
        with pytest.raises(UserError, match=rf"^{shard}: is cut off after {size:,} bytes; [^\n]*$"):
            packs()
    shard.unlink()
    with pytest.raises(UserError, match=rf"^{shard}: not there[^\n]*$"):
        packs()


def test_a_split_without_utterances_has_no_shards(tmp_path):
    rows = pd.DataFrame(columns=manifest.SCHEMA.names)
    assert media_files.write_shards(tmp_path, tmp_path, rows, 1).empty
    assert not list((tmp_path / "shards").iterdir())
    shutil.rmtree(tmp_path / "shards")
