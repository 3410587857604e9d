"""Exact posterior of every mood of a dialogue: forward-backward over the generating process, `process.py`.

The process depends on the last mood of each person in the dialogue, so the hidden state of the recursion is a mood
(or NONE, not spoken yet) per person: an array with an axis per person.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from merc.corpora.synthesis.plan.process import (
    EMOTION,
    MOODS,
    NEUTRAL,
    SHOWN_PROBABILITIES,
    DialogueTurn,
    next_mood,
)

NOT_SPOKEN = len(MOODS)  # state of a person who has not spoken yet


def mood_posterior(lines: list[DialogueTurn], modalities: tuple[str, ...]) -> np.ndarray:
    """(lines, moods) posterior, given these modalities of the whole dialogue."""
    return mood_posterior_by_line(lines, [modalities] * len(lines))


def mood_posterior_by_line(lines: list[DialogueTurn], modalities: Sequence[tuple[str, ...]]) -> np.ndarray:
    """(lines, moods) posterior, given other modalities of each line."""
    people = sorted({line.speaker for line in lines})
    axes = [people.index(line.speaker) for line in lines]
    likelihoods = [mood_likelihood(line, subset) for line, subset in zip(lines, modalities, strict=True)]
    forward = _forward(axes, people, likelihoods)
    backward = _backward(axes, people, likelihoods)
    joint = [alpha * beta for alpha, beta in zip(forward, backward, strict=True)]
    posterior = np.stack([_marginal(state, axis) for state, axis in zip(joint, axes, strict=True)])
    return posterior / posterior.sum(axis=1, keepdims=True)


def mood_likelihood(line: DialogueTurn, modalities: tuple[str, ...]) -> np.ndarray:
    """(moods,) likelihood of what these modalities of the line show, given each mood."""
    likelihood = np.ones(len(MOODS))
    for modality in modalities:
        likelihood *= _likelihood(modality, line.mood if modality in line.shown else NEUTRAL)
    return likelihood


def _likelihood(modality: str, appearance: int) -> np.ndarray:
    """(moods,) probability of this appearance given each mood; only words tell a glad surprise from a bad one."""
    if appearance == NEUTRAL:
        return np.where(np.arange(len(MOODS)) == NEUTRAL, 1.0, 1.0 - SHOWN_PROBABILITIES[modality])
    if modality == "text":
        return SHOWN_PROBABILITIES[modality] * (np.arange(len(MOODS)) == appearance)
    return SHOWN_PROBABILITIES[modality] * np.array([emotion == EMOTION[appearance] for emotion in EMOTION])


@lru_cache
def _transition(speaker: str) -> np.ndarray:
    """(previous mood or NONE, speaker's own last mood or NONE, next mood) transition probabilities."""
    states = [*range(len(MOODS)), None]
    return np.array([[next_mood(speaker, previous, own) for own in states] for previous in states])


def _steps(axes: list[int], people: list[str], likelihoods: list[np.ndarray], turn: int) -> np.ndarray:
    """(previous, own, next): probability of the next mood times the likelihood of what the line shows."""
    return _transition(people[axes[turn]]) * likelihoods[turn]


def _forward(axes: list[int], people: list[str], likelihoods: list[np.ndarray]) -> list[np.ndarray]:
    state = np.zeros((NOT_SPOKEN + 1,) * len(people))
    state[(NOT_SPOKEN,) * len(people)] = 1.0
    states = []
    for turn, axis in enumerate(axes):
        step = _steps(axes, people, likelihoods, turn)
        before = axes[turn - 1] if turn else axis
        state = _advance(state, step, axis, before)
        states.append(state := state / state.sum())
    return states


def _backward(axes: list[int], people: list[str], likelihoods: list[np.ndarray]) -> list[np.ndarray]:
    state = np.ones((NOT_SPOKEN + 1,) * len(people))
    states = [state]
    for turn in range(len(axes) - 1, 0, -1):
        state = _retreat(state, _steps(axes, people, likelihoods, turn), axes[turn], axes[turn - 1])
        states.append(state := state / state.max())
    return states[::-1]


def _advance(state: np.ndarray, step: np.ndarray, axis: int, before: int) -> np.ndarray:
    """Replace the speaker's mood by the next one, weighted by `step`."""
    if axis == before:  # the previous mood is the speaker's own, or this is the first line
        advanced = np.einsum("...o,on->...n", np.moveaxis(state, axis, -1), np.einsum("oon->on", step))
        return np.moveaxis(_with_none(advanced), -1, axis)
    advanced = np.einsum("...po,pon->...pn", np.moveaxis(state, (before, axis), (-2, -1)), step)
    return np.moveaxis(_with_none(advanced), (-2, -1), (before, axis))


def _retreat(state: np.ndarray, step: np.ndarray, axis: int, before: int) -> np.ndarray:
    """Likelihood of all lines from this turn on, given the state before it."""
    if axis == before:
        later = np.moveaxis(state, axis, -1)[..., :NOT_SPOKEN]
        return np.moveaxis(np.einsum("...n,on->...o", later, np.einsum("oon->on", step)), -1, axis)
    later = np.moveaxis(state, (before, axis), (-2, -1))[..., :NOT_SPOKEN]
    return np.moveaxis(np.einsum("...pn,pon->...po", later, step), (-2, -1), (before, axis))


def _with_none(state: np.ndarray) -> np.ndarray:
    """Append NONE, with probability 0, to the last axis."""
    return np.concatenate([state, np.zeros((*state.shape[:-1], 1))], axis=-1)


def _marginal(state: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(state, axis, 0).reshape(NOT_SPOKEN + 1, -1).sum(axis=1)[:NOT_SPOKEN]
