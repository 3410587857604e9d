"""Evaluation from predictions alone: the contract of its metrics, intervals, files."""

import shutil
from pathlib import Path

import finished
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from sklearn.metrics import f1_score

from merc.data.batches import dataset
from merc.data.records import labels
from merc.data.records.selection import Selection
from merc.evaluation import (
    bootstrap,
    headline,
    inference,
    left_out,
    missing_modalities,
    prediction_arrays,
    predictions,
    robustness,
)
from merc.evaluation.predictions import BlockKey, Predictions
from merc.evaluation.report import tables
from merc.runtime import results
from merc.runtime.errors import UserError
from merc.training.core import loop, scores
from models import checkpoint
from stages import evaluate

SPACE = labels.label_space("meld")
MODALITIES = ("text", "audio", "vision")
UNEVEN = [{m: 0.7 if m == most else 0.1 for m in MODALITIES} for most in MODALITIES]
MODELS = ("teacher", "student", "floor")
MOST_NUMBERS = 135  # of a metrics file: 45 of each of teacher, student and floor
CONDITIONS = missing_modalities.condition_names(MODALITIES, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], UNEVEN, 2)


def manifest(dialogues=12, turns=5, split="test"):
    """Utterances whose labels follow a fixed draw; the last one has none."""
    generator = np.random.default_rng(dialogues)
    size = dialogues * turns
    rows = pd.DataFrame({"corpus": "sample", "split": split, "dialogue": np.arange(size) // turns})
    rows["dialogue"] = rows["dialogue"].astype(str)
    rows["utterance"] = [f"dia{n // turns}_utt{n % turns}" for n in range(size)]
    rows["group"] = "sample/" + split + "/" + rows["dialogue"]
    rows["emotion"] = generator.choice(SPACE.outputs["emotion"], size)
    rows["sentiment"] = generator.choice(SPACE.outputs["sentiment"], size)
    return rows.assign(emotion=rows["emotion"].where(rows.index < size - 1, None))


def made_predictions(rows, skill=1.0, seeds=(1, 2), names=("full",), seed=0):
    """Made-up networks: the truth shines through as far as they are skilled."""
    generator = np.random.default_rng(seed)
    keys = [BlockKey(model, each, name) for model in MODELS for each in seeds for name in names]
    made = {task: _softmax(rows, task, len(keys), skill, generator) for task in SPACE.tasks}
    whole = {task: {"raw": p, "probability": p, "set": p > 0.1} for task, p in made.items()}
    kept = rows[list(predictions.ID_COLUMNS) + list(SPACE.tasks)]
    return Predictions(kept, SPACE.outputs, tuple(keys), whole)


def _softmax(rows, task, blocks, skill, generator):
    actual, order = SPACE.targets(rows, task), SPACE.outputs[task]
    logits = generator.normal(size=(blocks, len(rows), len(order)))
    logits += skill * (actual[:, None] == np.arange(len(order)))
    powers = np.exp(logits)
    return (powers / powers.sum(-1, keepdims=True)).round(6).astype(np.float32)


def board_of(run, train=None):
    draws = bootstrap.draw(run.groups()[1], 2, 50, 1)
    return headline.scoreboard(
        run, SPACE, manifest(20, split="train") if train is None else train, draws, Selection("emotion", "macro_f1")
    )


def numbers(content):
    return sum(map(numbers, content.values())) if isinstance(content, dict) else 1


def test_the_board_is_the_contract():
    run = made_predictions(manifest())
    board = board_of(run)
    assert list(board)[:3] == list(MODELS)
    for model in MODELS:
        for task in SPACE.tasks:
            by_seed = [
                scores.scores(run.actual(task), each[0], len(run.classes[task]))
                for each in run.predicted(task, model)
            ]
            for name in scores.HEADLINE_METRICS:
                expected = np.mean([each[name] for each in by_seed])
                assert board[model][task][name] == pytest.approx(expected)
                assert board[model][task][f"{name}_low"] <= board[model][task][f"{name}_high"]
    assert numbers(board) <= MOST_NUMBERS
    assert numbers(robustness.robustness(made_predictions(manifest(), names=CONDITIONS))) <= MOST_NUMBERS


def test_recalls_of_the_confusion_plot_average_to_uar():
    run = made_predictions(manifest())
    plotted = tables.confusions(run, "emotion", "student")
    assert list(plotted) == ["actual", "predicted", "seed"]
    shares = pd.crosstab(plotted["actual"], plotted["predicted"], normalize="index")
    diagonal = [shares.loc[label, label] for label in shares.index]
    assert np.mean(diagonal) == pytest.approx(board_of(run)["student"]["emotion"]["uar"])


def test_a_task_without_labels_keeps_its_keys_with_null(tmp_path):
    whole, rows = board_of(made_predictions(manifest())), manifest().assign(sentiment=None)
    run = made_predictions(rows)
    del run.outputs["sentiment"]
    board = board_of(run, manifest(20, split="train").assign(sentiment=None))
    results.write_json(tmp_path / "evaluate.json", board)
    written = results.read_json(tmp_path / "evaluate.json")
    assert list(written) == list(whole)
    for model in set(whole) - {"selection_gap"}:
        for task in whole[model]:
            assert list(written[model][task]) == list(whole[model][task])
            assert all((value is None) == (task == "sentiment") for value in written[model][task].values())
    predictions.write_predictions(tmp_path / "predictions.parquet", run)
    assert list(predictions.read_predictions(tmp_path / "predictions.parquet").outputs) == ["emotion"]


def test_predictions_are_read_as_written_with_the_same_bytes(tmp_path):
    run = made_predictions(manifest(), names=("full", "only:text"))
    for name in ("one", "two"):
        predictions.write_predictions(tmp_path / name, run)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    again = predictions.read_predictions(tmp_path / "one")
    assert again.keys == run.keys
    assert again.classes == run.classes
    for task in SPACE.tasks:
        assert np.array_equal(again.actual(task), run.actual(task))
        for part in prediction_arrays.PARTS:
            assert np.array_equal(again.outputs[task][part], run.outputs[task][part])


def test_an_empty_test_split_has_null_scores():
    board = board_of(made_predictions(manifest(dialogues=0)))
    assert np.isnan(board["student"]["emotion"]["macro_f1"])


def test_curve_and_summary():
    made = {"full": 0.8, "only:text": 0.5, "only:audio": 0.3, "rate:0.5": 0.6, "rate:1": 0.2, "rate:text=1": 0.1}
    summary = robustness.summary(made)
    assert summary == pytest.approx({"area": 0.55, "worst_subset": 0.3, "loss_at_half": 0.25})


def test_the_baseline_knows_only_training_labels():
    train = manifest(20, split="train").assign(emotion="fear", sentiment="negative")
    run = made_predictions(manifest())
    board = board_of(run, train)
    assert board["baseline"]["emotion"]["accuracy"] == pytest.approx((run.rows["emotion"] == "fear").sum() / 59)
    assert board["student"]["sentiment"]["consistency"] == pytest.approx(
        (run.predicted("sentiment", "student") == 0).mean()
    )


def outputs(folder):
    paths = [path for top in ("out/evaluate", "metrics", "plots") for path in sorted((folder / top).rglob("*"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The stage run on made-up networks: (folder, its outputs)."""
    folder = tmp_path_factory.mktemp("evaluated")
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8"))
    params["evaluate"] |= {"rates": [0.5, 0.2], "repeats": 2, "rounds": 50}
    finished.write(folder, params | {"compute": {"workers": 1, "device": "cpu", "engine": "local"}})
    finished.keep_epochs(folder / "out/train/seed-1", params["model"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluate.main()
    return folder, outputs(folder)


def test_the_stage_gives_the_same_bytes_again(evaluated, monkeypatch):
    folder, first = evaluated
    monkeypatch.chdir(folder)
    evaluate.main()
    assert outputs(folder) == first
    assert {"metrics/evaluate.json", "metrics/robustness.json", "out/evaluate/masks/sample.parquet"} <= set(first)
    for task in SPACE.tasks:
        assert {f"plots/evaluate/confusion/{task}.csv", f"plots/evaluate/confusion_{task}.png"} <= set(first)


def test_scores_are_recomputed_from_the_file_alone(evaluated):
    folder, _ = evaluated
    run = predictions.read_predictions(folder / predictions.PREDICTIONS_FILE)
    written = results.read_json(folder / "metrics/evaluate.json")
    for model in MODELS:
        for task in SPACE.tasks:
            measured = scores.summarise(scores.confusion(run.actual(task), run.predicted(task, model), 7))
            assert float(measured["macro_f1"].mean()) == pytest.approx(written[model][task]["macro_f1"], abs=1e-4)


def test_the_rule_of_typicality_is_reported_beside_what_is_without_it(evaluated):
    """Dev has too few utterances here for the rule to leave anything out: with it, all is as without."""
    folder, _ = evaluated
    written = results.read_json(folder / "metrics/typicality.json")
    board = results.read_json(folder / "metrics/evaluate.json")["student"]
    assert next(iter(written)) == "full" and "noise:audio/10dB" in written and "blank:vision" in written
    for name, measured in written.items():
        assert set(measured["left_out"].values()) == {0.0}
        for task in ("emotion", "sentiment"):
            assert measured[task]["with"] == measured[task]["without"], name
    for score in ("macro_f1", "macro_f1_low", "macro_f1_high"):
        assert written["full"]["emotion"]["without"][score] == board["emotion"][score]
    assert numbers(written) <= MOST_NUMBERS
    conditions = results.read_json(folder / "metrics/robustness.json")["student"]["emotion"]
    assert not any(name.startswith("typical") for name in conditions)


def test_shares_of_what_is_left_out():
    class Present:
        present, modalities = torch.tensor([[1, 1], [1, 0], [1, 1], [0, 0]], dtype=torch.bool), ("text", "audio")

    kept = np.array([[False, True], [False, True], [True, True], [True, True]])
    shares = left_out.shares(Present, kept)
    assert shares == {"text": 0.5, "audio": 0.0, "any": 0.5, "all": 0.25}


def test_a_missing_modality_changes_answers_and_the_other_conditions_do_not_matter(evaluated, monkeypatch):
    folder, _ = evaluated
    run = predictions.read_predictions(folder / predictions.PREDICTIONS_FILE)
    full, text = (run.values("emotion", "student", [name]) for name in ("full", "only:text"))
    assert not np.allclose(full, text)
    monkeypatch.chdir(folder)
    split = dataset.read_split("test", ["sample"], MODALITIES, SPACE)
    network = checkpoint.load(folder / "out/distill/seed-2")
    mask = missing_modalities.condition_mask("rate:0.5/1", split.manifest, MODALITIES, 1)
    calibrated = results.read_json(folder / "out/distill/seed-2/calibration.json")
    answers = prediction_arrays.join_rows(
        inference.predict_conditions(network, split, {"rate:0.5/1": mask}, calibrated)
    )
    alone = answers["emotion"]["probability"][0]
    assert np.array_equal(alone, run.values("emotion", "student", ["rate:0.5/1"])[1, 0])


def test_a_file_of_several_row_groups_is_read_as_one(tmp_path, monkeypatch):
    run = made_predictions(manifest())
    predictions.write_predictions(tmp_path / "one.parquet", run)
    monkeypatch.setattr(predictions, "ROWS_PER_GROUP", 70)
    predictions.write_predictions(tmp_path / "many.parquet", run)
    assert pq.ParquetFile(tmp_path / "many.parquet").num_row_groups > 1
    one, many = (predictions.read_predictions(tmp_path / f"{name}.parquet") for name in ("one", "many"))
    assert one.keys == many.keys and one.rows.equals(many.rows)
    for task, parts in one.outputs.items():
        assert all(np.array_equal(values, many.outputs[task][part]) for part, values in parts.items())


def test_every_other_dialogue_is_a_split(evaluated, monkeypatch):
    monkeypatch.chdir(evaluated[0])
    split = dataset.read_split("test", ["sample"], MODALITIES, SPACE)
    assert split.subset(len(split)) is split
    half = split.subset(len(split) // 2 + 1)
    expected = split.batch(range(0, split.dialogues, 2))
    whole = half.batch(range(half.dialogues))
    assert whole["emotion"].equal(expected["emotion"]) and whole["place"].equal(expected["place"])
    assert all(values.equal(expected["values"][name]) for name, values in whole["values"].items())
    assert half.manifest["utterance"].tolist() == split.manifest["utterance"].iloc[expected["index"]].tolist()


def test_the_answers_are_those_of_the_engine(evaluated, monkeypatch):
    folder, _ = evaluated
    monkeypatch.chdir(folder)
    split = dataset.read_split("test", ["sample"], MODALITIES, SPACE)
    network = checkpoint.load(folder / "out/train/seed-1")
    mask = missing_modalities.condition_mask("only:text", split.manifest, MODALITIES, 1)
    logits = loop.predict(network, split, mask)["sentiment"] / 1.5  # the temperature that was made up
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    run = predictions.read_predictions(folder / predictions.PREDICTIONS_FILE).values(
        "sentiment", "teacher", ["only:text"]
    )[0, 0]
    assert run == pytest.approx(expected, abs=1e-5)


def test_corruptions_are_asked_of_the_first_seed_alone(evaluated):
    folder, _ = evaluated
    run = predictions.read_predictions(folder / predictions.PREDICTIONS_FILE)
    corruptions = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["evaluate"]["corruptions"]
    assert {key.seed for key in run.keys if key.condition in corruptions} == {1}
    full = run.values("emotion", "student", ["full"])[0, 0]
    for name in corruptions:
        assert not np.allclose(run.values("emotion", "student", [name])[0, 0], full), name
    written = results.read_json(folder / "metrics/robustness.json")
    assert set(corruptions) <= set(written["student"]["emotion"])
    assert numbers(written) <= MOST_NUMBERS


def test_the_selection_gap_is_what_the_best_kept_epoch_would_have_added(evaluated, monkeypatch):
    folder, _ = evaluated
    monkeypatch.chdir(folder)
    split = dataset.read_split("test", ["sample"], MODALITIES, SPACE)
    actual, reached = split.targets["emotion"].numpy(), {}
    for epoch in (1, 2, 3):
        network = checkpoint.load("out/train/seed-1", weights=f"epochs/epoch-{epoch}.safetensors")
        reached[epoch] = f1_score(
            actual, loop.predict(network, split)["emotion"].argmax(1), labels=np.unique(actual), average="macro"
        )
    gap = results.read_json(folder / "metrics/evaluate.json")["selection_gap"]["emotion"]
    assert gap["macro_f1"] == pytest.approx(max(reached.values()) - reached[2], abs=1e-4)
    assert gap["epochs"] == 3 and gap["macro_f1"] >= 0
    assert not [
        name
        for name in results.read_json(folder / "metrics/robustness.json")["teacher"]["emotion"]
        if "epoch" in name
    ]


def test_without_kept_epochs_the_gap_is_null(tmp_path):
    results.write_json(tmp_path / "evaluate.json", board_of(made_predictions(manifest())))
    gap = results.read_json(tmp_path / "evaluate.json")["selection_gap"]["emotion"]
    assert gap == {"macro_f1": None, "weighted_f1": None, "accuracy": None, "epochs": 0}


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", None, "config.json: not there; run `dvc repro distill`"),
        ("model.safetensors", None, "model.safetensors: not there"),
        ("model.safetensors", b"half of it", "model.safetensors: cannot be read, perhaps half-written"),
        ("config.json", b'{"model": ', "config.json: cannot be read, perhaps half-written"),
        (
            "config.json",
            b'{"model": {"fusion": "soup"}}',
            "config.json: describes no network that this version knows",
        ),
        ("calibration.json", None, "calibration.json: not there"),
    ],
)
def test_a_network_that_cannot_be_read_is_one_line(evaluated, tmp_path, monkeypatch, file, content, words):
    monkeypatch.chdir(evaluated[0])
    split = dataset.read_split("test", ["sample"], MODALITIES, SPACE)
    shutil.copytree("out/distill/seed-2", tmp_path / "distill/seed-2")
    target = tmp_path / "distill/seed-2" / file
    target.unlink() if content is None else target.write_bytes(content)
    full = {"full": np.ones((len(split), 3), bool)}
    with pytest.raises(UserError, match=words) as raised:
        evaluate.predict_job(
            prediction_arrays.PredictionFiles(tmp_path, ()),
            split,
            split,
            {},
            full,
            evaluate.EvaluateJob(BlockKey("student", 2, ""), 0, target.parent, (), {}),
        )
    assert "\n" not in str(raised.value)
