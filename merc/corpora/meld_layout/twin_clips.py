"""Twin clips: where MELD has two for an utterance, plain and `final_videos_test...`, which of them to take."""

from merc.corpora.meld_layout.files import ClipFile
from merc.media import clip_reader


def by_duration(clips: dict[str, ClipFile], duration: float | None) -> tuple[str, str]:
    """Kind of the clip whose duration is nearest to the CSV's, and the reason for the report."""
    lengths = {kind: clip_reader.clip_duration(clip.path) for kind, clip in sorted(clips.items(), reverse=True)}
    distances = {
        kind: float("inf") if length is None else abs(length - (duration if duration is not None else length))
        for kind, length in lengths.items()
    }
    parts = [f"{kind} {'broken' if length is None else f'{length:.2f} s'}" for kind, length in lengths.items()]
    in_table = "no times" if duration is None else f"{duration:.2f} s"
    return min(distances, key=distances.__getitem__), f"{', '.join(parts)}; in the CSV {in_table}"
