"""The bundled corpus: MELD's own layout (merc/synthesis draws it), and beside it the truth."""

from pathlib import Path

from merc.corpora import Listing
from merc.corpora.meld import read_layout
from merc.manifest import SPLITS
from merc.params import Strict


class Options(Strict):
    """Section `data.sample` of params.yaml: none."""


def read(folder: Path, scratch: Path, options: Options) -> Listing:
    """The bundled corpus, with its truth."""
    listing = read_layout("sample", folder, scratch, twins="evidence")
    listing.truth = {split: folder / "truth" / f"{split}.parquet" for split in SPLITS}
    return listing
