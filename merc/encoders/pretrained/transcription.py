"""Speech recognition for recordings without a transcript, by a Whisper model of a folder or the hub."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.pretrained import sources
from merc.runtime.errors import UserError

MAX_TOKENS = 200  # maximum number of tokens per utterance


def load_transcriber(source: str) -> Callable[[np.ndarray], str]:
    """Function from samples at 16 kHz to text; `source`: a folder, one under data/weights, or a hub id@revision."""
    folder = Path(source) if Path(source).is_dir() else sources.model_folder(source)
    model, tokenizer, feature_extractor = _load(folder)
    max_positions = getattr(model.config, "max_target_positions", MAX_TOKENS)
    lock = threading.Lock()  # generation keeps state in the model

    def transcribe(samples: np.ndarray) -> str:
        import torch

        inputs = feature_extractor(
            samples, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        )
        with lock, torch.inference_mode():
            tokens = model.generate(
                input_features=inputs.input_features,
                attention_mask=inputs.attention_mask,
                max_new_tokens=max(min(MAX_TOKENS, max_positions - 8), 1),
            )
        return tokenizer.decode(tokens[0], skip_special_tokens=True).strip()

    return transcribe


def _load(folder: Path) -> tuple:
    from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq, AutoTokenizer, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        return (
            AutoModelForSpeechSeq2Seq.from_pretrained(
                folder, use_safetensors=True, dtype="float32", **options
            ).eval(),
            AutoTokenizer.from_pretrained(folder, **options),
            AutoFeatureExtractor.from_pretrained(folder, **options),
        )
    except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
        raise UserError(f"{folder}: is no speech recognition model: {' '.join(str(error).split())[:200]}") from None
