"""SHAP of the tokens of a sentence: each is kept, or read as the tokenizer's mask token, by the language model.

shap's own masker and its partition explainer (Owen values over a tree of neighbouring tokens), asked about the
whole network: language model, stem, fusion, context and head; all other utterances are held fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merc.encoders.encoder import Encoder
from merc.encoders.raw import Line
from merc.encoders.words import Words
from merc.probe import Probe
from merc.shapvalues import library
from merc.through import Through

MASKS = ("[MASK]", "<mask>")  # as BERT's and RoBERTa's families call it
AT_ONCE = 48  # sentences that the language model reads at a time
QUESTIONS = (
    500  # masked sentences at most, shap's own default: what is left of a long one shares its branch's value
)


@dataclass(frozen=True)
class TokenShap:
    """They sum to the log-odds of the sentence minus those of the one that is masked throughout, but for `gap`."""

    spans: list[tuple[int, int]]  # characters of the text
    scores: list[float]
    gap: float


def explain(
    network: Any, batch: dict, row: int, raw: Mapping[str, Any], encoders: Mapping[str, Encoder]
) -> dict[str, Any]:
    """As merc/explain_one.py, which is faster without: tokens [(token, score)] of the text, and token_gap.

    Nothing of an utterance without words, or whose words no language model reads.
    """
    probe = Probe(network, batch)
    at = torch.tensor([row], device=probe.dialogue.device)
    emotion, line = probe.ask(at).argmax(1), raw.get("text")
    for stream, coder in encoders.items():
        known = stream in probe.entries and probe.entries[stream][row] >= 0
        if known and isinstance(coder, Words) and line is not None:
            found = read_tokens(Through(probe, stream, coder), at, emotion, line)
            said = [line.text[start:end] for start, end in found.spans]
            return {"tokens": list(zip(said, found.scores, strict=True)), "token_gap": found.gap}
    return {}


def read_tokens(through: Through, row: Tensor, emotion: Tensor, line: Line) -> TokenShap:
    """Of row (1,) and its emotion (1,); special tokens and neighbouring utterances stay."""
    spans = through.encoder.units([line])[0].astype(int)
    said = np.flatnonzero(spans[:, 1] > spans[:, 0])
    if not len(said):
        return TokenShap([], [], 0.0)
    places = [(int(start), int(end)) for start, end in spans[said]]
    model = _Masked(through, row, emotion, through.prepare([line]), said)
    mask = mask_id(through.encoder)
    whole, nothing = model(np.stack([model.own, np.full(len(said), mask)]))
    scores = _explained(model, mask, line.text, places) if len(said) > 1 else np.array([whole - nothing])
    return TokenShap(places, scores.tolist(), float(abs(scores.sum() - (whole - nothing))))


def mask_id(encoder: Words) -> int:
    """The tokenizer's mask token; its padding where it has none, as the models that write have."""
    known = [encoder.tokenizer.token_to_id(name) for name in MASKS]
    return next((one for one in known if one is not None), encoder.special.padding)


def _explained(model: "_Masked", mask: int, text: str, places: list[tuple[int, int]]) -> np.ndarray:
    def tokens(asked: str, **_: Any) -> dict[str, list]:
        """What shap calls a tokenizer: the encoder's own, special tokens left out."""
        return {"input_ids": model.own.tolist(), "offset_mapping": places} if asked else {"input_ids": []}

    shap = library()
    masker = shap.maskers.Text(tokens, mask_token=mask, output_type="token_ids", collapse_mask_token=False)
    explainer = shap.PartitionExplainer(model, masker)
    return explainer([text], max_evals=QUESTIONS, batch_size=AT_ONCE, silent=True).values[0]


@dataclass(frozen=True)
class _Masked:
    """(B, tokens) token ids of the sentence -> (B,) log-odds."""

    through: Through
    row: Tensor
    emotion: Tensor
    tensors: dict[str, Tensor]  # of one sentence
    said: np.ndarray  # the steps that are its own tokens

    @property
    def _places(self) -> Tensor:
        return self.tensors["kept"][0, torch.from_numpy(self.said).to(self.row.device)]

    @property
    def own(self) -> np.ndarray:
        """(tokens,) what is said."""
        return self.tensors["input_ids"][0, self._places].cpu().numpy()

    def __call__(self, ids: np.ndarray) -> np.ndarray:
        return np.concatenate([self._read(own) for own in np.split(ids, range(AT_ONCE, len(ids), AT_ONCE))])

    def _read(self, ids: np.ndarray) -> np.ndarray:
        tensors = {name: one.repeat(len(ids), *[1] * (one.dim() - 1)) for name, one in self.tensors.items()}
        tensors["input_ids"][:, self._places] = torch.from_numpy(ids).to(self.row.device)
        with torch.no_grad():
            values, _ = self.through.encoder(tensors)
            worth = self.through.worth(self.row.repeat(len(ids)), self.emotion.repeat(len(ids)), values)
        return worth.cpu().double().numpy()
