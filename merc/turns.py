"""Where another face goes on speaking, within a stretch of speech that has no pause."""

import itertools
from dataclasses import replace

import numpy as np

from merc import mouths
from merc.mouths import FRAMES_PER_PICTURE, Clip
from merc.pictures import Pictures
from merc.sound import SAMPLE_RATE
from merc.speaking import Scorer
from merc.tracks import RATE, Track

WINDOW = 29  # pictures: what the lip-sync network sees at once in its training
HOP = 5  # pictures from one window to the next
# Evidence, else nobody is said to speak: on a film of the sample's dev clips speakers have 5 to 14, others -7 to 3.
LEAST = 4.0
SHORTEST = 3  # windows in a row; less may be an error
QUIET = SAMPLE_RATE // 10  # samples over which loudness is taken


def cuts(tracks: list[Track], samples: np.ndarray, scorer: Scorer) -> list[float]:
    """Seconds at which the face that speaks changes; samples 16 kHz, -1 to 1."""
    if len(tracks) < 2:
        return []
    clip = mouths.clip(tracks, samples)
    turns = _turns([_leader(clip, at, scorer) for at in range(0, len(clip) - WINDOW + 1, HOP)])
    return [
        _quietest(samples, _middle(before[-1]) - HOP / RATE, _middle(after[0]) + HOP / RATE)
        for before, after in itertools.pairwise(turns)
    ]


def between(pictures: Pictures, begin: float, end: float) -> Pictures:
    """A part of an utterance's pictures, by its seconds, as if it were an utterance."""
    first, last = round(begin * RATE), round(end * RATE)
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


def _leader(clip: Clip, at: int, scorer: Scorer) -> int | None:
    """The track that speaks in the window from picture `at` on, if any."""
    seen = clip.seen[:, at : at + WINDOW]
    there = np.flatnonzero(seen.any(axis=1))
    if not len(there):
        return None
    sound = clip.sound[at * FRAMES_PER_PICTURE : (at + WINDOW) * FRAMES_PER_PICTURE]
    evidence = scorer(Clip(clip.mouths[there, at : at + WINDOW], seen[there], sound))
    return int(there[evidence.argmax()]) if evidence.max() >= LEAST else None


def _turns(leaders: list[int | None]) -> list[list[int]]:
    """The windows of each turn: those in a row, give or take such without an answer, with one leader."""
    told = [(place, leader) for place, leader in enumerate(leaders) if leader is not None]
    runs = [list(run) for _, run in itertools.groupby(told, key=lambda one: one[1])]
    sure = [one for run in runs if len(run) >= SHORTEST for one in run]
    return [[place for place, _ in run] for _, run in itertools.groupby(sure, key=lambda one: one[1])]


def _middle(window: int) -> float:
    """Seconds."""
    return (window * HOP + WINDOW / 2) / RATE


def _quietest(samples: np.ndarray, begin: float, end: float) -> float:
    """The moment from `begin` to `end` seconds around which least is heard."""
    first = round(begin * SAMPLE_RATE)
    power = np.square(samples[max(first - QUIET // 2, 0) : round(end * SAMPLE_RATE) + QUIET // 2], dtype=np.float64)
    heard = np.convolve(power, np.ones(QUIET), mode="valid")
    return (max(first, QUIET // 2) + int(heard.argmin())) / SAMPLE_RATE
