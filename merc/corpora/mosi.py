"""Reader of CMU-MOSI: 2,199 opinion segments of 93 videos, a sentiment from -3 to 3.

Zadeh et al., 2016: MOSI: Multimodal Corpus of Sentiment Intensity and Subjectivity Analysis in Online Opinion
Videos.
"""

from pathlib import Path

from merc.corpora.forms import cmu
from merc.data.records.listing import Listing
from merc.runtime.params import StrictModel

FIRST_NUMBER = 1  # of a video's segments


class Options(StrictModel):
    """Section `data.mosi` of params.yaml: no options."""


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read data/raw/mosi: MMSA's label.csv, or the sequences of CMU's SDK; clips are used where they are."""
    return cmu.read("mosi", folder, FIRST_NUMBER)
