"""Saves the state of a fine-tuning run after every epoch, so that a killed run can be resumed."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from merc.data.records import manifest as manifests
from merc.runtime import resume
from merc.training.core.optim import AdamW

WEIGHTS_FOLDER = Path("data/weights")
RandomGenerator = np.random.Generator | torch.Generator


class SavedTraining:
    """The state of a training in a folder: weights, optimiser moments, random states, best weights and progress."""

    def __init__(self, folder: Path, generators: dict[str, RandomGenerator]) -> None:
        """`generators`: all random generators that the training uses, except torch's global ones."""
        self.folder, self.generators = folder, generators

    def write(
        self, network: nn.Module, optimiser: AdamW, extra: dict[str, dict[str, Tensor]], progress: dict[str, Any]
    ) -> None:
        """Write the state to a temporary folder and rename it, so that it is never incomplete.

        `extra`: further weights by name. `progress`: JSON-serialisable numbers.
        """
        temporary, device_type = self.folder / "temporary", next(network.parameters()).device.type
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        torch_generators = {name: g for name, g in self.generators.items() if isinstance(g, torch.Generator)}
        random_states = {name: generator.get_state() for name, generator in torch_generators.items()}
        tensors = {
            **_prefixed("network", network.state_dict()),
            **{key: t for name, weights in extra.items() for key, t in _prefixed(f"extra-{name}", weights).items()},
            **_prefixed("moment", dict(enumerate(_moments(optimiser)))),
            **_prefixed("random", random_states | _global_random_states(device_type)),
        }
        save_file(tensors, temporary / "state.safetensors")
        numpy_states = {
            name: generator.bit_generator.state
            for name, generator in self.generators.items()
            if not isinstance(generator, torch.Generator)
        }
        progress = progress | {"steps": optimiser.steps, "random": numpy_states, "extra": list(extra)}
        (temporary / "state.json").write_text(json.dumps(progress), encoding="utf-8")
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        temporary.rename(self.folder / "state")

    def progress(self) -> dict[str, Any] | None:
        """The numbers that `write` saved last, or None if there is no state."""
        file = self.folder / "state/state.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def restore(self, network: nn.Module, optimiser: AdamW) -> dict[str, dict[str, Tensor]]:
        """Restore network, optimiser and random states; returns the extra weights by name."""
        progress = cast(dict[str, Any], self.progress())  # a state is there
        tensors = load_file(self.folder / "state/state.safetensors")
        network.load_state_dict(_with_prefix("network", tensors))
        moments = _with_prefix("moment", tensors)
        with torch.no_grad():
            for number, moment in enumerate(_moments(optimiser)):
                moment.copy_(moments[str(number)])
        optimiser.steps = progress["steps"]
        device = next(network.parameters()).device
        self._restore_random_states(_with_prefix("random", tensors), progress["random"], device.type)
        return {
            name: {key: tensor.to(device) for key, tensor in _with_prefix(f"extra-{name}", tensors).items()}
            for name in progress["extra"]
        }

    def _restore_random_states(
        self, torch_states: dict[str, Tensor], numpy_states: dict[str, Any], device_type: str
    ) -> None:
        torch.set_rng_state(torch_states["torch"])
        if device_type in torch_states:
            torch.get_device_module(device_type).set_rng_state(torch_states[device_type])
        for name, generator in self.generators.items():
            if isinstance(generator, torch.Generator):
                generator.set_state(torch_states[name])
            else:
                generator.bit_generator.state = numpy_states[name]


def input_files(corpora: Iterable[str], *folders: Path) -> list:
    """Name, size and time of all files of the corpora's train and dev splits, data/weights and the folders."""
    extracted = [manifests.split_folder(split, corpus) for split in ("train", "dev") for corpus in corpora]
    return resume.folder_identities(*extracted, WEIGHTS_FOLDER, *folders)


def _global_random_states(device_type: str) -> dict[str, Tensor]:
    """torch's global random states, used by dropout: that of the CPU and, if it is another, of the device."""
    states = {} if device_type == "cpu" else {device_type: torch.get_device_module(device_type).get_rng_state()}
    return {"torch": torch.get_rng_state(), **states}


def _moments(optimiser: AdamW) -> list[Tensor]:
    return [moment for group in optimiser.groups for moment in [*group.means, *group.squares]]


def _prefixed(prefix: str, tensors: dict) -> dict[str, Tensor]:
    """Copies under prefix/name: safetensors refuses tensors that share memory."""
    return {f"{prefix}/{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under prefix/name, by name."""
    return {name.split("/", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}
