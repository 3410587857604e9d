"""HTML page of explained utterances, out/explain/gallery/index.html; needs no network connection."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from merc.explanation.gallery import drawings

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2430;max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;line-height:1.2}article{border-top:1px solid #d4dae2;margin-top:1.6rem;padding-top:.4rem}
h2{font-size:1.1rem;margin:.4rem 0}h3{font-size:.9rem;margin:.9rem 0 .2rem;color:#3d4857}
.words{font-size:1.15rem;line-height:2.1}.words span{padding:.15rem .3rem;border-radius:.25rem;margin-right:.15rem}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:.4rem 1.6rem}
svg{max-width:100%;height:auto;display:block}.faces{display:flex;gap:.6rem;flex-wrap:wrap}
.faces img{width:8rem;height:8rem;image-rendering:auto;border-radius:.25rem}figure{margin:0}
figcaption,small,.note{color:#5b6675;font-size:.8rem}
nav a{margin-right:.8rem;white-space:nowrap}
.key span{white-space:nowrap;padding:.1rem .5rem;margin-right:.4rem;border-radius:.25rem}
"""
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
    links = "".join(
        f'<a href="#u{number}">{escape(entry.title or entry.rows["utterance"].iloc[entry.row])}</a> '
        for number, entry in enumerate(shown)
    )
    body = "".join(_article(entry, f"u{number}") for number, entry in enumerate(shown))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>merc: {escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>Every score is a part of the {UNIT}: "
        f'<span class="key"><span style="background:{drawings.colour(0.8)}">for it</span>'
        f'<span style="background:{drawings.colour(-0.8)}">against it</span></span> '
        "Colours are relative to the largest score of their panel.</p>"
        f"<nav>{links}</nav>{body}</body></html>\n"
    )


def _article(entry: GalleryEntry, anchor: str) -> str:
    """Everything about one utterance."""
    utterance, result = entry.rows.iloc[entry.row], entry.explanation
    actual = utterance["emotion"] if isinstance(utterance["emotion"], str) else "no label"
    panels = [
        ("Modalities: exact Shapley values", _modalities(result)),
        ("Dialogue: influence of each utterance", drawings.influence_arcs(result["influence"], entry.row)),
        ("Sound: integrated gradients over time", _sound(entry)),
        (_picture_title(result), _picture(entry)),
    ]
    sections = "".join(
        f"<section><h3>{escape(name)}</h3>{content}</section>" for name, content in panels if content
    )
    return (
        f'<article id="{anchor}"><h2>{escape(entry.title)} <small>{escape(utterance["corpus"])}, dialogue '
        f"{escape(utterance['dialogue'])}, {escape(utterance['utterance'])}, "
        f"{escape(utterance['speaker'] or '')}</small></h2>"
        f"<p>predicted <b>{escape(result['emotion'])}</b> ({100 * result['probability']:.0f} %), "
        f"labelled {escape(actual)}</p>{_words(entry)}"
        f'<div class="panels">{sections}</div>{_attention(entry)}</article>'
    )


def _words(entry: GalleryEntry) -> str:
    words = entry.explanation["words"]
    if not words:
        text = entry.rows.iloc[entry.row]["text"]
        return f'<p class="words">{escape(text or "")} <small>words need a language model</small></p>'
    return (
        f'<p class="words">{_coloured(words)}</p><p class="note">Words: layer integrated gradients through the '
        f"complete model; largest {_largest(words):.2f}, convergence gap {entry.explanation['word_gap']:+.4f}</p>"
        f"{_tokens_by_shap(entry.explanation)}"
    )


def _tokens_by_shap(result: dict[str, Any]) -> str:
    if not result.get("tokens"):
        return ""
    return (
        f'<p class="words">{_coloured(result["tokens"])}</p><p class="note">Tokens: SHAP values, each kept or '
        f"replaced by the mask token; largest {_largest(result['tokens']):.2f}; they sum to the log-odds of the "
        f"sentence minus those of the masked one, gap {result['token_gap']:.4f}</p>"
    )


def _coloured(scored: Sequence[tuple[str, float]]) -> str:
    return "".join(
        f'<span style="background:{drawings.colour(score / _largest(scored))}" title="{score:+.3f}">{escape(word)}'
        "</span> "
        for word, score in scored
    )


def _largest(scored: Sequence[tuple[str, float]]) -> float:
    return max(abs(score) for _, score in scored) or 1.0


def _modalities(result: dict[str, Any]) -> str:
    gates = result["gates"] or {}
    rows = [
        (f"{name}{'' if gates.get(name) is None else f' (gate {gates[name]:.2f})'}", score)
        for name, score in result["modalities"].items()
    ]
    return drawings.bar_chart(rows, UNIT)


def _sound(entry: GalleryEntry) -> str:
    sound, scores = entry.raw.get("audio"), entry.explanation["sound"]
    if sound is None or not scores:
        return ""
    words = entry.rows.iloc[entry.row].get("words")
    return drawings.sound_panel(sound.samples, sound.rate, scores, [] if words is None else list(words))


def _picture_title(result: dict[str, Any]) -> str:
    method = result["picture"][0]["method"] if result["picture"] else ""
    return f"Picture: {method}"


def _picture(entry: GalleryEntry) -> str:
    faces, maps = entry.raw.get("vision"), entry.explanation["picture"]
    if faces is None or not maps:
        return ""
    selected = (
        maps
        if len(maps) <= MAX_MOMENTS
        else [maps[number * len(maps) // MAX_MOMENTS] for number in range(MAX_MOMENTS)]
    )
    figures = "".join(
        f'<figure><img alt="face crop" src="{drawings.face_image(faces, saliency["time"])}">'
        f"<figcaption>{saliency['time']:.1f} s</figcaption></figure>"
        f'<figure><img alt="the same with its map" src="{drawings.face_image(faces, saliency["time"], saliency)}">'
        f"<figcaption>{drawings.saliency_caption(saliency)}</figcaption></figure>"
        for saliency in selected
    )
    return f'<div class="faces">{figures}</div>'


def _attention(entry: GalleryEntry) -> str:
    pairs = entry.explanation["attention"]
    if not pairs:
        return ""
    axes = {"text": _tokens(entry), "audio": _times(entry.explanation["sound"]), "vision": _moments(entry)}
    maps = [
        (name.replace(">", " attends to "), drawings.heat_map(weights, *_axis_names(name, weights, axes)))
        for name, weights in pairs.items()
    ]
    sections = "".join(f"<section><h3>{escape(name)}</h3>{content}</section>" for name, content in maps)
    return f'<h3>Cross-modal attention (each row sums to 1)</h3><div class="panels">{sections}</div>'


def _axis_names(name: str, weights: list, axes: dict[str, list[str]]) -> list[list[str]]:
    """Names of the rows and columns of the attention weights `name`, "<query>><key>" by modality."""
    shape = (len(weights), len(weights[0]))
    return [_step_names(axes[modality], count) for modality, count in zip(name.split(">"), shape, strict=True)]


def _step_names(names: list[str], count: int) -> list[str]:
    """Names of `count` steps that a stem merged from those of `names`: the first and the last; else numbers."""
    if not names or len(names) < count:
        return [str(step) for step in range(count)]
    cuts = [number * len(names) // count for number in range(count + 1)]
    pairs = [(names[first], names[end - 1]) for first, end in pairwise(cuts)]
    return [first if first == last else f"{first} .. {last}" for first, last in pairs]


def _tokens(entry: GalleryEntry) -> list[str]:
    text = entry.rows.iloc[entry.row]["text"] or ""
    return [text[start:end] or "[all]" for start, end in entry.explanation["token_spans"]]


def _times(sound: list) -> list[str]:
    return [f"{start:.1f} s" for start, _, _ in sound]


def _moments(entry: GalleryEntry) -> list[str]:
    return [f"{time:.1f} s" for time in entry.explanation["picture_times"]]
