"""The log-mel encoder, and the framing of a signal into windows.

Each window is centred on its hop. torch.stft, which torchaudio calls, centres windows on the beginnings of hops and
adds a frame; uncentred, it needs the same padding as here.
"""

import torch
from torch import Tensor
from torch.nn import functional

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.encoders.audio.framed_encoder import FramedAudioEncoder, frames_per_step_for
from merc.encoders.lipsync.clip_inputs import mel_filterbank

POWER_FLOOR = 1e-7  # power added before the logarithm; 16-bit rounding noise lies near 1e-10
FRAMES_PER_SECOND = 100  # maximum frame rate
WINDOW = 512  # samples: 32 ms


def frame_signal(samples: Tensor, count: int, size: int, hop: int) -> Tensor:
    """(N, count, size) windows, each centred on its hop; zeros beyond the ends of the signal."""
    before = (size - hop) // 2 if size > hop else 0
    length = (count - 1) * hop + size
    padded = functional.pad(samples, (before, max(0, length - before - samples.shape[1])))
    return padded[:, :length].unfold(1, size, hop)


class LogMel(FramedAudioEncoder):
    """Log power in mel bands; a step is one window at frame_rate 100, and the mean of several windows below."""

    dim = 64
    window: Tensor
    bands: Tensor

    def __init__(self, name: str, frame_rate: float) -> None:
        frames_per_step = frames_per_step_for(frame_rate, FRAMES_PER_SECOND)
        super().__init__(name, max(1, round(SAMPLE_RATE / (frame_rate * frames_per_step))), frames_per_step)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("bands", mel_filterbank(self.dim, WINDOW), persistent=False)

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        frames = frame_signal(samples, int(self.frames(lengths).max()), WINDOW, self.hop) * self.window
        power = torch.fft.rfft(frames).abs().square() / self.window.sum() ** 2
        return self.pool((power @ self.bands + POWER_FLOOR).log(), lengths), self.steps(lengths)
