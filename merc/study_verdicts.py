"""Is a row better than the one that its study compares it with, corpus by corpus? Paired, from their answers."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from merc import comparisons, predictions
from merc.predictions import Predictions
from merc.studies import Study

ANSWERS = Path("out/results")  # of each row, by its key: what code and parameters it is of
TOLD = ("difference", "low", "high", "permutation_p", "verdict")


def keep(clone: Path, key: str) -> None:
    """Keep what the row answered to the test split."""
    ANSWERS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clone / predictions.FILE, ANSWERS / f"{key}.parquet")


def tell(study: Study, rows: dict[str, dict[str, Any]]) -> None:
    """Write into each row how it differs from its corpus's reference, where the answers of both are at hand."""
    for row in rows.values():
        for corpus, name in study.against.items():
            both = [_answers(rows[one]) for one in (name, row["name"]) if one in rows]
            if name != row["name"] and len(both) == 2 and all(both):
                told = row.setdefault("against", {})
                told[corpus] = {"row": name} | _compared(both, corpus, study.models, (name, row["name"]))


def _answers(row: dict[str, Any]) -> Path | None:
    file = ANSWERS / f"{row['key']}.parquet"
    return file if file.is_file() else None


def _compared(files: list[Path], corpus: str, models: tuple[str, ...], names: tuple[str, str]) -> dict[str, dict]:
    first, second = (_of(predictions.read(file), corpus) for file in files)
    told = {
        model: comparisons.compare(first, second, (model, model), "emotion", comparisons.ROUNDS, names)
        for model in models
    }
    return {model: {name: one[name] for name in TOLD if name in one} for model, one in told.items()}


def _of(found: Predictions, corpus: str) -> Predictions:
    return found.only(np.asarray(found.rows["corpus"] == corpus))
