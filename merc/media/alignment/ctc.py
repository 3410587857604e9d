"""CTC speech models for forced alignment: loads them and computes log-probabilities of letters.

Connectionist temporal classification (Graves et al., 2006): each frame has a distribution over letters and a blank.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from merc.data.records.encoder_inputs import SAMPLE_RATE, waveform
from merc.encoders.pretrained import loading, sources
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    from merc.encoders.pretrained.loading import PretrainedModel

# a folder of the user's own; not shared with encoders, whose weights extraction does not depend on
MODELS_FOLDER = sources.WEIGHTS_FOLDER / "align"


@dataclass(frozen=True)
class CtcModel:
    """A speech model and its alphabet."""

    model: "PretrainedModel"
    tokens: dict[str, int]  # letter -> column of the emissions
    blank: int
    delimiter: int | None  # column of the word boundary, if the model has one
    stride: int  # samples from one frame to the next
    normalise: bool  # standardise the samples

    @property
    def letters(self) -> frozenset[str]:
        return frozenset(self.tokens)

    @torch.inference_mode()
    def emissions(self, samples: np.ndarray) -> np.ndarray:
        """(frames, columns) float32 log-probabilities of 16 kHz int16 samples; 0 frames if they are too few."""
        sound = torch.from_numpy(waveform(samples))[None]
        if self.model._get_feat_extract_output_lengths(torch.tensor(sound.shape[1])) < 1:
            return np.zeros((0, self.model.config.vocab_size), np.float32)
        if self.normalise:  # as Wav2Vec2FeatureExtractor
            sound = (sound - sound.mean()) * (sound.var(correction=0) + 1e-7).rsqrt()
        return self.model(sound).logits[0].float().log_softmax(dim=-1).numpy()


@cache
def load_model(name: str) -> CtcModel:
    """Load a model by its name in the catalogue, its folder under data/weights/align, or owner/name@revision."""
    folder = sources.model_folder(name, MODELS_FOLDER)
    model = loading.load_model(folder, "AutoModelForCTC")
    if not hasattr(model, "_get_feat_extract_output_lengths"):
        raise UserError(
            f"{folder}: a {model.config.model_type} model does not hear samples; use wav2vec2 or hubert"
        )
    settings = loading.read_preprocessor_config(folder)
    if settings.get("sampling_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise UserError(f"{folder}: hears {settings['sampling_rate']} Hz; a model for {SAMPLE_RATE} Hz is needed")
    vocabulary, delimiter, blank = _vocabulary(folder, model), _delimiter(folder), model.config.pad_token_id
    return CtcModel(
        model=model,
        tokens={
            token: column
            for token, column in vocabulary.items()
            if len(token) == 1 and token != delimiter and column != blank
        },
        blank=blank,
        delimiter=vocabulary.get(delimiter),
        stride=model.config.inputs_to_logits_ratio,
        normalise=bool(settings.get("do_normalize", True)),
    )


def _vocabulary(folder: Path, model: "PretrainedModel") -> dict[str, int]:
    """Read and check vocab.json: token -> column."""
    vocabulary, size = _json(folder / "vocab.json"), model.config.vocab_size
    if not vocabulary or not all(isinstance(column, int) and 0 <= column < size for column in vocabulary.values()):
        raise UserError(f"{folder / 'vocab.json'}: does not map letters to the model's {size} columns")
    if not any(len(token) == 1 and token.isalpha() for token in vocabulary):
        raise UserError(f"{folder / 'vocab.json'}: has no letters; a model that writes letter by letter is needed")
    if model.config.pad_token_id not in range(size):
        raise UserError(f"{folder / 'config.json'}: pad_token_id, the blank of CTC, is none of {size} columns")
    return vocabulary


def _delimiter(folder: Path) -> str:
    config = folder / "tokenizer_config.json"
    return (_json(config) if config.is_file() else {}).get("word_delimiter_token") or "|"


def _json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error}); bring it with the model's other files") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds no table; bring it with the model's other files")
    return content
