"""Coverage of a corpus by an encoder: out/encode/report/<corpus>.<modality>.json, and one line per split."""

from pathlib import Path
from typing import Any

import numpy as np

from merc.encoders.imported.matching import FeatureMatching
from merc.runtime.results import write_json

MAX_NAMES = 5  # maximum number of names per printed line; the report lists all


def report_path(corpus: str, modality: str) -> Path:
    """Path of the report."""
    return Path("out/encode/report") / f"{corpus}.{modality}.json"


def coverage_report(name: str, present: dict[str, np.ndarray], join: FeatureMatching | None) -> dict[str, Any]:
    """Utterances in total and present, by split; of imported features also every name without a match."""
    splits = {split: {"utterances": len(mask), "present": int(mask.sum())} for split, mask in present.items()}
    if join is None:
        return {"encoder": name, "splits": splits}
    for split, counts in splits.items():
        joined = join.splits[split]
        counts |= {"missing": joined.missing, "nan": joined.nan, "infinite": joined.infinite}
    return {
        "encoder": name,
        "splits": splits,
        "files": join.files.paths,
        "width": join.files.width,
        "dialogues_numbered": "through all splits" if join.first else "by split",
        "unknown": join.unknown(),
        "twins": join.twins(),
        "passed_over": join.files.passed_over,
    }


def write_report(corpus: str, modality: str, content: dict[str, Any]) -> None:
    """Write the report, and print a summary of imported features."""
    write_json(report_path(corpus, modality), content)
    for line in summary_lines(content):
        print(f"encode: {corpus}.{modality}: {line}")


def summary_lines(content: dict[str, Any]) -> list[str]:
    """Summary lines of a report; none for an encoder that reads media."""
    if "files" not in content:
        return []
    splits = [
        f"{split}: {counts['present']} of {counts['utterances']} utterances; "
        f"{_count_and_names('missing', list(counts['missing']))}; "
        f"{counts['nan']} NaN, {counts['infinite']} infinite"
        for split, counts in content["splits"].items()
    ]
    unknown = [f"{split}: {_count_and_names('unknown', names)}" for split, names in content["unknown"].items()]
    twins = [f"{split}: {_count_and_names('twins not used', names)}" for split, names in content["twins"].items()]
    items = [f"{item} ({reason})" for item, reason in content["passed_over"].items()]
    passed_over = [_count_and_names("passed over", items)] if items else []
    return [f"{content['encoder']}: {line}" for line in (*splits, *unknown, *twins, *passed_over)]


def _count_and_names(label: str, names: list[str]) -> str:
    listed = ", ".join(names[:MAX_NAMES]) + (", ..." if len(names) > MAX_NAMES else "")
    return f"{len(names)} {label}" + (f" ({listed})" if names else "")
