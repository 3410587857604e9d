"""The best macro F1 that any model can reach on the bundled corpus: `python -m merc.studies.optimum.optimum`.

A perfect reader of words, voices and faces knows which mood each modality shows, but no more: a mood other than
neutral is shown only some of the time. `posterior.py` computes the probability of every mood from what is shown.
The predicted label is the one with the largest probability times a weight; the weights maximise macro F1 on
SIMULATED other dialogues of the same process.
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from merc.corpora.synthesis.clip import Utterance
from merc.corpora.synthesis.plan import plan, process
from merc.corpora.synthesis.plan.process import EMOTION, MOODS, SENTIMENT, DialogueTurn
from merc.data.records.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.data.records.manifest import MODALITIES
from merc.runtime import params
from merc.studies.optimum import posterior

SIMULATED = 400  # dialogues
WEIGHTS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)  # candidate factors of the coordinate ascent
SWEEPS = 3
SUBSETS = tuple(subset for size in (1, 2, 3) for subset in combinations(MODALITIES, size))
TASKS = {"emotion": (MELD_EMOTIONS, EMOTION), "sentiment": (MELD_SENTIMENTS, SENTIMENT)}


@dataclass(frozen=True)
class BestScore:
    """The best macro F1 of a task with these modalities: expected (simulated dialogues), and on the test split."""

    modalities: tuple[str, ...]
    context: bool  # True: given the whole dialogue; False: given the utterance and its speaker only
    task: str
    expected: float
    reached: float


def split_lines(seed: int, split: str, count: int) -> list[list[DialogueTurn]]:
    """The lines of a split, by dialogue."""
    dialogues: dict[int, list[DialogueTurn]] = {}
    for row in split_rows(seed, split, count):
        dialogues.setdefault(row.dialogue, []).append(DialogueTurn(row.speaker, row.mood, row.shown))
    return list(dialogues.values())


def split_rows(seed: int, split: str, count: int) -> list[Utterance]:
    """The label rows of a split."""
    return plan.plan_utterances(seed, split, count, Path())


def majority_macro_f1(dialogues: list[list[DialogueTurn]], task: str) -> float:
    """Macro F1 of always predicting the most frequent label."""
    targets = label_indices(dialogues, task)
    return macro_f1(targets, np.full(len(targets), np.bincount(targets).argmax()))


def best_scores(seed: int, count: int) -> list[BestScore]:
    """Best scores of every subset of the modalities, with and without context."""
    test = split_lines(seed, "test", count)
    simulated_lines = simulated_dialogues(seed)
    return [
        _best(subset, context, task, simulated_lines, test)
        for subset in SUBSETS
        for context in (True, False)
        for task in TASKS
    ]


def macro_f1(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the labels that occur in either array."""
    size = int(max(targets.max(), predicted.max())) + 1
    correct = np.bincount(targets[targets == predicted], minlength=size)
    total = np.bincount(targets, minlength=size) + np.bincount(predicted, minlength=size)
    return float(np.mean(2 * correct[total > 0] / total[total > 0]))


def simulated_dialogues(seed: int) -> list[list[DialogueTurn]]:
    """SIMULATED other dialogues of the same process."""
    lengths = [process.dialogue_length(seed, "simulated", dialogue) for dialogue in range(SIMULATED)]
    return [
        process.dialogue_lines(seed, "simulated", dialogue, list(range(length)))
        for dialogue, length in enumerate(lengths)
    ]


def _best(subset: tuple[str, ...], context: bool, task: str, simulated_lines: list, test: list) -> BestScore:
    probabilities, test_probabilities = (
        _probabilities(lines, subset, context, task, simulated_lines) for lines in (simulated_lines, test)
    )
    weights = best_weights(probabilities, label_indices(simulated_lines, task))
    expected = macro_f1(label_indices(simulated_lines, task), (probabilities * weights).argmax(axis=1))
    reached = macro_f1(label_indices(test, task), (test_probabilities * weights).argmax(axis=1))
    return BestScore(subset, context, task, expected, reached)


def _probabilities(
    dialogues: list[list[DialogueTurn]], subset: tuple[str, ...], context: bool, task: str, simulated_lines: list
) -> np.ndarray:
    """(lines, labels) posterior of the labels."""
    if context:
        moods = np.concatenate([posterior.mood_posterior(lines, subset) for lines in dialogues])
    else:
        prior = _mood_prior(simulated_lines)
        lines = [line for dialogue in dialogues for line in dialogue]
        moods = np.stack([prior[line.speaker] * posterior.mood_likelihood(line, subset) for line in lines])
        moods = moods / moods.sum(axis=1, keepdims=True)
    return moods @ mood_to_label(task)


def _mood_prior(dialogues: list[list[DialogueTurn]]) -> dict[str, np.ndarray]:
    """{speaker: (moods,) relative frequencies}."""
    counts = {name: np.ones(len(MOODS)) for name in process.TENDENCIES}
    for line in (line for dialogue in dialogues for line in dialogue):
        counts[line.speaker][line.mood] += 1
    return {name: count / count.sum() for name, count in counts.items()}


def mood_to_label(task: str) -> np.ndarray:
    """(moods, labels) indicator matrix of the label that belongs to each mood."""
    labels, label_of_mood = TASKS[task]
    return np.array([[float(label == mood_label) for label in labels] for mood_label in label_of_mood])


def label_indices(dialogues: list[list[DialogueTurn]], task: str) -> np.ndarray:
    """(lines,) label indices."""
    labels, label_of_mood = TASKS[task]
    return np.array([labels.index(label_of_mood[line.mood]) for dialogue in dialogues for line in dialogue])


def best_weights(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(labels,) weights that maximise macro F1, by coordinate ascent."""
    weights = np.ones(probabilities.shape[1])
    for _ in range(SWEEPS):
        for label in range(len(weights)):
            is_label = np.arange(len(weights)) == label
            candidates = [weights * np.where(is_label, factor, 1.0) for factor in WEIGHTS]
            weights = max(
                candidates, key=lambda candidate: macro_f1(targets, (probabilities * candidate).argmax(axis=1))
            )
    return weights


def render_best_scores(best: list[BestScore], seed: int, count: int) -> str:
    """The table of docs/data.md."""
    scores = {(score.modalities, score.context, score.task): score for score in best}
    head = "| modalities | emotion | (expected) | emotion, no context | sentiment | sentiment, no context |"
    lines = [head, "|---|---|---|---|---|---|"]
    for subset in SUBSETS:
        with_context, without = scores[subset, True, "emotion"], scores[subset, False, "emotion"]
        sentiment = [scores[subset, context, "sentiment"].reached for context in (True, False)]
        numbers = [with_context.reached, with_context.expected, without.reached, *sentiment]
        lines.append(f"| {' + '.join(subset)} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
    test = split_lines(seed, "test", count)
    emotion, sentiment = (f"{majority_macro_f1(test, task):.3f}" for task in TASKS)
    last = f"| none: the majority class | {emotion} | | {emotion} | {sentiment} | {sentiment} |"
    return "\n".join([*lines, last])


if __name__ == "__main__":
    seed, count = params.read("sample.seed", int), params.read("sample.utterances.test", int)
    print(render_best_scores(best_scores(seed, count), seed, count))
