"""What an encoder covered of a corpus: out/encode/report/<corpus>.<modality>.json, and one line a split."""

from pathlib import Path
from typing import Any

import numpy as np

from merc.encoders.matching import Join
from merc.results import write_json

NAMED = 5  # on the screen; the report names all


def path(corpus: str, modality: str) -> Path:
    return Path("out/encode/report") / f"{corpus}.{modality}.json"


def report(name: str, present: dict[str, np.ndarray], join: Join | None) -> dict[str, Any]:
    """Utterances and those that are present, by split; of imported features every name that found no other."""
    splits = {split: {"utterances": len(one), "present": int(one.sum())} for split, one in present.items()}
    if join is None:
        return {"encoder": name, "splits": splits}
    for split, own in splits.items():
        joined = join.splits[split]
        own |= {"missing": joined.missing, "nan": joined.nan, "infinite": joined.infinite}
    return {
        "encoder": name,
        "splits": splits,
        "files": join.found.files,
        "width": join.found.width,
        "dialogues_numbered": "through all splits" if join.first else "by split",
        "unknown": join.unknown(),
        "twins": join.twins(),
        "passed_over": join.found.passed_over,
    }


def write(corpus: str, modality: str, found: dict[str, Any]) -> None:
    """Write the report, and say of imported features what it says."""
    write_json(path(corpus, modality), found)
    for line in lines(found):
        print(f"encode: {corpus}.{modality}: {line}")


def lines(found: dict[str, Any]) -> list[str]:
    """The report in a line a split; nothing for an encoder that reads media."""
    if "files" not in found:
        return []
    told = [
        f"{split}: {own['present']} of {own['utterances']} utterances; {_some('missing', list(own['missing']))}; "
        f"{own['nan']} NaN, {own['infinite']} infinite"
        for split, own in found["splits"].items()
    ]
    left = [f"{split}: {_some('unknown', names)}" for split, names in found["unknown"].items()]
    twins = [f"{split}: {_some('twins not used', names)}" for split, names in found["twins"].items()]
    passed = [_some("passed over", [f"{item} ({why})" for item, why in found["passed_over"].items()])]
    return [
        f"{found['encoder']}: {line}" for line in (*told, *left, *twins, *(passed if found["passed_over"] else []))
    ]


def _some(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
