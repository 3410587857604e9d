"""The microphone and the camera of this computer, as one flow of sound and pictures."""

import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from merc import live
from merc.live import Heard
from merc.problem import Problem
from merc.shots import Shot
from merc.sound import SAMPLE_RATE

DEVICES = {  # platform -> what: PyAV's format, name, options
    "linux": {
        "microphone": ("alsa", "default", {"sample_rate": str(SAMPLE_RATE), "channels": "1"}),
        "camera": ("v4l2", "/dev/video0", {"video_size": "640x480"}),
    },
    "darwin": {
        "microphone": ("avfoundation", ":default", {}),
        "camera": ("avfoundation", "default:none", {"video_size": "640x480", "framerate": "30"}),
    },
}
ALSA = Path("/usr/share/alsa/alsa.conf")  # PyAV's ALSA looks for it where PyAV was built
MOST_WAITING = 2000  # packets that come while an utterance is answered


def device(kind: str) -> live.Source:
    """The first microphone, or camera."""
    if sys.platform not in DEVICES:
        raise Problem(f"{kind}: merc knows how to open it on Linux and macOS only")
    format_, name, options = DEVICES[sys.platform][kind]
    if ALSA.is_file():
        os.environ.setdefault("ALSA_CONFIG_PATH", str(ALSA))
    try:
        with _libraries_silent():
            return live.file(name, f"{format_} {name}", format_, options)
    except Problem as problem:
        raise Problem(f"no {kind}: {problem}") from None


def present() -> list[live.Source]:
    """The microphone, and the camera if there is one."""
    try:
        microphone = device("microphone")
    except Problem as problem:
        raise Problem(f"{problem}; plug one in, or give --stream a file or - (standard input)") from None
    try:
        return [microphone, device("camera")]
    except Problem as problem:
        print(f"merc: {problem}; the sound alone is used", file=sys.stderr)
        return [microphone]


def together(sources: list[live.Source]) -> Iterator[Heard | Shot]:
    """Both are read as they come, however long an answer takes; a picture is of the moment when it arrives."""
    waiting: queue.Queue = queue.Queue(MOST_WAITING)
    began = time.monotonic()

    def read(source: live.Source) -> None:
        try:
            for item in source.flow():
                arrived = time.monotonic() - began
                waiting.put(replace(item, pts=arrived, origin=0.0) if isinstance(item, Shot) else item)
        finally:
            waiting.put(source)

    for source in sources:
        threading.Thread(target=read, args=(source,), daemon=True).start()
    while not isinstance(item := waiting.get(), live.Source) or not item.audio:
        if not isinstance(item, live.Source):
            yield item


@contextmanager
def _libraries_silent() -> Iterator[None]:
    """ALSA writes its own lines to stderr where there is no sound card; ours says it in one."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
