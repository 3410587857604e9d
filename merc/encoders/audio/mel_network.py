"""Small residual networks over the log-mel spectrogram, without pretrained weights; trained by adapt."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.audio.framed_encoder import FramedAudioEncoder
from merc.encoders.audio.spectrum import POWER_FLOOR, frame_signal
from merc.encoders.lipsync.clip_inputs import mel_filterbank
from merc.runtime.numerics import square_root

BANDS = 64
WINDOW = 512  # samples: 32 ms
FRAMES_PER_STEP = 8  # frames per step
CHANNELS = (32, 48, 96, 128)  # of the stem and of the three residual blocks; each block halves the bands
NUM_TOWERS = 2  # parallel networks
WIDTH = 16  # output features of each network
SEED = 1  # of the initial weights


class MelNetwork(FramedAudioEncoder):
    """Parallel networks with different initial weights, concatenated: as an ensemble they generalise better.

    Each outputs few features per step, so that a network on top, trained on the same utterances, overfits less.
    """

    parts = NUM_TOWERS
    dim = NUM_TOWERS * WIDTH
    supports_half_precision = True
    untaught = True
    window: Tensor
    bands: Tensor

    def __init__(self, name: str, frame_rate: float) -> None:
        super().__init__(name, max(1, round(SAMPLE_RATE / (frame_rate * FRAMES_PER_STEP))), FRAMES_PER_STEP)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("bands", mel_filterbank(BANDS, WINDOW), persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            self.towers = nn.ModuleList(ResidualTower() for _ in range(NUM_TOWERS))

    def new_parameters(self) -> list[nn.Parameter]:
        """All parameters: none is pretrained."""
        return list(self.parameters())

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        lengths = tensors["lengths"]
        spectrogram, frames = self.spectrogram(tensors["samples"], lengths), self.frames(lengths)
        return torch.cat([tower(spectrogram, frames) for tower in self.towers], dim=2), self.steps(lengths)

    def spectrogram(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """(N, 2, bands, T): the log-mel spectrogram, and the same minus each band's mean over the utterance."""
        num_frames = int(self.frames(lengths).max())
        windows = frame_signal(samples, num_frames, WINDOW, self.hop) * self.window
        power = torch.fft.rfft(windows).abs().square() / self.window.sum() ** 2
        mask = self.frame_mask(lengths, num_frames)
        values = ((power @ self.bands + POWER_FLOOR).log() + 10) / 4 * mask
        mean = values.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True)
        channels = torch.stack([values, (values - mean) * mask], dim=1).transpose(2, 3)
        return channels.contiguous(memory_format=torch.channels_last)  # a quarter faster on a CPU


class ResidualTower(nn.Module):
    """Squeeze-and-excitation residual blocks (Hu et al. 2018), then attentive statistics (Okabe et al. 2018).

    Local features of each step are concatenated with the statistics of the whole utterance. Padding stays at zero
    in every layer, so that the result does not depend on the rest of the batch.
    """

    def __init__(self) -> None:
        super().__init__()
        first, *_, last = CHANNELS
        self.stem = nn.Sequential(nn.Conv2d(2, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.blocks = nn.ModuleList(
            ResidualBlock(in_channels, out_channels, halve_time=number < 2)
            for number, (in_channels, out_channels) in enumerate(pairwise(CHANNELS))
        )
        self.gather = nn.Sequential(
            nn.Conv1d(last * BANDS // 16, last, 1, bias=False), nn.BatchNorm1d(last), nn.ReLU()
        )
        self.attention = nn.Sequential(nn.Conv1d(last, 32, 1), nn.Tanh(), nn.Conv1d(32, last, 1))
        self.whole = nn.Sequential(nn.Linear(2 * last, last), nn.BatchNorm1d(last))
        self.narrow = nn.Linear(2 * last, WIDTH)

    def forward(self, spectrogram: Tensor, frames: Tensor) -> Tensor:
        """Spectrogram (N, 2, bands, T), number of valid frames (N,) -> (N, S, WIDTH)."""
        values, lengths = self.stem(spectrogram), _halved(frames)
        values = values * _time_mask(lengths, values.shape[-1])
        for block in self.blocks:
            values, lengths = block(values, lengths)
        mask = _time_mask(lengths, values.shape[-1])[:, 0]
        local = self.gather(values.flatten(1, 2)) * mask
        utterance = self.whole(self._statistics(local, mask))
        repeated = utterance[:, None].expand(-1, local.shape[2], -1)
        return self.narrow(torch.cat([local.transpose(1, 2), repeated], dim=2))

    def _statistics(self, local: Tensor, mask: Tensor) -> Tensor:
        """Mean and standard deviation (N, 2 D) over time, weighted by attention per channel."""
        weights = self.attention(local).masked_fill(mask == 0, -1e4).softmax(dim=2)
        mean = (weights * local).sum(dim=2)
        variance = (weights * (local - mean[:, :, None]).square()).sum(dim=2)
        return torch.cat([mean, square_root(variance + 1e-4)], dim=1)


class ResidualBlock(nn.Module):
    """Residual block of two convolutions with squeeze-and-excitation; halves the bands."""

    def __init__(self, in_channels: int, out_channels: int, halve_time: bool) -> None:
        super().__init__()
        stride = (2, 2 if halve_time else 1)
        self.halve_time = halve_time
        self.first = _convolution(in_channels, out_channels, 3, stride)
        self.second = _convolution(out_channels, out_channels, 3)
        self.shortcut = _convolution(in_channels, out_channels, 1)
        self.excite = nn.Sequential(
            nn.Linear(out_channels, out_channels // 8),
            nn.ReLU(),
            nn.Linear(out_channels // 8, out_channels),
            nn.Sigmoid(),
        )

    def forward(self, values: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Values (N, C, bands, T) and number of valid frames (N,) -> the same after the block."""
        lengths = _halved(frames) if self.halve_time else frames
        padded = functional.pad(values, (0, values.shape[-1] % 2)) if self.halve_time else values
        shortcut = self.shortcut(functional.avg_pool2d(padded, (2, 2 if self.halve_time else 1)))
        mask = _time_mask(lengths, shortcut.shape[-1])
        residual = self.second(self.first(values).relu() * mask) * mask
        mean = residual.sum(dim=(2, 3)) / (mask.sum(dim=(2, 3)) * residual.shape[2])
        return (residual * self.excite(mean)[:, :, None, None] + shortcut).relu() * mask, lengths


def _convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int | tuple[int, int] = 1
) -> nn.Sequential:
    """Convolution and batch norm."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


def _halved(lengths: Tensor) -> Tensor:
    """Half of the lengths, rounded up, as a convolution of stride 2 leaves them."""
    return (lengths + 1).div(2, rounding_mode="floor")


def _time_mask(lengths: Tensor, num_frames: int) -> Tensor:
    """(N, 1, 1, num_frames): 1.0 for valid frames, 0.0 for padding."""
    return (torch.arange(num_frames, device=lengths.device) < lengths[:, None]).float()[:, None, None]
