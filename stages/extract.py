"""Extract: a raw dataset to a manifest per split, a .wav, a .jpg and face tracks per utterance, and a report."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from merc.corpora import registry
from merc.data.records import manifest, media_files, truth
from merc.data.records.listing import Listing
from merc.media.alignment import word_times
from merc.media.extraction import extraction, extraction_config, extraction_report, training_checks
from merc.runtime import entry_point, params, results, resume, shards
from merc.runtime.shards import Shard

SHARDED = "sharded"  # below the work folder: the splits whose small files were written into shards
Megabytes = Annotated[int, Field(ge=0, le=100_000)]  # data.shards: of a shard; 0 = small files


def main(corpus: str, shard: Shard | None = None) -> None:
    """Extract one corpus; utterances that an interrupted run finished are kept. A shard finishes its own alone."""
    if shard is None:
        shards.run_array("extract", corpus)
    settings = params.read("extract", extraction_config.ExtractionConfig)
    megabytes: int = params.read("data.shards", Megabytes)
    extraction_config.check_values(settings)
    word_times.check_model(settings.align)
    with resume.locked(f"extract-{corpus}", shard and shards.WAIT_SECONDS) as home:
        listing = registry.read_corpus(corpus, Path("data/raw") / corpus, home / "archives")
        extraction.check_asr(listing)
        training_checks.check_training(corpus, listing, registry.READERS)
        folder = resume.work_folder(home, [settings.model_dump(), _sources(listing)])
        if shard is None:
            _extract_and_write(corpus, listing, settings, folder, megabytes)
            resume.discard(home)
    if shard is not None:  # unlocked: all shards work in this folder
        extraction.extract_all(replace(listing, utterances=shard.of(listing.utterances)), settings, folder)


def _extract_and_write(
    corpus: str, listing: Listing, settings: extraction_config.ExtractionConfig, folder: Path, megabytes: int
) -> None:
    outcomes = extraction.extract_all(listing, settings, folder)
    rows = extraction.manifest_rows(corpus, listing, outcomes)
    finished = {
        split: _finish(split, rows[rows["split"] == split], listing, folder, settings.video.fps, megabytes)
        for split in manifest.SPLITS
    }
    for split, split_folder in finished.items():
        resume.move(split_folder, manifest.split_folder(split, corpus))
    _describe(corpus, rows, listing)


def _sources(listing: Listing) -> list:
    """Everything about the utterances that their extraction depends on."""
    return [
        [
            utterance.split,
            utterance.name,
            utterance.text,
            utterance.absent,
            utterance.asr,
            utterance.language,
            str(utterance.window),
            [path and resume.file_identity(path) for path in (utterance.media, utterance.sound)],
        ]
        for utterance in listing.utterances
    ]


def _finish(split: str, rows, listing: Listing, folder: Path, fps: float, megabytes: int) -> Path:
    """Write the split's shards, manifest and truth; returns its folder, which is to be moved to the outputs.

    Shards are written beside the small files: who is interrupted before all splits are moved finds those again.
    """
    split_folder = folder / split
    split_folder.mkdir(exist_ok=True)
    if megabytes:
        small_files, split_folder = split_folder, folder / SHARDED / split
        results.recreate_folder(split_folder)
        rows = media_files.write_shards(small_files, split_folder, rows, megabytes)
    manifest.write_manifest(split_folder / "manifest.parquet", rows)
    if fps:
        results.write_json(split_folder / manifest.FRAMES_RATE, {"fps": fps})
    if split in listing.truth:
        shutil.copyfile(listing.truth[split], split_folder / "truth.parquet")
    else:
        truth.write_truth(split_folder / "truth.parquet", [])
    return split_folder


def _describe(corpus: str, rows, listing: Listing) -> None:
    """Write report, metrics and plots, and print a summary."""
    summary = extraction_report.build_report(rows, listing)
    results.write_json(Path(f"out/extract/report/{corpus}.json"), summary)
    results.write_json(Path(f"metrics/extract/{corpus}.json"), extraction_report.count_metrics(rows))
    for name, table in extraction_report.plot_tables(rows).items():
        results.write_csv(Path(f"plots/extract/{corpus}/{name}.csv"), table, float_format="%.1f")  # bin edges
    print(extraction_report.summary(summary))


if __name__ == "__main__":
    entry_point.run(main)
