"""What an exported folder says: its JSON files, typed, and held against each other and the shapes of its weights.

Hashes find damage; these checks are for a folder that somebody else made. No network is built before all fits.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.overrides import TorchFunctionMode

from merc.data.records.label_file import COLOUR, NAME, RESERVED
from merc.data.records.labels import Task
from merc.data.records.stream_name import StreamName
from merc.encoders.base import factory
from merc.encoders.lipsync import clip_inputs
from merc.export import bundle
from merc.export.bundle import REMEDY
from merc.media.extraction import extraction_config
from merc.media.extraction.extraction_config import ExtractionConfig
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel
from merc.training.core import speaker_offsets, typicality
from merc.training.core.calibration import Calibration
from merc.training.core.speaker_offsets import StreamSpeakers
from merc.training.core.typicality import StreamTypicality
from models.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from models.heads import HeadKind
from models.lipsync import AudioTower, Synchrony, TowersConfig
from models.network import Network, NetworkConfig

MAX_SHOWN_CHARACTERS = 60  # of a value, in a message
# what a config of networks that do not exist raises where it is built without memory
UNBUILDABLE = (ValueError, TypeError, RuntimeError, KeyError, OverflowError, MemoryError)
T = TypeVar("T")

Label = Annotated[str, Field(min_length=1, max_length=100)]
TaskName = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Labels = dict[
    TaskName, Annotated[list[Label], Field(min_length=1, max_length=1000)]
]  # by task, in the order of the outputs
Colour = Annotated[str, Field(pattern=f"^{COLOUR.pattern}$")]
Width = Annotated[int, Field(ge=1, le=2**20)]


class TaskCalibration(StrictModel):
    """Of a classification: see merc/training/core/calibration.py, which searches temperatures from 0.018 to 55."""

    temperature: float = Field(ge=0.01, le=100)
    threshold: float = Field(ge=0, le=1)


class MultilabelCalibration(StrictModel):
    """Of a multilabel task."""

    temperatures: list[Annotated[float, Field(ge=0.01, le=100)]]


class RegressionCalibration(StrictModel):
    """Of a regression."""

    half_width: float = Field(ge=0)


CALIBRATIONS: dict[str, type[StrictModel]] = {
    "classification": TaskCalibration,
    "multilabel": MultilabelCalibration,
    "regression": RegressionCalibration,
}


class NetworkDescription(StrictModel):
    """config.json."""

    model: NetworkConfig
    streams: dict[str, Width]  # feature dimension by <modality>/<encoder>
    labels: Labels
    kinds: dict[str, HeadKind] = Field(default_factory=dict)  # of the tasks that are no plain classification
    offsets: list[str] = Field(default_factory=list)  # tasks with a table of logits by what is missing

    def task(self, name: str) -> Task:
        """What the task's answers are."""
        kind = self.kinds.get(name, HeadKind())
        return Task(name, kind.kind, () if kind.kind == "regression" else tuple(self.labels[name]), *kind.range)

    @property
    def lead(self) -> str:
        """The first classification, whose classes the gates know; "" without one."""
        return next((name for name in self.labels if self.task(name).kind == "classification"), "")

    @property
    def gates(self) -> int:
        """The number of gates of each modality, if the fusion has any."""
        return len(self.labels[self.lead]) if self.lead else 1


class EncoderDescription(StrictModel):
    """An entry of encoders.json (merc/export/needed_encoders.py)."""

    # no path that leads elsewhere: the name is looked up below data/weights, too
    encoder: str = Field(pattern=r"^[\w][\w.+@/-]*$", max_length=200)
    source: str
    licence: str
    settings: dict[str, Any]  # section encode.<modality>, which checks them
    weights: str | None
    sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$")
    onnx: str


@dataclass(frozen=True)
class FolderContents:
    """The descriptions of a folder, which fit each other and its weights."""

    network: NetworkDescription
    calibration: dict[str, Calibration]  # by task
    settings: ExtractionConfig
    encoders: dict[str, dict[str, Any]]  # by modality
    typicality: dict[str, StreamTypicality]  # by stream; none of a stream that could not be judged
    speakers: dict[str, StreamSpeakers]  # by stream; empty without `pretrain.speakers`
    colours: dict[str, str]  # class -> #rrggbb


def read(folder: Path) -> FolderContents:
    """Read and check the descriptions; raises a UserError that names the file, the key and the value."""
    network = _read(folder / CONFIG_FILE, NetworkDescription)
    _check_labels(folder, network)
    calibration = _read(folder / "calibration.json", dict[str, Any])
    if list(calibration) != list(network.labels):
        raise _misfit(folder / "calibration.json", "", list(calibration), f"the tasks are {list(network.labels)}")
    for name, entry in calibration.items():
        calibration[name] = _calibration(folder / "calibration.json", name, entry, network)
    settings = _read(folder / "extraction.json", ExtractionConfig)
    extraction_config.check_values(settings, f"{folder / 'extraction.json'}: ")
    encoders = _read(folder / "encoders.json", dict[str, EncoderDescription])
    _check_encoders(folder, network, encoders)
    _check_shapes(
        folder,
        lambda: Network(
            network.model,
            network.streams,
            _tuples(network.labels),
            network.kinds,
            network.offsets,
        ),
    )
    if (folder / "lipsync" / WEIGHTS_FILE).is_file():
        _check_towers(folder / "lipsync", Synchrony)
    return FolderContents(
        network,
        calibration,
        settings,
        {modality: entry.model_dump() for modality, entry in encoders.items()},
        _read_typicality(folder / typicality.FILE, network.streams),
        _read_speakers(folder / speaker_offsets.FILE, network.streams),
        _read(folder / bundle.COLOURS, dict[Label, Colour]) if (folder / bundle.COLOURS).is_file() else {},
    )


def check_widths(folder: Path, streams: Mapping[str, int], encoders: Mapping[str, Any]) -> None:
    """Refuse encoders, by modality, whose features are not as wide as the network's input."""
    for modality, encoder in encoders.items():
        if (width := streams[stream := str(StreamName(modality, encoder.name))]) != encoder.dim:
            raise _misfit(folder / CONFIG_FILE, f"streams.{stream}", width, f"its encoder gives {encoder.dim}")


class _CheapStart(TorchFunctionMode):
    """Draws nothing, keeps constants on the CPU: both import torch._dynamo on "meta", 1.4 s of the processor."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.randn:
            return torch.empty(*args, device="cpu")  # small: a vector, or one an emotion
        if func is nn.init.normal_:
            return kwargs["tensor"]
        if func is torch.tensor:
            return func(*args, device="cpu")
        return func(*args, **(kwargs or {}))


def _check_labels(folder: Path, network: NetworkDescription) -> None:
    path = folder / CONFIG_FILE
    for task, names in network.labels.items():
        kind = network.kinds.get(task, HeadKind())
        if task in RESERVED:
            raise _misfit(path, "labels", task, "cannot name a task")
        if len(set(names)) < len(names):
            raise _misfit(path, f"labels.{task}", names, "each label once")
        if kind.kind == "classification" and len(names) < 2:
            raise _misfit(path, f"labels.{task}", names, "two labels at least")
        if kind.kind == "regression" and (len(names) > 1 or not kind.range[0] < kind.range[1]):
            raise _misfit(path, f"kinds.{task}.range", list(kind.range), "one number, within a range")
        if unknown := sorted(set(kind.unseen) - set(names)):
            raise _misfit(path, f"kinds.{task}.unseen", unknown[0], f"the labels are {', '.join(names)}")
    if not network.labels:
        raise _misfit(path, "labels", {}, "there is no task")
    if unknown := sorted(set(network.kinds) - set(network.labels)):
        raise _misfit(path, "kinds", unknown[0], f"the tasks are {', '.join(network.labels)}")
    if unknown := sorted(set(network.offsets) - set(network.labels)):
        raise _misfit(path, "offsets", unknown[0], f"the tasks are {', '.join(network.labels)}")
    labels = _read(folder / "labels.json", Labels)
    if labels != network.labels:
        task = next(task for task in (*labels, *network.labels) if labels.get(task) != network.labels.get(task))
        raise _misfit(
            folder / "labels.json", task, labels.get(task), f"{CONFIG_FILE} has {network.labels.get(task)}"
        )


def _calibration(path: Path, name: str, entry: Any, network: NetworkDescription) -> Calibration:
    """A task's calibration, as its kind has it."""
    task = network.task(name)
    try:
        fitted = CALIBRATIONS[task.kind].model_validate(entry).model_dump()
    except ValidationError as error:
        raise _refused(path, name, error) from None
    if task.kind == "multilabel" and len(fitted["temperatures"]) != len(task.classes):
        raise _misfit(path, f"{name}.temperatures", fitted["temperatures"], "one for each label")
    return fitted


def _check_encoders(folder: Path, network: NetworkDescription, encoders: Mapping[str, EncoderDescription]) -> None:
    path, modalities = folder / "encoders.json", network.model.modalities
    with_streams = {StreamName.parse(stream).modality for stream in network.streams}
    if unknown := sorted(with_streams - set(modalities)):
        raise _misfit(folder / CONFIG_FILE, "streams", unknown[0], f"model.modalities are {', '.join(modalities)}")
    if set(encoders) != with_streams:
        raise _misfit(path, "", sorted(encoders), f"{CONFIG_FILE} has streams of {sorted(with_streams)}")
    for modality, entry in encoders.items():
        stream = str(StreamName(modality, entry.encoder))
        if stream not in network.streams or ".." in entry.encoder:
            known = ", ".join(network.streams)
            raise _misfit(path, f"{modality}.encoder", entry.encoder, f"{CONFIG_FILE} has the streams {known}")
        try:
            factory.exported_section(modality, entry.model_dump())
        except ValidationError as error:
            raise _refused(path, f"{modality}.settings", error) from None
        place = f"encoders/{modality}"
        if entry.weights not in (None, place):
            raise _misfit(path, f"{modality}.weights", entry.weights, f"null or {place}")
        if entry.weights and "encoder" not in _read(folder / place / CONFIG_FILE, dict[str, Any]):
            _check_towers(folder / place, AudioTower if modality == "audio" else Synchrony)


def _check_towers(folder: Path, kind: Callable[[TowersConfig], nn.Module]) -> None:
    """Refuse a lip-sync network of other inputs than this version makes, or whose weights do not fit."""
    towers = _read(folder / CONFIG_FILE, TowersConfig)
    inputs = {
        "height": clip_inputs.HEIGHT,
        "width": clip_inputs.WIDTH,
        "bands": clip_inputs.BANDS,
        "frames_per_picture": clip_inputs.FRAMES_PER_PICTURE,
    }
    for key, value in inputs.items():
        if (found := getattr(towers, key)) != value:
            raise _misfit(folder / CONFIG_FILE, key, found, f"this version of merc makes {value}")
    _check_shapes(folder, lambda: kind(towers))


def _check_shapes(folder: Path, build: Callable[[], nn.Module]) -> None:
    """Compare the header of the weights with the network of config.json, which is built without memory."""
    path = folder / WEIGHTS_FILE
    try:
        with torch.device("meta"), _CheapStart():
            expected = {name: list(tensor.shape) for name, tensor in build().state_dict().items()}
    except UNBUILDABLE as error:
        raise UserError(f"{folder / CONFIG_FILE}: describes no network ({_one_line(error)}); {REMEDY}") from None
    try:
        with safe_open(path, "pt") as file:
            found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({_one_line(error)}); {REMEDY}") from None
    for name in (*expected, *found):
        if found.get(name) != expected.get(name):
            raise _misfit(
                path, name, found.get(name, "missing"), f"{CONFIG_FILE} describes {expected.get(name, 'none')}"
            )


def _read_typicality(path: Path, streams: Mapping[str, int]) -> dict[str, StreamTypicality]:
    """Refuse arrays of other streams, other shapes or values than `distill` writes."""
    try:
        found = typicality.shapes(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({_one_line(error)}); {REMEDY}") from None
    for name, shape in found.items():
        stream, _, part = name.rpartition("/")
        num_dev = math.prod(found.get(f"{stream}/dev", ()))
        expected = typicality.expected_shapes(streams.get(stream, 0), num_dev) if stream in streams else {}
        if part == "dev" and not num_dev:
            raise _misfit(path, name, shape, "at least one utterance")
        if missing := [other for other in expected if f"{stream}/{other}" not in found]:
            raise _misfit(path, f"{stream}/{missing[0]}", "missing", "every stream has it")
        if shape != expected.get(part):
            raise _misfit(path, name, shape, f"{CONFIG_FILE} describes {expected.get(part, 'no such stream')}")
    fitted = typicality.load(path)
    for stream, arrays in fitted.items():
        for part, array in arrays._asdict().items():
            if not np.isfinite(array).all():
                raise _misfit(path, f"{stream}/{part}", array[~np.isfinite(array)][0], "finite numbers")
        if not (arrays.scale > 0).all() or (np.diff(arrays.dev) < 0).any():
            raise _misfit(path, stream, "scale, dev", "scales are above 0, and dev's distances ascend")
    return fitted


def _read_speakers(path: Path, streams: Mapping[str, int]) -> dict[str, StreamSpeakers]:
    """{} without the file; refuse arrays of other streams, other shapes or values than `pretrain` writes."""
    try:
        found = typicality.shapes(path) if path.is_file() else {}
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({_one_line(error)}); {REMEDY}") from None
    named = {name.rpartition("/")[0] for name in found}
    for name in sorted({*found, *(f"{stream}/{part}" for stream in named for part in StreamSpeakers._fields)}):
        stream, _, part = name.rpartition("/")
        expected = [streams[stream]] if stream in streams and part in StreamSpeakers._fields else None
        if found.get(name) != expected:
            raise _misfit(
                path, name, found.get(name, "missing"), f"{CONFIG_FILE} describes {expected or 'no such stream'}"
            )
    fitted = speaker_offsets.load(path)
    for stream, arrays in fitted.items():
        if not np.isfinite(arrays.usual).all() or not (arrays.ratio >= 0).all():
            raise _misfit(path, stream, "usual, ratio", "usual is finite, and ratio 0 at least")
    return fitted


def _read(path: Path, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_python(bundle.read_description(path))
    except ValidationError as error:
        raise _refused(path, "", error) from None


def _refused(path: Path, section: str, error: ValidationError) -> UserError:
    """The first mistake that pydantic found, as one line."""
    detail = error.errors()[0]
    key = ".".join(filter(None, (section, *map(str, detail["loc"]))))
    if detail["type"] == "missing":
        return UserError(f"{path}: {key} is missing; {REMEDY}")
    return _misfit(path, key, detail["input"], detail["msg"])


def _misfit(path: Path, key: str, value: Any, reason: str) -> UserError:
    shown, reason = _one_line(repr(value)), _one_line(reason)
    return UserError(f"{path}: {key[:MAX_SHOWN_CHARACTERS]}{' = ' if key else ''}{shown}: {reason}; {REMEDY}")


def _one_line(text: Any) -> str:
    words = " ".join(str(text).split())
    return words if len(words) <= 2 * MAX_SHOWN_CHARACTERS else words[: 2 * MAX_SHOWN_CHARACTERS] + "..."


def _tuples(labels: Labels) -> dict[str, tuple[str, ...]]:
    return {task: tuple(names) for task, names in labels.items()}
