"""An utterance that is cut out of a recording has the faces of its own seconds."""

import numpy as np

from merc.media.images import Pictures
from merc.serve.predictor import speaker_changes


def test_pictures_of_a_part_are_those_of_its_seconds():
    ticks = [np.full((4, 6, 3), number, np.uint8) for number in range(50)]
    kept = {tick: lambda tick=tick: np.full((8, 12, 3), tick, np.uint8) for tick in range(2, 52, 12)}
    whole = Pictures(ticks[25], ticks, first=2, scale=2.0, kept=kept)
    part = speaker_changes.slice_pictures(whole, 0.8, 1.6)
    assert [int(one[0, 0, 0]) for one in part.ticks] == list(range(18, 38))
    assert (part.first, part.scale) == (0, 2.0)
    assert {tick: int(picture()[0, 0, 0]) for tick, picture in part.kept.items()} == {6: 26, 18: 38}
    assert int(part.middle[0, 0, 0]) == 26
    begun = speaker_changes.slice_pictures(whole, 0.0, 0.8)
    assert (begun.first, len(begun.ticks)) == (2, 18)
    assert speaker_changes.slice_pictures(whole, 10.0, 11.0).middle is None
