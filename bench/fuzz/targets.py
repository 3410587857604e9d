"""What is fuzzed: for each kind of input, the code of merc that a user's file of this kind reaches."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from merc.corpora import registry
from merc.data.records.listing import Utterance
from merc.encoders.base import factory
from merc.encoders.imported import reader as feature_reader
from merc.export import bundle
from merc.media.extraction import extraction, extraction_config
from merc.media.extraction.extraction_config import ExtractionConfig
from merc.runtime import numerics, params
from merc.serve.predictor import transcripts
from merc.serve.predictor.predictor import Predictor
from merc.serve.predictor.recording_files import Recording
from merc.serve.predictor.recording_reader import Reader
from merc.serve.web import uploads
from merc.serve.web.jobs import PageLimits

# corpus, its options and the table below data/raw/<corpus>, by the table's name
TABLES = {
    "train_sent_emo.csv": ("meld", {"twins": "evidence", "media": "none"}, "train_sent_emo.csv"),
    "utterances.csv": ("folder", {}, "utterances.csv"),
    "Ses01F_impro01.txt": (
        "iemocap",
        {"test_session": 5, "dev_session": 4},
        "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt",
    ),
}
STAGES = ("sample", "lipsync", "finetune", "pretrain", "train", "distill", "evaluate", "explain", "export")


def read_recording(path: Path, scratch: Path) -> None:
    """As `extract` reads a clip, and as `predict` reads a recording: as a whole, and cut at its pauses."""
    settings = params.read("extract", ExtractionConfig)
    utterance = Utterance("train", "d", "u", "g", "", "Yes.", None, None, None, None, path, path.name)
    extraction.extract_utterance(extraction.ExtractionJob(utterance, settings, scratch))
    read = Reader(settings, lambda tracks, sound: 0 if tracks else None)
    for cut in (None, True):
        list(read.read(Recording(path, path.stem, "d"), cut))


def read_transcript(path: Path, scratch: Path) -> None:
    """What is said in a recording of its name, shared out among utterances."""
    cues = transcripts.read_cues(Recording(path.with_suffix(".mp4"), "a", "d"), path)
    transcripts.assign_cues(cues, [(0.0, 1.0), (1.0, 3.0)])


def read_table(path: Path, scratch: Path) -> None:
    """A corpus's table of labels, without its media where the reader does without."""
    corpus, options, name = TABLES[path.name]
    target = scratch / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    if corpus == "folder":
        (scratch / "a.wav").write_bytes(b"RIFF")
    module = registry.reader_module(corpus)
    module.read(scratch, scratch / "archives", module.Options.model_validate(options))


def read_features(path: Path, scratch: Path) -> None:
    """Features that others computed."""
    feature_reader.read(path)


def read_parameters(path: Path, scratch: Path) -> None:
    """Every section of params.yaml, each as its stage reads it."""
    for key, kind in SECTIONS.items():
        params.read(key, kind, path)
    extraction_config.check_values(params.read("extract", ExtractionConfig, path))


def _sections() -> dict[str, Any]:
    sections: dict[str, Any] = {"numerics": numerics.Numerics, "extract": ExtractionConfig}
    for modality in ("text", "audio", "vision"):
        package = factory.modality_package(modality)
        sections[f"encode.{modality}"] = getattr(package, f"{modality.capitalize()}Encoding")
    for stage in STAGES:
        module = importlib.import_module(f"stages.{stage}")
        name = f"{ {'lipsync': 'LipSync'}.get(stage, stage.capitalize()) }Config"
        if kind := getattr(module, name, None):
            sections[stage] = kind
    return sections


def read_order(path: Path, scratch: Path) -> None:
    """The body of a request to the page."""
    uploads.parse_order(path.read_bytes(), PageLimits())


class ExportedFolder:
    """Reads an exported folder of which one file is mutated; for most, the hashes are made to agree."""

    def __init__(self, folder: Path, recording: Path) -> None:
        self.folder, self.recording = folder.resolve(), recording
        self.files = [file.relative_to(self.folder) for file in self.folder.rglob("*") if file.is_file()]

    def __call__(self, path: Path, scratch: Path) -> None:
        root = next(parent for parent in path.parents if parent.name == "input")
        mutated = path.relative_to(root)
        for name in self.files:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            if name == mutated:
                shutil.copyfile(path, scratch / name)
            else:
                (scratch / name).symlink_to(self.folder / name)
        if mutated != Path(bundle.HASHES) and path.stat().st_size % 4:
            (scratch / bundle.HASHES).unlink()
            bundle.write_hashes(scratch)
        predictor = Predictor.load(scratch, engine="auto")
        predictor.answer(predictor.read(self.recording))


SECTIONS = _sections()
READERS: dict[str, Callable[[Path, Path], None]] = {
    "recording": read_recording,
    "transcript": read_transcript,
    "table": read_table,
    "features": read_features,
    "parameters": read_parameters,
    "order": read_order,
}
SHARES = {"recording": 30, "transcript": 15, "table": 15, "features": 25, "parameters": 8, "order": 5, "export": 2}
