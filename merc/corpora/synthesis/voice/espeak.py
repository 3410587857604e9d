"""Text to speech by espeak-ng (from its Python wheel), independent of earlier calls."""

import _ctypes
import ctypes

import espeakng_loader
import numpy as np

ESPEAK_RATE = 22050  # samples per second
NOISE_SEED = 1
_SYNCHRONOUS, _UTF8 = 2, 1  # espeak's AUDIO_OUTPUT_SYNCHRONOUS and espeakCHARS_UTF8
_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "span": 4}  # espeak_PARAMETER
_LOWEST, _HIGHEST = 0, 99
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(text: str, voice: str, *, rate: float, pitch: float, span: float) -> np.ndarray:
    """Synthesise a sentence: (samples,) float32, -1 to 1."""
    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    try:
        return _speak(library, text, voice, {"rate": rate, "volume": 60, "pitch": pitch, "span": span})
    finally:
        # espeak keeps its flutter and noise state between sentences: unload the library to reset them
        library.espeak_Terminate()
        getattr(_ctypes, "dlclose", lambda handle: None)(library._handle)


def _speak(library: ctypes.CDLL, text: str, voice: str, settings: dict[str, float]) -> np.ndarray:
    chunks: list[np.ndarray] = []

    def append_chunk(samples, count: int, events) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _Callback(append_chunk)
    library.espeak_Initialize(_SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(NOISE_SEED))  # the default seed is the time of day
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(voice.encode())
    for name, number in _PARAMETERS.items():
        highest = 450 if name == "rate" else _HIGHEST
        library.espeak_SetParameter(number, round(min(max(settings[name], _LOWEST), highest)), 0)
    encoded = text.encode() + b"\0"
    library.espeak_Synth(encoded, len(encoded), 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return np.concatenate(chunks).astype(np.float32) / 32768.0
