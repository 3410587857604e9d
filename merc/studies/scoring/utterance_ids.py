"""Finds the utterances that the rows of a predictions file name."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from merc.studies.scoring import prediction_table
from merc.studies.scoring.reference import Reference


class UtteranceIds:
    """Finds utterances of the reference."""

    def __init__(self, reference: Reference) -> None:
        manifest = reference.manifest
        self.names = pd.Index(manifest["utterance"])
        self.dialogues = pd.Index(manifest["dialogue"]).unique()
        self.dialogue = self.dialogues.get_indexer(pd.Index(manifest["dialogue"]))
        # MELD's own numbers within a dialogue, or nothing
        number = manifest["utterance"].str.extract(r"^dia\d+_utt(\d{1,9})$")[0]
        self.has_numbers = bool(number.notna().all())
        self.numbers = pd.Index(self._pair(self.dialogue, number.astype(int))) if self.has_numbers else pd.Index([])

    @staticmethod
    def _pair(dialogue: np.ndarray, number: np.ndarray) -> np.ndarray:
        return np.asarray(dialogue, np.int64) * 10**9 + np.asarray(number, np.int64)

    def rows(self, batch: pa.RecordBatch, ids: Sequence[str]) -> np.ndarray:
        """(n,) rows of the reference; -1 for an unknown id."""
        codes, names = prediction_table.strings(batch, "utterance")
        by_name = np.append(self.names.get_indexer(pd.Index(names, dtype=object)), -1)
        rows = by_name[codes]
        if "dialogue" not in ids:
            return rows
        dialogue_codes, dialogues = prediction_table.strings(batch, "dialogue")
        dialogue = np.append(self.dialogues.get_indexer(pd.Index(dialogues, dtype=object)), -1)[dialogue_codes]
        if self.has_numbers and all(name.isdecimal() and len(name) < 10 for name in names):
            number = np.array([int(name) for name in names] + [0])[codes]
            return np.where(dialogue < 0, -1, self.numbers.get_indexer(pd.Index(self._pair(dialogue, number))))
        return np.where(self.dialogue[rows] == dialogue, rows, -1)
