"""A training that goes on where a killed one stopped: its state after every epoch, as safetensors and JSON."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from merc import manifest as manifests
from merc import partial
from merc.optimiser import AdamW

WEIGHTS = Path("data/weights")
Random = np.random.Generator | torch.Generator


class Saved:
    """The state of one training in a folder: weights, moments, chance, and what was best so far."""

    def __init__(self, folder: Path, chance: dict[str, Random]) -> None:
        """`chance`: every generator that the training draws from, besides torch's own."""
        self.folder, self.chance = folder, chance

    def write(
        self, network: nn.Module, optimiser: AdamW, kept: dict[str, dict[str, Tensor]], facts: dict[str, Any]
    ) -> None:
        """Aside, then renamed: what is there is whole. `kept`: more weights, by a name of the caller's."""
        aside, where = self.folder / "aside", next(network.parameters()).device.type
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        chance = {name: one for name, one in self.chance.items() if isinstance(one, torch.Generator)}
        tensors = {
            **_named("network", network.state_dict()),
            **{key: one for name, weights in kept.items() for key, one in _named(f"kept-{name}", weights).items()},
            **_named("moment", dict(enumerate(_moments(optimiser)))),
            **_named("chance", {name: one.get_state() for name, one in chance.items()} | _own(where)),
        }
        save_file(tensors, aside / "state.safetensors")
        states = {name: one.bit_generator.state for name, one in self.chance.items() if name not in chance}
        facts = facts | {"steps": optimiser.steps, "chance": states, "kept": list(kept)}
        (aside / "state.json").write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        aside.rename(self.folder / "state")

    def facts(self) -> dict[str, Any] | None:
        """What `write` was told last; None if nothing is there."""
        file = self.folder / "state/state.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def restore(self, network: nn.Module, optimiser: AdamW) -> dict[str, dict[str, Tensor]]:
        """Everything as it was; returns what was kept."""
        facts, tensors = self.facts(), load_file(self.folder / "state/state.safetensors")
        network.load_state_dict(_of("network", tensors))
        moments = _of("moment", tensors)
        with torch.no_grad():
            for number, moment in enumerate(_moments(optimiser)):
                moment.copy_(moments[str(number)])
        optimiser.steps = facts["steps"]
        where = next(network.parameters()).device
        self._restore_chance(_of("chance", tensors), facts["chance"], where.type)
        return {
            kept: {name: tensor.to(where) for name, tensor in _of(f"kept-{kept}", tensors).items()}
            for kept in facts["kept"]
        }

    def _restore_chance(self, states: dict[str, Tensor], others: dict[str, Any], where: str) -> None:
        torch.set_rng_state(states["torch"])
        if where in states:
            torch.get_device_module(where).set_rng_state(states[where])
        for name, one in self.chance.items():
            if isinstance(one, torch.Generator):
                one.set_state(states[name])
            else:
                one.bit_generator.state = others[name]


def sources(corpora: Iterable[str], *folders: Path) -> list:
    """What identifies all that train and dev of the corpora, the pretrained weights and more folders hold."""
    extracted = [manifests.folder(split, corpus) for split in ("train", "dev") for corpus in corpora]
    return partial.sources(*extracted, WEIGHTS, *folders)


def _own(where: str) -> dict[str, Tensor]:
    """torch's own chance, which dropout draws from: the CPU's, and that of the device that the network is on."""
    there = {} if where == "cpu" else {where: torch.get_device_module(where).get_rng_state()}
    return {"torch": torch.get_rng_state(), **there}


def _moments(optimiser: AdamW) -> list[Tensor]:
    return [moment for group in optimiser.groups for moment in [*group.means, *group.squares]]


def _named(kind: str, tensors: dict) -> dict[str, Tensor]:
    """A copy each: safetensors refuses tensors that share memory."""
    return {f"{kind}/{name}": tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _of(kind: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.split("/", 1)[1]: tensor for name, tensor in tensors.items() if name.startswith(f"{kind}/")}
