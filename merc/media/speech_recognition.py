"""Words of a sound that has no transcript: written down where a voice is heard, so that silence gets none."""

import numpy as np

from merc.data.records.encoder_inputs import waveform
from merc.encoders.pretrained.transcription import SpeechRecogniser
from merc.media import voice_activity


def words_in(samples: np.ndarray, asr: SpeechRecogniser) -> str:
    """The words in int16 samples at 16 kHz; empty where WebRTC's detector hears no voice."""
    if not voice_activity.detect_by_webrtc(samples).any():
        return ""
    return asr(waveform(samples)).strip()
