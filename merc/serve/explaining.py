"""python -m merc explain CLIP: why the exported student says what it says about a recording."""

from pathlib import Path

import pandas as pd

from merc import explain_one, gallery, tokenshap
from merc.problem import Problem
from merc.serve.command_line import CommandLine
from merc.serve.dialogue import Dialogue
from merc.serve.predictor import Predictor
from merc.serve.reasons import Reasons

MOST = 8  # utterances that are explained unless one is named: each takes seconds


def explained(*words: str) -> tuple[str, list[gallery.Shown]]:
    """What the pages of the recording are to be called, and the reasons for each of its utterances."""
    asked = _parser().parse_args(words)
    predictor = Predictor.load(asked.model)
    dialogue = predictor.read(asked.path, texts=asked.text, cut=True if asked.cut else None)
    reasons = Reasons(predictor)
    numbers = _numbers(dialogue, asked.utterance, asked.path)
    return asked.path.stem or asked.path.resolve().name, [_shown(reasons, dialogue, number) for number in numbers]


def _shown(reasons: Reasons, dialogue: Dialogue, number: int) -> gallery.Shown:
    asked = reasons.asked(dialogue, number)
    first = number - asked.row
    seen = dialogue.utterances[first : first + len(asked.batch["present"])]
    rows = pd.DataFrame(
        {
            "corpus": [Path(one.source).name if one.source else "" for one in seen],
            "dialogue": [one.dialogue for one in seen],
            "utterance": [one.name for one in seen],
            "speaker": [one.speaker for one in seen],
            "text": [one.text for one in seen],
            "emotion": None,  # nobody labelled it
        }
    )
    found = explain_one.explain(*asked) | tokenshap.explain(*asked)
    return gallery.Shown(seen[asked.row].name, rows, asked.row, asked.raw, found)


def _numbers(dialogue: Dialogue, utterance: str | None, path: Path) -> list[int]:
    names = [one.name for one in dialogue]
    if utterance is None and len(names) <= MOST:
        return list(range(len(names)))
    some = ", ".join(names[:MOST]) + (" ..." if len(names) > MOST else "")
    if utterance is None:
        raise Problem(f"{path}: has {len(names)} utterances; choose one with --utterance: {some}")
    if utterance not in names:
        raise Problem(f"{path}: has no utterance {utterance!r}; --utterance is one of {some}")
    return [names.index(utterance)]


def _parser() -> CommandLine:
    parser = CommandLine(prog="python -m merc explain", description="Why the student says so, as a page.")
    add = parser.add_argument
    add("path", type=Path, metavar="CLIP", help="a recording, or a folder of clips of one dialogue")
    add("--text", help="what is said, or a .txt, .srt, .vtt or .csv file; else such a file beside the recording")
    add("--utterance", metavar="NAME", help="of a recording that is cut, as `predict` calls it: film#2")
    add("--cut", action="store_true", help="cut into utterances what is no longer than 20 s, too")
    add("--model", type=Path, default=Path("out/export"), metavar="FOLDER", help="what `export` wrote (out/export)")
    return parser
