"""Reader of CMU-MOSEI: some 23,000 segments of videos, a sentiment and six emotions, of which several may hold.

Zadeh et al., 2018: Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic
Fusion Graph.
"""

from pathlib import Path

from merc.corpora.forms import cmu
from merc.data.records.listing import Listing
from merc.runtime.params import StrictModel

FIRST_NUMBER = 0  # of a video's segments


class Options(StrictModel):
    """Section `data.mosei` of params.yaml: no options."""


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read data/raw/mosei: MMSA's label.csv, or the sequences of CMU's SDK; clips are used where they are."""
    return cmu.read("mosei", folder, FIRST_NUMBER)
