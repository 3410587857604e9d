"""What can be known of every mood of a dialogue: the exact inversion of `process.py`.

The process remembers the last mood of everyone who talks in the dialogue, so the hidden state of the
forward-backward recursion is one mood (or NONE, not spoken yet) per person: an array with an axis per person.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from merc.synthesis.process import EMOTION, MOODS, NEUTRAL, SHOWS, Line, next_mood

NONE = len(MOODS)  # of someone who has not spoken yet


def moods(lines: list[Line], modalities: tuple[str, ...]) -> np.ndarray:
    """(lines, moods) posterior chances, knowing what these modalities show in the whole dialogue."""
    return moods_of_seen(lines, [modalities] * len(lines))


def moods_of_seen(lines: list[Line], modalities: Sequence[tuple[str, ...]]) -> np.ndarray:
    """(lines, moods) posterior chances, knowing what of each line its own modalities show."""
    people = sorted({line.speaker for line in lines})
    axes = [people.index(line.speaker) for line in lines]
    seen = [evidence(line, own) for line, own in zip(lines, modalities, strict=True)]
    forward = _forward(axes, people, seen)
    backward = _backward(axes, people, seen)
    both = [one * other for one, other in zip(forward, backward, strict=True)]
    chances = np.stack([_marginal(state, axis) for state, axis in zip(both, axes, strict=True)])
    return chances / chances.sum(axis=1, keepdims=True)


def evidence(line: Line, modalities: tuple[str, ...]) -> np.ndarray:
    """(moods,) how likely each mood would look as this line does."""
    likely = np.ones(len(MOODS))
    for modality in modalities:
        likely *= _looks(modality, line.mood if modality in line.shown else NEUTRAL)
    return likely


def _looks(modality: str, appearance: int) -> np.ndarray:
    """(moods,) chance that a mood appears so; only words tell a glad surprise from a bad one."""
    if appearance == NEUTRAL:
        return np.where(np.arange(len(MOODS)) == NEUTRAL, 1.0, 1.0 - SHOWS[modality])
    if modality == "text":
        return SHOWS[modality] * (np.arange(len(MOODS)) == appearance)
    return SHOWS[modality] * np.array([emotion == EMOTION[appearance] for emotion in EMOTION])


@lru_cache
def _transition(speaker: str) -> np.ndarray:
    """(previous or NONE, own or NONE, next mood)."""
    known = [*range(len(MOODS)), None]
    return np.array([[next_mood(speaker, previous, own) for own in known] for previous in known])


def _steps(axes: list[int], people: list[str], seen: list[np.ndarray], turn: int) -> np.ndarray:
    """(previous, own, next): the chance of the next mood times that of its looks."""
    return _transition(people[axes[turn]]) * seen[turn]


def _forward(axes: list[int], people: list[str], seen: list[np.ndarray]) -> list[np.ndarray]:
    state = np.zeros((NONE + 1,) * len(people))
    state[(NONE,) * len(people)] = 1.0
    states = []
    for turn, axis in enumerate(axes):
        step = _steps(axes, people, seen, turn)
        before = axes[turn - 1] if turn else axis
        state = _advance(state, step, axis, before)
        states.append(state := state / state.sum())
    return states


def _backward(axes: list[int], people: list[str], seen: list[np.ndarray]) -> list[np.ndarray]:
    state = np.ones((NONE + 1,) * len(people))
    states = [state]
    for turn in range(len(axes) - 1, 0, -1):
        state = _retreat(state, _steps(axes, people, seen, turn), axes[turn], axes[turn - 1])
        states.append(state := state / state.max())
    return states[::-1]


def _advance(state: np.ndarray, step: np.ndarray, axis: int, before: int) -> np.ndarray:
    """Replace the speaker's mood by the next one, weighted by `step`."""
    if axis == before:  # the speaker's own last mood was the previous one, or there is none at all
        moved = np.einsum("...o,on->...n", np.moveaxis(state, axis, -1), np.einsum("oon->on", step))
        return np.moveaxis(_with_none(moved), -1, axis)
    moved = np.einsum("...po,pon->...pn", np.moveaxis(state, (before, axis), (-2, -1)), step)
    return np.moveaxis(_with_none(moved), (-2, -1), (before, axis))


def _retreat(state: np.ndarray, step: np.ndarray, axis: int, before: int) -> np.ndarray:
    """The chance of all that is seen from this turn on, given the state before it."""
    if axis == before:
        later = np.moveaxis(state, axis, -1)[..., :NONE]
        return np.moveaxis(np.einsum("...n,on->...o", later, np.einsum("oon->on", step)), -1, axis)
    later = np.moveaxis(state, (before, axis), (-2, -1))[..., :NONE]
    return np.moveaxis(np.einsum("...pn,pon->...po", later, step), (-2, -1), (before, axis))


def _with_none(moved: np.ndarray) -> np.ndarray:
    return np.concatenate([moved, np.zeros((*moved.shape[:-1], 1))], axis=-1)


def _marginal(state: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(state, axis, 0).reshape(NONE + 1, -1).sum(axis=1)[:NONE]
