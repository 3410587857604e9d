"""Encode: one corpus and modality through its encoder, or from imported files, into a feature pack per split."""

from pathlib import Path

import pandas as pd

from merc.data.records import manifest, packs
from merc.encoders.base import factory, packing, tuned
from merc.encoders.imported import coverage, importing
from merc.encoders.pretrained import sources
from merc.runtime import entry_point, resume


def main(corpus: str, modality: str) -> None:
    """Write out/encode/<split>/<corpus>.<modality>.safetensors for every split, and a coverage report."""
    selection = factory.select_encoder(modality, corpus)
    rows = {split: manifest.read_manifests(split, [corpus]) for split in manifest.SPLITS}
    files = {split: packs.pack_path(split, corpus, modality) for split in rows}
    join = None
    if selection.name.startswith(factory.IMPORTED_PREFIX):
        join = importing.match_features(corpus, modality, selection.name, rows)
        importing.write_packs(files, selection.name, join, rows)
    else:
        encode_media(files, corpus, selection, rows)
    present = {split: packs.present(file) for split, file in files.items()}
    coverage.write_report(corpus, modality, coverage.coverage_report(selection.name, present, join))


def encode_media(
    files: dict[str, Path], corpus: str, selection: factory.EncoderSelection, rows: dict[str, pd.DataFrame]
) -> None:
    """Write the packs of an encoder that reads media; shards of an interrupted run are kept."""
    modality, encoder, reader = selection.modality, selection.build(), selection.reader()
    if encoder is not None:
        tuned.check_is_trained(encoder, modality, selection.weights)
        packing.to_compute_device(encoder)
    media_folders = {split: manifest.split_folder(split, corpus) for split in rows}
    with resume.locked(f"encode-{corpus}-{modality}") as home:
        tuned_folders = [Path("out") / stage / modality for stage in ("lipsync", *tuned.STAGES)]
        inputs = resume.folder_identities(*media_folders.values(), sources.WEIGHTS_FOLDER, *tuned_folders)
        shards = resume.work_folder(home, [selection.config.model_dump(), inputs])
        for split, folder in media_folders.items():
            packing.write_pack(files[split], encoder, reader, folder, rows[split], shards / split)
        resume.discard(home)


if __name__ == "__main__":
    entry_point.run(main)
