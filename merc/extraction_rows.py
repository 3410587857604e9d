"""From a listing and what came of its items to the manifest's rows."""

from typing import Any

import pandas as pd

from merc.corpora import Listing, Utterance
from merc.manifest import MISSING
from merc.timing import UNALIGNED

LABELS = ("emotion", "sentiment", "intensity")


def rows(corpus: str, listing: Listing, outcomes: list[dict[str, Any]]) -> pd.DataFrame:
    """The manifest's rows, in the listing's order."""
    table, turn, before = [], 0, None
    for utterance, outcome in zip(listing.utterances, outcomes, strict=True):
        turn = turn + 1 if before == (utterance.split, utterance.dialogue) else 0
        before = (utterance.split, utterance.dialogue)
        table.append(_row(corpus, turn, utterance, outcome))
    return pd.DataFrame(table)


def _row(corpus: str, turn: int, utterance: Utterance, outcome: dict[str, Any]) -> dict[str, Any]:
    shared = ("split", "dialogue", "group", "speaker", "text", "source", "start", "end", "clip", *LABELS)
    files = outcome["audio"]["files"] | outcome["vision"]["files"]
    return {
        "corpus": corpus,
        "turn": turn,
        "utterance": utterance.name,
        **{name: getattr(utterance, name) for name in shared},
        **{column: files.get(column) for column in ("wav", "frame", "tracks")},
        "wav_start": outcome["audio"]["start"] if "wav" in files else None,
        "words": outcome["text"]["words"],
        **_text(utterance, outcome["text"]["reason"]),
        **{f"{m}_{key}": outcome[m][key] for m in ("audio", "vision") for key in ("status", "reason")},
    }


def _text(utterance: Utterance, unaligned: str) -> dict[str, str]:
    """The text's status and reason; `unaligned` says why words have no times, if that was asked."""
    if not utterance.text:
        return {"text_status": MISSING, "text_reason": "no text"}
    flags = [*utterance.text_flags, *([UNALIGNED] if unaligned else [])]
    reasons = [reason for reason in (utterance.text_reason, unaligned) if reason]
    return {"text_status": ",".join(flags) or "ok", "text_reason": "; ".join(reasons)}
