"""Words of a sound that has no transcript: written down where a voice is heard, so that silence gets none."""

import numpy as np

from merc.encoders.pretrained.transcription import SpeechRecogniser
from merc.media import voice_activity

FULL_SCALE = 32768  # of 16-bit samples


def words_in(samples: np.ndarray, asr: SpeechRecogniser) -> str:
    """The words in int16 samples at 16 kHz; empty where WebRTC's detector hears no voice."""
    if not voice_activity.detect_by_webrtc(samples).any():
        return ""
    return asr(samples.astype(np.float32) / FULL_SCALE).strip()
