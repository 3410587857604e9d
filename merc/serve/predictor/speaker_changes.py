"""Speaker changes within speech without a pause: the times at which lip-sync finds another face speaking."""

import itertools
from dataclasses import replace

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.data.records.face_tracks import TRACK_FPS, Track
from merc.encoders.lipsync import clip_inputs
from merc.encoders.lipsync.clip_inputs import FRAMES_PER_PICTURE, LipSyncClip
from merc.encoders.lipsync.synchrony import SpeakerScorer
from merc.media.images import Pictures

WINDOW = 29  # pictures: length of the lip-sync network's training windows
HOP = 5  # pictures between the starts of adjacent windows
# Minimum lip-sync score of a speaker: on a film of the sample's dev clips speakers score 5 to 14, others -7 to 3.
MIN_SCORE = 4.0
MIN_TURN_WINDOWS = 3  # adjacent windows of a turn; fewer may be an error
LOUDNESS_SAMPLES = SAMPLE_RATE // 10  # samples over which loudness is averaged


def speaker_change_times(tracks: list[Track], samples: np.ndarray, scorer: SpeakerScorer) -> list[float]:
    """Times in seconds at which the speaking face changes; samples are 16 kHz, -1 to 1."""
    if len(tracks) < 2:
        return []
    clip = clip_inputs.align_clip(tracks, samples)
    turns = _turns([_speaking_track(clip, start, scorer) for start in range(0, len(clip) - WINDOW + 1, HOP)])
    return [
        _quietest_time(
            samples, _middle_time(before[-1]) - HOP / TRACK_FPS, _middle_time(after[0]) + HOP / TRACK_FPS
        )
        for before, after in itertools.pairwise(turns)
    ]


def slice_pictures(pictures: Pictures, begin: float, end: float) -> Pictures:
    """Pictures from `begin` to `end` seconds of an utterance, with the times of an utterance of their own."""
    first, last = round(begin * TRACK_FPS), round(end * TRACK_FPS)
    ticks = pictures.ticks[max(first - pictures.first, 0) : max(last - pictures.first, 0)]
    if not ticks:
        return Pictures(reason="no picture was taken in it")
    kept = {tick - first: picture for tick, picture in pictures.kept.items() if first <= tick < last}
    nearest = min(kept, key=lambda tick: abs(tick - (last - first) / 2), default=None)
    middle = ticks[len(ticks) // 2] if nearest is None else kept[nearest]()
    scale = middle.shape[1] / ticks[0].shape[1]
    return replace(
        pictures, middle=middle, ticks=ticks, first=max(pictures.first - first, 0), kept=kept, scale=scale
    )


def _speaking_track(clip: LipSyncClip, start: int, scorer: SpeakerScorer) -> int | None:
    """Index of the track that speaks in the window starting at picture `start`, if any."""
    is_seen = clip.seen[:, start : start + WINDOW]
    visible = np.flatnonzero(is_seen.any(axis=1))
    if not len(visible):
        return None
    sound = clip.sound[start * FRAMES_PER_PICTURE : (start + WINDOW) * FRAMES_PER_PICTURE]
    scores = scorer(LipSyncClip(clip.mouths[visible, start : start + WINDOW], is_seen[visible], sound))
    return int(visible[scores.argmax()]) if scores.max() >= MIN_SCORE else None


def _turns(tracks: list[int | None]) -> list[list[int]]:
    """Windows of each turn: adjacent ones, undecided windows disregarded, in which the same track speaks."""
    decided = [(window, track) for window, track in enumerate(tracks) if track is not None]
    runs = [list(run) for _, run in itertools.groupby(decided, key=lambda pair: pair[1])]
    long_enough = [pair for run in runs if len(run) >= MIN_TURN_WINDOWS for pair in run]
    return [[window for window, _ in run] for _, run in itertools.groupby(long_enough, key=lambda pair: pair[1])]


def _middle_time(window: int) -> float:
    """Middle of a window in seconds."""
    return (window * HOP + WINDOW / 2) / TRACK_FPS


def _quietest_time(samples: np.ndarray, begin: float, end: float) -> float:
    """Time of the lowest loudness between `begin` and `end`, all in seconds."""
    first = round(begin * SAMPLE_RATE)
    power = np.square(
        samples[max(first - LOUDNESS_SAMPLES // 2, 0) : round(end * SAMPLE_RATE) + LOUDNESS_SAMPLES // 2],
        dtype=np.float64,
    )
    loudness = np.convolve(power, np.ones(LOUDNESS_SAMPLES), mode="valid")
    return (max(first, LOUDNESS_SAMPLES // 2) + int(loudness.argmin())) / SAMPLE_RATE
