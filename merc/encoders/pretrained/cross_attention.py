"""Word times by a Whisper: time warping over its decoder's attention to the sound (Radford et al. 2022).

The text is given, not generated. In the model's alignment heads each token attends to the frames where it is said.
transformers does so for what it generates itself; its median filter and its dynamic time warping are used here.
"""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE, waveform
from merc.encoders.pretrained import whisper_model
from merc.encoders.pretrained.whisper_model import FRAMES_PER_SECOND, MARGIN_SECONDS, WINDOW_SECONDS
from merc.runtime.errors import UserError

if TYPE_CHECKING:
    from merc.encoders.pretrained.whisper_model import WhisperModel

SAMPLES_PER_FRAME = SAMPLE_RATE // FRAMES_PER_SECOND


def load_model(folder: Path) -> "WhisperModel":
    """Load a Whisper that shows its attention; refuse one that does not name its alignment heads."""
    model = whisper_model.load(folder, "eager")
    if not getattr(model.settings, "alignment_heads", None):
        raise UserError(f"{folder / 'generation_config.json'}: names no alignment_heads, by which words are found")
    return model


def word_spans(words: list[str], samples: np.ndarray, model: "WhisperModel") -> list[tuple[int, int]] | str:
    """(first, end) sample of each word in 16 kHz int16 samples; or why there are none."""
    tokens = [model.tokenizer(f" {word}", add_special_tokens=False).input_ids for word in words]
    seconds, count = len(samples) / SAMPLE_RATE, sum(map(len, tokens))
    if seconds > WINDOW_SECONDS:
        return f"{seconds:.1f} s of sound are longer than the {WINDOW_SECONDS:.0f} s that Whisper hears at once"
    if count + 8 > model.model.config.max_target_positions:
        return f"{count} word pieces are more than Whisper reads"
    num_frames = len(samples) // SAMPLES_PER_FRAME
    if num_frames < count + 1:
        return f"{seconds:.2f} s of sound are too short for {count} word pieces"
    with model.lock:
        weights = _attention([token for word in tokens for token in word], samples, model)
    frames = token_frames(weights[:, :, :num_frames], model.model.config.median_filter_width)
    # the first row is what lies before the text; then of each word's first token, and of the end of the text
    firsts = _apart(frames[1 + np.cumsum([0, *map(len, tokens)])], num_frames) * SAMPLES_PER_FRAME
    return [(int(first), int(end)) for first, end in itertools.pairwise(firsts)]


def token_frames(weights: np.ndarray, filter_width: int) -> np.ndarray:
    """(T,) first frame of each token, from the heads' attention (heads, T, frames)."""
    import torch
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping, _median_filter

    spread = np.maximum(weights.std(axis=1, keepdims=True), 1e-6)
    normalised = torch.from_numpy((weights - weights.mean(axis=1, keepdims=True)) / spread)
    matrix = _median_filter(normalised[None], filter_width)[0].mean(dim=0).double().numpy()
    tokens, frames = _dynamic_time_warping(-matrix)
    return frames[np.flatnonzero(np.diff(tokens, prepend=-1))]


def _apart(frames: np.ndarray, num_frames: int) -> np.ndarray:
    """The frames, moved so that each is later than the one before it."""
    order = np.arange(len(frames))
    later = np.maximum.accumulate(frames - order) + order
    return np.minimum(later, num_frames - order[::-1])


def _attention(tokens: list[int], samples: np.ndarray, model: "WhisperModel") -> np.ndarray:
    """(heads, tokens + 2, frames): where the decoder looks before the text, at each token's turn, and at the end.

    The row before the text, that of <|notimestamps|>, takes the silence that would else be the first word's.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    sound = waveform(samples)
    with torch.inference_mode():
        hidden = model.encode(sound, len(samples) / SAMPLE_RATE + MARGIN_SECONDS)
        prompt = [*model.prompt(_language(hidden, model)), model.settings.no_timestamps_token_id]
        outputs = model.model(
            encoder_outputs=BaseModelOutput(hidden),
            decoder_input_ids=torch.tensor([[*prompt, *tokens]]),
            output_attentions=True,
        )
    heads = [outputs.cross_attentions[layer][0, head] for layer, head in model.settings.alignment_heads]
    return torch.stack(heads)[:, len(prompt) - 2 :].float().numpy()


def _language(hidden: Any, model: "WhisperModel") -> str:
    """The language that the model hears; empty for a model of one."""
    from transformers.modeling_outputs import BaseModelOutput

    if not model.languages:
        return ""
    start = hidden.new_tensor([[model.settings.decoder_start_token_id]]).long()
    logits = model.model(encoder_outputs=BaseModelOutput(hidden), decoder_input_ids=start).logits[0, -1]
    return max(model.languages, key=lambda code: float(logits[model.languages[code]]))
