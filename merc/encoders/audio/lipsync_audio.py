"""Audio tower of the lip-sync network as an encoder: 25 embeddings per second before pooling."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from merc.data.records.face_tracks import TRACK_FPS
from merc.encoders.audio.framed_encoder import FramedAudioEncoder, frames_per_step_for
from merc.encoders.audio.spectrum import frame_signal
from merc.encoders.lipsync import clip_inputs
from merc.encoders.lipsync.synchrony import CONTEXT_PICTURES, embedding_width
from models import lipsync


class LipSyncAudioEncoder(FramedAudioEncoder):
    """The audio tower. Its input is normalised over the utterance, so that sounds are encoded one by one."""

    window: Tensor
    bands: Tensor

    def __init__(self, name: str, tower: nn.Module, dim: int, frame_rate: float) -> None:
        super().__init__(
            name, clip_inputs.HOP * clip_inputs.FRAMES_PER_PICTURE, frames_per_step_for(frame_rate, TRACK_FPS)
        )
        self.tower, self.dim = tower, dim
        window = torch.from_numpy(np.hanning(clip_inputs.WINDOW).astype(np.float32))
        self.register_buffer("window", window, persistent=False)
        bands = clip_inputs.mel_filterbank(clip_inputs.BANDS, clip_inputs.FFT_SIZE)
        self.register_buffer("bands", bands, persistent=False)

    def forward(self, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        samples, lengths = tensors["samples"], tensors["lengths"]
        counts = self.frames(lengths).tolist()
        rows = zip(samples, lengths.tolist(), counts, strict=True)
        embeddings = [self._encode(row[None, :length], count) for row, length, count in rows]
        return self.pool(nn.utils.rnn.pad_sequence(embeddings, True), lengths), self.steps(lengths)

    def _encode(self, samples: Tensor, pictures: int) -> Tensor:
        """Samples (1, L) -> embeddings (pictures, dim)."""
        frames = (
            frame_signal(samples, pictures * clip_inputs.FRAMES_PER_PICTURE, clip_inputs.WINDOW, clip_inputs.HOP)
            * self.window
        )
        power = torch.fft.rfft(frames, clip_inputs.FFT_SIZE).abs().square() / clip_inputs.WINDOW
        bands = (power @ self.bands + clip_inputs.POWER_FLOOR).log()
        margin = CONTEXT_PICTURES * clip_inputs.FRAMES_PER_PICTURE
        centred = (bands - bands.mean()).transpose(1, 2)
        return self.tower(functional.pad(centred, (margin, margin), mode="replicate").transpose(1, 2))[0]


def load_lipsync_audio(name: str, folder: Path, frame_rate: float) -> LipSyncAudioEncoder:
    """Load the audio tower from a folder of the lip-sync stage."""
    dim = embedding_width("audio", name, folder)
    return LipSyncAudioEncoder(name, lipsync.load_audio(folder), dim, frame_rate)
