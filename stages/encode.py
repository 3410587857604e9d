"""Encode: one corpus and modality through one encoder, or from others' files, into a feature pack per split."""

from pathlib import Path

import pandas as pd

from merc import encoders, entry, manifest, packs, partial
from merc.encoders import coverage, importing, packing, sources, tuned


def main(corpus: str, modality: str) -> None:
    """Write out/encode/<split>/<corpus>.<modality>.safetensors for every split, and what they cover."""
    name = encoders.chosen(encoders.section(modality), corpus)
    rows = {split: manifest.read(split, [corpus]) for split in manifest.SPLITS}
    files = {split: packs.path(split, corpus, modality) for split in rows}
    join = None
    if name.startswith(encoders.IMPORTED):
        join = importing.join(corpus, modality, name, rows)
        importing.write(files, name, join, rows)
    else:
        encode(files, corpus, modality, name, rows)
    present = {split: packs.present(file) for split, file in files.items()}
    coverage.write(corpus, modality, coverage.report(name, present, join))


def encode(files: dict[str, Path], corpus: str, modality: str, name: str, rows: dict[str, pd.DataFrame]) -> None:
    """Write the packs of an encoder that reads media; shards of a killed run are kept."""
    config = encoders.section(modality)
    weights = tuned.folder(modality, name)
    encoder = encoders.build(modality, name, config, weights=weights)
    if encoder is not None:
        tuned.check(encoder, modality, weights)
        packing.place(encoder)
    reader = encoders.module(modality).reader(config)
    extracted = {split: manifest.folder(split, corpus) for split in rows}
    with partial.locked(f"encode-{corpus}-{modality}") as home:
        taught = [Path("out") / stage / modality for stage in ("lipsync", *tuned.STAGES)]
        sources_of = partial.sources(*extracted.values(), sources.WEIGHTS, *taught)
        shards = partial.folder(home, [config.model_dump(), sources_of])
        for split, folder in extracted.items():
            packing.write(files[split], encoder, reader, folder, rows[split], shards / split)
        partial.clear(home)


if __name__ == "__main__":
    entry.run(main)
