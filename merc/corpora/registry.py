"""Registry of the corpora, one module per dataset, and the entry point for reading one."""

import importlib
from pathlib import Path
from types import ModuleType

from merc.data.records.listing import Listing
from merc.runtime import params
from merc.runtime.errors import UserError

# folder under data/raw -> module with `Options` (section data.<corpus> of params.yaml) and
# `read(folder, scratch, options) -> Listing`; `scratch` is a folder for unpacking archives
READERS = {
    "sample": "merc.corpora.sample",
    "meld": "merc.corpora.meld",
    "iemocap": "merc.corpora.iemocap",
    "ravdess": "merc.corpora.ravdess",
    "mosi": "merc.corpora.mosi",
    "mosei": "merc.corpora.mosei",
    "cremad": "merc.corpora.cremad",
    "emodb": "merc.corpora.emodb",
    "emorynlp": "merc.corpora.emorynlp",
    "folder": "merc.corpora.folder",
}


def read_corpus(corpus: str, folder: Path, scratch: Path) -> Listing:
    """Read the listing of data/raw/<corpus>."""
    if not folder.is_dir():
        raise UserError(f"{folder}: not there; docs/data.md says how to bring it, or take it off data.corpora")
    reader = reader_module(corpus)
    listing = reader.read(folder, scratch, params.read(f"data.{corpus}", reader.Options))
    _check_names(corpus, listing)
    return listing


def reader_module(corpus: str) -> ModuleType:
    """Import the reader module of a corpus."""
    if corpus not in READERS:
        raise UserError(f"{params.FILE}: data.corpora: {corpus!r} is unknown; choose from {', '.join(READERS)}")
    return importlib.import_module(READERS[corpus])


def _check_names(corpus: str, listing: Listing) -> None:
    """Raise unless utterance names are valid, unique file names that stay inside the output folder."""
    names = set()
    for utterance in listing.utterances:
        split, name = utterance.split, utterance.name
        if (split, name) in names or Path(name).name != name or name.startswith("."):
            raise UserError(f"{corpus}: {split}: {name!r} cannot name a file, or does so twice")
        names.add((split, name))
