"""python -m merc explain <corpus> <dialogue> <utterance>, or a clip: why the student says what it says."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from merc import explain_one, inputs, labels, params, tokenshap
from merc import manifest as manifests
from merc.batches import Split, read_split
from merc.device import device
from merc.problem import Problem
from models import checkpoint

if TYPE_CHECKING:
    from merc import gallery

RUNS = Path("out/runs/explain")  # nobody's declared output
USAGE = "usage: python -m merc explain <corpus> <dialogue> <utterance> [--split test], or CLIP [--text ...]"
CLIP_OPTIONS = ("--text", "--utterance", "--cut", "--model", "--help", "-h")  # of merc/serve/explaining.py
WIDTH = 24  # characters of a bar


def command(*words: str) -> None:
    """Print the reasons, and write them to out/runs/explain/ as JSON and as a page."""
    from merc import gallery

    if _is_clip(words):
        from merc.serve import explaining

        name, shown = explaining.explained(*words)
        told: Any = {one.title: one.found for one in shown}
    else:
        corpus, dialogue, utterance, split = _asked(list(words))
        name, shown = f"{split}-{corpus}-{dialogue}-{utterance}", [one(split, corpus, dialogue, utterance)]
        told = shown[0].found
    for own in shown:
        print("\n".join([own.title, *_lines(own.found)]))
    RUNS.mkdir(parents=True, exist_ok=True)
    (RUNS / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (RUNS / f"{name}.html").write_text(gallery.page(shown, "Why the student says so"), encoding="utf-8")
    print(f"\n{RUNS / name}.html")


def _is_clip(words: tuple[str, ...]) -> bool:
    """A corpus, a dialogue and an utterance are three words; a file is none of them."""
    asks = any(word.split("=")[0] in CLIP_OPTIONS for word in words)
    return asks or bool(words and (Path(words[0]).is_file() or len(words) == 1))


def one(split: str, corpus: str, dialogue: str, utterance: str) -> "gallery.Shown":
    """The first seed's student on an utterance: why it is answered so."""
    from merc.gallery import Shown

    seeds = params.read("train.seeds", list[int])
    network = checkpoint.load(Path("out/distill") / f"seed-{seeds[0]}", device())
    space = labels.space(params.read("data.labels", str))
    seen = read_split(split, [corpus], network.modalities, space).known(list(network.streams)).to(device())
    rows, row = _place(seen, corpus, dialogue, utterance, split)
    coders = inputs.behind(corpus, seen)
    raw = inputs.given(split, corpus, seen, rows, coders)
    own = {modality: inputs[row] for modality, inputs in raw.items()}
    asked = (network, seen.batch([int((seen.starts <= rows[0]).sum()) - 1]), row, own, coders)
    found = explain_one.explain(*asked) | tokenshap.explain(*asked)
    return Shown(seen.manifest["utterance"].iloc[rows[row]], seen.manifest.iloc[rows], row, own, found)


def _asked(words: list[str]) -> tuple[str, str, str, str]:
    split = "test"
    if "--split" in words[:-1]:
        place = words.index("--split")
        split = words[place + 1]
        del words[place : place + 2]
    if len(words) != 3 or split not in manifests.SPLITS:
        raise Problem(f"{' '.join(words)}: {USAGE}; splits: {', '.join(manifests.SPLITS)}")
    return *words, split


def _place(seen: Split, corpus: str, dialogue: str, utterance: str, split: str) -> tuple[np.ndarray, int]:
    """The rows of the dialogue, and which of them is the utterance: its id, or its turn."""
    rows = np.flatnonzero(seen.manifest["dialogue"] == dialogue)
    if not len(rows):
        some = ", ".join(seen.manifest["dialogue"].drop_duplicates()[:8])
        raise Problem(f"{corpus}/{split}: no dialogue {dialogue!r}; there are {some} ...")
    own = seen.manifest.iloc[rows]
    hits = np.flatnonzero((own["utterance"] == utterance) | (own["turn"].astype(str) == utterance))
    if not len(hits):
        there = ", ".join(own["utterance"])
        raise Problem(f"{corpus}/{split}: dialogue {dialogue} has no utterance {utterance!r}; it has {there}")
    return rows, int(hits[0])


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['emotion']} ({found['probability']:.3f}); scores are log-odds, + speaks for it", ""]
    lines += _bars("modality", [(m, score) for m, score in found["modalities"].items() if score is not None])
    lines += _bars("word", found["words"]) + _bars("token", found.get("tokens", []))
    sound = [(f"{start:.1f}-{end:.1f} s", score) for start, end, score in found["sound"]]
    lines += _bars("sound", sorted(sound, key=lambda one: -abs(one[1]))[:5])
    return lines + _bars("utterance", [(f"turn {turn}", score) for turn, score in found["influence"]])


def _bars(title: str, scores: list[tuple[str, float]]) -> list[str]:
    largest = max([abs(score) for _, score in scores], default=0.0) or 1.0
    bars = [
        f"  {name[:20]:<20} {score:+8.3f} {('+' if score > 0 else '-') * round(WIDTH * abs(score) / largest)}"
        for name, score in scores
    ]
    return [title, *bars, ""] if bars else []
