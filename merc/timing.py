"""When each word of an utterance is said: forced alignment of its text with its sound."""

import itertools
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from merc import spoken
from merc.params import FILE
from merc.problem import Problem
from merc.sound import SAMPLE_RATE, Sound

if TYPE_CHECKING:
    from merc.encoders.ctc import Ctc

UNALIGNED = "unaligned"
OFF = "none"


class Timed(TypedDict):
    """What came of it."""

    words: list[dict[str, Any]] | None  # word, start, end: as in the manifest
    reason: str  # why a word or all of them have no times


def check(name: str) -> None:
    """Refuse a model that cannot be had, before any clip is opened."""
    if name != OFF:
        _model(name)


def words(text: str, sound: Sound, name: str) -> Timed:
    """The times of a text's words, in seconds of the clip; whatever stands in the way becomes a reason."""
    if name == OFF or not text.split():
        return Timed(words=None, reason="")
    if sound.samples is None:
        return Timed(words=None, reason="no sound to find the words in")
    return _timed(text.split(), sound, _model(name))


def spans(emissions: np.ndarray, tokens: list[int], blank: int) -> list[tuple[int, int]]:
    """(first, end) frame of each token on the likeliest path through the log-probabilities (frames, columns)."""
    import torch
    from torchaudio.functional import forced_align, merge_tokens

    path, scores = forced_align(torch.from_numpy(emissions)[None], torch.tensor([tokens]), blank=blank)
    return [(span.start, span.end) for span in merge_tokens(path[0], scores[0], blank=blank)]


def _timed(written: list[str], sound: Sound, model: "Ctc") -> Timed:
    spelled = [spoken.spell(word, model.letters) for word in written]
    tokens, owners = _tokens(spelled, model)
    if not tokens:
        return Timed(words=None, reason="no word can be spelled in the model's letters")
    emissions = model.emissions(sound.samples)
    if trouble := _obstacle(emissions, tokens, len(sound.samples)):
        return Timed(words=None, reason=trouble)
    own: dict[int, list[int]] = {}
    for span, owner in zip(spans(emissions, tokens, model.blank), owners, strict=True):
        own.setdefault(owner, []).extend(span)
    table = [_entry(word, own.get(index), sound, model.stride) for index, word in enumerate(written)]
    return Timed(words=table, reason=_unspelled(written, spelled))


def _tokens(spelled: list[list[str]], model: "Ctc") -> tuple[list[int], list[int]]:
    """The columns to pass through in order, and the written word that each belongs to; -1 between words."""
    tokens, owners = [], []
    for index, parts in enumerate(spelled):
        for part in parts:
            if tokens and model.delimiter is not None:
                tokens.append(model.delimiter)
                owners.append(-1)
            tokens += [model.tokens[letter] for letter in part]
            owners += [index] * len(part)
    return tokens, owners


def _obstacle(emissions: np.ndarray, tokens: list[int], samples: int) -> str:
    """A frame for every letter, and one between two of the same, are needed."""
    repeats = sum(one == other for one, other in itertools.pairwise(tokens))
    if len(emissions) < len(tokens) + repeats:
        return f"{samples / SAMPLE_RATE:.2f} s of sound are too short for {len(tokens)} letters"
    return "" if np.isfinite(emissions).all() else "the model answers with what is no number"


def _entry(word: str, frames: list[int] | None, sound: Sound, stride: int) -> dict[str, Any]:
    if frames is None:
        return {"word": word, "start": None, "end": None}
    end = min(max(frames) * stride, len(sound.samples))
    times = (round(sound.start + samples / SAMPLE_RATE, 4) for samples in (min(frames) * stride, end))
    return {"word": word, **dict(zip(("start", "end"), times, strict=True))}


def _unspelled(written: list[str], spelled: list[list[str]]) -> str:
    """Words with a letter or digit of which nothing can be spelled; a dash is no word."""
    lost = [word for word, parts in zip(written, spelled, strict=True) if not parts and any(map(str.isalnum, word))]
    return f"not in the model's letters: {' '.join(lost)}" if lost else ""


def _model(name: str) -> "Ctc":
    from merc.encoders import ctc

    try:
        return ctc.load(name)
    except Problem as problem:
        raise Problem(f"{FILE}: extract.align = {name!r}: {problem}") from None
