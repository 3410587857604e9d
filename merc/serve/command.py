"""python -m merc predict: results on stdout or in files, progress and what is missing on stderr."""

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merc.problem import Problem
from merc.serve import inputs, outputs
from merc.serve.command_line import CommandLine
from merc.serve.transcripts import NO_WORDS, SUFFIXES

ENGINES = ("torch", "onnx", "int8")
HINTS = {NO_WORDS: f"{NO_WORDS} (--text, --asr)"}
EXAMPLES = """examples:
  python -m merc predict clip.mp4 --text "What a day!"
  python -m merc predict dialogue/                      a folder of clips, in natural order
  python -m merc predict --stream                       microphone, and camera if there is one
  python -m merc predict film.mp4 --srt film.emotions.srt --annotate seen.mp4
"""


def predict(*words: str) -> None:
    """Read the command line, refuse what cannot work, and only then load what is heavy."""
    asked = _parser().parse_args(words)
    if asked.frames is not None and asked.frames < 1:
        raise Problem(f"--frames {asked.frames}: at least 1")
    if asked.stream:
        _stream(asked)
        return
    recordings = inputs.recordings([*asked.paths, *asked.video])
    texts = [Path(asked.text)] if asked.text and Path(asked.text).suffix.lower() in SUFFIXES else []
    files = {name: path for name in ("csv", "srt", "annotate") if (path := getattr(asked, name))}
    outputs.check(files, [*(one.path for one in recordings), *texts], overwrite=asked.overwrite)
    _one_thread()
    with _ended_like_interrupted():
        rows = _answer(asked, files)
    print(outputs.json_of(rows) if asked.json else outputs.table(rows))


def _answer(asked: argparse.Namespace, files: dict[str, Path]) -> list[dict[str, Any]]:
    from merc.serve.predictor import Predictor

    progress = _Progress()
    try:
        predictor = Predictor.load(asked.model, engine=asked.engine)
        progress(0, 0, "reading")
        asr = _transcriber(asked.asr)
        how = {"texts": asked.text, "cut": True if asked.cut else None, "frames": asked.frames, "asr": asr}
        dialogue = predictor.read([*asked.paths, *asked.video], **how, progress=progress)
        rows = predictor.answer(dialogue)
        for name, path in files.items():
            progress(0, 0, f"writing {path.name}")
            outputs.write(path, lambda aside, name=name: outputs.WRITERS[name](aside, rows, dialogue))
    finally:
        progress.close()
    _tell(dialogue, len(rows))
    return rows


def _stream(asked: argparse.Namespace) -> None:
    _one_thread()
    from merc.serve import stream_command

    stream_command.check(asked)
    with _ended_like_interrupted():
        stream_command.answer(asked, _transcriber(asked.asr), _Progress())


def _transcriber(model: str | None) -> Any:
    if model is None:
        return None
    from merc.encoders import whisper

    return whisper.transcriber(model)


def _tell(dialogue: Any, count: int) -> None:
    """What is missing and what was done, each reason once."""
    lacking = (
        (modality, HINTS.get(reason, reason)) for one in dialogue for modality, reason in one.missing.items()
    )
    reasons = Counter(f"no {modality}: {reason}" for modality, reason in lacking)
    reasons.update(note for one in dialogue for note in one.notes)
    for reason, often in reasons.items():
        print(f"merc: {outputs.plain(reason)} ({often} of {count})", file=sys.stderr)


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="python -m merc predict",
        description="Emotion and sentiment of every utterance of a clip, of a folder of clips, of a long video.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="*", type=Path, metavar="PATH", help="a recording, or a folder of clips in natural order")
    add("--video", action="append", type=Path, default=[], metavar="PATH", help="the same as PATH")
    add("--text", help="what is said, or a .txt, .srt, .vtt or .csv file; else such a file beside the recording")
    add("--asr", metavar="MODEL", help="Whisper (a folder, or owner/name@revision) writes down what has no text")
    add("--cut", action="store_true", help="cut into utterances what is no longer than 20 s, too")
    add("--stream", action="store_true", help="answer while it plays; -: standard input; no PATH: the microphone")
    add("--frames", type=int, metavar="N", help="look at N frames of each face, evenly sampled")
    add("--model", type=Path, default=Path("out/export"), metavar="FOLDER", help="what `export` wrote (out/export)")
    add("--engine", choices=ENGINES, default="torch", help="what computes the network (torch)")
    add("--json", action="store_true", help="print JSON (docs/predict.md) instead of a table")
    add("--csv", type=Path, metavar="FILE", help="write the same as a table")
    add("--srt", type=Path, metavar="FILE", help="write subtitles that name the emotions")
    add("--annotate", type=Path, metavar="FILE.mp4", help="write a film: face box, emotion bars, timeline")
    add("--overwrite", action="store_true", help="replace output files that exist")
    return parser


def _one_thread() -> None:
    """Before torch is imported: threads of small matrices cost more than they bring."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Whoever ends this process with SIGTERM finds it as tidy as after Ctrl-C."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Progress:
    """One line on a terminal that is written over; elsewhere a line for each new thing."""

    def __init__(self) -> None:
        self.terminal, self.shown, self.what = sys.stderr.isatty(), 0, ""

    def __call__(self, done: int, total: int, what: str) -> None:
        line = outputs.plain(f"{what} {done}/{total}" if total else what)
        if self.terminal:
            print(f"\r{line[:100]:<{self.shown}}", end="", file=sys.stderr, flush=True)
            self.shown = len(line[:100])
        elif (kind := what.split(" ")[0]) != self.what:
            self.what = kind
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.terminal:
            print("\r" + " " * self.shown, end="\r", file=sys.stderr, flush=True)
