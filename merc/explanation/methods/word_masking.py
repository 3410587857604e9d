"""Word occlusion through the language model: the fall of the log-odds when a word is masked from its attention."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from merc.data.batches.dataset import Split
from merc.data.records import manifest as manifests
from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base import factory
from merc.encoders.text.language_model_encoder import LanguageModelEncoder
from merc.explanation.counterfactual import Change, log_odds
from merc.explanation.methods.part_attribution import Case


@dataclass(frozen=True)
class WordMasker:
    """A language model and the line it reads for each row of the split; None where it does not read the row."""

    encoder: LanguageModelEncoder
    lines: list[TextInput | None]
    cache: dict[tuple[int, int], Tensor] = field(default_factory=dict)  # by word: (S, D)

    def features_without(self, words: list[tuple[int, int]], is_masked: Tensor) -> Tensor:
        """(W, S, D) features of the words' lines, each with its word masked.

        A word is the split's row and the utterance's part, its steps are `is_masked` (W, S). The features do not
        depend on the network, so that they are computed once for all networks.
        """
        new = [index for index, word in enumerate(words) if word not in self.cache]
        if new:
            lines = cast("list[TextInput]", [self.lines[words[index][0]] for index in new])  # rows that it reads
            features = _masked_features(self.encoder, lines, is_masked[new])
            self.cache.update((words[index], values) for index, values in zip(new, features, strict=True))
        return nn.utils.rnn.pad_sequence([self.cache[word] for word in words], batch_first=True)


def read(name: str, corpora: list[str], split: Split) -> dict[str, WordMasker]:
    """By stream, the language models that computed the text features of the split called `name`."""
    readings: dict[str, WordMasker] = {}
    for corpus in corpora:
        selection = factory.select_encoder("text", corpus)
        if selection.stream in split.features:
            if selection.stream not in readings:
                encoder = cast("LanguageModelEncoder", selection.build())  # any other is left out below
                readings[selection.stream] = WordMasker(encoder, [None] * len(split))
            reading = readings[selection.stream]
            rows = np.flatnonzero(split.manifest["corpus"] == corpus)
            manifest = split.manifest.iloc[rows].reset_index(drop=True)
            lines = selection.reader()(manifests.split_folder(name, corpus), manifest)
            for row, line in zip(rows, lines, strict=True):
                reading.lines[row] = line
    return {
        stream: reading for stream, reading in readings.items() if isinstance(reading.encoder, LanguageModelEncoder)
    }


def masked_word_scores(
    case: Case, readings: dict[str, WordMasker], index: np.ndarray, is_scored: np.ndarray | None = None
) -> np.ndarray:
    """(N, P) how much the log-odds fall when one word alone is masked; NaN for all parts that are not words.

    No token attends to the word, and the word's own steps are the blank's. `index` (N,): rows of the split;
    `is_scored` (N,) bool: those to score, by default all.
    """
    scores = torch.full((len(case.probe), int(case.parts.counts.max())), torch.nan, device=case.emotion.device)
    before = log_odds(case.probe.logits(case.probe.rows), case.emotion)
    for stream, reading in readings.items():
        all_rows, all_parts = _words(case, stream, is_scored)
        for chunk in case.probe.chunks(all_rows):
            rows, parts = all_rows[chunk], all_parts[chunk]
            is_masked = case.owner[stream][rows] == parts[:, None]
            words = list(zip(index[rows.cpu().numpy()].tolist(), parts.tolist(), strict=True))
            change = _replacement(case, stream, rows, is_masked, reading.features_without(words, is_masked))
            with torch.no_grad():
                after = log_odds(case.probe.changed_logits(rows, change=change), case.emotion[rows])
            scores[rows, parts] = before[rows] - after
    return scores.cpu().double().numpy()


def _words(case: Case, stream: str, is_scored: np.ndarray | None) -> tuple[Tensor, Tensor]:
    """(W,) rows and parts of the words of this stream."""
    if stream not in case.owner:
        return case.probe.rows[:0], case.probe.rows[:0]
    table, has_stream = case.parts.table, cast("np.ndarray", (case.parts.owner[stream] >= 0).any(1))
    is_scored = has_stream if is_scored is None else has_stream & is_scored
    is_word = (table["modality"] == "text") & (table["word"] != "") & is_scored[table["row"]]
    words = cast("pd.DataFrame", table[is_word])
    rows, parts = (
        torch.tensor(cast("pd.Series", words[name]).to_numpy()).to(case.emotion.device) for name in ("row", "part")
    )
    return rows, parts


@torch.no_grad()
def _masked_features(encoder: LanguageModelEncoder, lines: list[TextInput], is_masked: Tensor) -> Tensor:
    """(W, S, D) features of the lines when no token of the steps `is_masked` (W, S) can be attended to."""
    device = is_masked.device
    tensors = {name: tensor.to(device) for name, tensor in encoder.to(device).prepare(lines).items()}
    kept = tensors["kept"]
    row, step = is_masked[:, : kept.shape[1]].nonzero().unbind(1)
    tensors["attention_mask"][row, kept[row, step]] = 0
    return encoder(tensors)[0]


def _replacement(case: Case, stream: str, rows: Tensor, is_masked: Tensor, features: Tensor) -> Change:
    """The change of the stream's features into `features` (W, S, D), with the blank's at the masked steps."""

    def change(name: str, values: Tensor, queries: Tensor) -> Tensor:
        if name != stream:
            return values
        replaced, new = values.clone(), features[queries][:, : values.shape[1]]
        replaced[:, : new.shape[1]] = new
        blank = case.blank(name, values, rows[queries])
        return torch.where(is_masked[queries][:, : values.shape[1], None], blank, replaced)

    return change
