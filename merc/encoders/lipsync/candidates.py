"""Clips that the lip-sync stage trains and is evaluated on, and its metrics; imports torch only to read clips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import soundfile

from merc.data.records import face_tracks, media_files
from merc.data.records import manifest as manifests
from merc.encoders.lipsync import clip_inputs
from merc.encoders.lipsync.clip_inputs import LipSyncClip
from merc.runtime import workers
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MIN_PICTURES = 10  # pictures; a shorter clip is too short to compare
MAX_SYNCHRONOUS_SHIFT = 1  # maximum shift in pictures between sound and mouth that counts as synchronous
MAX_SHIFT = 15  # maximum shift in pictures that is searched for the offset
METRIC_NAMES = ("active_speaker_accuracy", "mouth_that_moves_most", "offset_accuracy")


@dataclass(frozen=True)
class Candidate:
    """A clip with sound and at least one face track."""

    corpus: str
    utterance: str
    boxes: np.ndarray  # (K, 4) float32: mean box of each track
    clip: LipSyncClip


class _ClipFiles(NamedTuple):
    """Files of one utterance that a worker process reads."""

    corpus: str
    utterance: str
    folder: Path
    wav: str  # below the folder, as the manifest has it
    tracks: str
    start: float  # time in the clip at which the wav begins, seconds


def read_candidates(split: str, corpora: list[str], limit: int | None = None, seed: int = 0) -> list[Candidate]:
    """Candidates of a split in its order; of more than `limit` rows a random sample by the seed."""
    rows = manifests.read_manifests(split, corpora)
    is_encoded = manifests.is_present(rows, "audio") & manifests.is_present(rows, "vision")
    rows = cast("pd.DataFrame", rows[is_encoded])
    rows = cast("pd.DataFrame", rows[rows["wav"].notna() & rows["tracks"].notna()])
    if limit is not None and len(rows) > limit:
        rows = rows.iloc[np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))]
    files = [_clip_files(split, row) for row in rows.itertuples()]
    clip_inputs.mel_bands()  # cached before the workers fork: each would import torch for it, which takes 1.7 s
    results = workers.run(files, _read_candidate, label=f"lipsync: {split}")
    if failures := [result.reason for result in results if isinstance(result, workers.JobFailure)]:
        raise UserError(f"lipsync: {len(failures)} clips of {split} could not be read: {failures[0]}")
    return [candidate for candidate in results if isinstance(candidate, Candidate)]


def lipsync_metrics(
    candidates: list[Candidate], curves: list[np.ndarray], truth: pd.DataFrame
) -> dict[str, float | None]:
    """Compute the metrics; `curves`: (tracks, shifts) evidence of each candidate, `truth`: the truth table."""
    chosen = [int(curve[:, 0].argmax()) for curve in curves]
    moving = [most_moving_track(candidate.clip) for candidate in candidates]
    in_sync = [is_synchronous(curve[track]) for curve, track in zip(curves, chosen, strict=True)]
    accuracies = [speaker_accuracy(candidates, tracks, truth) for tracks in (chosen, moving)]
    return dict(zip(METRIC_NAMES, [*accuracies, float(np.mean(in_sync)) if in_sync else None], strict=True))


def most_moving_track(clip: LipSyncClip) -> int:
    """Training-free baseline: the index of the track whose mouth region changes most between pictures."""
    change = np.abs(np.diff(clip.mouths.astype(np.int16), axis=1)).mean(axis=(2, 3))
    both = clip.seen[:, 1:] & clip.seen[:, :-1]
    return int(np.argmax((change * both).sum(axis=1) / np.maximum(both.sum(axis=1), 1)))


def is_synchronous(curve: np.ndarray) -> bool:
    """Whether the best shift of a track's evidence (W,) is zero, within the tolerance."""
    shifts = np.arange(len(curve))
    distance = np.minimum(shifts, len(curve) - shifts)
    best = np.argmax(np.where(distance <= MAX_SHIFT, curve, -np.inf))
    return bool(distance[best] <= MAX_SYNCHRONOUS_SHIFT)


def speaker_accuracy(candidates: list[Candidate], chosen: list[int], truth: pd.DataFrame) -> float | None:
    """Fraction of clips with two or more visible faces whose chosen track lies on the speaker's face.

    None without truth. A track that overlaps no face counts as wrong, as does a clip whose speaker has no track.
    """
    rows = cast("Iterable[Any]", truth.itertuples())
    facts = {(row.corpus, row.utterance): row for row in rows if row.faces >= 2}
    correct = [
        _face(candidate.boxes[index], fact.boxes) == fact.speaker_face
        for candidate, index in zip(candidates, chosen, strict=True)
        if (fact := facts.get((candidate.corpus, candidate.utterance))) is not None
    ]
    return float(np.mean(correct)) if correct else None


def _clip_files(split: str, row: Any) -> _ClipFiles:
    folder = manifests.split_folder(split, row.corpus)
    return _ClipFiles(row.corpus, row.utterance, folder, row.wav, row.tracks, manifests.wav_start(row))


def _read_candidate(files: _ClipFiles) -> Candidate | None:
    """None for a clip without face tracks, or too short."""
    tracks = face_tracks.read_tracks(files.folder, files.tracks)
    if not tracks:
        return None
    samples, _ = soundfile.read(media_files.open_media(files.folder, files.wav), dtype="float32")
    boxes = np.stack([track.boxes.mean(axis=0) for track in tracks])
    clip = clip_inputs.align_clip(tracks, samples, files.start)
    return Candidate(files.corpus, files.utterance, boxes, clip) if len(clip) >= MIN_PICTURES else None


def _face(box: np.ndarray, faces: list[dict[str, int]]) -> int | None:
    """Index of the true face that the box overlaps most; None if it overlaps none."""
    areas = [_overlap(box, face) for face in faces]
    return int(np.argmax(areas)) if max(areas) > 0 else None


def _overlap(box: np.ndarray, face: dict[str, int]) -> float:
    """Area of the intersection, square pixels."""
    left, top, width, height = box
    across = min(left + width, face["left"] + face["width"]) - max(left, face["left"])
    down = min(top + height, face["top"] + face["height"]) - max(top, face["top"])
    return max(float(across), 0.0) * max(float(down), 0.0)
