"""`python -m merc results typicality`: how often a modality is left out as unlike the training data.

Measured on data of other kinds, where it should be left out, and on each model's own test split, where leaving it
out is a false alarm. Neither the measure nor its threshold was chosen on these data (docs/predict.md).

Two kinds of training data: the sample, of which the exported student is used; and the voices of RAVDESS, fold 1,
of which only the features are used, without a network. Real data are read from data/raw; a corpus that is not
there is named in the output and skipped.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from merc.corpora import ravdess
from merc.data.batches.dataset import read_split
from merc.data.batches.streams import FeatureStream
from merc.data.records import encoder_inputs, face_tracks, manifest
from merc.data.records.encoder_inputs import SAMPLE_RATE, AudioInput, TextInput, VisionInput, waveform
from merc.data.records.labels import label_space
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder, extract_features
from merc.encoders.pretrained import sources
from merc.export import bundle, needed_encoders
from merc.media import clip_reader
from merc.media.extraction import processing
from merc.media.extraction.extraction_config import ExtractionConfig
from merc.runtime.results import read_json, write_json
from merc.studies import results_page
from merc.training.core import typicality
from merc.training.core.typicality import StreamTypicality

RAW, EXPORTED = Path("data/raw"), Path("out/export")
LIMITS = clip_reader.Limits(0.2, 15.0)  # seconds
NUM_DRAWN = 100  # sounds and faces that are drawn of each kind
RAVDESS_LAYERS = {"prosody": -1, "whisper-tiny.en": 2}  # audio encoder -> hidden layer
FACE_SHAPE, FACE_FRAMES = (64, 64, 3), 40
OTHER_LANGUAGES = (
    *("Das ist ja eine schöne Überraschung!", "Warum hast du mir das nicht gesagt?", "Lass mich bitte in Ruhe."),
    *("Je ne sais pas quoi dire.", "C'est vraiment magnifique ici.", "Pourquoi es-tu encore en retard ?"),
    *("No me lo puedo creer.", "¿Por qué no me llamaste ayer?", "Estoy muy contento de verte."),
    *("Non voglio più parlarne.", "Che bella giornata oggi!", "Dove sei stato tutta la notte?"),
    *("Ik ben zo blij voor je.", "Waarom zeg je niets?", "Dat is echt verschrikkelijk."),
    *("Я так рад тебя видеть.", "Почему ты молчишь?", "Оставь меня в покое."),
    *("今天天气真好。", "你为什么没有告诉我？", "请让我一个人待着。"),
)


def measure() -> None:
    """Write docs/results/typicality.json and the page."""
    shifts = [*_before_the_sample(_exported_student())]
    for encoder, layer in RAVDESS_LAYERS.items():
        shifts += _before_ravdess(encoder, layer)
    title = "What is left out as unlike anything that was learnt; of a model's own test split, false alarms"
    content = {"study": "typicality", "title": title, "false_alarms": typicality.FALSE_ALARMS, "shifts": shifts}
    write_json(results_page.FOLDER / "typicality.json", content)
    results_page.write_results_page()


class Student(NamedTuple):
    """The parts of an exported model that encode media and measure how typical their features are."""

    settings: ExtractionConfig
    encoders: dict[str, Encoder]  # by modality, in the network's order
    judges: dict[str, StreamTypicality]  # by modality

    def judged(self, raw: Mapping[str, Sequence[Any]], rows: int) -> np.ndarray:
        """(N, M) typicality of encoder inputs by modality; NaN where one is None."""
        table = np.full((rows, len(self.encoders)), np.nan)
        for column, (modality, encoder) in enumerate(self.encoders.items()):
            there = [row for row, one in enumerate(raw.get(modality, ())) if one is not None]
            if there:
                found = _judged(self.judges[modality], encoder, [raw[modality][row] for row in there])
                table[there, column] = found
        return table


def _exported_student() -> Student:
    bundle.verify(EXPORTED)
    described, fitted = read_json(EXPORTED / "encoders.json"), typicality.load(EXPORTED / typicality.FILE)
    encoders = {
        modality: encoder
        for modality, entry in described.items()
        if (encoder := needed_encoders.restore_encoder(modality, entry, EXPORTED)) is not None
    }
    settings = ExtractionConfig.model_validate(read_json(EXPORTED / "extraction.json"))
    judges = {modality: fitted[f"{modality}/{encoder.name}"] for modality, encoder in encoders.items()}
    return Student(settings, encoders, judges)


def _before_the_sample(student: Student) -> Iterator[dict[str, Any]]:
    """The table's rows for the exported student of the sample."""
    modalities, generator = tuple(student.encoders), np.random.default_rng(1)
    test = read_split("test", ["sample"], modalities, label_space("meld"))
    name, fitted = "the sample's student", typicality.load(EXPORTED / typicality.FILE)
    yield _row(name, "the sample's test split", typicality.of_split(fitted, test), modalities)
    for shown, folder, pattern, words in (
        ("GRID's clips, without words", RAW / "grid", "*.mpg", lambda path: ""),
        ("RAVDESS, all actors", RAW / "ravdess", "Actor_*/*.opus", _ravdess_words),
    ):
        paths = sorted(folder.glob(pattern))
        if _is_there(paths, folder):
            yield _row(name, shown, _of_clips(student, paths, words), modalities)
    drawn: dict[str, tuple[str, list[Any]]] = {
        "white noise": ("audio", _noises(generator)),
        "blank pictures": ("vision", [_face(np.full((1, 1, 1, 3), grey)) for grey in range(0, 256, 5)]),
        "pictures of noise": (
            "vision",
            [_face(generator.integers(0, 256, (FACE_FRAMES, *FACE_SHAPE))) for _ in range(50)],
        ),
        "other languages": ("text", [TextInput(line, "") for line in OTHER_LANGUAGES]),
    }
    for shown, (modality, raw) in drawn.items():
        yield _row(name, shown, student.judged({modality: raw}, len(raw)), modalities)


def _before_ravdess(encoder_name: str, layer: int) -> Iterator[dict[str, Any]]:
    """The table's rows for RAVDESS's voices, fold 1, in the features of one encoder."""
    folder, generator = RAW / "ravdess", np.random.default_rng(1)
    needs_weights = encoder_name != "prosody" and not (sources.WEIGHTS_FOLDER / encoder_name).is_dir()
    if not _is_there([] if needs_weights else sorted(folder.glob("Actor_*")), folder):
        return
    settings = {"frame_rate": 10.0, "layer": layer}
    section = factory.exported_section("audio", {"encoder": encoder_name, "settings": settings})
    encoder = factory.build("audio", encoder_name, section)
    assert encoder is not None
    options = ravdess.Options(channel="speech", fold=1, test_actors=[], dev_actors=[])
    listing = ravdess.read(folder, folder, options).utterances
    voices = {
        split: extract_features(encoder, [_sound(one.media) for one in listing if one.split == split])
        for split in manifest.SPLITS
    }
    judge = StreamTypicality.fit(_stream(voices["train"]), _stream(voices["dev"]))
    assert judge is not None
    name, modalities = f"RAVDESS in {encoder_name}, fold 1", ("audio",)
    test = _stream(voices["test"])
    own = judge.typicality(test.parts[0].numpy(), test.lengths.numpy())
    yield _row(name, "its test actors", own[:, None], modalities)
    rows = manifest.read_manifests("test", ["sample"])
    shown: dict[str, Sequence[AudioInput | None]] = {
        "the sample's drawn voices, test": encoder_inputs.audio_inputs(
            manifest.split_folder("test", "sample"), rows
        ),
        "GRID's voices": [_sound(path) for path in sorted((RAW / "grid").glob("*.mpg"))],
        "white noise": _noises(generator),
    }
    for title, sounds in shown.items():
        if raw := [sound for sound in sounds if sound is not None]:
            yield _row(name, title, _judged(judge, encoder, raw)[:, None], modalities)


def _row(model: str, shown: str, judged: np.ndarray, modalities: Sequence[str]) -> dict[str, Any]:
    """From `judged` (N, M) typicality: the shares of utterances that lose a modality, any modality, or all."""
    present, is_lost = ~np.isnan(judged), judged <= typicality.threshold(modalities)
    by_modality = {
        modality: float(is_lost[present[:, column], column].mean()) if present[:, column].any() else None
        for column, modality in enumerate(modalities)
    }
    shares = {"any": float(is_lost.any(1).mean()), "all": float((is_lost == present).all(1).mean())}
    print(f"{model}: {shown}: {len(judged)}: {by_modality | shares}", flush=True)
    return {"model": model, "shown": shown, "utterances": len(judged), "left_out": by_modality | shares}


def _is_there(paths: Sequence[Path], folder: Path) -> bool:
    if not paths:
        print(f"results: {folder}, or what encodes it, is not there: left out")
    return bool(paths)


def _of_clips(student: Student, paths: list[Path], words: Callable[[Path], str]) -> np.ndarray:
    """(N, M) typicality of recordings, each an utterance of its own."""
    media = [_read_media(path, student.settings) for path in paths]
    raw = {
        "text": [TextInput(text, "") if (text := words(path)) else None for path in paths],
        "audio": [sound for sound, _ in media],
        "vision": [face for _, face in media],
    }
    return student.judged(raw, len(paths))


def _read_media(path: Path, settings: ExtractionConfig) -> tuple[AudioInput | None, VisionInput | None]:
    """The sound and the largest face of a recording, as `extract` has them."""
    limits = clip_reader.Limits(settings.audio.min_seconds, settings.audio.max_seconds)
    sound, pictures = clip_reader.read_clip(path, limits, processing.decodes_all_pictures(settings))
    samples = processing.process_sound(sound, settings).samples
    processed = processing.process_pictures(pictures, settings)
    tracks = face_tracks.tracks_from_bytes(processed.packed_tracks) if processed.tracks else []
    largest = encoder_inputs.largest_track(tracks)
    face = None if largest is None else tracks[largest]
    return (
        None if samples is None else AudioInput(waveform(samples)),
        encoder_inputs.face_input(face, io.BytesIO(processed.frame)) if processed.frame else None,
    )


def _ravdess_words(path: Path) -> str:
    return ravdess.STATEMENTS[path.stem.split("-")[4]]


def _judged(judge: StreamTypicality, encoder: Encoder, raw: Iterable[Any]) -> np.ndarray:
    stream = _stream([values.astype(encoder.stored) for values in extract_features(encoder, list(raw))])
    return judge.typicality(stream.parts[0].numpy(), stream.lengths.numpy())


def _stream(features: Sequence[np.ndarray]) -> FeatureStream:
    lengths = np.array([len(values) for values in features])
    values = np.concatenate(features).astype(np.float32)
    return FeatureStream.of(*map(torch.from_numpy, (values, lengths.cumsum() - lengths, lengths)))


def _sound(path: Path | None) -> AudioInput:
    assert path is not None
    sound, _ = clip_reader.read_clip(path, LIMITS, ticks=False)
    assert sound.samples is not None
    return AudioInput(waveform(sound.samples))


def _noises(generator: np.random.Generator) -> list[AudioInput]:
    """Two seconds of white noise each, -40 to -10 dB of full scale."""
    levels = 10 ** generator.uniform(-2, -0.5, NUM_DRAWN)
    noises = [level * generator.standard_normal(2 * SAMPLE_RATE) for level in levels]
    return [AudioInput(noise.clip(-1, 1).astype(np.float32)) for noise in noises]


def _face(pixels: np.ndarray) -> VisionInput:
    """A face track of these pixels."""
    crops = np.broadcast_to(pixels.astype(np.uint8), (FACE_FRAMES, *FACE_SHAPE))
    boxes = np.tile(np.array([[100, 50, *FACE_SHAPE[:2]]], np.float32), (FACE_FRAMES, 1))
    return VisionInput(np.ascontiguousarray(crops), boxes, np.arange(FACE_FRAMES, dtype=np.float32) / 25)
