"""Encode: one corpus and modality through its encoder, or from imported files, into a feature pack per split."""

from pathlib import Path

import pandas as pd

from merc.data.records import manifest, packs
from merc.encoders.base import factory, packing, tuned
from merc.encoders.imported import coverage, importing
from merc.encoders.pretrained import sources
from merc.runtime import entry_point, resume, shards
from merc.runtime.shards import Shard


def main(corpus: str, modality: str, shard: Shard | None = None) -> None:
    """Write out/encode/<split>/<corpus>.<modality>.safetensors for every split, and a coverage report.

    A shard encodes some of the packs' parts, and writes no output.
    """
    selection = factory.select_encoder(modality, corpus)
    rows = {split: manifest.read_manifests(split, [corpus]) for split in manifest.SPLITS}
    files = {split: packs.pack_path(split, corpus, modality) for split in rows}
    join, is_imported = None, selection.name.startswith(factory.IMPORTED_PREFIX)
    if shard is not None:
        if not is_imported:
            encode_media(files, corpus, selection, rows, shard)
        return
    if is_imported:
        join = importing.match_features(corpus, modality, selection.name, rows)
        importing.write_packs(files, selection.name, join, rows)
    else:
        shards.run_array("encode", corpus, modality)
        encode_media(files, corpus, selection, rows)
    present = {split: packs.present(file) for split, file in files.items()}
    coverage.write_report(corpus, modality, coverage.coverage_report(selection.name, present, join))


def encode_media(
    files: dict[str, Path],
    corpus: str,
    selection: factory.EncoderSelection,
    rows: dict[str, pd.DataFrame],
    shard: Shard | None = None,
) -> None:
    """Write the packs of an encoder that reads media; shards of an interrupted run are kept."""
    modality, encoder, reader = selection.modality, selection.build(), selection.reader()
    if encoder is not None:
        tuned.check_is_trained(encoder, modality, selection.weights)
        packing.to_compute_device(encoder)
    media_folders = {split: manifest.split_folder(split, corpus) for split in rows}
    with resume.locked(f"encode-{corpus}-{modality}", shard and shards.WAIT_SECONDS) as home:
        tuned_folders = [Path("out") / stage / modality for stage in ("lipsync", *tuned.STAGES)]
        inputs = resume.folder_identities(*media_folders.values(), sources.WEIGHTS_FOLDER, *tuned_folders)
        parts = resume.work_folder(home, [selection.config.model_dump(), inputs])
        if shard is None:
            for split, folder in media_folders.items():
                packing.write_pack(files[split], encoder, reader, folder, rows[split], parts / split)
            resume.discard(home)
    if shard is not None and encoder is not None:  # unlocked: all shards work in this folder
        for split, folder in media_folders.items():
            packing.encode_parts(encoder, reader, folder, rows[split], parts / split, shard)


if __name__ == "__main__":
    entry_point.run(main)
