"""merc score of any label space: multilabel tasks, numbers, votes; files, calibration, leaderboard."""

import label_kinds
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scored import score
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error

from merc.__main__ import main
from merc.data.records import labels
from merc.data.records import manifest as manifests
from merc.evaluation import predictions
from merc.studies.scoring import result_file
from merc.studies.scoring.leaderboard import tables


def drawn(name: str, split: str, noise: float, seed: int = 1) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """A foreign system's answers and {task: truth}: its probabilities and numbers are the truth with noise."""
    random = np.random.default_rng(seed)
    rows, space = manifests.read_manifests(split, ["sample"]), labels.label_space(f"like_{name}")
    table, truth = rows[["utterance", "dialogue"]].copy(), {}
    for task in space.tasks.values():
        truth[task.name] = targets = task.targets(rows)
        if task.kind == "regression":
            table[task.name] = np.nan_to_num(targets) + noise * random.normal(size=len(rows))
            continue
        one_hot = targets[:, None] == np.arange(len(task.classes)) if targets.ndim == 1 else np.nan_to_num(targets)
        shares = np.clip(0.7 * one_hot + 0.15 + noise / 4 * random.normal(size=one_hot.shape), 0.01, 0.99)
        shares = shares / shares.sum(1, keepdims=True) if task.kind == "classification" else shares
        table[[f"{task.name}={label}" for label in task.classes]] = shares
    return table, truth


@pytest.fixture
def mosei(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    label_kinds.write(tmp_path, "mosei")
    for split in ("test", "dev"):
        drawn("mosei", split, 0.5)[0].to_csv(f"{split}.csv", index=False)
    drawn("mosei", "test", 2.0)[0].to_csv("worse.csv", index=False)


def test_the_scores_are_those_of_scikit_learn_and_scipy(mosei):
    table, truth = drawn("mosei", "test", 0.5)
    told = score("test.csv", "--labels", "like_mosei")["tasks"]
    labelled = np.isfinite(truth["emotions"]).all(1)
    yes = table[[f"emotions={label}" for label in label_kinds.EMOTIONS]].to_numpy()[labelled] > 0.5
    expected = truth["emotions"][labelled] > 0
    found = {name: one["value"] for name, one in told["emotions"]["scores"].items()}
    occurs = expected.any(0)
    assert found["subset_accuracy"] == pytest.approx(accuracy_score(expected, yes), abs=1e-4)
    f1 = f1_score(expected[:, occurs], yes[:, occurs], average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(f1, abs=1e-4)
    rated = np.isfinite(truth["sentiment"])
    actual, said = truth["sentiment"][rated], table["sentiment"].to_numpy()[rated].clip(-3, 3)
    found = {name: one["value"] for name, one in told["sentiment"]["scores"].items()}
    assert found["mae"] == pytest.approx(mean_absolute_error(actual, said), abs=1e-4)
    assert found["pearson"] == pytest.approx(stats.pearsonr(actual, said).statistic, abs=1e-4)
    seven = (np.round(actual.clip(-3, 3)) == np.round(said)).mean()
    assert found["acc7"] == pytest.approx(seven, abs=1e-4)
    assert told["sentiment"]["classes"] == [] == told["sentiment"]["by_class"]
    assert told["sentiment"]["measure"] == "mae" and told["emotions"]["measure"] is None


def test_sets_in_words_are_scored_as_probabilities_above_a_half(mosei):
    table = pd.read_csv("test.csv")
    columns = [f"emotions={label}" for label in label_kinds.EMOTIONS]
    sets = [[label for label, column in zip(label_kinds.EMOTIONS, columns, strict=True) if row[column] > 0.5]
            for _, row in table.iterrows()]  # fmt: skip
    words = ["; ".join(one).upper() for one in sets]
    table.drop(columns=columns).assign(emotions=words).to_csv("words.csv", index=False)
    first, second = (score(f"{name}.csv", "--labels", "like_mosei")["tasks"] for name in ("test", "words"))
    assert first["emotions"]["scores"] == second["emotions"]["scores"]
    assert first["emotions"]["calibration"] and second["emotions"]["calibration"] is None
    table.to_parquet("test.parquet")
    assert score("test.parquet", "--labels", "like_mosei")["tasks"] == first


def test_dev_calibrates_and_a_baseline_is_compared(mosei, capsys):
    words = ("--labels", "like_mosei", "--dev", "dev.csv", "--baseline", "worse.csv")
    told = score("test.csv", *words)["tasks"]
    assert (
        0.75 < told["sentiment"]["calibration"]["coverage"] <= 1 and told["sentiment"]["calibration"]["width"] > 0
    )
    assert told["emotions"]["calibration"]["nll"] <= told["emotions"]["calibration"]["nll_raw"] + 0.05
    for task in told.values():
        assert task["comparison"]["difference"] > 0 and "beats" in task["comparison"]["verdict"]
        assert task["dev"] and task["floor"] and task["against_floor"]
    printed = capsys.readouterr().out
    for shown in ("MAE", "Pearson", "Acc-7", "subset accuracy", "minus worse: CCC", "mean width of the intervals"):
        assert shown in printed


def test_what_evaluate_wrote_is_scored_alike(mosei):
    """Its parquet of a multilabel task and numbers, with intervals; here made of the same answers."""
    reference = manifests.read_manifests("test", ["sample"])
    table, _ = drawn("mosei", "test", 0.5)
    space = labels.label_space("like_mosei")
    shares = table[[f"emotions={label}" for label in label_kinds.EMOTIONS]].to_numpy(np.float32)
    numbers = table[["sentiment"]].to_numpy(np.float32).clip(-3, 3)
    rows = reference[list(predictions.ID_COLUMNS)].assign(
        **{name: pd.Series(task.cells(task.targets(reference)), dtype=object) for name, task in space.tasks.items()}
    )
    kinds = {task.name: (task.kind, task.low, task.high) for task in space.tasks.values()}
    outputs = {
        "emotions": {"raw": shares[None], "probability": shares[None], "set": shares[None] > 0.5},
        "sentiment": {"value": numbers[None], "interval": np.concatenate([numbers - 1, numbers + 1], 1)[None]},
    }
    run = predictions.Predictions(
        rows, space.outputs, (predictions.BlockKey("student", 1, "full"),), outputs, kinds
    )
    predictions.write_predictions(predictions.PREDICTIONS_FILE, run)
    own = score(f"{predictions.PREDICTIONS_FILE}#student", "--labels", "like_mosei")["tasks"]
    foreign = score("test.csv", "--labels", "like_mosei")["tasks"]
    assert {task: one["scores"] for task, one in own.items()} == {task: o["scores"] for task, o in foreign.items()}
    assert own["sentiment"]["calibration"]["width"] == pytest.approx(2.0, abs=1e-3)


def test_the_leaderboard_sorts_errors_from_the_smallest(mosei, capsys):
    for name in ("test", "worse"):
        score(f"{name}.csv", "--labels", "like_mosei", "--selected-on", "dev")
        label_kinds.Path("board").mkdir(exist_ok=True)
        label_kinds.Path("result.json").rename(f"board/{name}.json")
    assert main(["leaderboard", "board", "--out", "page"]) == 0
    text = label_kinds.Path("page.md").read_text()
    assert "| rank | system | MAE | ties | Pearson | CCC |" in text
    by_task = {table.title.split(": ")[1].split(" ")[0]: table for table in tables(_results())}
    assert by_task["sentiment"].measure == "mae" and by_task["emotions"].measure == "macro_f1"
    for table in by_task.values():
        assert [row.system for row in table.rows] == ["test", "worse"] and not table.ties


def _results():
    return [result_file.read(path) for path in sorted(label_kinds.Path("board").glob("*.json"))]


def test_votes_give_a_divergence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    label_kinds.write(tmp_path, "votes")
    table, truth = drawn("votes", "test", 0.5)
    table.to_csv("test.csv", index=False)
    told = score("test.csv", "--labels", "like_votes")["tasks"]["mood"]
    assert 0 < told["jensen_shannon"] < 0.693
    columns = [name for name in table if "=" in name]
    named = [name.split("=")[1] for name in table[columns].idxmax(axis=1)]
    table[["utterance"]].assign(mood=named).to_csv("labels.csv", index=False)
    assert score("labels.csv", "--labels", "like_votes")["tasks"]["mood"]["jensen_shannon"] is None
    assert len(truth["mood"]) == len(table)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"sentiment": "high"}, "cannot be read"),
        ({"sentiment": ""}, "line 3: sentiment is no number; write one for every utterance"),
        ({"sentiment": "nan"}, "line 3: sentiment is no number"),
        ({"emotions=sad": "1.2"}, "line 3: emotions=sad = 1.2: is no probability"),
    ],
)
def test_a_wrong_cell_is_one_line(mosei, capsys, change, line):
    table = pd.read_csv("test.csv", dtype=str)
    for column, value in change.items():
        table.loc[1, column] = value
    table.to_csv("wrong.csv", index=False)
    assert main(["score", "wrong.csv", "--corpus", "sample", "--labels", "like_mosei"]) == 2
    assert line in capsys.readouterr().err


def test_a_wrong_column_is_one_line(mosei, capsys):
    table = pd.read_csv("test.csv")
    table.rename(columns={"sentiment": "sentiment=sentiment"}).to_csv("wrong.csv", index=False)
    assert main(["score", "wrong.csv", "--corpus", "sample", "--labels", "like_mosei"]) == 2
    assert "sentiment is a number; write it into a column 'sentiment'" in capsys.readouterr().err
    columns = [name for name in table if name.startswith("emotions=")]
    table.drop(columns=columns).assign(emotions="happy; sadd").to_csv("wrong.csv", index=False)
    assert main(["score", "wrong.csv", "--corpus", "sample", "--labels", "like_mosei"]) == 2
    assert "line 2: emotions 'sadd' is none of happy, sad" in capsys.readouterr().err
    assert main(["score", "test.csv", "--corpus", "sample", "--labels", "nothing"]) == 2
    assert "data.labels = 'nothing': choose one of" in capsys.readouterr().err
