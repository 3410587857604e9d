"""Voice activity detection: what is no speech falls silent; nothing is cut, so the clock stays."""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from merc.problem import Problem
from merc.sound import SAMPLE_RATE, Sound, note

NO_SPEECH = "no_speech"
FRAME = 480  # samples: 30 ms, the longest that WebRTC's detector takes
STRICTNESS = 2  # of WebRTC's 0 to 3
AROUND = 5  # frames kept on both sides of speech, so that no word loses its edges


def webrtc(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: WebRTC's Gaussian mixture detector."""
    from webrtcvad import Vad

    vad, count = Vad(STRICTNESS), len(samples) // FRAME
    frames = samples[: count * FRAME].reshape(count, FRAME)
    heard = np.array([vad.is_speech(frame.tobytes(), SAMPLE_RATE) for frame in frames], float)
    wide = np.convolve(heard, np.ones(2 * AROUND + 1), mode="full")[AROUND : AROUND + count] > 0
    return np.pad(np.repeat(wide, FRAME), (0, len(samples) - count * FRAME), mode="edge" if count else "constant")


def silero(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: Silero's recurrent network."""
    import torch
    from silero_vad import get_speech_timestamps

    heard = np.zeros(len(samples), bool)
    sound = torch.from_numpy(samples.astype(np.float32) / 32768)
    for span in get_speech_timestamps(sound, _silero(), sampling_rate=SAMPLE_RATE):
        heard[span["start"] : span["end"]] = True
    return heard


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


def silence(sound: Sound, detector: Callable[[np.ndarray], np.ndarray]) -> Sound:
    """The sound with all but speech silent; as it is, and flagged, where no speech is found."""
    heard = detector(sound.samples)
    if heard.any():
        sound.samples = np.where(heard, sound.samples, np.int16(0))
    else:
        note(sound, NO_SPEECH, "no speech was detected: the sound is kept as it is")
    return sound


@functools.cache
def _silero() -> Any:
    import torch
    from silero_vad import load_silero_vad

    torch.set_num_threads(1)
    return load_silero_vad()
