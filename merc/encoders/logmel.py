"""The plain log-mel spectrogram: what a convolutional network over a spectrogram is given."""

import torch
from torch import Tensor

from merc.encoders.hearing import Hearing, pooling
from merc.encoders.raw import RATE
from merc.encoders.spectrum import FLOOR, frame, mel_bands

FRAMES_PER_SECOND = 100  # the finest
WINDOW = 512  # samples: 32 ms


class LogMel(Hearing):
    """Log power in mel bands; at frame_rate 100 a step is one window, below it is the mean of several."""

    dim = 64

    def __init__(self, name: str, frame_rate: float) -> None:
        pooled = pooling(frame_rate, FRAMES_PER_SECOND)
        super().__init__(name, max(1, round(RATE / (frame_rate * pooled))), pooled)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("bands", mel_bands(self.dim, WINDOW), persistent=False)

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        frames = frame(samples, int(self.frames(lengths).max()), WINDOW, self.hop) * self.window
        power = torch.fft.rfft(frames).abs().square() / self.window.sum() ** 2
        return self.pool((power @ self.bands + FLOOR).log(), lengths), self.steps(lengths)
