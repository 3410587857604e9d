"""A network in a folder: config.json says what it is, model.safetensors holds its weights. No pickle."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from models.network import Network, NetworkConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save(folder: Path | str, network: Network) -> None:
    """Write both files; the same network gives the same bytes."""
    about = {"model": network.config.model_dump(), "streams": network.streams, "labels": network.labels}
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / CONFIG).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    # one metadata key: safetensors writes several in random order
    save_file(weights, Path(folder) / WEIGHTS, metadata={"merc": json.dumps(about, sort_keys=True)})


def load(folder: Path | str, device: str = "cpu", labels: dict[str, tuple[str, ...]] | None = None) -> Network:
    """The network as it was saved, in eval mode; `labels`, if given, must be its own, in the same order."""
    about = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
    own = {task: tuple(names) for task, names in about["labels"].items()}
    if labels is not None and {task: tuple(names) for task, names in labels.items()} != own:
        raise ValueError(f"{folder}: was trained for the labels {own}, not for {labels}; train again")
    network = Network(NetworkConfig.model_validate(about["model"]), about["streams"], own)
    network.load_state_dict(load_file(Path(folder) / WEIGHTS))
    return network.to(device).eval()
