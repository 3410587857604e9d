"""Small corpora of MELD's shape, and what stages.extract makes of them."""

import csv
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import drawn

from merc.data.records import manifest, truth

ROOT = Path(__file__).resolve().parent.parent
GRID = ROOT.parent / "shared" / "data" / "clips"
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
COLUMNS = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season",
           "Episode", "StartTime", "EndTime")  # fmt: skip
PARAMS = """
numerics: portable
data:
  corpora: [sample, meld]
  labels: meld
  share: {sample: 1.0, meld: 1.0}
  shards: 0
  sample: {}
  meld:
    twins: evidence
    media: clips
compute:
  workers: 2
  engine: local
  ray_address: ""
extract:
  audio:
    min_seconds: 0.2
    max_seconds: 1.0
    vad: none
    trim: false
  video:
    frame: middle
    fps: 0.0
    side: 80
  faces:
    detector: haar
    size: 32
  align: none
train:
  select: emotion.macro_f1
"""


def clip(path: Path, seconds: float = 0.4) -> Path:
    times = [index / 25 for index in range(round(seconds * 25))]
    sound = drawn.tone(seconds, 22050)
    return drawn.write(path, pictures=drawn.flashes(times, seconds / 2), sound=sound)


def row(dialogue: int, number: int, words: str = "Fine.", **changes: str) -> dict[str, str]:
    cells = dict.fromkeys(COLUMNS, "1")
    cells |= {"Utterance": words, "Speaker": "Ada", "Emotion": "joy", "Sentiment": "positive"}
    cells |= {"Dialogue_ID": str(dialogue), "Utterance_ID": str(number)}
    return cells | {"StartTime": "00:00:01,000", "EndTime": "00:00:01,400"} | changes


def table(path: Path, rows: list[dict[str, str]], columns=COLUMNS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def corpus(place: Path, count: int = 2) -> Path:
    """A corpus with `count` utterances in a dialogue of each split, all of one clip."""
    whole = clip(place / "clip.mp4")
    for split, name in FOLDERS.items():
        table(place / f"{split}_sent_emo.csv", [row(0, number) for number in range(count)])
        for number in range(count):
            target = place / name / f"dia0_utt{number}.mp4"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(whole, target)
    whole.unlink()
    return place


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".partial" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def table_of(split: str = "train", corpus: str = "sample"):
    return manifest.read_manifests(split, [corpus]).set_index("utterance")


def truthless(here: Path) -> None:
    for split in manifest.SPLITS:
        truth.write_truth(here / f"data/raw/sample/truth/{split}.parquet", [])


def archive(path: Path, members: dict[str, bytes]) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as opened:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), 1000
            opened.addfile(member, io.BytesIO(content))
    return path.read_bytes()
