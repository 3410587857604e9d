"""The floor: what it sees, that it is scikit-learn's, and what of it and of other findings is put into words."""

from dataclasses import replace

import numpy as np
import packed
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from test_evaluate import SPACE, made_predictions, manifest

from merc.data.batches import dataset
from merc.data.batches.streams import FeatureStream
from merc.data.records import manifest as manifests
from merc.evaluation import bootstrap, findings, floor
from merc.evaluation.prediction_arrays import join_rows

MODALITIES = manifests.MODALITIES


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Train, dev and test, 30 dialogues each; the emotion shows in every modality."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("floor"))
        for seed, split in enumerate(manifests.SPLITS):
            packed.write_split(split, seed=seed, dialogues=30)
        return [dataset.read_split(split, ["sample"], MODALITIES, SPACE) for split in manifests.SPLITS]


@pytest.fixture(scope="module")
def fitted(splits):
    return floor.fit_seeds(splits[0], splits[1], 1.0, [1, 2])


def full(split):
    return np.ones((1, len(split), len(MODALITIES)), dtype=bool)


def kept(split, *classes):
    """The split with the labels of these emotions alone."""
    target = split.targets["emotion"]
    is_kept = torch.isin(target, torch.tensor(classes))
    return replace(split, targets=split.targets | {"emotion": torch.where(is_kept, target, -100)})


def test_an_utterance_is_the_mean_and_the_deviation_of_its_steps(splits):
    stream = splits[0].features["text/toy"]
    values = packed.all_steps(stream)
    values[0, 0] = float("nan")  # no number: the centre
    pooled = floor._pool(FeatureStream.of(values, stream.starts, stream.lengths), np.full(stream.dim, 0.25))
    values[0, 0] = 0.25
    for row, (start, length) in enumerate(zip(stream.starts, stream.lengths, strict=True)):
        steps = values[start : start + length].double().numpy()
        expected = np.concatenate([steps.mean(0), steps.std(0)]) if length else np.zeros(2 * stream.dim)
        assert pooled[row] == pytest.approx(expected, abs=1e-6)


def test_a_missing_modality_is_the_mean_of_training(splits, fitted):
    train, _, test = splits
    pooled = fitted[1].pooling(train)["audio/toy"]
    present = (train.features["audio/toy"].lengths > 0).numpy()
    assert np.abs(pooled[present].mean(0)).max() < 1e-9 and not pooled[~present].any() and not present.all()
    best = fitted[1].tasks["emotion"].best
    nothing = best.logits(fitted[1].pooling(test), ~full(test), MODALITIES)
    assert (nothing == best.bias).all()
    shown = join_rows(
        floor.predict(fitted[1], test, {"full": full(test)[0], "only:text": full(test)[0] & [1, 0, 0] == 1})
    )
    assert shown["emotion"]["probability"].shape == (2, len(test), 7) and set(shown) == {"emotion", "sentiment"}
    assert not np.allclose(*shown["emotion"]["probability"])


def test_dev_chooses_and_all_modalities_are_best_where_each_of_them_tells(splits, fitted):
    regressions = fitted[1].tasks["emotion"]
    assert list(regressions.candidates) == [floor.ALL, *MODALITIES]
    assert regressions.chosen == floor.ALL
    assert regressions.best.dev == max(one.dev for one in regressions.candidates.values())
    told = floor.describe([*fitted.values()], splits[2])["emotion"]
    assert told[floor.ALL]["chosen"] == 1.0 and told[floor.ALL]["test_macro_f1"] > 0.5 > told["vision"]["chosen"]
    unlike = kept(splits[1])  # no label in dev: still a floor
    assert floor.fit_seeds(splits[0], unlike, 1.0, [1])[1].tasks["emotion"].chosen == floor.ALL


def test_it_is_scikit_learns_regression_also_of_two_classes(splits):
    train, dev, test = splits
    two = floor.fit_seeds(kept(train, 1, 3), kept(dev, 1, 3), 1.0, [1])[1]
    regression = two.tasks["emotion"].candidates[floor.ALL]
    pooled, values = two.pooling(test), np.concatenate([*two.pooling(train).values()], 1)
    target = kept(train, 1, 3).targets["emotion"].numpy()
    count = np.bincount(target[target >= 0], minlength=7)
    weights = (count.clip(1) ** -0.5)[target[target >= 0]]
    weights *= len(weights) / weights.sum()
    own = LogisticRegression(C=regression.strength, tol=1e-8, max_iter=2000)
    own.fit(values[target >= 0], target[target >= 0], weights)
    logits = regression.logits(pooled, full(test), MODALITIES)[0]
    expected = own.decision_function(np.concatenate([*pooled.values()], 1))
    assert logits[:, 3] - logits[:, 1] == pytest.approx(expected, abs=0.05)
    answers = join_rows(floor.predict(two, test, {"full": full(test)[0]}))["emotion"]["probability"][0]
    assert set(answers.argmax(1)) == {1, 3} and answers[:, [0, 2, 4, 5, 6]].max() == 0


def test_one_class_alone_is_answered_always(splits):
    one = floor.fit_seeds(kept(splits[0], 2), splits[1], 1.0, [1])[1]
    answers = join_rows(floor.predict(one, splits[2], {"full": full(splits[2])[0]}))["emotion"]["probability"]
    assert (answers.argmax(-1) == 2).all()


def test_seeds_share_a_floor_unless_they_learnt_from_other_labels(splits, fitted):
    assert fitted[1] is fitted[2]
    few = floor.fit_seeds(splits[0], splits[1], 0.3, [1, 2])
    first, second = (few[seed].tasks["emotion"].candidates[floor.ALL].weights["text/toy"] for seed in (1, 2))
    assert not np.allclose(first, second)


def test_a_floor_that_is_ahead_is_told_of():
    rows = manifest(dialogues=40)
    assert found(answers(rows, student=1.0, floor=1.0), rows) == []
    (sentence,) = found(answers(rows, student=1.0, floor=3.0), rows)
    assert sentence.startswith(
        "emotion: the floor, a logistic regression on pooled features, is ahead of the student"
    )


def test_dev_above_test_is_told_of():
    rows = manifest(dialogues=40)
    test, dev = answers(rows, student=0.5), answers(rows, student=4.0)
    (sentence,) = findings.find(test, dev, bootstrap.draw(40, 2, 100, 1), ["sample"])
    assert "on dev and 0." in sentence and "dev is easier" in sentence
    assert findings.find(dev, test, bootstrap.draw(40, 2, 100, 1), ["sample"]) == []


def test_a_subset_that_beats_the_whole_is_told_of():
    rows, names = manifest(dialogues=40), ("full", "only:text", "only:vision", "only:text+vision")
    run = answers(rows, student=1.0, names=names)
    better = answers(rows, student=4.0, names=names).outputs["emotion"]["probability"]
    for index, key in enumerate(run.keys):
        if key.condition == "only:text":
            run.outputs["emotion"]["probability"][index] = better[index]
    (sentence,) = found(run, rows)
    assert sentence.startswith("emotion: shown text alone, the student is 0.")
    assert sentence.endswith("]: vision misleads it.")


def answers(rows, names=("full",), **skills):
    """Made-up predictions of emotions by the named models."""
    made = [made_predictions(rows, skill, names=names, seed=3) for skill in skills.values()]
    student = [number for number, key in enumerate(made[0].keys) if key.model == "student"]
    keys = [made[0].keys[number]._replace(model=model) for model in skills for number in student]
    parts = {
        part: np.concatenate([one.outputs["emotion"][part][student] for one in made])
        for part in ("raw", "probability", "set")
    }
    return replace(made[0], keys=tuple(keys), outputs={"emotion": parts})


def found(run, rows):
    """Findings where dev is as test is."""
    dev = answers(rows, student=1.0)
    return findings.find(run, dev, bootstrap.draw(len(rows) // 5, 2, 100, 1), ["sample"])
