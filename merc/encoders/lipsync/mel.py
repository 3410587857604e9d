"""Mel filterbank of the lip-sync network's sound input and of the audio encoders."""

from torch import Tensor
from torch.nn import functional
from torchaudio.compliance import kaldi

from merc.data.records.encoder_inputs import SAMPLE_RATE

LOWEST, HIGHEST = 60.0, 7600.0  # Hz
NO_WARPING = (0.0, 0.0, 1.0)  # of the frequencies to a speaker's vocal tract


def mel_filterbank(num_bands: int, fft_size: int) -> Tensor:
    """(fft_size // 2 + 1, num_bands) float32 triangles of equal width on the mel scale (O'Shaughnessy 1987).

    Kaldi's; torchaudio.functional.melscale_fbanks has triangles in hertz between the same edges.
    """
    bands, _ = kaldi.get_mel_banks(num_bands, fft_size, SAMPLE_RATE, LOWEST, HIGHEST, *NO_WARPING)
    return functional.pad(bands.T, (0, 0, 0, 1))  # Kaldi leaves out half the sample rate, which lies in no band
