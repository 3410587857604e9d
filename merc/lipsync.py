"""What the lip-sync stage reads, and how its answers are judged where the truth is known; no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
from pydantic import Field

from merc import manifest as manifests
from merc import mouths, work
from merc import tracks as face_tracks
from merc.mouths import Clip
from merc.params import Strict
from merc.problem import Problem

SHORTEST = 10  # pictures; in less there is nothing to compare
TOLERANCE = 1  # pictures that sound and mouth may be shifted and still count as in step
FARTHEST = 15  # pictures: the largest shift among which the offset is sought
METRICS = ("active_speaker_accuracy", "mouth_that_moves_most", "offset_accuracy")


class LipSync(Strict):
    """Section lipsync."""

    epochs: int = Field(ge=0)
    lr: float = Field(gt=0)
    batch: int = Field(ge=1)
    clips: int = Field(ge=1)
    seed: int


@dataclass(frozen=True)
class Candidate:
    """A clip with sound and at least one face track."""

    corpus: str
    utterance: str
    boxes: np.ndarray  # (K, 4) float32: the mean box of each track
    clip: Clip


class _Job(NamedTuple):
    corpus: str
    utterance: str
    wav: Path
    tracks: Path
    start: float  # seconds of the clip at which the wav begins


def read(split: str, corpora: list[str], limit: int | None = None, seed: int = 0) -> list[Candidate]:
    """The candidates of a split, in its order; of more than `limit` rows a draw by the seed."""
    rows = manifests.read(split, corpora)
    rows = rows[manifests.present(rows, "audio") & manifests.present(rows, "vision")]
    rows = rows[rows["wav"].notna() & rows["tracks"].notna()]
    if limit is not None and len(rows) > limit:
        rows = rows.iloc[np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))]
    found = work.run([_job(split, row) for row in rows.itertuples()], _read_one, label=f"lipsync: {split}")
    if failures := [one.reason for one in found if isinstance(one, work.Failed)]:
        raise Problem(f"lipsync: {len(failures)} clips of {split} could not be read: {failures[0]}")
    return [one for one in found if one is not None]


def judge(candidates: list[Candidate], curves: list[np.ndarray], known: pd.DataFrame) -> dict[str, float | None]:
    """The metrics; `curves` are the (tracks, shifts) evidence of each candidate, `known` is the truth table."""
    chosen = [int(curve[:, 0].argmax()) for curve in curves]
    moving = [moves_most(candidate.clip) for candidate in candidates]
    found = [in_step(curve[track]) for curve, track in zip(curves, chosen, strict=True)]
    right = [speaker_accuracy(candidates, tracks, known) for tracks in (chosen, moving)]
    return dict(zip(METRICS, [*right, float(np.mean(found)) if found else None], strict=True))


def moves_most(clip: Clip) -> int:
    """The rival that needs no training: the track whose mouth region changes most from picture to picture."""
    change = np.abs(np.diff(clip.mouths.astype(np.int16), axis=1)).mean(axis=(2, 3))
    both = clip.seen[:, 1:] & clip.seen[:, :-1]
    return int(np.argmax((change * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)))


def in_step(curve: np.ndarray) -> bool:
    """Whether the best shift of a track's (W,) evidence is none, give or take the tolerance."""
    shifts = np.arange(len(curve))
    distance = np.minimum(shifts, len(curve) - shifts)
    best = np.argmax(np.where(distance <= FARTHEST, curve, -np.inf))
    return bool(distance[best] <= TOLERANCE)


def speaker_accuracy(candidates: list[Candidate], chosen: list[int], known: pd.DataFrame) -> float | None:
    """How often the chosen track lies on the speaker's face, where two faces or more are visible.

    None without truth.
    A track that lies on no face is wrong, as is a clip whose speaker has no track.
    """
    facts = {(row.corpus, row.utterance): row for row in known.itertuples() if row.faces >= 2}
    answers = [
        _face(candidate.boxes[index], fact.boxes) == fact.speaker_face
        for candidate, index in zip(candidates, chosen, strict=True)
        if (fact := facts.get((candidate.corpus, candidate.utterance))) is not None
    ]
    return float(np.mean(answers)) if answers else None


def _job(split: str, row) -> _Job:
    folder = manifests.folder(split, row.corpus)
    return _Job(row.corpus, row.utterance, folder / row.wav, folder / row.tracks, manifests.wav_start(row))


def _read_one(job: _Job) -> Candidate | None:
    found = face_tracks.read(job.tracks)
    if not found:
        return None
    samples, _ = soundfile.read(job.wav, dtype="float32")
    boxes = np.stack([track.boxes.mean(axis=0) for track in found])
    clip = mouths.clip(found, samples, job.start)
    return Candidate(job.corpus, job.utterance, boxes, clip) if len(clip) >= SHORTEST else None


def _face(box: np.ndarray, faces: list[dict]) -> int | None:
    """The face of the truth that the box overlaps most; None if it overlaps none."""
    shared = [_overlap(box, face) for face in faces]
    return int(np.argmax(shared)) if max(shared) > 0 else None


def _overlap(box: np.ndarray, face: dict) -> float:
    left, top, width, height = box
    across = min(left + width, face["left"] + face["width"]) - max(left, face["left"])
    down = min(top + height, face["top"] + face["height"]) - max(top, face["top"])
    return max(float(across), 0.0) * max(float(down), 0.0)
