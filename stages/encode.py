"""Encode: one corpus and modality through one encoder, into a ragged feature pack per split."""

from merc import device, encoders, entry, manifest, packs
from merc.encoders import packing, tuned


def main(corpus: str, modality: str) -> None:
    """Write out/encode/<split>/<corpus>.<modality>.safetensors for every split."""
    config = encoders.section(modality)
    name = encoders.chosen(config, corpus)
    encoder = encoders.build(modality, name, config, weights=tuned.folder(modality, name))
    if encoder is not None:
        encoder.to(device.device())
    reader = encoders.module(modality).reader(config)
    for split in manifest.SPLITS:
        rows = manifest.read(split, [corpus])
        pack = packing.pack(encoder, reader, manifest.folder(split, corpus), rows)
        packs.write(packs.path(split, corpus, modality), pack, rows)


if __name__ == "__main__":
    entry.run(main)
