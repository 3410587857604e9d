"""HTML page of explained utterances, out/explain/gallery/index.html; needs no network connection."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from merc import templates
from merc.explanation.gallery import drawings

TEMPLATE = Path(__file__).with_name("page.html.jinja")
UNIT = "log-odds of the predicted emotion"
MAX_MOMENTS = 3  # face crops per utterance


@dataclass(frozen=True)
class GalleryEntry:
    """One utterance of the page."""

    title: str  # why it was selected, or its name
    rows: pd.DataFrame  # its dialogue, rows of the manifest
    row: int  # index of the utterance in `rows`
    raw: dict[str, Any]  # its encoder inputs by modality
    explanation: dict[str, Any]  # result of merc/explanation/one_utterance.py


def write_page(folder: Path, shown: Sequence[GalleryEntry], title: str) -> None:
    """Write index.html of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(render_page(shown, title), encoding="utf-8")


def render_page(shown: Sequence[GalleryEntry], title: str) -> str:
    """The complete HTML document."""
    entries = [_template_values(entry) for entry in shown]
    helpers = {"colour": drawings.colour, "largest_score": drawings.largest_score}
    return templates.render(TEMPLATE, title=title, unit=UNIT, entries=entries, **helpers)


def _template_values(entry: GalleryEntry) -> dict[str, Any]:
    """What the template shows of an utterance; None or empty where there is nothing to draw."""
    return {
        "title": entry.title,
        "row": entry.row,
        "utterance": entry.rows.iloc[entry.row].to_dict(),
        "explanation": entry.explanation,
        "modalities": _modalities(entry.explanation),
        "sound": _sound(entry),
        "faces": _faces(entry),
        "attention": _attention(entry),
    }


def _modalities(result: dict[str, Any]) -> list[tuple[str, float | None]]:
    """Name, with its gate, and score of each modality."""
    gates = result["gates"] or {}
    return [
        (f"{name}{'' if gates.get(name) is None else f' (gate {gates[name]:.2f})'}", score)
        for name, score in result["modalities"].items()
    ]


def _sound(entry: GalleryEntry) -> dict[str, Any] | None:
    sound, scores = entry.raw.get("audio"), entry.explanation["sound"]
    if sound is None or not scores:
        return None
    words = entry.rows.iloc[entry.row].get("words")
    return drawings.sound_panel(sound, scores, [] if words is None else list(words))


def _faces(entry: GalleryEntry) -> list[dict[str, Any]]:
    """Up to MAX_MOMENTS face crops, each without and with its saliency map."""
    faces, maps = entry.raw.get("vision"), entry.explanation["picture"]
    if faces is None or not maps:
        return []
    count = min(len(maps), MAX_MOMENTS)
    selected = [maps[number * len(maps) // count] for number in range(count)]
    return [
        {
            "time": saliency["time"],
            "crop": drawings.face_image(faces, saliency["time"]),
            "with_map": drawings.face_image(faces, saliency["time"], saliency),
            "caption": drawings.saliency_caption(saliency),
        }
        for saliency in selected
    ]


def _attention(entry: GalleryEntry) -> dict[str, tuple[list, list[str], list[str]]]:
    """Weights and the names of their rows and columns for each pair of modalities, "<query>><key>"."""
    text = entry.rows.iloc[entry.row]["text"] or ""
    axes = {
        "text": [text[start:end] or "[all]" for start, end in entry.explanation["token_spans"]],
        "audio": [f"{start:.1f} s" for start, _, _ in entry.explanation["sound"]],
        "vision": [f"{time:.1f} s" for time in entry.explanation["picture_times"]],
    }
    return {
        name: (weights, _step_names(axes[query], len(weights)), _step_names(axes[key], len(weights[0])))
        for name, weights in entry.explanation["attention"].items()
        for query, key in [name.split(">")]
    }


def _step_names(names: list[str], count: int) -> list[str]:
    """Names of `count` steps that a stem merged from those of `names`: the first and the last; else numbers."""
    if not names or len(names) < count:
        return [str(step) for step in range(count)]
    cuts = [number * len(names) // count for number in range(count + 1)]
    pairs = [(names[first], names[end - 1]) for first, end in pairwise(cuts)]
    return [first if first == last else f"{first} .. {last}" for first, last in pairs]
