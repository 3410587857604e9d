"""Which of a clip's faces speaks: the lip-sync network's answer, or the largest face where it has none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from merc import mouths
from merc.encoders.raw import Sound, largest
from merc.lipsync import SHORTEST
from merc.mouths import Clip
from merc.tracks import Track

Scorer = Callable[[Clip], np.ndarray]  # (K,) evidence that each of a clip's tracks is the one that is heard


def choose(tracks: list[Track], sound: Sound | None, scorer: Scorer | None) -> int | None:
    """The number of the track that speaks; None if there is no track."""
    if len(tracks) < 2 or sound is None or scorer is None:
        return largest(tracks)
    clip = mouths.clip(tracks, sound.samples, sound.start)
    return int(np.argmax(scorer(clip))) if len(clip) >= SHORTEST else largest(tracks)


def load_scorer(folder: Path) -> Scorer | None:
    """The network that the lip-sync stage left in a folder; None if the stage is off."""
    if not (folder / "model.safetensors").is_file():
        return None
    from merc import synchrony
    from models import lipsync

    network = lipsync.load(folder)
    return lambda clip: synchrony.evidence(network, clip)[:, 0]
