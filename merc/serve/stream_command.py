"""python -m merc predict --stream: a line as soon as an utterance is over, and how long that took."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from merc import devices, live, shots
from merc.problem import Problem
from merc.serve import inputs, outputs
from merc.utterances import DECIDES_SECONDS

NOT_ONCE_HEARD = ("text", "cut", "frames", "csv", "srt", "annotate")  # what needs the whole recording


def check(asked: argparse.Namespace) -> None:
    """Refuse what cannot be streamed before anything heavy is loaded."""
    paths = [*asked.paths, *asked.video]
    if len(paths) > 1:
        raise Problem(f"--stream: one recording at a time, not {len(paths)}; or - for standard input")
    for name in NOT_ONCE_HEARD:
        if getattr(asked, name):
            raise Problem(f"--{name}: not with --stream, which answers before it has heard all")
    if paths and str(paths[0]) != "-":
        _recording(paths[0])


def answer(
    asked: argparse.Namespace, asr: Callable[[np.ndarray], str] | None, say: Callable[[int, int, str], None]
) -> None:
    """Print an answer for every utterance as soon as it is over."""
    from merc.serve.predictor import Predictor

    predictor = Predictor.load(asked.model, engine=asked.engine)
    items, spacing = _flow([*asked.paths, *asked.video])
    stream, latencies, began = predictor.stream(asr=asr, spacing=spacing), [], time.monotonic()
    say(0, 0, "listening")
    try:
        for row in _rows(stream, items):
            # a recording that is played, or a microphone, may also have had to wait for the answer before
            late = max(row["latency"], time.monotonic() - began - row["end"])
            row["latency"] = round(late, 3)
            latencies.append(late)
            print(json.dumps(row, ensure_ascii=False) if asked.json else _line(row), flush=True)
    finally:
        print(_summary(latencies), file=sys.stderr)


def _rows(stream: Any, items: Iterator[live.Heard | shots.Shot]) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, live.Heard):
            yield from stream.hear(item.samples)
        else:
            stream.see(item)
    yield from stream.finish()


def _flow(paths: list[Path]) -> tuple[Iterator[live.Heard | shots.Shot], float]:
    """Sound and pictures of what the command line names, and the seconds between pictures."""
    if not paths:
        sources = devices.present()
        return devices.together(sources), sources[-1].spacing
    if str(paths[0]) == "-":
        source = live.standard_input(sys.stdin.buffer)
    else:
        source = live.file(_recording(paths[0]), str(paths[0]))
    if not source.audio:
        raise Problem(f"{source.name}: has no sound, by whose pauses --stream tells utterances apart; use --cut")
    return source.flow() if str(paths[0]) == "-" else live.paced(source.flow()), source.spacing


def _recording(path: Path) -> Path:
    if path.is_dir():
        raise Problem(f"{path}: is a folder; --stream plays one recording")
    return inputs.recordings(path)[0].path


def _line(row: dict[str, Any]) -> str:
    """Columns of a fixed width: what follows is not known yet."""
    times = f"{row['start']:.1f}-{row['end']:.1f} s"
    trust = " ".join(f"{modality[0]}{100 * weight:.0f}" for modality, weight in row["gates"].items())
    unsure = " (unsure)" if row["abstains"] else ""
    told = f"{times:<15}{outputs.best(row['emotion']) + unsure:<24}{outputs.best(row['sentiment']):<15}{trust:<14}"
    return f"{told}after {row['latency']:.2f} s  {outputs.plain(row['text'])}".rstrip()


def _summary(latencies: list[float]) -> str:
    if not latencies:
        return "merc: no utterance was heard"
    return (
        f"merc: {len(latencies)} utterances; from the end of an utterance to its answer {median(latencies):.2f} s "
        f"(median; longest {max(latencies):.2f}), of which {DECIDES_SECONDS:.2f} s are the pause that tells the end"
    )
