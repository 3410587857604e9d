"""Start and end time of each word of an utterance, by forced alignment of its text with its sound."""

import itertools
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from merc.data.records.encoder_inputs import SAMPLE_RATE
from merc.media.alignment import spelling
from merc.media.sound import ClipSound
from merc.runtime.errors import UserError
from merc.runtime.params import FILE

if TYPE_CHECKING:
    from merc.encoders.pretrained.whisper_model import WhisperModel
    from merc.media.alignment.ctc import CtcModel

UNALIGNED = "unaligned"
OFF = "none"


class WordTimes(TypedDict):
    """The result of an alignment."""

    words: list[dict[str, Any]] | None  # word, start, end: as in the manifest
    reason: str  # why one or all words have no times


def check_model(name: str) -> None:
    """Refuse a model that cannot be loaded, before any clip is opened."""
    if name != OFF:
        _model(name)


def align_words(text: str, sound: ClipSound, name: str) -> WordTimes:
    """Align the words of a text, in seconds of the clip; a text that cannot be aligned has a reason instead."""
    if name == OFF or not text.split():
        return WordTimes(words=None, reason="")
    if sound.samples is None:
        return WordTimes(words=None, reason="no sound to find the words in")
    model = _model(name)
    from merc.encoders.pretrained.whisper_model import WhisperModel

    if isinstance(model, WhisperModel):
        return _align_by_attention(text.split(), sound.samples, sound.start, model)
    return _align_by_letters(text.split(), sound.samples, sound.start, model)


def token_spans(emissions: np.ndarray, tokens: list[int], blank: int) -> list[tuple[int, int]]:
    """(first, end) frame of each token on the most likely path through log-probabilities (frames, columns)."""
    import torch
    from torchaudio.functional import forced_align, merge_tokens

    path, scores = forced_align(torch.from_numpy(emissions)[None], torch.tensor([tokens]), blank=blank)
    return [(span.start, span.end) for span in merge_tokens(path[0], scores[0], blank=blank)]


def _align_by_attention(written: list[str], samples: np.ndarray, start: float, model: "WhisperModel") -> WordTimes:
    from merc.encoders.pretrained import cross_attention

    said = [index for index, word in enumerate(written) if any(map(str.isalnum, word))]  # a dash is no word
    if not said:
        return WordTimes(words=None, reason="no word has a letter or a digit")
    spans = cross_attention.word_spans([written[index] for index in said], samples, model)
    if isinstance(spans, str):
        return WordTimes(words=None, reason=spans)
    span_of = dict(zip(said, spans, strict=True))
    entries = [_entry(word, span_of.get(index), start, len(samples)) for index, word in enumerate(written)]
    return WordTimes(words=entries, reason="")


def _align_by_letters(written: list[str], samples: np.ndarray, start: float, model: "CtcModel") -> WordTimes:
    spelled = [spelling.spell(word, model.letters) for word in written]
    tokens, owners = _tokens(spelled, model)
    if not tokens:
        return WordTimes(words=None, reason="no word can be spelled in the model's letters")
    emissions = model.emissions(samples)
    if reason := _failure(emissions, tokens, len(samples)):
        return WordTimes(words=None, reason=reason)
    word_frames: dict[int, list[int]] = {}
    for span, owner in zip(token_spans(emissions, tokens, model.blank), owners, strict=True):
        word_frames.setdefault(owner, []).extend(span)
    spans = {
        owner: (min(frames) * model.stride, max(frames) * model.stride) for owner, frames in word_frames.items()
    }
    entries = [_entry(word, spans.get(index), start, len(samples)) for index, word in enumerate(written)]
    return WordTimes(words=entries, reason=_unspelled(written, spelled))


def _tokens(spelled: list[list[str]], model: "CtcModel") -> tuple[list[int], list[int]]:
    """The columns of all letters in order, and the index of the written word of each; -1 for word delimiters."""
    tokens, owners = [], []
    for index, parts in enumerate(spelled):
        for part in parts:
            if tokens and model.delimiter is not None:
                tokens.append(model.delimiter)
                owners.append(-1)
            tokens += [model.tokens[letter] for letter in part]
            owners += [index] * len(part)
    return tokens, owners


def _failure(emissions: np.ndarray, tokens: list[int], num_samples: int) -> str:
    """Why no alignment exists, if so: CTC needs a frame per token, and a blank between equal tokens."""
    num_repeats = sum(token == following for token, following in itertools.pairwise(tokens))
    if len(emissions) < len(tokens) + num_repeats:
        return f"{num_samples / SAMPLE_RATE:.2f} s of sound are too short for {len(tokens)} letters"
    return "" if np.isfinite(emissions).all() else "the model answers with what is no number"


def _entry(word: str, span: tuple[int, int] | None, start: float, num_samples: int) -> dict[str, Any]:
    """`span`: first and end sample."""
    if span is None:
        return {"word": word, "start": None, "end": None}
    times = (round(start + min(samples, num_samples) / SAMPLE_RATE, 4) for samples in span)
    return {"word": word, **dict(zip(("start", "end"), times, strict=True))}


def _unspelled(written: list[str], spelled: list[list[str]]) -> str:
    """The reason that names the words with a letter or digit that cannot be spelled (a dash is no word)."""
    pairs = zip(written, spelled, strict=True)
    unspelled = [word for word, parts in pairs if not parts and any(map(str.isalnum, word))]
    return f"not in the model's letters: {' '.join(unspelled)}" if unspelled else ""


def _model(name: str) -> "CtcModel | WhisperModel":
    """The aligner of a name of the catalogue, a folder under data/weights/align, or owner/name@revision."""
    from merc.encoders.pretrained import cross_attention, loading, sources
    from merc.media.alignment import ctc

    try:
        folder = sources.model_folder(name, ctc.MODELS_FOLDER)
        is_whisper = loading.read_config(folder).get("model_type") == "whisper"
        return cross_attention.load_model(folder) if is_whisper else ctc.load_model(name)
    except UserError as problem:
        raise UserError(f"{FILE}: extract.align = {name!r}: {problem}") from None
