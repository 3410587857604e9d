"""Small residual networks over the log-mel spectrogram, without pretrained weights: adapt teaches them."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.encoders.hearing import Hearing
from merc.encoders.raw import RATE
from merc.encoders.spectrum import FLOOR, frame, mel_bands
from merc.numerics import square_root

BANDS = 64
WINDOW = 512  # samples: 32 ms
SHRINKS = 8  # frames that become a step
CHANNELS = (32, 48, 96, 128)  # of the stem and of three residual blocks, each of which halves the bands
PARTS = 2  # networks side by side
WIDTH = 16  # of what each says of a step
SEED = 1  # of the weights before anything is learnt


class MelNetwork(Hearing):
    """Several networks side by side, from different random weights: what they say together carries further.

    A step is a few directions of each: a network above it that learns from the same utterances has no more to learn
    by heart.
    """

    parts = PARTS
    dim = PARTS * WIDTH
    halves = True
    untaught = True

    def __init__(self, name: str, frame_rate: float) -> None:
        super().__init__(name, max(1, round(RATE / (frame_rate * SHRINKS))), SHRINKS)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("bands", mel_bands(BANDS, WINDOW), persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            self.towers = nn.ModuleList(Tower() for _ in range(PARTS))

    def above(self) -> list[nn.Parameter]:
        """All of it: nothing is pretrained."""
        return list(self.parameters())

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        lengths = tensors["lengths"]
        spectrogram, frames = self.spectrogram(tensors["samples"], lengths), self.frames(lengths)
        return torch.cat([tower(spectrogram, frames) for tower in self.towers], dim=2), self.steps(lengths)

    def spectrogram(self, samples: Tensor, lengths: Tensor) -> Tensor:
        """(N, 2, bands, T): as loud as it is, and with each band's own mean over the utterance taken out."""
        count = int(self.frames(lengths).max())
        windows = frame(samples, count, WINDOW, self.hop) * self.window
        power = torch.fft.rfft(windows).abs().square() / self.window.sum() ** 2
        heard = self.heard(lengths, count)
        values = ((power @ self.bands + FLOOR).log() + 10) / 4 * heard
        mean = values.sum(dim=1, keepdim=True) / heard.sum(dim=1, keepdim=True)
        both = torch.stack([values, (values - mean) * heard], dim=1).transpose(2, 3)
        return both.contiguous(memory_format=torch.channels_last)  # a quarter faster on a CPU


class Tower(nn.Module):
    """Squeeze-and-excitation residual blocks (Hu et al. 2018), then attentive statistics (Okabe et al. 2018).

    What is heard around a step is joined by what the attention finds in the whole utterance. What lies behind the
    end of a sound is kept at zero all through, so that its neighbours in a batch change nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        first, *_, last = CHANNELS
        self.stem = nn.Sequential(nn.Conv2d(2, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.blocks = nn.ModuleList(
            Block(before, after, halve_time=number < 2) for number, (before, after) in enumerate(pairwise(CHANNELS))
        )
        self.gather = nn.Sequential(
            nn.Conv1d(last * BANDS // 16, last, 1, bias=False), nn.BatchNorm1d(last), nn.ReLU()
        )
        self.attention = nn.Sequential(nn.Conv1d(last, 32, 1), nn.Tanh(), nn.Conv1d(32, last, 1))
        self.whole = nn.Sequential(nn.Linear(2 * last, last), nn.BatchNorm1d(last))
        self.narrow = nn.Linear(2 * last, WIDTH)

    def forward(self, spectrogram: Tensor, frames: Tensor) -> Tensor:
        """(N, 2, bands, T), of which so many frames count -> (N, S, WIDTH)."""
        values, left = self.stem(spectrogram), _halved(frames)
        values = values * _inside(left, values.shape[-1])
        for block in self.blocks:
            values, left = block(values, left)
        inside = _inside(left, values.shape[-1])[:, 0]
        heard = self.gather(values.flatten(1, 2)) * inside
        whole = self.whole(self._statistics(heard, inside))
        every = whole[:, None].expand(-1, heard.shape[2], -1)
        return self.narrow(torch.cat([heard.transpose(1, 2), every], dim=2))

    def _statistics(self, heard: Tensor, inside: Tensor) -> Tensor:
        """(N, 2 D) mean and spread over time, every channel weighted by an attention of its own."""
        share = self.attention(heard).masked_fill(inside == 0, -1e4).softmax(dim=2)
        mean = (share * heard).sum(dim=2)
        variance = (share * (heard - mean[:, :, None]).square()).sum(dim=2)
        return torch.cat([mean, square_root(variance + 1e-4)], dim=1)


class Block(nn.Module):
    """Two convolutions beside a shortcut; half as many bands come out."""

    def __init__(self, before: int, after: int, halve_time: bool) -> None:
        super().__init__()
        stride = (2, 2 if halve_time else 1)
        self.halve_time = halve_time
        self.first = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        self.excite = nn.Sequential(
            nn.Linear(after, after // 8), nn.ReLU(), nn.Linear(after // 8, after), nn.Sigmoid()
        )

    def forward(self, values: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, bands, T) and how many of T there are, of each."""
        left = _halved(frames) if self.halve_time else frames
        padded = functional.pad(values, (0, values.shape[-1] % 2)) if self.halve_time else values
        short = self.shortcut(functional.avg_pool2d(padded, (2, 2 if self.halve_time else 1)))
        inside = _inside(left, short.shape[-1])
        found = self.second(self.first(values).relu() * inside) * inside
        mean = found.sum(dim=(2, 3)) / (inside.sum(dim=(2, 3)) * found.shape[2])
        return (found * self.excite(mean)[:, :, None, None] + short).relu() * inside, left


def _halved(count: Tensor) -> Tensor:
    return (count + 1).div(2, rounding_mode="floor")


def _inside(count: Tensor, longest: int) -> Tensor:
    """(N, 1, 1, T) 1.0 where there is sound, else 0.0."""
    return (torch.arange(longest, device=count.device) < count[:, None]).float()[:, None, None]
