"""out/explain/gallery/index.html: utterances and why the student answers what it answers; one page, no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from merc import gallery_drawings as drawings

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2430;max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;line-height:1.2}article{border-top:1px solid #d4dae2;margin-top:1.6rem;padding-top:.4rem}
h2{font-size:1.1rem;margin:.4rem 0}h3{font-size:.9rem;margin:.9rem 0 .2rem;color:#3d4857}
.words{font-size:1.15rem;line-height:2.1}.words span{padding:.15rem .3rem;border-radius:.25rem;margin-right:.15rem}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(17rem,1fr));gap:.4rem 1.6rem}
svg{max-width:100%;height:auto;display:block}.faces{display:flex;gap:.6rem;flex-wrap:wrap}
.faces img{width:8rem;height:8rem;image-rendering:auto;border-radius:.25rem}figure{margin:0}
figcaption,small,.note{color:#5b6675;font-size:.8rem}.wide{overflow-x:auto}
nav a{margin-right:.8rem;white-space:nowrap}
.key span{white-space:nowrap;padding:.1rem .5rem;margin-right:.4rem;border-radius:.25rem}
table{border-collapse:collapse;font-size:.85rem}td{padding:.1rem .5rem;text-align:left}
"""
UNIT = "log-odds of the predicted emotion"


@dataclass(frozen=True)
class Shown:
    """One utterance of the page."""

    title: str  # why it is here
    rows: pd.DataFrame  # its dialogue, rows of the manifest
    row: int  # which of them it is
    raw: dict[str, Any]  # its own inputs by modality
    found: dict[str, Any]  # merc/explain_one.py's answer


def write(folder: Path, shown: Sequence[Shown], title: str) -> None:
    """index.html of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(shown, title), encoding="utf-8")


def page(shown: Sequence[Shown], title: str) -> str:
    """The whole document."""
    links = "".join(
        f'<a href="#u{number}">{escape(one.title or one.rows["utterance"].iloc[one.row])}</a> '
        for number, one in enumerate(shown)
    )
    body = "".join(article(one, f"u{number}") for number, one in enumerate(shown))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>merc: {escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"<p>Every score is a part of the {UNIT}: "
        f'<span class="key"><span style="background:{drawings.colour(0.8)}">speaks for it</span>'
        f'<span style="background:{drawings.colour(-0.8)}">against it</span></span> '
        "Colours are relative to the largest score of their panel.</p>"
        f"<nav>{links}</nav>{body}</body></html>\n"
    )


def article(one: Shown, anchor: str) -> str:
    """Everything about one utterance."""
    own, found = one.rows.iloc[one.row], one.found
    actual = own["emotion"] if isinstance(own["emotion"], str) else "no label"
    panels = [
        ("Modalities: exact Shapley values", _modalities(found)),
        ("Dialogue: influence of each utterance", drawings.arcs(found["influence"], one.row)),
        ("Sound: integrated gradients over time", _sound(one)),
        (_picture_title(found), _picture(one)),
    ]
    drawn = "".join(f"<section><h3>{escape(name)}</h3>{content}</section>" for name, content in panels if content)
    return (
        f'<article id="{anchor}"><h2>{escape(one.title)} <small>{escape(own["corpus"])}, dialogue '
        f"{escape(own['dialogue'])}, {escape(own['utterance'])}, {escape(own['speaker'] or '')}</small></h2>"
        f"<p>predicted <b>{escape(found['emotion'])}</b> ({100 * found['probability']:.0f} %), "
        f"labelled {escape(actual)}</p>{_words(one)}"
        f'<div class="panels">{drawn}</div>{_attention(one)}</article>'
    )


def _words(one: Shown) -> str:
    words = one.found["words"]
    if not words:
        text = one.rows.iloc[one.row]["text"]
        return f'<p class="words">{escape(text or "")} <small>no language model to ask about words</small></p>'
    return (
        f'<p class="words">{_coloured(words)}</p><p class="note">Words: layer integrated gradients through the '
        f"whole network; largest {_largest(words):.2f}, convergence gap {one.found['word_gap']:+.4f}</p>"
        f"{_tokens_by_shap(one.found)}"
    )


def _tokens_by_shap(found: dict[str, Any]) -> str:
    if not found.get("tokens"):
        return ""
    return (
        f'<p class="words">{_coloured(found["tokens"])}</p><p class="note">Tokens: SHAP, each kept or read as the '
        f"tokenizer's mask token; largest {_largest(found['tokens']):.2f}; they sum to the log-odds of the "
        f"sentence minus those of the masked one, gap {found['token_gap']:.4f}</p>"
    )


def _coloured(scored: Sequence[tuple[str, float]]) -> str:
    return "".join(
        f'<span style="background:{drawings.colour(score / _largest(scored))}" title="{score:+.3f}">{escape(word)}'
        "</span> "
        for word, score in scored
    )


def _largest(scored: Sequence[tuple[str, float]]) -> float:
    return max(abs(score) for _, score in scored) or 1.0


def _modalities(found: dict[str, Any]) -> str:
    gates = found["gates"] or {}
    rows = [
        (f"{name}{'' if gates.get(name) is None else f' (gate {gates[name]:.2f})'}", score)
        for name, score in found["modalities"].items()
    ]
    return drawings.bars(rows, UNIT)


def _sound(one: Shown) -> str:
    sound, scores = one.raw.get("audio"), one.found["sound"]
    if sound is None or not scores:
        return ""
    words = one.rows.iloc[one.row].get("words")
    return drawings.sound(sound.samples, sound.rate, scores, [] if words is None else list(words))


def _picture_title(found: dict[str, Any]) -> str:
    method = found["picture"][0]["method"] if found["picture"] else ""
    return f"Picture: {method}"


def _picture(one: Shown) -> str:
    faces, maps = one.raw.get("vision"), one.found["picture"]
    if faces is None or not maps:
        return ""
    chosen = (
        maps
        if len(maps) <= drawings.MOMENTS
        else [maps[place * len(maps) // drawings.MOMENTS] for place in range(3)]
    )
    figures = "".join(
        f'<figure><img alt="face crop" src="{drawings.crop(faces, told["time"])}">'
        f"<figcaption>{told['time']:.1f} s</figcaption></figure>"
        f'<figure><img alt="the same with its map" src="{drawings.crop(faces, told["time"], told)}">'
        f"<figcaption>{drawings.scale(told)}</figcaption></figure>"
        for told in chosen
    )
    return f'<div class="faces">{figures}</div>'


def _attention(one: Shown) -> str:
    pairs = one.found["attention"]
    if not pairs:
        return ""
    axes = {"text": _tokens(one), "audio": _times(one.found["sound"]), "vision": _moments(one)}
    maps = [
        (name.replace(">", " looks at "), drawings.heat(rows, *axes_of(name, rows, axes)))
        for name, rows in pairs.items()
    ]
    drawn = "".join(f"<section><h3>{escape(name)}</h3>{content}</section>" for name, content in maps)
    return f'<h3>Cross-modal attention (each row sums to 1)</h3><div class="panels">{drawn}</div>'


def axes_of(name: str, rows: list, axes: dict[str, list[str]]) -> list[list[str]]:
    """Names of a map's rows and columns; where a stem joined steps, the first and the last of those joined."""
    return [
        joined(axes[modality], count)
        for modality, count in zip(name.split(">"), (len(rows), len(rows[0])), strict=True)
    ]


def joined(names: list[str], count: int) -> list[str]:
    """`count` names for steps that stand for as many equal shares of `names`."""
    if not names or len(names) < count:
        return [str(step) for step in range(count)]
    cuts = [place * len(names) // count for place in range(count + 1)]
    pairs = [(names[first], names[end - 1]) for first, end in pairwise(cuts)]
    return [first if first == last else f"{first} .. {last}" for first, last in pairs]


def _tokens(one: Shown) -> list[str]:
    text = one.rows.iloc[one.row]["text"] or ""
    return [text[start:end] or "[all]" for start, end in one.found["token_spans"]]


def _times(sound: list) -> list[str]:
    return [f"{start:.1f} s" for start, _, _ in sound]


def _moments(one: Shown) -> list[str]:
    return [f"{time:.1f} s" for time in one.found["picture_times"]]
