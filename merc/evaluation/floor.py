"""The floor: logistic regression on pooled features, which a network has to beat to be worth its training.

An utterance is the mean and the standard deviation over steps of each modality's features, standardised by the
training split; a missing modality is all zeros, the mean. For each task one regression is fitted to all modalities
joined and one to each modality alone, by scikit-learn's lbfgs; dev's macro F1 (of a regression the concordance)
chooses its strength and which of them is the floor. It knows neither the order of steps nor the other utterances.
A multilabel task has a regression for each class, a number a ridge regression. Of a large corpus every n-th
dialogue is fitted to: 20,000 utterances pooled take 270 MB, and the fits several times as much.

Classes are weighted by (1 / count) to the power 0.5, train's own default: on the sample's dev split the best macro
F1 for emotion is 0.547 without weights, 0.599 with that power and 0.523 with the power 1; for sentiment 0.578,
0.600, 0.586.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from merc.data.batches.dataset import Split
from merc.data.batches.label_fraction import LabelSubset
from merc.data.batches.streams import SMALLEST_SPREAD, FeatureStream
from merc.data.records.labels import UNLABELLED, Task, is_labelled
from merc.data.records.selection import MAIN_METRIC
from merc.data.records.stream_name import StreamName
from merc.evaluation.inference import prediction_parts
from merc.evaluation.prediction_arrays import PredictionArrays
from merc.training.core import calibration
from merc.training.core.task_scores import headline

NAME = "floor"  # of the model in results
ALL = "all"  # name of the features of all modalities joined
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C: the higher, the weaker the regularisation
MAX_ITERATIONS, TOLERANCE = 100, 1e-3  # a fit cut short is regularised a little more: still a floor
CLASS_WEIGHT_POWER = 0.5
ABOUT = {
    "classification": "logistic regression",
    "multilabel": "logistic regression of each class",
    "regression": "ridge regression",
}
IMPOSSIBLE = -1000.0  # logit of a class that training does not show
MAX_ROWS = 20_000  # utterances of train, and of dev, that are fitted to
BLOCK = 1000  # utterances whose steps are pooled at once: the squares of all of MELD's would take 0.6 GB
Pooled = dict[str, np.ndarray]  # stream -> (N, 2 D), 0 where the stream is absent


class Pooling(NamedTuple):
    """Standardisation of pooled features by the training split."""

    standards: dict[str, tuple[np.ndarray, np.ndarray]]  # stream -> mean and standard deviation (2 D,)
    centres: dict[str, np.ndarray]  # stream -> mean (D,) over steps, in place of a number that is none

    @classmethod
    def of(cls, train: Split) -> "Pooling":
        """With the statistics of the rows that have the stream."""
        standards = {}
        centres = {name: stream.statistics()[0].numpy() for name, stream in train.features.items()}
        for name, stream in train.features.items():
            values = _pool(stream, centres[name])
            _centre(values, train, name, torch.arange(len(train)))
            values = values[stream.lengths.numpy() > 0]
            deviation = values.std(0) if len(values) else np.ones(values.shape[1])
            mean = values.mean(0) if len(values) else np.zeros(values.shape[1])
            standards[name] = mean, np.where(deviation < SMALLEST_SPREAD, 1.0, deviation)
        return cls(standards, centres)

    def __call__(self, split: Split) -> Pooled:
        """Standardised features of every stream that the training split has."""
        return self._rows(split, slice(0, len(split)))

    def blocks(self, split: Split) -> Iterator[tuple[slice, Pooled]]:
        """The same, of consecutive rows."""
        for first in range(0, len(split), BLOCK):
            rows = slice(first, min(first + BLOCK, len(split)))
            yield rows, self._rows(split, rows)

    def _rows(self, split: Split, rows: slice) -> Pooled:
        return {name: self._standardised(name, split, rows) for name in self.standards}

    def _standardised(self, name: str, split: Split, rows: slice) -> np.ndarray:
        mean, deviation = self.standards[name]
        if name not in split.features:
            return np.zeros((rows.stop - rows.start, len(mean)))
        indices = torch.arange(rows.start, rows.stop)
        stream = split.features[name].take(indices)
        pooled = _pool(stream, self.centres[name])
        _centre(pooled, split, name, indices)
        pooled -= mean
        pooled /= deviation
        pooled[stream.lengths.numpy() == 0] = 0.0
        return pooled


def _centre(pooled: np.ndarray, split: Split, stream: str, rows: torch.Tensor) -> None:
    """Subtract the speakers' offsets from the means, as the networks do."""
    if stream in split.speaker_offsets:
        pooled[:, : pooled.shape[1] // 2] -= split.speaker_offsets[stream].of(rows).numpy()


def _pool(stream: FeatureStream, centre: np.ndarray) -> np.ndarray:
    """(N, 2 D) mean and standard deviation over each utterance's steps, which are contiguous; 0 without steps."""
    lengths = stream.lengths.numpy()
    pooled, present = np.zeros((len(lengths), 2 * stream.dim)), np.flatnonzero(lengths)
    for first in range(0, len(present), BLOCK):
        rows = present[first : first + BLOCK]
        count = lengths[rows]
        block, begins = stream.steps_of(torch.from_numpy(rows)).numpy().astype(float), count.cumsum() - count
        block = np.where(np.isnan(block), centre, block)
        means = np.add.reduceat(block, begins, 0) / count[:, None]
        squares = np.add.reduceat((block - means.repeat(count, 0)) ** 2, begins, 0) / count[:, None]
        pooled[rows] = np.concatenate([means, np.sqrt(squares)], 1)
    return pooled


class Regression(NamedTuple):
    """logits = bias + sum over streams of x W: a fitted logistic regression."""

    weights: dict[str, np.ndarray]  # stream -> (2 D, C)
    bias: np.ndarray  # (C,)
    strength: float
    dev: float  # macro F1, or CCC
    calibration: calibration.Calibration  # fitted on dev, like the networks'

    def logits(self, pooled: Pooled, masks: np.ndarray, modalities: Sequence[str]) -> np.ndarray:
        """(K, N, C) under each of the masks (K, N, M), which hide modalities."""
        total = np.broadcast_to(self.bias, (*masks.shape[:2], len(self.bias))).copy()
        for name, weight in self.weights.items():
            column = modalities.index(StreamName.parse(name).modality)
            total += masks[:, :, column, None] * (pooled[name] @ weight)
        return total


class TaskRegressions(NamedTuple):
    """The regressions of one task, by their features: all modalities, and each one alone."""

    candidates: dict[str, Regression]

    @property
    def chosen(self) -> str:
        """The features of the best on dev; of equals the first, which has all modalities."""
        return max(self.candidates, key=lambda name: np.nan_to_num(self.candidates[name].dev, nan=-1.0))

    @property
    def best(self) -> Regression:
        """The floor."""
        return self.candidates[self.chosen]


class Floor(NamedTuple):
    """The regressions of every task that has labels in the training split, and how features are pooled for them."""

    tasks: dict[str, TaskRegressions]
    pooling: Pooling


def fit_seeds(train: Split, dev: Split, fraction: float, seeds: Sequence[int]) -> dict[int, Floor]:
    """The floor of each seed, fitted to the labels that its networks learnt from: with all labels one for all."""
    train, dev = train.subset(MAX_ROWS), dev.subset(MAX_ROWS)
    pooling = Pooling.of(train)
    values, dev_values = pooling(train), pooling(dev)
    fits: dict[int, Floor] = {}
    for seed in seeds if fraction < 1 else seeds[:1]:
        labelled = LabelSubset(fraction, seed).hide_labels(train)
        fits[seed] = Floor(_fit_tasks(labelled, dev, values, dev_values), pooling)
    return {seed: fits.get(seed, fits[seeds[0]]) for seed in seeds}


def _fit_tasks(train: Split, dev: Split, pooled_train: Pooled, pooled_dev: Pooled) -> dict[str, TaskRegressions]:
    modalities = [modality for modality in train.modalities if _streams(pooled_train, modality)]
    features = {ALL: list(pooled_train)}
    if len(modalities) > 1:
        features |= {modality: _streams(pooled_train, modality) for modality in modalities}
    fitted: dict[str, TaskRegressions] = {}
    for task in train.heads():
        targets = train.targets[task].cpu().numpy(), dev.targets[task].cpu().numpy()
        fitted[task] = TaskRegressions(
            {
                name: _fit(_only(streams, pooled_train), _only(streams, pooled_dev), targets, train.tasks[task])
                for name, streams in features.items()
            }
        )
    return fitted


def _only(streams: Sequence[str], pooled: Pooled) -> Pooled:
    return {name: pooled[name] for name in streams}


def _streams(pooled: Pooled, modality: str) -> list[str]:
    return [name for name in pooled if StreamName.parse(name).modality == modality]


def _fit(train: Pooled, dev: Pooled, targets: tuple[np.ndarray, np.ndarray], task: Task) -> Regression:
    """The regression with the strength that is best on dev."""
    labelled, dev_target = is_labelled(targets[0]), targets[1]
    values, target = np.concatenate([*train.values()], 1)[labelled], targets[0][labelled]
    dev_values, main, fitted = np.concatenate([*dev.values()], 1), MAIN_METRIC[task.kind], []
    for strength, (weights, bias) in zip(STRENGTHS, FITS[task.kind](values, target, task), strict=True):
        score = headline(task, dev_target, dev_values @ weights + bias)[main]
        fitted.append((score, strength, weights, bias))
    score, strength, weights, bias = max(fitted, key=lambda one: np.nan_to_num(one[0], nan=-1.0))
    known = dev_target
    if task.kind == "classification":
        known = np.where(np.isin(dev_target, np.unique(target)), dev_target, UNLABELLED)
    ends = np.cumsum([part.shape[1] for part in train.values()])[:-1]
    by_stream = dict(zip(train, np.split(weights, ends), strict=True))
    return Regression(
        by_stream, bias, strength, score, calibration.fit_task(task, dev_values @ weights + bias, known)
    )


Fits = Iterator[tuple[np.ndarray, np.ndarray]]  # weights (D, C) and bias (C,) of each strength


def _fit_classes(values: np.ndarray, target: np.ndarray, task: Task) -> Fits:
    classes = len(task.classes)
    count = np.bincount(target, minlength=classes)
    seen = np.flatnonzero(count)
    importance = (count.clip(min=1.0) ** -CLASS_WEIGHT_POWER)[target]
    model = LogisticRegression(max_iter=MAX_ITERATIONS, tol=TOLERANCE, warm_start=True)
    for strength in STRENGTHS:
        weights, bias = np.zeros((values.shape[1], classes)), np.full(classes, IMPOSSIBLE)
        bias[seen] = 0.0
        if len(seen) > 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.set_params(C=strength).fit(values, target, importance * len(target) / importance.sum())
            # of two classes scikit-learn fits the second one's log-odds alone
            shown = seen[-len(model.coef_) :]
            weights[:, shown], bias[shown] = model.coef_.T, model.intercept_
        yield weights, bias


def _fit_label_sets(values: np.ndarray, target: np.ndarray, task: Task) -> Fits:
    """A regression of yes and no for each class; one that training never or always shows is constant."""
    models = [LogisticRegression(max_iter=MAX_ITERATIONS, tol=TOLERANCE, warm_start=True) for _ in task.classes]
    for strength in STRENGTHS:
        weights, bias = np.zeros((values.shape[1], len(models))), np.zeros(len(models))
        for number, (model, holds) in enumerate(zip(models, target.T, strict=True)):
            if len(np.unique(holds)) < 2:
                bias[number] = -IMPOSSIBLE if holds.any() else IMPOSSIBLE
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.set_params(C=strength).fit(values, holds)
            weights[:, number], bias[number] = model.coef_[0], np.asarray(model.intercept_)[0]
        yield weights, bias


def _fit_numbers(values: np.ndarray, target: np.ndarray, task: Task) -> Fits:
    """Of numbers in halves of the range; scikit-learn's alpha is 1 / (2 C) of the same penalty."""
    half = (task.high - task.low) / 2
    for strength in STRENGTHS:
        model = Ridge(alpha=1 / (2 * strength)).fit(values, target.astype(float) / half)
        yield half * np.asarray(model.coef_).reshape(-1, 1), half * np.reshape(np.asarray(model.intercept_), 1)


FITS = {"classification": _fit_classes, "multilabel": _fit_label_sets, "regression": _fit_numbers}


def predict(
    floor: Floor, split: Split, masks: Mapping[str, np.ndarray]
) -> Iterator[tuple[slice, PredictionArrays]]:
    """Its answers for some rows after others under each of the masks (N, M), calibrated as the networks' are."""
    views = np.stack(list(masks.values()))
    for rows, pooled in floor.pooling.blocks(split):
        answers: PredictionArrays = {}
        for task, regressions in floor.tasks.items():
            best = regressions.best
            outputs = best.logits(pooled, views[:, rows], split.modalities).astype(np.float32)
            answers[task] = prediction_parts(outputs, best.calibration, split.tasks[task])
        yield rows, answers


def describe(floors: Sequence[Floor], test: Split) -> dict[str, dict[str, dict[str, float]]]:
    """{task: {features: score on dev and on test, share of the seeds in which they are the floor}}, means."""
    parts: dict[tuple[str, str], list[list[np.ndarray]]] = {}  # (task, features) -> block -> floor -> (n, C)
    for _, pooled in floors[0].pooling.blocks(test):
        full = np.ones((1, len(next(iter(pooled.values()))), len(test.modalities)), dtype=bool)
        for task, regressions in floors[0].tasks.items():
            for name in regressions.candidates:
                each = [floor.tasks[task].candidates[name] for floor in floors]
                logits = [one.logits(pooled, full, test.modalities)[0] for one in each]
                parts.setdefault((task, name), []).append(logits)

    def measured(task: str, name: str) -> dict[str, float]:
        regressions = [floor.tasks[task].candidates[name] for floor in floors]
        target, main = test.targets[task].cpu().numpy(), MAIN_METRIC[test.tasks[task].kind]
        blocks = zip(*parts.get((task, name), [[one.bias[None][:0] for one in regressions]]), strict=True)
        outputs = [np.concatenate(of_one) for of_one in blocks]
        return {
            f"dev_{main}": float(np.mean([one.dev for one in regressions])),
            f"test_{main}": float(np.mean([headline(test.tasks[task], target, one)[main] for one in outputs])),
            "chosen": float(np.mean([floor.tasks[task].chosen == name for floor in floors])),
        }

    tasks = floors[0].tasks
    return {task: {name: measured(task, name) for name in tasks[task].candidates} for task in tasks}
