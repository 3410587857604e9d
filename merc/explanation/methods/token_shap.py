"""SHAP values of a sentence's tokens: each is kept or replaced by the tokenizer's mask token.

shap's text masker and its partition explainer (Owen values over a tree of neighbouring tokens), applied to the
complete model: language model, stem, fusion, context and head; all other utterances are held fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base.encoder import Encoder
from merc.encoders.text.language_model_encoder import LanguageModelEncoder
from merc.explanation.counterfactual import Probe
from merc.explanation.methods.encoder_probe import EncoderProbe
from merc.explanation.methods.shap_values import import_shap

if TYPE_CHECKING:
    from shap import Explanation

MASK_TOKENS = ("[MASK]", "<mask>")  # of BERT's and RoBERTa's families
BATCH_SIZE = 48  # sentences in one pass of the language model
# masked sentences at most, shap's default: beyond them, tokens of a branch share its value
MAX_MASKED_SENTENCES = 500


@dataclass(frozen=True)
class TokenShap:
    """SHAP values: up to `gap`, they sum to the log-odds of the sentence minus those of the fully masked one."""

    spans: list[tuple[int, int]]  # characters of the text
    scores: list[float]
    gap: float


def explain(
    network: Any, batch: dict, row: int, raw: Mapping[str, Any], encoders: Mapping[str, Encoder]
) -> dict[str, Any]:
    """tokens [(token, score)] of the text, and token_gap; arguments as in one_utterance.explain.

    Separate from it because it is slower. Empty for an utterance without text or without a language model's
    features.
    """
    probe = Probe(network, batch)
    row_index = torch.tensor([row], device=probe.dialogue.device)
    emotion, line = probe.changed_logits(row_index).argmax(1), raw.get("text")
    for stream, encoder in encoders.items():
        has_features = stream in probe.entries and probe.entries[stream][row] >= 0
        if has_features and isinstance(encoder, LanguageModelEncoder) and line is not None:
            result = token_shap_values(EncoderProbe(probe, stream, encoder), row_index, emotion, line)
            tokens = [line.text[start:end] for start, end in result.spans]
            return {"tokens": list(zip(tokens, result.scores, strict=True)), "token_gap": result.gap}
    return {}


def token_shap_values(
    encoder_probe: EncoderProbe[LanguageModelEncoder], row: Tensor, emotion: Tensor, line: TextInput
) -> TokenShap:
    """SHAP values for row (1,) and its emotion (1,); special tokens and neighbouring utterances are not masked."""
    units = encoder_probe.encoder.units([line])[0].astype(int)
    steps = np.flatnonzero(units[:, 1] > units[:, 0])
    if not len(steps):
        return TokenShap([], [], 0.0)
    spans = [(int(start), int(end)) for start, end in units[steps]]
    model = _MaskedSentence(encoder_probe, row, emotion, encoder_probe.prepare([line]), steps)
    mask = mask_token_id(encoder_probe.encoder)
    complete, masked = model(np.stack([model.token_ids, np.full(len(steps), mask)]))
    scores = _owen_values(model, mask, line.text, spans) if len(steps) > 1 else np.array([complete - masked])
    return TokenShap(spans, scores.tolist(), float(abs(scores.sum() - (complete - masked))))


def mask_token_id(encoder: LanguageModelEncoder) -> int:
    """Id of the tokenizer's mask token; of its padding where it has none, as in generative models."""
    ids = [encoder.tokenizer.token_to_id(name) for name in MASK_TOKENS]
    return next((token_id for token_id in ids if token_id is not None), encoder.special.padding)


def _owen_values(model: "_MaskedSentence", mask: int, text: str, spans: list[tuple[int, int]]) -> np.ndarray:
    def tokenize(text: str, **_: Any) -> dict[str, list]:
        """The tokenizer that shap requires: the encoder's tokens without special ones."""
        return {"input_ids": model.token_ids.tolist(), "offset_mapping": spans} if text else {"input_ids": []}

    shap = import_shap()
    from shap.maskers import Text

    masker = Text(
        tokenize,
        mask_token=mask,
        output_type="token_ids",
        collapse_mask_token=False,  # pyright: ignore[reportArgumentType] shap documents bools
    )
    explainer = shap.PartitionExplainer(model, masker)
    explained = explainer([text], max_evals=MAX_MASKED_SENTENCES, batch_size=BATCH_SIZE, silent=True)
    return cast("Explanation", explained).values[0]


@dataclass(frozen=True)
class _MaskedSentence:
    """(B, tokens) token ids of the sentence -> (B,) log-odds."""

    encoder_probe: EncoderProbe[LanguageModelEncoder]
    row: Tensor
    emotion: Tensor
    tensors: dict[str, Tensor]  # of one sentence
    steps: np.ndarray  # of the encoder's output, without those of special tokens

    @property
    def _positions(self) -> Tensor:
        return self.tensors["kept"][0, torch.from_numpy(self.steps).to(self.row.device)]

    @property
    def token_ids(self) -> np.ndarray:
        """(tokens,) of the unmasked sentence."""
        return self.tensors["input_ids"][0, self._positions].cpu().numpy()

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [self._log_odds(batch) for batch in np.split(ids, range(BATCH_SIZE, len(ids), BATCH_SIZE))]
        )

    def _log_odds(self, ids: np.ndarray) -> np.ndarray:
        count = len(ids)
        tensors = {name: tensor.repeat(count, *[1] * (tensor.dim() - 1)) for name, tensor in self.tensors.items()}
        tensors["input_ids"][:, self._positions] = torch.from_numpy(ids).to(self.row.device)
        with torch.no_grad():
            values, _ = self.encoder_probe.encoder(tensors)
            log_odds = self.encoder_probe.log_odds_of_features(
                self.row.repeat(count), self.emotion.repeat(count), values
            )
        return log_odds.cpu().double().numpy()
