"""python -m merc explain: why the student predicts an emotion for a recording, or for an utterance of a corpus."""

import argparse
import json
from pathlib import Path
from typing import Any

from merc.data.records import manifest as manifests
from merc.runtime import collector
from merc.runtime.errors import CommandLine
from merc.serve.commands.predict import add_typicality_option

PAGES_FOLDER = Path("out/runs/explain")  # not an output of the DVC pipeline
MODEL = Path("out/export")
USAGE = (
    "python -m merc explain CLIP [--text TEXT] [--utterance NAME] [--cut] [--model FOLDER] "
    "[--trust SHA256] [--keep-atypical], "
    "or python -m merc explain CORPUS DIALOGUE UTTERANCE [--split SPLIT]"
)
BAR_WIDTH = 24  # characters of a bar


def command(*words: str) -> None:
    """Print the explanation, and write it to out/runs/explain/ as JSON and as a page."""
    parser = _parser()
    arguments = parser.parse_intermixed_args(words)
    is_clip = _is_clip(arguments)
    _check(parser, arguments, is_clip)
    # imported late, since a mistake on the command line need not wait for torch
    if is_clip:
        with collector.paused():
            from merc.serve.commands import explain_clip

        path = Path(arguments.names[0])
        name, shown = explain_clip.explain_recording(
            path,
            arguments.text,
            arguments.utterance,
            arguments.cut,
            arguments.model or MODEL,
            arguments.trust,
            keep_atypical=arguments.keep_atypical,
        )
        content: Any = {utterance.title: utterance.explanation for utterance in shown}
    else:
        with collector.paused():
            from merc.serve.commands import explain_utterance

        split = arguments.split or "test"
        name = "-".join([split, *arguments.names])
        shown = [explain_utterance.explain_corpus_utterance(split, *arguments.names)]
        content = shown[0].explanation
    from merc.explanation.gallery import page

    for utterance in shown:
        print("\n".join([utterance.title, *_lines(utterance.explanation)]))
    PAGES_FOLDER.mkdir(parents=True, exist_ok=True)
    (PAGES_FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (PAGES_FOLDER / f"{name}.html").write_text(page.render_page(shown, "Why the student says so"), encoding="utf-8")
    print(f"\n{PAGES_FOLDER / name}.html")


def _parser() -> CommandLine:
    parser = CommandLine(
        "python -m merc explain", usage=USAGE, description="Why the student says what it says, as a page."
    )
    add = parser.add_argument
    add(
        "names",
        nargs="+",
        metavar="CLIP",
        help="a recording, or a folder of clips of one dialogue; or instead CORPUS DIALOGUE UTTERANCE: names, "
        "the utterance's or its turn",
    )
    add("--text", help="what is said, or a .txt, .srt, .vtt or .csv file; else such a file beside the recording")
    add("--utterance", metavar="NAME", help="of a recording that is cut, as `predict` calls it: film#2")
    add("--cut", action="store_true", help="cut into utterances what is no longer than 20 s, too")
    add("--model", type=Path, metavar="FOLDER", help=f"what `export` wrote ({MODEL})")
    add("--trust", metavar="SHA256", help="refuse a FOLDER whose hashes.json has another SHA-256")
    add_typicality_option(parser)
    add("--split", choices=manifests.SPLITS, help="split of an utterance of a corpus (test)")
    return parser


def _is_clip(arguments: argparse.Namespace) -> bool:
    """Whether a recording is named, by an option for recordings, a single word, or a file."""
    has_clip_option = (
        arguments.cut
        or arguments.keep_atypical
        or any(
            option is not None for option in (arguments.text, arguments.utterance, arguments.model, arguments.trust)
        )
    )
    return has_clip_option or len(arguments.names) == 1 or Path(arguments.names[0]).is_file()


def _check(parser: CommandLine, arguments: argparse.Namespace, is_clip: bool) -> None:
    if is_clip and len(arguments.names) > 1:
        parser.error(f"unrecognized arguments: {' '.join(arguments.names[1:])}")
    if is_clip and arguments.split is not None:
        parser.error("argument --split: not with a recording")
    if not is_clip and len(arguments.names) != 3:
        parser.error(f"{' '.join(arguments.names)}: neither a recording nor a corpus, a dialogue and an utterance")


def _lines(explanation: dict[str, Any]) -> list[str]:
    predicted = f"{explanation['emotion']} ({explanation['probability']:.3f})"
    known = [f"{name} {value:.2f}" for name, value in explanation["typicality"].items() if value is not None]
    lines = [
        f"{predicted}; scores are log-odds, + speaks for it",
        f"typicality: {', '.join(known) or 'unknown'}",
        "",
    ]
    modalities = explanation["modalities"].items()
    lines += _bars("modality", [(modality, score) for modality, score in modalities if score is not None])
    lines += _bars("word", explanation["words"]) + _bars("token", explanation.get("tokens", []))
    segments = [(f"{start:.1f}-{end:.1f} s", score) for start, end, score in explanation["sound"]]
    lines += _bars("sound", sorted(segments, key=lambda segment: -abs(segment[1]))[:5])
    return lines + _bars("utterance", [(f"turn {turn}", score) for turn, score in explanation["influence"]])


def _bars(title: str, scores: list[tuple[str, float]]) -> list[str]:
    largest = max([abs(score) for _, score in scores], default=0.0) or 1.0
    bars = [
        f"  {name[:20]:<20} {score:+8.3f} {('+' if score > 0 else '-') * round(BAR_WIDTH * abs(score) / largest)}"
        for name, score in scores
    ]
    return [title, *bars, ""] if bars else []
