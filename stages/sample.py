"""Sample: generate the bundled corpus: conversations with voices, faces and known truth, in MELD's layout."""

import shutil
from pathlib import Path

from merc.corpora.synthesis.corpus import Counts, write_corpus
from merc.runtime import entry_point, params

FOLDER = Path("data/raw/sample")


def main() -> None:
    """Generate the corpus from sample.seed, replacing an earlier one."""
    seed = params.read("sample.seed", params.Seed)
    counts = params.read("sample.utterances", Counts)
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_corpus(FOLDER, seed, counts)


if __name__ == "__main__":
    entry_point.run(main)
