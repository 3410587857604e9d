"""python -m merc predict --stream: a line with the latency as soon as an utterance is over."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from merc.encoders.pretrained.transcription import SpeechRecogniser, Transcriber
from merc.runtime import collector
from merc.runtime.errors import UserError
from merc.serve.commands import outputs
from merc.serve.predictor import answers, recording_files
from merc.serve.predictor.segmentation import DETECTION_SECONDS
from merc.serve.stream import devices, live_sources, timed_pictures

# options that need the whole recording
WHOLE_RECORDING_OPTIONS = ("text", "cut", "frames", "csv", "srt", "annotate")


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse arguments that do not go with --stream, before torch is imported."""
    paths = [*arguments.paths, *arguments.video]
    if len(paths) > 1:
        raise UserError(f"--stream: one recording at a time, not {len(paths)}; or - for standard input")
    for name in WHOLE_RECORDING_OPTIONS:
        if getattr(arguments, name):
            raise UserError(f"--{name}: not with --stream, which answers before it has heard all")
    if paths and str(paths[0]) != "-":
        _recording(paths[0])


def print_predictions(
    arguments: argparse.Namespace,
    asr: SpeechRecogniser | None,
    progress: Callable[[int, int, str], None],
) -> None:
    """Print a row for each utterance as soon as it is over, and at the end a summary of the latencies."""
    with collector.paused():
        from merc.serve.predictor.predictor import Predictor
        from merc.serve.stream.stream import Stream

        predictor = Predictor.load(
            arguments.model, engine=arguments.engine, trust=arguments.trust, keep_atypical=arguments.keep_atypical
        )
    items, spacing = _flow([*arguments.paths, *arguments.video])
    if isinstance(asr, Transcriber):
        asr.load()  # before the first utterance waits for it
    stream, latencies, start = Stream(predictor, asr=asr, spacing=spacing), [], time.monotonic()
    progress(0, 0, "listening")
    try:
        for row in _rows(stream, items):
            # by the clock since the start: the sound may also have waited for the previous utterance's prediction
            latency = max(row["latency"], time.monotonic() - start - row["end"])
            row["latency"] = round(latency, 3)
            latencies.append(latency)
            print(json.dumps(row, ensure_ascii=False) if arguments.json else _line(row), flush=True)
    finally:
        print(_summary(latencies), file=sys.stderr)


def _rows(
    stream: Any, items: Iterator[live_sources.AudioChunk | timed_pictures.TimedPicture]
) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, live_sources.AudioChunk):
            yield from stream.hear(item.samples)
        else:
            stream.see(item)
    yield from stream.finish()


def _flow(paths: list[Path]) -> tuple[Iterator[live_sources.AudioChunk | timed_pictures.TimedPicture], float]:
    """Sound and pictures of the given source (devices without a path), and the seconds between pictures."""
    if not paths:
        sources = devices.open_devices()
        return devices.merge_flows(sources), sources[-1].spacing
    if str(paths[0]) == "-":
        source = live_sources.open_standard_input(sys.stdin.buffer)
    else:
        source = live_sources.open_container(_recording(paths[0]), str(paths[0]))
    if not source.audio:
        raise UserError(f"{source.name}: has no sound, by whose pauses --stream tells utterances apart; use --cut")
    return source.flow() if str(paths[0]) == "-" else live_sources.at_playback_speed(source.flow()), source.spacing


def _recording(path: Path) -> Path:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; --stream plays one recording")
    return recording_files.recordings(path)[0].path


def _line(row: dict[str, Any]) -> str:
    """A line with columns of fixed width, since later rows are not known yet."""
    times = f"{row['start']:.1f}-{row['end']:.1f} s"
    gates = " ".join(f"{modality[0]}{100 * weight:.0f}" for modality, weight in row["gates"].items())
    first, *others = (answers.in_words(row, task) for task in outputs.shown_tasks(row))
    first += " (unsure)" if row["abstains"] else ""
    columns = f"{times:<15}{first:<24}{''.join(f'{said:<15}' for said in others)}{gates:<14}"
    return f"{columns}after {row['latency']:.2f} s  {outputs.printable(row['text'])}{_left_out(row)}".rstrip()


def _left_out(row: dict[str, Any]) -> str:
    """The modalities that were there but unlike anything that was learnt."""
    values = {modality: row["typicality"][modality] for modality in row["missing"]}
    named = ", ".join(f"{modality} {value:.2f}" for modality, value in values.items() if value is not None)
    return f"  (left out, typicality: {named})" if named else ""


def _summary(latencies: list[float]) -> str:
    if not latencies:
        return "merc: no utterance was heard"
    return (
        f"merc: {len(latencies)} utterances; from the end of an utterance to its answer {median(latencies):.2f} s "
        f"(median; longest {max(latencies):.2f}), "
        f"of which {DETECTION_SECONDS:.2f} s are the pause that tells the end"
    )
