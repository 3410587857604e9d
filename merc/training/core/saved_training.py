"""Saves the state of a training after every epoch, so that a killed one is resumed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from merc.training.core import torchrun
from merc.training.core.loop import Training

RandomGenerator = np.random.Generator | torch.Generator


class SavedTraining:
    """The state of a training in a folder: weights, optimiser moments, random states, best weights and history."""

    def __init__(self, folder: Path, generators: dict[str, RandomGenerator]) -> None:
        """`generators`: all random generators that the training uses, except torch's global ones."""
        self.folder, self.generators = folder, generators

    def write(self, training: Training) -> None:
        """Write the state to a temporary folder and rename it; the one before goes last: one is always whole."""
        temporary, device_type = self.folder / "temporary", _device(training).type
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        torch_states, numpy_states = {}, {}
        for name, generator in self.generators.items():
            if isinstance(generator, torch.Generator):
                torch_states[name] = generator.get_state()
            else:
                numpy_states[name] = generator.bit_generator.state
        tensors = {
            **_prefixed("network", training.network.state_dict()),
            **_prefixed("average", training.average.state_dict() if training.average is not None else {}),
            **_prefixed("best", training.best_weights),
            **_prefixed("moment", _moments(training)),
            **_prefixed("random", torch_states | _global_random_states(device_type)),
        }
        save_file(tensors, temporary / "state.safetensors")
        numbers = {"history": training.history, "random": numpy_states}
        (temporary / "state.json").write_text(json.dumps(numbers), encoding="utf-8")
        state, before = self.folder / "state", self.folder / "before"
        if state.is_dir():
            shutil.rmtree(before, ignore_errors=True)
            state.rename(before)
        temporary.rename(state)
        shutil.rmtree(before, ignore_errors=True)

    def restore(self, training: Training) -> None:
        """Restore the state that `write` saved last, if there is one; of a killed `write` the one before."""
        files = [self.folder / name / "state.json" for name in ("state", "before")]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            return
        numbers, tensors = json.loads(file.read_text(encoding="utf-8")), load_file(file.with_suffix(".safetensors"))
        training.history = numbers["history"]
        training.network.load_state_dict(_with_prefix("network", tensors))
        if training.average is not None:
            training.average.load_state_dict(_with_prefix("average", tensors))
        device = _device(training)
        training.best_weights = {name: t.to(device) for name, t in _with_prefix("best", tensors).items()}
        optimiser = training.unfreeze(len(training.history) - 1)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, moment in _with_prefix("moment", tensors).items():
            number, _, kind = name.partition("/")
            moments.setdefault(int(number), {})[kind] = moment
        optimiser.load_state_dict(optimiser.state_dict() | {"state": moments})
        self._restore_random_states(_with_prefix("random", tensors), numbers["random"], device.type)
        if torchrun.is_first():
            print(f"{len(training.history)} of {training.config.epochs} epochs were finished by an earlier run")

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


def _device(training: Training) -> torch.device:
    return next(training.network.parameters()).device


def _moments(training: Training) -> dict[str, Tensor]:
    """The optimiser's moments and step counts, by number of the parameter and kind."""
    state = training.optimiser.state_dict()["state"] if training.optimiser is not None else {}
    return {f"{number}/{kind}": moment for number, moments in state.items() for kind, moment in moments.items()}


def _global_random_states(device_type: str) -> dict[str, Tensor]:
    """torch's global random states, used by dropout: that of the CPU and, if it is another, of the device."""
    states = {} if device_type == "cpu" else {device_type: torch.get_device_module(device_type).get_rng_state()}
    return {"torch": torch.get_rng_state(), **states}


def _prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies under prefix/name: safetensors refuses tensors that share memory."""
    return {f"{prefix}/{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under prefix/name, by name."""
    return {name.split("/", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}
