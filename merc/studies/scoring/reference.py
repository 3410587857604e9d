"""The reference of a scoring: the utterances of a split, in order, with their groups and actual labels.

It is read from what the stage `extract` wrote, if it has run, and otherwise from data/raw/<corpus> by the corpus's
own reader without decoding any media; both give the same ids, labels and order.
"""

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pandas as pd

from merc.corpora import registry
from merc.data.records import manifest as manifests
from merc.data.records.labels import LabelSpace, label_space
from merc.data.records.listing import Listing
from merc.data.records.manifest import MODALITIES, SPLITS
from merc.evaluation.predictions import ID_COLUMNS, Predictions
from merc.runtime import params
from merc.runtime.errors import UserError
from merc.studies.scoring.protocols import Protocol

RAW = Path("data/raw")


@dataclass(frozen=True)
class Reference:
    """One split of a corpus, as it is scored."""

    protocol: Protocol
    split: str
    labels: str  # name of the label space
    space: LabelSpace
    manifests: dict[str, pd.DataFrame]  # split -> manifest; an empty table where a corpus lacks the split
    source: str  # the folder that it was read from
    knows_media: bool  # whether the manifests say which media are missing or were repaired

    @property
    def manifest(self) -> pd.DataFrame:
        """The N utterances to score."""
        return self.manifests[self.split]

    @property
    def seen(self) -> pd.DataFrame:
        """What a system may have learnt from: train, and dev unless dev is scored."""
        others = [name for name in ("train", "dev") if name != self.split]
        return pd.concat([self.manifests[name] for name in others], ignore_index=True)

    def rows(self) -> pd.DataFrame:
        """Ids and labels in the label space, as the predictions file of evaluate has them."""
        rows = cast("pd.DataFrame", self.manifest[list(ID_COLUMNS)].copy())
        for name, task in self.space.tasks.items():
            rows[name] = pd.Series(task.cells(task.targets(self.manifest)), rows.index, dtype=object)
        return rows

    def without_predictions(self) -> Predictions:
        """The utterances, their labels and votes, and what the tasks are."""
        tasks = self.space.tasks
        votes = {name: task.distributions(self.manifest) for name, task in tasks.items()}
        return Predictions(
            self.rows(),
            self.space.outputs,
            keys=(),
            outputs={},
            kinds={
                n: (task.kind, task.low, task.high) for n, task in tasks.items() if task.kind != "classification"
            },
            votes={name: shares for name, shares in votes.items() if shares is not None},
        )

    def of_split(self, split: str) -> "Reference":
        """The same corpus's reference of another split."""
        return replace(self, split=split)


def digest(rows: pd.DataFrame) -> str:
    """SHA-256 of ids and labels, in order: equal for references whose scores can be compared."""
    tasks = [name for name in rows if name not in ID_COLUMNS]
    columns = [rows[name].fillna("").astype(str) for name in (*ID_COLUMNS, *tasks)]
    lines = columns[0].str.cat(columns[1:], sep="\t")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_reference(protocol: Protocol, split: str, labels: str) -> Reference:
    """Read the reference of one split; raise if it has no utterance."""
    space, folder = label_space(labels), manifests.split_folder(split, protocol.corpus)
    if (folder / "manifest.parquet").is_file():
        found = {
            name: manifests.read_manifests(name, [protocol.corpus])
            for name in SPLITS
            if (manifests.split_folder(name, protocol.corpus) / "manifest.parquet").is_file()
        }
        tables = {name: found[name] if name in found else found[split].iloc[:0] for name in SPLITS}
        reference = Reference(protocol, split, labels, space, tables, "out/extract", knows_media=True)
    else:
        reference = Reference(
            protocol, split, labels, space, _from_raw(protocol), f"data/raw/{protocol.corpus}", knows_media=False
        )
    if not len(reference.manifest):
        raise UserError(f"{reference.source}: {protocol.corpus} has no utterance in its {split} split")
    return reference


def _from_raw(protocol: Protocol) -> dict[str, pd.DataFrame]:
    """Manifests from a corpus's own files, without media."""
    folder = RAW / protocol.corpus
    if not folder.is_dir():
        raise UserError(
            f"{folder}: not there, nor out/extract; bring the corpus's annotations (docs/protocols), or run "
            "`dvc repro extract`"
        )
    reader = registry.reader_module(protocol.corpus)
    options = reader.Options.model_validate(_options(protocol))
    with tempfile.TemporaryDirectory() as scratch:
        listing: Listing = reader.read(folder, Path(scratch), options)
    table = pd.DataFrame(
        {
            "split": [each.split for each in listing.utterances],
            "dialogue": [each.dialogue for each in listing.utterances],
            "utterance": [each.name for each in listing.utterances],
            **{
                name: pd.Series([getattr(each, name) for each in listing.utterances], dtype=object)
                for name in ("group", "speaker", "text", "emotion", "sentiment", "source", "clip")
            },
            **{
                name: pd.Series([getattr(each, name) for each in listing.utterances], dtype=float)
                for name in ("start", "end")
            },
            **{
                name: pd.Series([each.labels.get(name) for each in listing.utterances], dtype=object)
                for name in dict.fromkeys(name for each in listing.utterances for name in each.labels)
            },
        }
    )
    table.insert(0, "corpus", protocol.corpus)
    table["turn"] = table.groupby(["split", "dialogue"], sort=False).cumcount()
    table = table.assign(**{f"{modality}_status": "ok" for modality in MODALITIES})
    return {split: cast("pd.DataFrame", table[table["split"] == split].reset_index(drop=True)) for split in SPLITS}


def _options(protocol: Protocol) -> dict:
    """The reader's options of params.yaml, if it has any for this corpus, over the protocol's; media stay shut."""
    own: dict = {}
    if params.FILE.is_file() and protocol.corpus in params.read("data", dict):
        own = params.read(f"data.{protocol.corpus}", dict)
    fixed = {name: protocol.options[name] for name in ("media", "twins") if name in protocol.options}
    return dict(protocol.options) | own | fixed
