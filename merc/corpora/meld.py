"""Reader of MELD, as released or rearranged; the bundled sample corpus has the same layout.

Poria et al., 2019: MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations.
"""

from pathlib import Path
from typing import Literal

from merc.corpora.meld_layout import utterances
from merc.data.records.listing import Listing
from merc.runtime.params import StrictModel


class Options(StrictModel):
    """Section `data.meld` of params.yaml."""

    twins: Literal["evidence", "plain", "final"]
    media: Literal["clips", "none"]


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """Read MELD from data/raw/meld."""
    if options.media == "none":
        return utterances.without_media(folder)
    return utterances.read_layout("meld", folder, scratch, options.twins)
