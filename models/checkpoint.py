"""A network in a folder: config.json says what it is, model.safetensors holds its weights. No pickle."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.network import Network, NetworkConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Unreadable(ValueError):
    """The files are absent, damaged or not of this network; the message, one line, names the file."""


def save(folder: Path | str, network: Network) -> None:
    """Write both files; the same network gives the same bytes."""
    about = {"model": network.config.model_dump(), "streams": network.streams, "labels": network.labels}
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / CONFIG).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # one metadata key: safetensors writes several in random order
    save_file(weights, Path(folder) / WEIGHTS, metadata={"merc": json.dumps(about, sort_keys=True)})


def load(
    folder: Path | str,
    device: str = "cpu",
    labels: dict[str, tuple[str, ...]] | None = None,
    weights: str = WEIGHTS,
) -> Network:
    """The network as it was saved, in eval mode; `labels`, if given, must be its own, in the same order.

    `weights` may name another file in the folder with weights of the same network. Raises Unreadable.
    """
    network = _built(Path(folder) / CONFIG)
    if labels is not None and {task: tuple(names) for task, names in labels.items()} != network.labels:
        raise ValueError(f"{folder}: was trained for the labels {network.labels}, not for {labels}; train again")
    _fill(network, Path(folder) / weights)
    return network.to(device).eval()


def _built(path: Path) -> Network:
    """The network that config.json describes, with weights of chance."""
    about = _read(path, lambda: json.loads(path.read_text(encoding="utf-8")))
    try:
        own = {task: tuple(names) for task, names in about["labels"].items()}
        return Network(NetworkConfig.model_validate(about["model"]), about["streams"], own)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{path}: describes no network that this version knows ({_line(error)})") from error


def _fill(network: Network, path: Path) -> None:
    weights = _read(path, lambda: load_file(path))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise Unreadable(f"{path}: holds the weights of another network ({_line(error)})") from error


def _read(path: Path, read: Any) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise Unreadable(f"{path}: not there") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise Unreadable(f"{path}: cannot be read, perhaps half-written ({_line(error)})") from error


def _line(error: Exception) -> str:
    """At most a line's worth of what an exception says."""
    return " ".join(str(error).split())[:160]
