"""Whose mouth moves with the sound: an audio tower and a mouth tower into one space, 25 times a second."""

import json
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

REACH = 5  # pictures that one embedding sees: 0.2 s
SCALE = 20.0  # of the evidence at first; learnt
Part = TypeVar("Part", bound=nn.Module)


class TowersConfig(BaseModel):
    """The shape of both towers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int  # of a mouth region, pixels
    width: int
    bands: int  # of the sound's log-mel spectrum
    frames_per_picture: int  # sound frames
    dim: int  # of an embedding


class AudioTower(nn.Module):
    """log-mel (B, F * frames_per_picture, bands) -> unit vectors (B, F - REACH + 1, dim)."""

    def __init__(self, config: TowersConfig):
        super().__init__()
        step = config.frames_per_picture
        self.picture = nn.Conv1d(config.bands, config.dim, step, stride=step)
        self.norm = nn.LayerNorm(config.dim)
        self.window = nn.Conv1d(config.dim, config.dim, REACH)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, sound: Tensor) -> Tensor:
        each = torch.relu(self.norm(self.picture(sound.transpose(1, 2)).transpose(1, 2)))
        return _unit(self.out, self.window(each.transpose(1, 2)))


class MouthTower(nn.Module):
    """Grey mouths (K, F, height, width), 0 to 255 -> unit vectors (K, F - REACH + 1, dim).

    What is seen is how a mouth differs from its own mean over the pictures: motion, not the face.
    """

    def __init__(self, config: TowersConfig):
        super().__init__()
        self.picture = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * (config.height // 8) * (config.width // 8), config.dim),
        )
        self.norm = nn.LayerNorm(config.dim)
        self.window = nn.Conv1d(config.dim, config.dim, REACH)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, mouths: Tensor) -> Tensor:
        mouths = mouths.float()
        contrast = mouths.std(dim=(1, 2, 3), keepdim=True) + 1.0
        moving = (mouths - mouths.mean(dim=1, keepdim=True)) / contrast
        each = self.picture(moving.flatten(0, 1).unsqueeze(1)).unflatten(0, mouths.shape[:2])
        return _unit(self.out, self.window(torch.relu(self.norm(each)).transpose(1, 2)))


class Synchrony(nn.Module):
    """SyncNet's two towers (Chung & Zisserman 2016), compared over a whole clip at every shift of its sound."""

    def __init__(self, config: TowersConfig):
        super().__init__()
        self.config = config
        self.audio, self.mouth = AudioTower(config), MouthTower(config)
        self.log_scale = nn.Parameter(torch.tensor(SCALE).log())

    def forward(self, mouths: Tensor, seen: Tensor, sound: Tensor, owner: Tensor) -> Tensor:
        """(K, W) evidence of each track for each circular shift of its clip's sound; column 0: in step.

        mouths (K, F, height, width) and seen (K, F) of the tracks of B clips; sound (B, frames, bands);
        owner (K,) says whose sound a track is compared with. Evidence is a sum over time, so a short track
        can win little, and it is centred over the shifts, so a still mouth gets exactly none.
        """
        spoken = self.audio(sound)[owner]
        similarity = torch.einsum("kvd,kad->kva", self.mouth(mouths), spoken)
        inner = seen[:, REACH // 2 : seen.shape[1] - REACH // 2]
        counted = (similarity - similarity.mean(dim=2, keepdim=True)) * inner.unsqueeze(2)
        return self.log_scale.exp() * _diagonals(counted).mean(dim=2)


def _unit(out: nn.Linear, hidden: Tensor) -> Tensor:
    return functional.normalize(out(torch.relu(hidden.transpose(1, 2))), dim=-1)


def _diagonals(similarity: Tensor) -> Tensor:
    """(K, W, W) -> (K, W, W): [k, s, v] is picture v against sound v + s, around the end to the beginning."""
    count = similarity.shape[1]
    pictures = torch.arange(count, device=similarity.device)
    heard = (pictures + pictures.unsqueeze(1)) % count  # (shift, picture)
    return similarity[:, pictures.expand_as(heard), heard]


def save(folder: Path | str, network: nn.Module, config: TowersConfig) -> None:
    """Write config.json and model.safetensors; the same network gives the same bytes."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "config.json").write_text(json.dumps(config.model_dump(), indent=2) + "\n", encoding="utf-8")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, Path(folder) / "model.safetensors")


def load(folder: Path | str) -> Synchrony:
    """The network that `save` wrote, in eval mode."""
    return _loaded(Synchrony, Path(folder))


def load_audio(folder: Path | str) -> AudioTower:
    """As `load`, where the audio tower alone was saved."""
    return _loaded(AudioTower, Path(folder))


def _loaded(kind: type[Part], folder: Path) -> Part:
    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = kind(TowersConfig.model_validate(about))
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()
