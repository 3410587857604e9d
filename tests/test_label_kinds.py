"""Numbers, several labels at once, votes: from the manifest to metrics, explanations and what is shipped."""

from pathlib import Path

import label_kinds
import numpy as np
import pandas as pd
import pytest
import yaml

from merc.data.records import labels, packs
from merc.data.records import manifest as manifests
from merc.evaluation import predictions
from merc.runtime.results import read_json
from merc.serve.commands import outputs
from merc.serve.predictor import inference
from merc.serve.predictor.dialogue import Dialogue, EncodedFeatures, RecordedUtterance
from merc.serve.predictor.predictor import Predictor
from merc.studies import summary
from models import checkpoint
from stages import distill, evaluate, explain, export, pretrain, train

COLOURS = {"mosi": {"positive": "#33aa55"}, "mosei": {"sad": "#3366cc"}}
STREAMS = {modality: f"{modality}/{label_kinds.ENCODER}" for modality in manifests.MODALITIES}
# what the teacher reaches on test; guessing: 0.5, 0, 0.5, 0.2, 0, 0, 0.33
REACHED = {
    "mosi": {"polarity.macro_f1": 0.7, "sentiment.ccc": 0.4, "sentiment.acc2_nonzero": 0.7},
    "mosei": {"emotions.macro_f1": 0.4, "sentiment.ccc": 0.2},
    "valence": {"valence.ccc": 0.4},
    "votes": {"mood.macro_f1": 0.5},
}
PLOTTED = yaml.safe_load((Path(__file__).parents[1] / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
# a network and its ONNX files are traced in six seconds: in the fast tests one, of two kinds
SHIPPED = ["mosei", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mosi", "valence", "votes"))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of each space in which its stages ran, evaluate the last of them."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(made[name])
                label_kinds.write(made[name], name)
                for stage in (pretrain, train, distill, evaluate):
                    stage.main()
        return made[name]

    return folder


@pytest.fixture(params=list(label_kinds.SPACES))
def run(request, folders, monkeypatch):
    """The name of a space, in its folder."""
    monkeypatch.chdir(folders(request.param))
    return request.param


@pytest.fixture(params=SHIPPED)
def shipped(request, folders, monkeypatch):
    """The same, with what explain and export wrote."""
    monkeypatch.chdir(folders(request.param))
    if not Path("out/export").exists():
        explain.main()
        export.main()
    return request.param


def test_the_teacher_learns(run):
    board = read_json(Path("metrics/evaluate.json"))
    for key, least in REACHED[run].items():
        task, _, metric = key.partition(".")
        assert board["teacher"][task][metric] > least
        assert board["student"][task][f"{metric}_low"] <= board["student"][task][f"{metric}_high"]
    robust = read_json(Path("metrics/robustness.json"))
    assert set(robust["student"]) == set(labels.label_space(f"like_{run}").tasks)
    assert summary.summary_table(board, robust).count("teacher") == len(robust["student"])
    for stage in ("train", "distill"):
        metrics, chosen = read_json(Path(f"metrics/{stage}.json")), label_kinds.SPACES[run][1].split(".")
        assert metrics["by_seed"]["3"] == metrics[chosen[0]][chosen[1]]


def test_predictions_are_read_as_they_were_written(run):
    read, space = predictions.read_predictions(), labels.label_space(f"like_{run}")
    manifest = manifests.read_manifests("test", ["sample"])
    for name, task in space.tasks.items():
        assert read.task(name).kind == task.kind
        assert np.array_equal(read.actual(name), task.targets(manifest), equal_nan=True)
        (block,) = read.blocks("student", ["full"])[:, 0]
        parts = read.outputs[name]
        if task.kind == "regression":
            value, (low, high) = parts["value"][block][:, 0], parts["interval"][block].T
            assert (task.low <= low).all() and (low <= value).all() and (value <= high).all()
        else:
            assert ((parts["probability"] >= 0) & (parts["probability"] <= 1)).all()
        assert (read.labelled(name) == labels.is_labelled(task.targets(manifest))).all()


def test_calibration_and_report_know_the_kind(run):
    calibrated = read_json(Path("out/evaluate/calibration.json"))["student"]
    keys = {"regression": {"coverage", "width"}, "multilabel": {"brier", "brier_raw"}, "classification": {"ece"}}
    page = Path("out/evaluate/report/index.html").read_text(encoding="utf-8")
    for name, task in labels.label_space(f"like_{run}").tasks.items():
        assert keys[task.kind] <= set(calibrated[name])
        figure = "numbers" if task.kind == "regression" else "classes"
        assert f'alt="{figure}_{name}"' in page
        files = list(Path("plots/evaluate").glob(f"*/{name}.csv"))
        drawn = {path.parent.name for path in files if len(pd.read_csv(path))}
        own = {"regression": {"numbers"}, "multilabel": {"reliability"}}.get(
            task.kind, {"confusion", "confusion_teacher", "reliability", "risk_coverage"}
        )
        assert drawn == {"missing_rate", *own}
        folders = {name for one in PLOTTED for name in one if name.startswith("plots/evaluate/")}
        assert folders == {path.parent.as_posix() for path in files}
    assert ("MAE" in page) == (run != "votes")
    if run == "votes":
        board = read_json(Path("metrics/evaluate.json"))
        assert 0 < board["teacher"]["mood"]["jensen_shannon"] < 0.2 < 0.693
        assert "train never shows rare: never answered" in page


def test_a_class_that_train_does_not_show_is_never_answered(run):
    network = checkpoint.load("out/distill/seed-3")
    unseen = {task: kind.unseen for task, kind in network.kinds.items() if kind.unseen}
    assert unseen == {"mosei": {"emotions": ("fearful", "disgusted")}, "votes": {"mood": ("rare",)}}.get(run, {})
    read = predictions.read_predictions()
    for task, names in unseen.items():
        columns = [network.labels[task].index(name) for name in names]
        for model in ("teacher", "student"):
            assert read.values(task, model, ["full", "only:text"])[..., columns].max() < 1e-6


def test_what_is_explained_is_a_choice(shipped):
    table = pd.read_csv("plots/explain/modalities.csv")
    expected = {
        "mosi": {"negative", "positive"},
        "mosei": {*label_kinds.EMOTIONS, "none"},
        "valence": {"valence below 3", "valence above 3"},
        "votes": {"calm", "glad", "low"},
    }
    assert set(table["emotion"]) <= expected[shipped] and len(table)
    assert read_json(Path("metrics/explain.json"))["shapley_gap"] < 1e-3


def test_the_export_answers_as_evaluate_did(shipped):
    """From the packs' features, by the checkpoint and by ONNX."""
    manifest = manifests.read_manifests("test", ["sample"])
    read = predictions.read_predictions()
    (block,) = read.blocks("student", ["full"])[:, 0]
    features = {
        modality: packs.read_pack(packs.pack_path("test", "sample", modality), manifest)
        for modality in manifests.MODALITIES
    }
    dialogue = Dialogue(
        [
            RecordedUtterance(
                row.utterance,
                None,
                0.0,
                1.0,
                dialogue=row.dialogue,
                speaker=row.speaker,
                features={
                    modality: EncodedFeatures(pack.utterance(row.Index).astype(np.float32), np.zeros((0, 0)))
                    for modality, pack in features.items()
                    if pack.present[row.Index]
                },
            )
            for row in manifest.itertuples()
        ]
    )
    for engine, tolerance in (("torch", 1e-4), ("onnx", 2e-3)):
        predictor = Predictor.load("out/export", engine=engine)
        answers = inference.predict_outputs(predictor.forward, dialogue, predictor.modalities, STREAMS, {})
        about = predictor.tasks, predictor.calibration, predictor.modalities
        rows = inference.prediction_rows(dialogue, answers, *about, hide=())
        for name, task in labels.label_space(f"like_{shipped}").tasks.items():
            if task.kind == "regression":
                answered, expected = [[row[name]["value"]] for row in rows], read.outputs[name]["value"][block]
            else:
                answered = [list(row[name].values()) for row in rows]
                expected = read.outputs[name]["probability"][block]
            assert np.abs(np.array(answered) - expected).max() < tolerance
    assert predictor.colours == COLOURS.get(shipped, {})
    table = outputs.to_table(rows)
    assert all(name in table.splitlines()[0] for name in labels.label_space(f"like_{shipped}").tasks)
    outputs.write_csv(Path("rows.csv"), rows, dialogue)
    outputs.write_srt(Path("rows.srt"), rows, dialogue)
    assert "kinds" not in Path("rows.csv").read_text(encoding="utf-8").splitlines()[0]
    card = Path("out/export/card.md").read_text(encoding="utf-8")
    assert ("MAE" in card) == (shipped != "votes")
