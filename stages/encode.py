"""Encode: one corpus and modality through one encoder, into a ragged feature pack per split."""

from pathlib import Path

from merc import device, encoders, entry, manifest, packs, partial
from merc.encoders import packing, sources, tuned


def main(corpus: str, modality: str) -> None:
    """Write out/encode/<split>/<corpus>.<modality>.safetensors for every split; shards of a killed run are kept."""
    config = encoders.section(modality)
    name = encoders.chosen(config, corpus)
    encoder = encoders.build(modality, name, config, weights=tuned.folder(modality, name))
    if encoder is not None:
        encoder.to(device.device())
    reader = encoders.module(modality).reader(config)
    extracted = [manifest.folder(split, corpus) for split in manifest.SPLITS]
    with partial.locked(f"encode-{corpus}-{modality}") as home:
        weights = [sources.WEIGHTS, *(Path("out") / stage / modality for stage in ("lipsync", *tuned.STAGES))]
        shards = partial.folder(home, [config.model_dump(), partial.sources(*extracted, *weights)])
        for split, folder in zip(manifest.SPLITS, extracted, strict=True):
            file, rows = packs.path(split, corpus, modality), manifest.read(split, [corpus])
            packing.write(file, encoder, reader, folder, rows, shards / split)
        partial.clear(home)


if __name__ == "__main__":
    entry.run(main)
