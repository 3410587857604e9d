"""Save and load a network as config.json (its architecture) and model.safetensors (its weights); no pickle."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType] its PathLike is bare

from models.network import Network, NetworkConfig

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


class UnreadableCheckpoint(ValueError):
    """A checkpoint file is missing, damaged or of another network; the one-line message names the file."""


def save(folder: Path | str, network: Network) -> None:
    """Write both files; equal networks give equal bytes."""
    config = {"model": network.config.model_dump(), "streams": network.streams, "labels": network.labels}
    kinds = {task: kind.model_dump(exclude_defaults=True) for task, kind in network.kinds.items()}
    config |= {"kinds": kinds} if any(kinds.values()) else {}
    config |= {"offsets": network.offsets.filled} if network.offsets.filled else {}
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # a single metadata key: safetensors writes several in random order
    save_file(weights, Path(folder) / WEIGHTS_FILE, metadata={"merc": json.dumps(config, sort_keys=True)})


def load(
    folder: Path | str,
    device: str = "cpu",
    labels: dict[str, tuple[str, ...]] | None = None,
    weights: str = WEIGHTS_FILE,
) -> Network:
    """Load a network in eval mode; raise ValueError unless `labels`, if passed, equal the network's, in order.

    `weights` names the weights file in the folder. Raises UnreadableCheckpoint.
    """
    network = _from_config(Path(folder) / CONFIG_FILE)
    if labels is not None and {task: tuple(names) for task, names in labels.items()} != network.labels:
        raise ValueError(f"{folder}: was trained for the labels {network.labels}, not for {labels}; train again")
    _load_weights(network, Path(folder) / weights)
    return network.to(device).eval()


def _from_config(path: Path) -> Network:
    """Build the network that config.json describes, with random weights."""
    config = _read(path, lambda: json.loads(path.read_text(encoding="utf-8")))
    try:
        labels = {task: tuple(names) for task, names in config["labels"].items()}
        return Network(
            NetworkConfig.model_validate(config["model"]),
            config["streams"],
            labels,
            config.get("kinds"),
            config.get("offsets", ()),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableCheckpoint(
            f"{path}: describes no network that this version knows ({_one_line(error)})"
        ) from error


def _load_weights(network: Network, path: Path) -> None:
    weights = _read(path, lambda: load_file(path))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UnreadableCheckpoint(f"{path}: holds the weights of another network ({_one_line(error)})") from error


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise UnreadableCheckpoint(f"{path}: not there") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise UnreadableCheckpoint(f"{path}: cannot be read, perhaps half-written ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    """The exception's message as a single line of at most 160 characters."""
    return " ".join(str(error).split())[:160]
