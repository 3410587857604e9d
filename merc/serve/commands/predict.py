"""python -m merc predict: predictions on stdout or in files; progress and missing modalities on stderr."""

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from merc.encoders.pretrained import transcription
from merc.encoders.pretrained.transcription import Transcriber
from merc.runtime import collector
from merc.runtime.errors import CommandLine, UserError
from merc.serve.commands import outputs
from merc.serve.predictor import recording_files
from merc.serve.predictor.transcripts import NO_TEXT_REASON, SUFFIXES

ENGINES = ("auto", "torch", "onnx", "int8")
EXAMPLES = """examples:
  python -m merc predict clip.mp4 --text "What a day!"
  python -m merc predict dialogue/                      a folder of clips, in natural order
  python -m merc predict --stream                       microphone, and camera if there is one
  python -m merc predict film.mp4 --srt film.emotions.srt --annotate seen.mp4
"""


def predict(*words: str) -> None:
    """Parse and check the arguments, then import torch and predict."""
    arguments = _parser().parse_args(words)
    if arguments.frames is not None and arguments.frames < 1:
        raise UserError(f"--frames {arguments.frames}: at least 1")
    if arguments.stream:
        _stream(arguments)
        return
    recordings = recording_files.recordings([*arguments.paths, *arguments.video])
    texts = [Path(arguments.text)] if arguments.text and Path(arguments.text).suffix.lower() in SUFFIXES else []
    files = {name: path for name in ("csv", "srt", "annotate") if (path := getattr(arguments, name))}
    inputs = [*(recording.path for recording in recordings), *texts]
    outputs.check_outputs(files, inputs, overwrite=arguments.overwrite)
    limit_threads()
    _print_unreadable(recordings)
    with _exit_on_sigterm():
        rows = _predict_recordings(arguments, files)
    print(outputs.to_json(rows) if arguments.json else outputs.to_table(rows))


def _print_unreadable(recordings: list[recording_files.Recording]) -> None:
    """Name the recordings that cannot be opened, before anything slow; a single one is refused when it is read."""
    from merc.media import clip_reader

    for recording in recordings if len(recordings) > 1 else ():
        if reason := clip_reader.why_unreadable(recording.path):
            print(f"merc: {outputs.printable(str(recording.path))}: {reason}", file=sys.stderr, flush=True)


def _predict_recordings(arguments: argparse.Namespace, files: dict[str, Path]) -> list[dict[str, Any]]:
    progress = _Progress()
    try:
        with collector.paused():
            from merc.serve.predictor.predictor import Predictor

            predictor = Predictor.load(
                arguments.model,
                engine=arguments.engine,
                trust=arguments.trust,
                keep_atypical=arguments.keep_atypical,
            )
        transcriber = _transcriber(arguments)
        progress(0, 0, "reading")
        dialogue = predictor.read(
            [*arguments.paths, *arguments.video],
            texts=arguments.text,
            cut=True if arguments.cut else None,
            frames=arguments.frames,
            asr=transcriber,
            progress=progress,
        )
        rows = predictor.answer(dialogue)
        writers = {"csv": outputs.write_csv, "srt": outputs.write_srt, "annotate": _film_writer(predictor.colours)}
        for name, path in files.items():
            progress(0, 0, f"writing {path.name}")
            outputs.write_atomically(path, lambda temporary, name=name: writers[name](temporary, rows, dialogue))
    finally:
        progress.close()
    _print_remarks(
        predictor.trusted(dialogue), len(rows), "" if transcriber or arguments.no_asr else transcription.HINT
    )
    return rows


def _film_writer(colours: dict[str, str]) -> Callable[[Path, outputs.Rows, Any], None]:
    def write(path: Path, rows: outputs.Rows, dialogue: Any) -> None:
        from merc.serve.commands import film  # imports moviepy

        film.write_annotated_video(path, rows, dialogue, colours)

    return write


def _stream(arguments: argparse.Namespace) -> None:
    limit_threads()
    from merc.serve.commands import stream

    stream.check_arguments(arguments)
    with _exit_on_sigterm():
        stream.print_predictions(arguments, _transcriber(arguments), _Progress())


def _transcriber(arguments: argparse.Namespace) -> Transcriber | None:
    return transcription.chosen_transcriber(arguments.asr, arguments.language, is_off=arguments.no_asr)


def _print_remarks(dialogue: Any, num_rows: int, hint: str) -> None:
    """Print the reasons for missing modalities and the notes, each once with the number of its utterances."""
    missing = (
        (modality, f"{reason} (--text{hint})" if reason == NO_TEXT_REASON else reason)
        for utterance in dialogue
        for modality, reason in utterance.missing.items()
    )
    remarks = Counter(f"no {modality}: {reason}" for modality, reason in missing)
    remarks.update(note for utterance in dialogue for note in utterance.notes)
    for remark, count in remarks.items():
        print(f"merc: {outputs.printable(remark)} ({count} of {num_rows})", file=sys.stderr)


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
    add_speech_options(parser)
    add_typicality_option(parser)
    add("--cut", action="store_true", help="cut into utterances what is no longer than 20 s, too")
    add("--stream", action="store_true", help="answer while it plays; -: standard input; no PATH: the microphone")
    add("--frames", type=int, metavar="N", help="look at N frames of each face, evenly sampled")
    add("--model", type=Path, default=Path("out/export"), metavar="FOLDER", help="what `export` wrote (out/export)")
    add("--trust", metavar="SHA256", help="refuse a FOLDER whose hashes.json has another SHA-256")
    add("--engine", choices=ENGINES, default="auto", help="what computes network and text encoder (auto)")
    add("--json", action="store_true", help="print JSON (docs/predict.md) instead of a table")
    add("--csv", type=Path, metavar="FILE", help="write the same as a table")
    add("--srt", type=Path, metavar="FILE", help="write subtitles that name the emotions")
    add("--annotate", type=Path, metavar="FILE.mp4", help="write a film: face box, emotion bars, timeline")
    add("--overwrite", action="store_true", help="replace output files that exist")
    return parser


def add_speech_options(parser: argparse.ArgumentParser) -> None:
    """The options that say who writes down speech without a text."""
    add = parser.add_argument
    names = ", else ".join(transcription.CATALOGUED)
    add("--asr", metavar="MODEL", help=f"Whisper that writes down what has no text ({names}, if it is there)")
    add("--no-asr", action="store_true", help="write nothing down")
    add("--language", default="", metavar="CODE", help="what is spoken: en, de, ... (else the model listens)")


def add_typicality_option(parser: argparse.ArgumentParser) -> None:
    """The option that switches off what docs/predict.md calls typicality."""
    parser.add_argument(
        "--keep-atypical", action="store_true", help="use what is unlike anything the model has learnt, too"
    )


def limit_threads() -> None:
    """Set one thread for the libraries before they are imported: more threads slow small matrices down."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that temporary files are deleted as after Ctrl-C."""
    previous = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Progress:
    """Progress on stderr: a line that is overwritten on a terminal, elsewhere a line per step."""

    def __init__(self) -> None:
        self.is_terminal, self.width, self.step = sys.stderr.isatty(), 0, ""

    def __call__(self, done: int, total: int, description: str) -> None:
        line = outputs.printable(f"{description} {done}/{total}" if total else description)
        if self.is_terminal:
            print(f"\r{line[:100]:<{self.width}}", end="", file=sys.stderr, flush=True)
            self.width = len(line[:100])
        elif (step := description.split(" ")[0]) != self.step:
            self.step = step
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.is_terminal:
            print("\r" + " " * self.width, end="\r", file=sys.stderr, flush=True)
