"""Resampling of a stream's sound to what encoders read, by FFmpeg's filters in the calling thread."""

import av
from av.error import BlockingIOError, EOFError
from av.filter import Graph

from merc.data.records.encoder_inputs import SAMPLE_RATE

FORMAT, LAYOUT = "s16", "mono"


class Resampler:
    """Mono PCM16 at SAMPLE_RATE; as `av.AudioResampler`, which starts and ends a thread per core every time."""

    def __init__(self) -> None:
        self._source: tuple[str, str, int] | None = None  # format, layout and rate of the frames
        self._graph: Graph | None = None  # None while there is nothing to change

    def resample(self, frame: av.AudioFrame | None) -> list[av.AudioFrame]:
        """The frames that are ready; None flushes. Raises a ValueError if the format, layout or rate changes."""
        if frame is not None:
            source = (frame.format.name, frame.layout.name, frame.sample_rate)
            if self._source is None:
                self._source = source
                self._graph = None if source == (FORMAT, LAYOUT, SAMPLE_RATE) else _graph(frame)
            if source != self._source:
                raise ValueError(f"{source} follows {self._source}")
        if self._graph is None:
            return [] if frame is None else [frame]
        self._graph.push(frame)
        ready = []
        while True:
            try:
                ready.append(self._graph.pull())
            except (BlockingIOError, EOFError):
                return ready


def _graph(frame: av.AudioFrame) -> Graph:
    """Filters that resample frames like this one."""
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "abuffer",
        sample_rate=str(frame.sample_rate),
        sample_fmt=frame.format.name,
        channel_layout=frame.layout.name,
        **({} if frame.time_base is None else {"time_base": str(frame.time_base)}),
    )
    resampled = graph.add("aformat", sample_rates=str(SAMPLE_RATE), sample_fmts=FORMAT, channel_layouts=LAYOUT)
    graph.link_nodes(source, resampled, graph.add("abuffersink")).configure()
    return graph
