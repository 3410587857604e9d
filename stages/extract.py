"""From a raw dataset to one manifest a split, a .wav, a .jpg and face tracks an utterance, and a report."""

import shutil
from pathlib import Path

from merc import (
    corpora,
    entry,
    extraction,
    extraction_report,
    extraction_rows,
    extraction_settings,
    manifest,
    params,
    partial,
    truth,
)
from merc.corpora import Listing
from merc.results import write_json


def main(corpus: str) -> None:
    """Extract one corpus; what a killed run had finished is not done again."""
    settings = params.read("extract", extraction_settings.Settings)
    extraction_settings.check(settings)
    with partial.locked(f"extract-{corpus}") as home:
        listing = corpora.read(corpus, Path("data/raw") / corpus, home / "archives")
        folder = partial.folder(home, [settings.model_dump(), _sources(listing)])
        outcomes = extraction.extract_all(listing, settings, folder)
        rows = extraction_rows.rows(corpus, listing, outcomes)
        for split in manifest.SPLITS:
            _finish(split, corpus, rows, listing, folder, settings.video.fps)
        _describe(corpus, rows, listing)
        partial.clear(home)


def _sources(listing: Listing) -> list:
    files = [[path and partial.source(path) for path in (one.media, one.sound)] for one in listing.utterances]
    return [
        [one.split, one.name, one.absent, str(one.window), own]
        for one, own in zip(listing.utterances, files, strict=True)
    ]


def _finish(split: str, corpus: str, rows, listing: Listing, folder: Path, fps: float) -> None:
    place = folder / split
    place.mkdir(exist_ok=True)
    manifest.write(place / "manifest.parquet", rows[rows["split"] == split])
    if fps:
        write_json(place / manifest.FRAMES_RATE, {"fps": fps})
    if split in listing.truth:
        shutil.copyfile(listing.truth[split], place / "truth.parquet")
    else:
        truth.write(place / "truth.parquet", [])
    partial.move(place, manifest.folder(split, corpus))


def _describe(corpus: str, rows, listing: Listing) -> None:
    found = extraction_report.report(rows, listing)
    write_json(Path(f"out/extract/report/{corpus}.json"), found)
    write_json(Path(f"metrics/extract/{corpus}.json"), extraction_report.metrics(rows))
    for name, table in extraction_report.tables(rows).items():
        extraction_report.write_table(Path(f"plots/extract/{corpus}/{name}.csv"), table)
    print(extraction_report.summary(found))


if __name__ == "__main__":
    entry.run(main)
