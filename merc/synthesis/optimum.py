"""The best macro F1 that anyone can reach on the bundled corpus: `python -m merc.synthesis.optimum`.

Whoever could read every word, voice and face without fail would know what each modality shows, and no more: a
mood that is not neutral shows only some of the time. `posterior.py` turns that into chances; the label
named is the one with the largest chance times a weight, the weights being those that make macro F1 largest on
SIMULATED other dialogues of the same process.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from merc import params
from merc.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.manifest import MODALITIES
from merc.synthesis import plan, posterior, process
from merc.synthesis.clip import Utterance
from merc.synthesis.process import EMOTION, MOODS, SENTIMENT, Line

SIMULATED = 400  # dialogues
WEIGHTS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)  # tried as factors, one label after another
SWEEPS = 3
SUBSETS = tuple(subset for size in (1, 2, 3) for subset in combinations(MODALITIES, size))
TASKS = {"emotion": (MELD_EMOTIONS, EMOTION), "sentiment": (MELD_SENTIMENTS, SENTIMENT)}


@dataclass(frozen=True)
class Best:
    """The best macro F1 of a task from these modalities: in expectation, and on the split itself."""

    modalities: tuple[str, ...]
    context: bool  # whether the whole dialogue is known, or the utterance and its speaker alone
    task: str
    expected: float
    reached: float


def split_lines(seed: int, split: str, count: int) -> list[list[Line]]:
    """The lines of a split, dialogue by dialogue, as they are drawn."""
    dialogues: dict[int, list[Line]] = {}
    for row in split_rows(seed, split, count):
        dialogues.setdefault(row.dialogue, []).append(Line(row.speaker, row.mood, row.shown))
    return list(dialogues.values())


def split_rows(seed: int, split: str, count: int) -> list[Utterance]:
    """The label rows of a split."""
    return plan.utterances(seed, split, count, Path())


def majority(dialogues: list[list[Line]], task: str) -> float:
    """Macro F1 of always naming the most frequent label."""
    actual = labels_of(dialogues, task)
    return macro_f1(actual, np.full(len(actual), np.bincount(actual).argmax()))


def table(seed: int, count: int) -> list[Best]:
    """Every subset of modalities, with and without context, on the test split."""
    test = split_lines(seed, "test", count)
    others = simulated(seed)
    return [
        _best(subset, context, task, others, test)
        for subset in SUBSETS
        for context in (True, False)
        for task in TASKS
    ]


def macro_f1(actual: np.ndarray, named: np.ndarray) -> float:
    """The mean of the labels' F1 over the labels that occur."""
    size = int(max(actual.max(), named.max())) + 1
    right = np.bincount(actual[actual == named], minlength=size)
    total = np.bincount(actual, minlength=size) + np.bincount(named, minlength=size)
    return float(np.mean(2 * right[total > 0] / total[total > 0]))


def simulated(seed: int) -> list[list[Line]]:
    lengths = [process.length(seed, "simulated", dialogue) for dialogue in range(SIMULATED)]
    return [
        process.dialogue_lines(seed, "simulated", dialogue, list(range(length)))
        for dialogue, length in enumerate(lengths)
    ]


def _best(subset: tuple[str, ...], context: bool, task: str, others: list, test: list) -> Best:
    known, chances = (_chances(one, subset, context, task, others) for one in (others, test))
    weights = best_weights(known, labels_of(others, task))
    expected = macro_f1(labels_of(others, task), (known * weights).argmax(axis=1))
    return Best(
        subset, context, task, expected, macro_f1(labels_of(test, task), (chances * weights).argmax(axis=1))
    )


def _chances(dialogues: list[list[Line]], subset, context: bool, task: str, others: list) -> np.ndarray:
    """(lines, labels)."""
    if context:
        moods = np.concatenate([posterior.moods(lines, subset) for lines in dialogues])
    else:
        usual = _usual(others)
        lines = [line for dialogue in dialogues for line in dialogue]
        moods = np.stack([usual[line.speaker] * posterior.evidence(line, subset) for line in lines])
        moods = moods / moods.sum(axis=1, keepdims=True)
    return moods @ to_labels(task)


def _usual(dialogues: list[list[Line]]) -> dict[str, np.ndarray]:
    """How often each speaker is in each mood."""
    counts = {name: np.ones(len(MOODS)) for name in process.TENDENCIES}
    for line in (line for dialogue in dialogues for line in dialogue):
        counts[line.speaker][line.mood] += 1
    return {name: count / count.sum() for name, count in counts.items()}


def to_labels(task: str) -> np.ndarray:
    labels, of_mood = TASKS[task]
    return np.array([[float(label == own) for label in labels] for own in of_mood])


def labels_of(dialogues: list[list[Line]], task: str) -> np.ndarray:
    labels, of_mood = TASKS[task]
    return np.array([labels.index(of_mood[line.mood]) for dialogue in dialogues for line in dialogue])


def best_weights(chances: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """(labels,) by coordinate ascent."""
    weights = np.ones(chances.shape[1])
    for _ in range(SWEEPS):
        for label in range(len(weights)):
            tried = [weights * np.where(np.arange(len(weights)) == label, factor, 1.0) for factor in WEIGHTS]
            weights = max(tried, key=lambda one: macro_f1(actual, (chances * one).argmax(axis=1)))
    return weights


def rendered(best: list[Best], seed: int, count: int) -> str:
    """The table that stands in docs/data.md."""
    scores = {(one.modalities, one.context, one.task): one for one in best}
    head = "| modalities | emotion | (expected) | emotion, no context | sentiment | sentiment, no context |"
    lines = [head, "|---|---|---|---|---|---|"]
    for subset in SUBSETS:
        whole, alone = scores[subset, True, "emotion"], scores[subset, False, "emotion"]
        sentiment = [scores[subset, context, "sentiment"].reached for context in (True, False)]
        numbers = [whole.reached, whole.expected, alone.reached, *sentiment]
        lines.append(f"| {' + '.join(subset)} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
    test = split_lines(seed, "test", count)
    emotion, sentiment = (f"{majority(test, task):.3f}" for task in TASKS)
    last = f"| none: the majority class | {emotion} | | {emotion} | {sentiment} | {sentiment} |"
    return "\n".join([*lines, last])


def _print() -> None:
    seed, count = params.read("sample.seed", int), params.read("sample.utterances.test", int)
    print(rendered(table(seed, count), seed, count))


if __name__ == "__main__":
    _print()
