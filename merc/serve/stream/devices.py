"""Opens the computer's microphone and camera and merges their sound and pictures into one flow."""

import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.runtime.errors import UserError
from merc.serve.stream import live_sources
from merc.serve.stream.live_sources import AudioChunk
from merc.serve.stream.timed_pictures import TimedPicture

DEVICES = {  # platform -> kind of device -> PyAV's format, name, options
    "linux": {
        "microphone": ("alsa", "default", {"sample_rate": str(SAMPLE_RATE), "channels": "1"}),
        "camera": ("v4l2", "/dev/video0", {"video_size": "640x480"}),
    },
    "darwin": {
        "microphone": ("avfoundation", ":default", {}),
        "camera": ("avfoundation", "default:none", {"video_size": "640x480", "framerate": "30"}),
    },
}
ALSA_CONFIG = Path("/usr/share/alsa/alsa.conf")  # PyAV's wheel looks for it at a path of the machine that built it
QUEUE_SIZE = 2000  # packets queued while an utterance is being predicted


def open_device(kind: str) -> live_sources.ContainerSource:
    """Open the default device of a kind, "microphone" or "camera"."""
    if sys.platform not in DEVICES:
        raise UserError(f"{kind}: merc knows how to open it on Linux and macOS only")
    format_, name, options = DEVICES[sys.platform][kind]
    if ALSA_CONFIG.is_file():
        os.environ.setdefault("ALSA_CONFIG_PATH", str(ALSA_CONFIG))
    try:
        with _suppressed_stderr():
            return live_sources.open_container(name, f"{format_} {name}", format_, options)
    except UserError as problem:
        raise UserError(f"no {kind}: {problem}") from None


def open_devices() -> list[live_sources.ContainerSource]:
    """Open the microphone, and the camera if there is one."""
    try:
        microphone = open_device("microphone")
    except UserError as problem:
        raise UserError(f"{problem}; plug one in, or give --stream a file or - (standard input)") from None
    try:
        return [microphone, open_device("camera")]
    except UserError as problem:
        print(f"merc: {problem}; the sound alone is used", file=sys.stderr)
        return [microphone]


def merge_flows(sources: list[live_sources.ContainerSource]) -> Iterator[AudioChunk | TimedPicture]:
    """Merge flows, each read by a thread of its own, until the sound ends; pictures get their time of arrival."""
    items: queue.Queue = queue.Queue(QUEUE_SIZE)  # a source itself marks its end
    start = time.monotonic()

    def read(source: live_sources.ContainerSource) -> None:
        try:
            for item in source.flow():
                arrival = time.monotonic() - start
                items.put(replace(item, pts=arrival, origin=0.0) if isinstance(item, TimedPicture) else item)
        finally:
            items.put(source)

    for source in sources:
        threading.Thread(target=read, args=(source,), daemon=True).start()
    while not isinstance(item := items.get(), live_sources.ContainerSource) or not item.audio:
        if not isinstance(item, live_sources.ContainerSource):
            yield item


@contextmanager
def _suppressed_stderr() -> Iterator[None]:
    """Redirect stderr to /dev/null: without a sound card ALSA prints many lines, where ours is one."""
    sys.stderr.flush()
    stderr_copy = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(stderr_copy, 2)
        os.close(stderr_copy)
        os.close(null)
