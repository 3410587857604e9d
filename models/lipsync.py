"""Audio-visual synchrony network: embeds sound and mouths 25 times a second to tell whose mouth speaks."""

import json
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType] its PathLike is bare
from torch import Tensor, nn
from torch.nn import functional

WINDOW_FRAMES = 5  # video frames that one embedding spans: 0.2 s
INITIAL_SCALE = 20.0  # initial scale of the evidence; learned
TowerModule = TypeVar("TowerModule", bound=nn.Module)


class TowersConfig(BaseModel):
    """The shape of both towers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int  # of a mouth crop, pixels
    width: int
    bands: int  # of the log-mel spectrum
    frames_per_picture: int  # log-mel frames per video frame
    dim: int  # of an embedding


class AudioTower(nn.Module):
    """Log-mel (B, F * frames_per_picture, bands) of F video frames -> unit vectors (B, W, dim), W = F - 4."""

    def __init__(self, config: TowersConfig):
        super().__init__()
        step = config.frames_per_picture
        self.picture = nn.Conv1d(config.bands, config.dim, step, stride=step)
        self.norm = nn.LayerNorm(config.dim)
        self.window = nn.Conv1d(config.dim, config.dim, WINDOW_FRAMES)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, sound: Tensor) -> Tensor:
        frames = torch.relu(self.norm(self.picture(sound.transpose(1, 2)).transpose(1, 2)))
        return _project(self.out, self.window(frames.transpose(1, 2)))


class MouthTower(nn.Module):
    """Grey mouth crops (K, F, height, width), 0 to 255 -> unit vectors (K, W, dim), W = F - 4.

    Each track's mean over the frames is subtracted, which leaves the motion and not the face.
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
        self.window = nn.Conv1d(config.dim, config.dim, WINDOW_FRAMES)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, mouths: Tensor) -> Tensor:
        mouths = mouths.float()
        contrast = mouths.std(dim=(1, 2, 3), keepdim=True) + 1.0
        motion = (mouths - mouths.mean(dim=1, keepdim=True)) / contrast
        frames = self.picture(motion.flatten(0, 1).unsqueeze(1)).unflatten(0, mouths.shape[:2])
        return _project(self.out, self.window(torch.relu(self.norm(frames)).transpose(1, 2)))


class Synchrony(nn.Module):
    """SyncNet's two towers (Chung and Zisserman 2016), compared over a whole clip at every shift of its sound."""

    def __init__(self, config: TowersConfig):
        super().__init__()
        self.config = config
        self.audio, self.mouth = AudioTower(config), MouthTower(config)
        self.log_scale = nn.Parameter(torch.tensor(INITIAL_SCALE).log())

    def forward(self, mouths: Tensor, visible: Tensor, sound: Tensor, clip: Tensor) -> Tensor:
        """(K, W) evidence of each track for each circular shift of its clip's sound; column 0: no shift.

        mouths (K, F, height, width) and visible (K, F) of K tracks in B clips; sound (B, log-mel frames, bands);
        clip (K,): the index of each track's clip. The evidence is summed over the visible frames, so that a short
        track gains little, and centred over the shifts, so that a still mouth gets exactly none.
        """
        audio = self.audio(sound)[clip]
        similarity = torch.einsum("kvd,kad->kva", self.mouth(mouths), audio)
        inner = visible[:, WINDOW_FRAMES // 2 : visible.shape[1] - WINDOW_FRAMES // 2]
        centred = (similarity - similarity.mean(dim=2, keepdim=True)) * inner.unsqueeze(2)
        return self.log_scale.exp() * _diagonals(centred).mean(dim=2)


def _project(out: nn.Linear, hidden: Tensor) -> Tensor:
    """Project (B, hidden, W) to unit vectors (B, W, dim)."""
    return functional.normalize(out(torch.relu(hidden.transpose(1, 2))), dim=-1)


def _diagonals(similarity: Tensor) -> Tensor:
    """(K, W, W) -> (K, W, W): [k, s, v] compares video frame v with sound frame v + s, modulo W."""
    count = similarity.shape[1]
    video = torch.arange(count, device=similarity.device)
    audio = (video + video.unsqueeze(1)) % count  # (shift, video frame)
    return similarity[:, video.expand_as(audio), audio]


def save(folder: Path | str, network: nn.Module, config: TowersConfig) -> None:
    """Write config.json and model.safetensors; equal networks give equal bytes."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "config.json").write_text(json.dumps(config.model_dump(), indent=2) + "\n", encoding="utf-8")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, Path(folder) / "model.safetensors")


def load(folder: Path | str) -> Synchrony:
    """Load the network that `save` wrote, in eval mode."""
    return _load(Synchrony, Path(folder))


def load_audio(folder: Path | str) -> AudioTower:
    """Load the audio tower of a folder to which it alone was saved, in eval mode."""
    return _load(AudioTower, Path(folder))


def _load(kind: type[TowerModule], folder: Path) -> TowerModule:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = kind(TowersConfig.model_validate(config))
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval()
