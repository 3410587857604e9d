"""A foreign system's predictions of thirty utterances: every number against scikit-learn and scipy."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats
from sklearn import metrics

from merc.__main__ import main
from merc.data.records.labels import MELD_EMOTIONS
from merc.evaluation import bootstrap
from merc.runtime import results
from merc.studies.scoring.protocols import BOOTSTRAP_SEED, ROUNDS

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
PAIRS = {"only:audio+vision": "text", "only:text+vision": "audio", "only:text+audio": "vision"}
SPLITS = {"train": 4, "dev": 6, "test": 6}  # dialogues of five utterances
SENTIMENTS = dict(zip(MELD_EMOTIONS, ("neutral", "positive", "positive", *["negative"] * 4), strict=True))
CLOSE = {"abs": 0.5 * 10**-results.DECIMALS + 1e-9}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The result file; the labels by split; and by file, seed and condition the probabilities written by hand."""
    folder = tmp_path_factory.mktemp("foreign")
    random = np.random.default_rng(11)
    (folder / "data/raw/meld").mkdir(parents=True)
    actual = {split: _corpus(folder, split, random) for split in SPLITS}
    tables = {
        name: {
            seed: _system(folder / f"{name}.csv", actual[split], seed, skill, random, conditions)
            for seed in (1, 2, 3)
        }
        for name, split, skill, conditions in (
            ("mine", "test", 1.2, ("full", *PAIRS, "epoch:1", "epoch:2")),
            ("other", "test", 0.6, ("full",)),
            ("dev", "dev", 1.2, ("full",)),
        )
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["mine.csv", "--corpus", "meld", "--baseline", "other.csv", "--dev", "dev.csv", "--out", "r.json"]
        assert main(["score", *words]) == 0
        return results.read_json(folder / "r.json"), actual, tables


def _corpus(folder, split, random) -> np.ndarray:
    """A table in MELD's form; its labels as numbers."""
    labels = random.integers(0, 4, 5 * SPLITS[split])
    labels[:7] = range(7)
    lines = [HEADER]
    for row, label in enumerate(labels):
        emotion, (dialogue, number) = MELD_EMOTIONS[label], divmod(row, 5)
        start = f"00:00:{number:02},000"
        lines.append(
            f"{row},Words number {row} of {split},Ann,{emotion},{SENTIMENTS[emotion]},{dialogue},{number},1,1,"
            f'"{start}","{start}"'
        )
    (folder / f"data/raw/meld/{split}_sent_emo.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return labels


def _system(path, actual, seed, skill, random, conditions) -> dict[str, np.ndarray]:
    """Append a seed's rows, with MELD's numbers as ids; {condition: probabilities as written}."""
    shown, table = {}, []
    for condition in conditions:
        weaker = skill * (0.5 if condition.startswith("only") else 1.0)
        logits = random.normal(size=(len(actual), 7)) + weaker * np.eye(7)[actual]
        shown[condition] = special.softmax(2 * logits, axis=1).round(5).astype(np.float32)
        rows = pd.DataFrame(shown[condition], columns=[f"emotion={label}" for label in MELD_EMOTIONS])
        rows.insert(0, "utterance", np.arange(len(actual)) % 5)
        rows.insert(0, "dialogue", np.arange(len(actual)) // 5)
        table.append(rows.assign(seed=seed, condition=condition))
    pd.concat(table).to_csv(path, mode="a", header=not path.exists(), index=False)
    return shown


@pytest.fixture
def emotion(told):
    return told[0]["tasks"]["emotion"]


@pytest.fixture
def truth(told):
    return told[1]["test"]


@pytest.fixture
def mine(told):
    """(3, 30, 7)."""
    return np.stack([one["full"] for one in told[2]["mine"].values()])


@pytest.fixture
def other(told):
    return np.stack([one["full"] for one in told[2]["other"].values()])


@pytest.fixture
def calibrated(told, mine):
    """(3, 30, 7) probabilities and sets: temperature by scipy's minimum of scikit-learn's log loss of dev."""
    dev, dev_truth, probabilities, sets = told[2]["dev"], told[1]["dev"], [], []
    for seed, raw in enumerate(mine, start=1):
        logits = np.log(np.maximum(dev[seed]["full"].astype(float), 1e-12))

        def loss(log_temperature, logits=logits):
            shown = special.softmax(logits / np.exp(log_temperature), 1)
            return metrics.log_loss(dev_truth, shown, labels=range(7))

        temperature = np.exp(optimize.minimize_scalar(loss, bounds=(-4, 4), options={"xatol": 1e-9}).x)
        true = special.softmax(logits / temperature, 1)[np.arange(30), dev_truth]
        threshold = np.sort(true)[::-1][int(np.ceil(31 * 0.9)) - 1]
        shown = special.softmax(np.log(np.maximum(raw.astype(float), 1e-12)) / temperature, 1)
        probabilities.append(shown)
        sets.append((shown >= threshold - 1e-4) | (shown == shown.max(1, keepdims=True)))
    return np.stack(probabilities), np.stack(sets)


def f1(actual, predicted, **options):
    """Over the classes that occur."""
    options = {"labels": np.unique(actual)} | options
    return metrics.f1_score(actual, predicted, average="macro", zero_division=0, **options)


MEASURES = {
    "accuracy": metrics.accuracy_score,
    "weighted_f1": lambda a, p: metrics.f1_score(a, p, average="weighted", zero_division=0),
    "macro_f1": f1,
    "uar": metrics.balanced_accuracy_score,
}


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_headline_scores_and_classes(emotion, truth, mine):
    predicted = mine.argmax(-1)
    for name, function in MEASURES.items():
        by_seed = [function(truth, each) for each in predicted]
        assert emotion["scores"][name]["value"] == pytest.approx(np.mean(by_seed), **CLOSE)
        assert emotion["scores"][name]["std"] == pytest.approx(stats.tstd(by_seed), **CLOSE)
    by_class = np.mean(
        [
            metrics.precision_recall_fscore_support(truth, each, labels=range(7), zero_division=0)
            for each in predicted
        ],
        axis=0,
    )
    for column, told in enumerate(emotion["by_class"]):
        expected = by_class[:, column]
        assert [told["precision"], told["recall"], told["f1"]] == pytest.approx(expected[:3], **CLOSE)
        assert (told["label"], told["support"]) == (MELD_EMOTIONS[column], expected[3])


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_intervals_and_the_smallest_difference(emotion, truth, mine, other):
    """Dialogues and seeds are drawn with replacement: rows are copied here, and scored by scikit-learn."""
    draws = bootstrap.draw(6, 3, ROUNDS, BOOTSTRAP_SEED)
    replicates, gains = [], []
    for groups, seeds in zip(draws.groups[:50], draws.seeds[:50], strict=True):
        rows = np.repeat(np.arange(30), np.repeat(groups.astype(int), 5))
        scored = [[f1(truth[rows], one.argmax(-1)[rows]) for one in system] @ seeds for system in (mine, other)]
        gains.append(scored[0] - scored[1])
        replicates.append(
            [metrics.f1_score(truth[rows], one.argmax(-1)[rows], average="weighted") for one in mine] @ seeds
        )
    assert emotion["replicates"][:50] == pytest.approx(replicates, abs=6e-5)
    kept = emotion["replicates"]
    ends = stats.mstats.mquantiles(kept, [0.025, 0.975], alphap=1, betap=1)
    assert [emotion["scores"]["weighted_f1"][end] for end in ("low", "high")] == pytest.approx(ends, abs=2e-4)
    # of 50 of the 1000 rounds: a standard error is known to about 10 %
    detectable = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * np.std(gains)
    assert emotion["smallest_difference"]["macro_f1"] == pytest.approx(detectable, rel=0.3)
    assert emotion["smallest_difference_pair"] == "other"


def test_paired_tests(emotion, truth, mine, other, calibrated):
    by_seed = [np.array([f1(truth, one.argmax(-1)) for one in system]) for system in (other, mine)]
    told = emotion["comparison"]
    assert told["difference"] == pytest.approx((by_seed[1] - by_seed[0]).mean(), **CLOSE)
    assert told["paired_t_p"] == pytest.approx(stats.ttest_rel(*by_seed).pvalue, **CLOSE)
    effect = (by_seed[1] - by_seed[0]).mean() / stats.tstd(by_seed[1] - by_seed[0])
    assert told["cohen_d"] == pytest.approx(effect, **CLOSE)
    right = [system.mean(0).argmax(-1) == truth for system in (other, calibrated[0])]
    better, worse = (right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum()
    assert told["mcnemar_p"] == pytest.approx(stats.binomtest(better, better + worse).pvalue, **CLOSE)
    # all 64 swaps of dialogues, of which the test draws a thousand
    null, (ours, theirs) = [], (mine.argmax(-1), other.argmax(-1))
    for swaps in product((False, True), repeat=6):
        swapped = np.repeat(swaps, 5)
        first, second = np.where(swapped, theirs, ours), np.where(swapped, ours, theirs)
        null.append(np.mean([f1(truth, x) - f1(truth, y) for x, y in zip(first, second, strict=True)]))
    exact = np.mean(np.abs(null) >= abs(told["difference"]) - 1e-4)
    assert told["permutation_p"] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / ROUNDS) + 2e-3)


def test_calibration_and_conformal_sets(emotion, truth, mine, calibrated):
    measures, (probabilities, sets) = emotion["calibration"], calibrated
    for suffix, arrays in (("", probabilities), ("_raw", mine.astype(float))):
        arrays = arrays / arrays.sum(-1, keepdims=True)
        nll = np.mean([metrics.log_loss(truth, one, labels=range(7)) for one in arrays])
        brier = np.mean(
            [metrics.brier_score_loss(truth, one, labels=range(7), scale_by_half=False) for one in arrays]
        )
        assert measures[f"nll{suffix}"] == pytest.approx(nll, abs=3e-4)
        assert measures[f"brier{suffix}"] == pytest.approx(brier, abs=3e-4)
        assert measures[f"ece{suffix}"] == pytest.approx(np.mean([_ece(truth, one) for one in arrays]), abs=3e-4)
        assert measures[f"aurc{suffix}"] == pytest.approx(np.mean([_aurc(truth, one) for one in arrays]), abs=3e-4)
    covered = sets[:, np.arange(30), truth]
    assert measures["coverage"] == pytest.approx(covered.mean(), **CLOSE)
    assert measures["set_size"] == pytest.approx(sets.sum(-1).mean(), **CLOSE)
    for number, label in enumerate(MELD_EMOTIONS):
        assert measures["coverage_by_class"][label] == pytest.approx(covered[:, truth == number].mean(), **CLOSE)


def _ece(truth, probability):
    """Ten bins of three utterances."""
    order = np.argsort(probability.max(1), kind="stable").reshape(10, 3)
    right = probability.argmax(1) == truth
    return np.abs(probability.max(1)[order].mean(1) - right[order].mean(1)).mean()


def _aurc(truth, probability):
    order = np.argsort(-probability.max(1), kind="stable")
    return np.mean(np.cumsum((probability.argmax(1) != truth)[order]) / np.arange(1, 31))


def test_conditions_equity_and_selection_gap(told, emotion, truth):
    by_condition = {
        name: np.mean([f1(truth, one[name].argmax(-1)) for one in told[2]["mine"].values()])
        for name in ("full", *PAIRS)
    }
    for name, expected in by_condition.items():
        assert emotion["conditions"][name] == pytest.approx(expected, **CLOSE)
    losses = {modality: by_condition["full"] - by_condition[pair] for pair, modality in PAIRS.items()}
    assert emotion["equity"]["losses"] == pytest.approx(losses, **CLOSE)
    lost = np.maximum(list(losses.values()), 0)
    gini = np.abs(lost[:, None] - lost).sum() / (2 * 9 * lost.mean())
    assert emotion["equity"]["equity"] == pytest.approx(1 - gini * 3 / 2, **CLOSE)
    gaps = [
        max(f1(truth, one[e].argmax(-1)) for e in ("epoch:1", "epoch:2")) - f1(truth, one["full"].argmax(-1))
        for one in told[2]["mine"].values()
    ]
    assert emotion["selection_gap"]["macro_f1"] == pytest.approx(np.mean(gaps), **CLOSE)
    assert emotion["selection_gap"]["epochs"] == 2


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_dev_majority_and_slices(told, emotion, truth, mine):
    dev_truth = told[1]["dev"]
    dev = [f1(dev_truth, one["full"].argmax(-1)) for one in told[2]["dev"].values()]
    assert emotion["dev"]["macro_f1"]["value"] == pytest.approx(np.mean(dev), **CLOSE)
    commonest = np.full(30, np.bincount(told[1]["train"]).argmax())
    for name, function in MEASURES.items():
        assert emotion["majority"][name] == pytest.approx(function(truth, commonest), **CLOSE)
    first = np.arange(30) % 5 == 0
    slice_ = next(each for each in emotion["slices"] if each["name"] == "turn: first")
    expected = np.mean([f1(truth[first], one.argmax(-1)[first]) for one in mine])
    assert (slice_["utterances"], slice_["macro_f1"]) == (6, pytest.approx(expected, **CLOSE))
    assert emotion["clean_utterances"] == 30 and emotion["clean"] == emotion["scores"]
