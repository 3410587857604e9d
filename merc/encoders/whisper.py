"""Speech recognition for recordings without words: any Whisper model of a folder or the hub."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from merc.encoders import sources
from merc.encoders.raw import RATE
from merc.problem import Problem

WORD_PIECES = 200  # of one utterance at most


def transcriber(source: str) -> Callable[[np.ndarray], str]:
    """What writes down (samples,) at 16 kHz; `source`: a folder, one under data/weights, or a hub id@revision."""
    folder = Path(source) if Path(source).is_dir() else sources.folder(source)
    model, tokenizer, features = _loaded(folder)
    room = getattr(model.config, "max_target_positions", WORD_PIECES)
    one_at_a_time = threading.Lock()  # generation keeps its state in the model

    def write_down(samples: np.ndarray) -> str:
        import torch

        heard = features(samples, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
        with one_at_a_time, torch.inference_mode():
            given = {"input_features": heard.input_features, "attention_mask": heard.attention_mask}
            said = model.generate(**given, max_new_tokens=max(min(WORD_PIECES, room - 8), 1))
        return tokenizer.decode(said[0], skip_special_tokens=True).strip()

    return write_down


def _loaded(folder: Path) -> tuple:
    from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    safely = {"local_files_only": True, "trust_remote_code": False}
    try:
        model = AutoModelForSpeechSeq2Seq.from_pretrained(
            folder, use_safetensors=True, dtype="float32", **safely
        ).eval()
        return (
            model,
            AutoTokenizer.from_pretrained(folder, **safely),
            AutoFeatureExtractor.from_pretrained(folder, **safely),
        )
    except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
        raise Problem(f"{folder}: is no speech recognition model: {' '.join(str(error).split())[:200]}") from None
