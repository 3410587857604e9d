"""Example stage: the number of utterances of every split."""

from pathlib import Path

from merc.data.records import manifest
from merc.runtime import entry_point, params, results
from merc.runtime.params import StrictModel

OUT = Path("out/count")


class CountConfig(StrictModel):
    """Section `count` of params.yaml."""

    splits: list[str]


def main() -> None:
    """Count the utterances."""
    config, corpora = params.read("count", CountConfig), params.read("data.corpora", list[str])
    counts = {split: len(manifest.read_manifests(split, corpora)) for split in config.splits}
    results.write_json(OUT / "counts.json", counts)


if __name__ == "__main__":
    entry_point.run(main)
