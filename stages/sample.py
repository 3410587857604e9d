"""Draw the bundled corpus: conversations with voices, faces and known truth, in MELD's own layout."""

import shutil
from pathlib import Path

from merc import entry, params
from merc.synthesis.corpus import Counts, draw_corpus

FOLDER = Path("data/raw/sample")


def main() -> None:
    """Draw it anew from sample.seed."""
    seed = params.read("sample.seed", int)
    counts = params.read("sample.utterances", Counts)
    shutil.rmtree(FOLDER, ignore_errors=True)
    draw_corpus(FOLDER, seed, counts)


if __name__ == "__main__":
    entry.run(main)
