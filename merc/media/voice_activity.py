"""Voice activity detection: replaces non-speech by silence and trims it at both ends.

Silencing keeps the time axis. Trimming shifts it by a multiple of the face tracks' frame interval, which
ClipSound.start holds.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from merc.data.records.encoder_inputs import FULL_SCALE, SAMPLE_RATE, waveform
from merc.data.records.face_tracks import TRACK_FPS
from merc.media.sound import ClipSound, add_flag
from merc.runtime.errors import UserError

NO_SPEECH = "no_speech"
TRIMMED = "trimmed"
TICK_SAMPLES = round(SAMPLE_RATE / TRACK_FPS)  # samples per frame of the face tracks
FRAME_SAMPLES = 480  # samples: 30 ms, the longest frame of WebRTC's detector
WEBRTC_MODE = 2  # WebRTC's aggressiveness mode, 0 to 3
SPEECH_MARGIN = 5  # frames kept on both sides of speech, so that words are not clipped
# of full scale: below it, what has no voice is silence. The loudest frame of RAVDESS's faintest clip has -55 dB
SILENT_POWER = 10.0 ** (-60 / 10)
SILENT = "it is silent: below -60 dB of full scale throughout, and without a voice"
MIN_SPEECH_FRAMES = 7  # frames (0.2 s) of speech; less is a click, or WebRTC's first guess at any noise
SILENCE_DECIBELS = 40.0  # dB below the loudest frame: quieter frames are non-speech if there is no detector


def detect_by_webrtc(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: WebRTC's Gaussian mixture detector."""
    return _widen(_frames_with_speech(samples), len(samples))


def _frames_with_speech(samples: np.ndarray) -> np.ndarray:
    """(frames,) bool: the frames that WebRTC's detector takes for speech."""
    from webrtcvad import Vad

    vad, count = Vad(WEBRTC_MODE), len(samples) // FRAME_SAMPLES
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)
    return np.array([vad.is_speech(frame.tobytes(), SAMPLE_RATE) for frame in frames], bool)


def detect_by_silero(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: Silero's recurrent network."""
    import torch
    from silero_vad import get_speech_timestamps

    is_speech = np.zeros(len(samples), bool)
    sound = torch.from_numpy(waveform(samples))
    for span in get_speech_timestamps(sound, _silero(), sampling_rate=SAMPLE_RATE):
        is_speech[span["start"] : span["end"]] = True
    return is_speech


def detect_by_loudness(samples: np.ndarray) -> np.ndarray:
    """(samples,) bool: at most SILENCE_DECIBELS below the loudest frame; all False for digital silence."""
    power = _frame_powers(samples)
    return _widen((power > power.max(initial=0.0) * 10 ** (-SILENCE_DECIBELS / 10)) & (power > 0), len(samples))


def without_silence(sound: ClipSound) -> ClipSound:
    """A sound that is nowhere loud and holds no voice is missing, with the reason; any other is left as it is."""
    if sound.samples is None or _loudest(sound.samples) > SILENT_POWER:
        return sound
    if _frames_with_speech(sound.samples).sum() >= MIN_SPEECH_FRAMES:
        return sound
    return ClipSound(reason=SILENT)


def _loudest(samples: np.ndarray) -> float:
    """Mean square of the loudest frame, of full scale."""
    return float(_frame_powers(samples).max(initial=0.0)) / FULL_SCALE**2


def _frame_powers(samples: np.ndarray) -> np.ndarray:
    """(frames,) mean square of each frame of FRAME_SAMPLES, the last one padded."""
    frames = np.pad(samples.astype(np.float64), (0, -len(samples) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
    return np.square(frames).mean(axis=1)


DETECTORS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "none": None,
    "webrtc": detect_by_webrtc,
    "silero": detect_by_silero,
}
PACKAGES = {"webrtc": ("webrtcvad", "webrtcvad-wheels"), "silero": ("silero_vad", "silero-vad")}


def check_installed(name: str) -> None:
    """Refuse a detector whose package is not installed."""
    module, package = PACKAGES.get(name, (None, None))
    if module and find_spec(module) is None:
        raise UserError(f"params.yaml: extract.audio.vad = {name!r} needs a package: pip install {package}")


def apply_detector(
    sound: ClipSound, detector: Callable[[np.ndarray], np.ndarray] | None, trim: bool, minimum: float
) -> ClipSound:
    """Silence what the detector takes for non-speech and, with `trim`, cut it off at both ends.

    At least `minimum` seconds are kept. A sound without speech is left as it is, with a flag.
    """
    samples = sound.samples
    if samples is None or (detector is None and not trim):
        return sound
    is_speech = (detector or detect_by_loudness)(samples)
    if not is_speech.any():
        finding = "no speech was detected" if detector else "silent throughout"
        add_flag(sound, NO_SPEECH, f"{finding}: the sound is kept as it is")
        return sound
    if detector is not None:
        sound.samples = samples = np.where(is_speech, samples, np.int16(0))
    return _trim(sound, samples, is_speech, round(minimum * SAMPLE_RATE)) if trim else sound


def _trim(sound: ClipSound, samples: np.ndarray, is_speech: np.ndarray, minimum: int) -> ClipSound:
    """Keep the samples from the tick in which speech begins to its end, and at least `minimum`."""
    length = len(samples)
    first, last = np.flatnonzero(is_speech)[[0, -1]]
    begin = int(min(first, max(length - minimum, 0))) // TICK_SAMPLES * TICK_SAMPLES
    end = min(max(int(last) + 1, begin + minimum), length)
    if (begin, end) == (0, length):
        return sound
    before, after = begin / SAMPLE_RATE, (length - end) / SAMPLE_RATE
    add_flag(sound, TRIMMED, f"{before:.2f} s before and {after:.2f} s after what is heard were cut")
    return replace(sound, samples=samples[begin:end], start=before)


def _widen(is_speech: np.ndarray, num_samples: int) -> np.ndarray:
    """(num_samples,) bool, per sample: the speech frames, and SPEECH_MARGIN frames on both sides of them."""
    num_frames = len(is_speech)
    counts = np.convolve(is_speech.astype(float), np.ones(2 * SPEECH_MARGIN + 1), mode="full")
    samples = np.repeat(counts[SPEECH_MARGIN : SPEECH_MARGIN + num_frames] > 0, FRAME_SAMPLES)[:num_samples]
    return np.pad(samples, (0, num_samples - len(samples)), mode="edge" if num_frames else "constant")


@functools.cache
def _silero() -> Any:
    import torch
    from silero_vad import load_silero_vad

    torch.set_num_threads(1)
    return load_silero_vad()
