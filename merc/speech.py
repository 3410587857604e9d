"""Where somebody speaks: what is no speech falls silent, what lies before and after is cut.

Silencing keeps the clock. Trimming moves it by whole pictures of the face tracks, and the sound remembers how far.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from merc.problem import Problem
from merc.sound import SAMPLE_RATE, Sound, note
from merc.tracks import RATE

NO_SPEECH = "no_speech"
TRIMMED = "trimmed"
TICK = round(SAMPLE_RATE / RATE)  # samples in a picture of the face tracks
FRAME = 480  # samples: 30 ms, the longest that WebRTC's detector takes
STRICTNESS = 2  # of WebRTC's 0 to 3
AROUND = 5  # frames kept on both sides of speech, so that no word loses its edges
QUIET = 40.0  # dB below the loudest frame: there, without a detector, nobody speaks


def webrtc(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: WebRTC's Gaussian mixture detector."""
    from webrtcvad import Vad

    vad, count = Vad(STRICTNESS), len(samples) // FRAME
    frames = samples[: count * FRAME].reshape(count, FRAME)
    return _widened(np.array([vad.is_speech(frame.tobytes(), SAMPLE_RATE) for frame in frames], bool), len(samples))


def silero(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: Silero's recurrent network."""
    import torch
    from silero_vad import get_speech_timestamps

    heard = np.zeros(len(samples), bool)
    sound = torch.from_numpy(samples.astype(np.float32) / 32768)
    for span in get_speech_timestamps(sound, _silero(), sampling_rate=SAMPLE_RATE):
        heard[span["start"] : span["end"]] = True
    return heard


def loud(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: not far below the loudest; nothing of a sound that is silent throughout."""
    frames = np.pad(samples.astype(np.float64), (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1)
    return _widened((power > power.max(initial=0.0) * 10 ** (-QUIET / 10)) & (power > 0), len(samples))


DETECTORS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "none": None,
    "webrtc": webrtc,
    "silero": silero,
}
PACKAGES = {"webrtc": ("webrtcvad", "webrtcvad-wheels"), "silero": ("silero_vad", "silero-vad")}


def check(name: str) -> None:
    """Refuse a detector whose package is not installed."""
    module, package = PACKAGES.get(name, (None, None))
    if module and find_spec(module) is None:
        raise Problem(f"params.yaml: extract.audio.vad = {name!r} needs a package: pip install {package}")


def listen(sound: Sound, detector: Callable[[np.ndarray], np.ndarray] | None, trim: bool, minimum: float) -> Sound:
    """Silence what the detector takes for no speech, and cut what lies before and after, down to `minimum` seconds.

    Where it finds no speech, the sound stays as it is, flagged.
    """
    if detector is None and not trim:
        return sound
    heard = (detector or loud)(sound.samples)
    if not heard.any():
        found = "no speech was detected" if detector else "silent throughout"
        note(sound, NO_SPEECH, f"{found}: the sound is kept as it is")
        return sound
    if detector is not None:
        sound.samples = np.where(heard, sound.samples, np.int16(0))
    return _trimmed(sound, heard, round(minimum * SAMPLE_RATE)) if trim else sound


def _trimmed(sound: Sound, heard: np.ndarray, minimum: int) -> Sound:
    """From the picture in which speech begins to where it ends."""
    whole = len(sound.samples)
    first, last = np.flatnonzero(heard)[[0, -1]]
    begin = int(min(first, max(whole - minimum, 0))) // TICK * TICK
    end = min(max(int(last) + 1, begin + minimum), whole)
    if (begin, end) == (0, whole):
        return sound
    before, after = begin / SAMPLE_RATE, (whole - end) / SAMPLE_RATE
    note(sound, TRIMMED, f"{before:.2f} s before and {after:.2f} s after what is heard were cut")
    return replace(sound, samples=sound.samples[begin:end], start=before)


def _widened(frames: np.ndarray, count: int) -> np.ndarray:
    """(count,) bool, per sample: the frames that are heard, and those around them."""
    whole = len(frames)
    wide = np.convolve(frames.astype(float), np.ones(2 * AROUND + 1), mode="full")[AROUND : AROUND + whole] > 0
    samples = np.repeat(wide, FRAME)[:count]
    return np.pad(samples, (0, count - len(samples)), mode="edge" if whole else "constant")


@functools.cache
def _silero() -> Any:
    import torch
    from silero_vad import load_silero_vad

    torch.set_num_threads(1)
    return load_silero_vad()
