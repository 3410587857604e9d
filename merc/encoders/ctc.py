"""Speech models that write down what they hear, letter by letter: what forced alignment needs of them.

Connectionist temporal classification (Graves et al., 2006): each frame has a distribution over letters and a blank.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from merc.encoders import pretrained, sources
from merc.problem import Problem

PLACE = sources.WEIGHTS / "align"  # a folder of its own: what encoders need does not touch extraction
MODELS = {  # what stands for a hub id with its revision
    "wav2vec2-base-960h": "facebook/wav2vec2-base-960h@22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
}
RATE = 16_000


@dataclass(frozen=True)
class Ctc:
    """A model and its alphabet."""

    model: nn.Module
    tokens: dict[str, int]  # letter -> column
    blank: int
    delimiter: int | None  # what stands between words
    stride: int  # samples from one frame to the next
    normalise: bool

    @property
    def letters(self) -> frozenset[str]:
        return frozenset(self.tokens)

    @torch.inference_mode()
    def emissions(self, samples: np.ndarray) -> np.ndarray:
        """(frames, columns) float32 log-probabilities of 16 kHz int16 samples; no frames if they are too few."""
        sound = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
        if self.model._get_feat_extract_output_lengths(torch.tensor(sound.shape[1])) < 1:
            return np.zeros((0, self.model.config.vocab_size), np.float32)
        if self.normalise:  # as Wav2Vec2FeatureExtractor does it
            sound = (sound - sound.mean()) * (sound.var(correction=0) + 1e-7).rsqrt()
        return self.model(sound).logits[0].float().log_softmax(dim=-1).numpy()


@cache
def load(name: str) -> Ctc:
    """The model of a name in MODELS, of a folder under data/weights/align, or of owner/name@revision."""
    folder = sources.folder(MODELS.get(name, name), PLACE)
    model = pretrained.model(folder, "AutoModelForCTC")
    if not hasattr(model, "_get_feat_extract_output_lengths"):
        raise Problem(f"{folder}: a {model.config.model_type} model does not hear samples; use wav2vec2 or hubert")
    scaling = pretrained.preprocessor(folder)
    if scaling.get("sampling_rate", RATE) != RATE:
        raise Problem(f"{folder}: hears {scaling['sampling_rate']} Hz; a model for {RATE} Hz is needed")
    vocabulary, delimiter, blank = _vocabulary(folder, model), _delimiter(folder), model.config.pad_token_id
    return Ctc(
        model=model,
        tokens={
            token: column
            for token, column in vocabulary.items()
            if len(token) == 1 and token != delimiter and column != blank
        },
        blank=blank,
        delimiter=vocabulary.get(delimiter),
        stride=model.config.inputs_to_logits_ratio,
        normalise=bool(scaling.get("do_normalize", True)),
    )


def _vocabulary(folder: Path, model: nn.Module) -> dict[str, int]:
    """vocab.json: token -> column."""
    found, size = _json(folder / "vocab.json"), model.config.vocab_size
    if not found or not all(isinstance(column, int) and 0 <= column < size for column in found.values()):
        raise Problem(f"{folder / 'vocab.json'}: does not map letters to the model's {size} columns")
    if not any(len(token) == 1 and token.isalpha() for token in found):
        raise Problem(f"{folder / 'vocab.json'}: has no letters; a model that writes letter by letter is needed")
    if model.config.pad_token_id not in range(size):
        raise Problem(f"{folder / 'config.json'}: pad_token_id, the blank of CTC, is none of {size} columns")
    return found


def _delimiter(folder: Path) -> str:
    config = folder / "tokenizer_config.json"
    return (_json(config) if config.is_file() else {}).get("word_delimiter_token") or "|"


def _json(file: Path) -> dict:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{file}: cannot be read ({error}); bring it with the model's other files") from None
    if not isinstance(found, dict):
        raise Problem(f"{file}: holds no table; bring it with the model's other files")
    return found
