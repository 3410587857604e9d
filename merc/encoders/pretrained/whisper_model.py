"""A whole Whisper (Radford et al. 2022), on sounds of their own length.

The encoder is trained on 30 s, which cost three times what the length of a clip with `MARGIN_SECONDS` of silence
after it does: 1.31 (decoded without times) against 0.46 s of the processor (whisper-base, 24 clips of RAVDESS).
transformers' WhisperEncoder.forward insists on 30 s, so that its parts are called here.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.pretrained import loading
from merc.runtime.errors import UserError

WINDOW_SECONDS = 30.0
FRAMES_PER_SECOND = 50  # of the encoder's output
# of silence after the sound, without which the decoder begins anew at its end (word error on RAVDESS 0; 1 s: 0.2)
MARGIN_SECONDS = 3.0


@dataclass(frozen=True)
class WhisperModel:
    """A Whisper with its tokenizer; `lock`: generation keeps state in the model."""

    model: Any
    tokenizer: Any
    features: Any  # samples -> log-mel of 30 s
    lock: Lock

    @property
    def settings(self) -> Any:
        return self.model.generation_config

    @property
    def languages(self) -> dict[str, int]:
        """Token of each language by its code (en, de, ...); empty for a model of English alone."""
        tokens = getattr(self.settings, "lang_to_id", None) or {}
        return {token.strip("<|>"): number for token, number in tokens.items()}

    @property
    def time_token(self) -> int | None:
        """The token of 0 s, which those of later times follow in steps of 0.02 s; None for a model without."""
        before = getattr(self.settings, "no_timestamps_token_id", None)
        return None if before is None else before + 1

    def prompt(self, language: str) -> list[int]:
        """The tokens that begin a text with times: the language and the task of a model of several languages."""
        tokens = [self.settings.decoder_start_token_id]
        if languages := self.languages:
            tokens += [languages[language], self.settings.task_to_id["transcribe"]]
        return tokens

    def encode(self, samples: np.ndarray, seconds: float = WINDOW_SECONDS) -> Tensor:
        """Hidden states (1, frames, dim) of 16 kHz float samples, padded with silence to `seconds`, at most 30."""
        values = self.features(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        frames = min(2 * round(seconds * FRAMES_PER_SECOND), values.shape[2])
        encoder = self.model.model.encoder
        hidden = functional.gelu(encoder.conv1(values[:, :, :frames]))
        hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        return encoder.layer_norm(hidden)


@lru_cache(maxsize=2)
def load(folder: Path, attention: str = "sdpa") -> WhisperModel:
    """Load the Whisper of a Hugging Face folder; `attention` eager: it can show its weights."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    if loading.read_config(folder).get("model_type") != "whisper":
        raise UserError(f"{folder}: is no Whisper, which speech is written down with")
    model: Any = loading.load_model(folder, WhisperForConditionalGeneration, attn_implementation=attention)
    model.generation_config.max_length = None  # each sound has a limit of its own
    tokenizer = loading.load_tokenizer(folder, model.config.vocab_size)
    try:
        features = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except OSError as error:
        raise UserError(f"{folder}: does not load: {' '.join(str(error).split())[:200]}") from None
    return WhisperModel(model, tokenizer, features, Lock())
