"""merc score: evaluate's own numbers to the digit, whatever the order of rows or the file's form."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from closure import ROOT
from scored import as_columns, draw_corpus, score, section_evaluate
from test_evaluate import made_predictions

from merc.__main__ import main
from merc.data.batches import dataset
from merc.data.records import manifest as manifests
from merc.evaluation import (
    bootstrap,
    floor,
    headline,
    predictions,
    reliability,
    robustness,
    selection_gap,
    significance,
    slices,
)
from merc.evaluation.prediction_arrays import join_rows
from merc.evaluation.report import tables
from merc.runtime import results
from merc.studies.scoring import prediction_files, protocols, result_file
from merc.studies.scoring.command import merc_version
from merc.studies.scoring.prediction_files import read_system
from merc.studies.scoring.reference import digest, read_reference

NAMES = (
    "full",
    *(name for name in protocols.CONDITIONS if name.startswith("only:")),
    *(f"rate:{rate}/{repeat}" for rate in ("0.3", "0.5") for repeat in (1, 2)),
    "rate:text=0.7+audio=0.1+vision=0.1/1",
    "epoch:1",
    "epoch:2",
)
FILE = "out/evaluate/predictions.parquet"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A folder after extract and evaluate: teacher, student and floor, two seeds; and the predictions."""
    folder = tmp_path_factory.mktemp("score")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = draw_corpus()["test"]
        run = made_predictions(rows, names=NAMES)
        for parts in run.outputs.values():  # before calibration the probabilities are blunter
            raw = np.sqrt(parts["probability"])
            parts["raw"] = (raw / raw.sum(-1, keepdims=True)).round(6).astype(np.float32)
        predictions.write_predictions(predictions.PREDICTIONS_FILE, run)
    return folder, run, rows


@pytest.fixture
def run(evaluated, monkeypatch):
    monkeypatch.chdir(evaluated[0])
    return evaluated[1]


def written(value):
    """As write_json leaves a number."""
    return None if not np.isfinite(value) else round(float(value), results.DECIMALS)


def check_numbers(task, told, run, model="student"):
    """A result file's numbers against evaluate's functions."""
    draws = bootstrap.draw(run.groups()[1], 2, protocols.ROUNDS, protocols.BOOTSTRAP_SEED)
    board = headline.headline(run, task, model, draws)
    for name, parts in told["scores"].items():
        assert parts["value"] == written(board[name])
        assert [parts[p] for p in ("std", "low", "high")] == [
            written(board[f"{name}_{p}"]) for p in ("std", "low", "high")
        ]
    only = run.take(np.ones(len(run.rows), bool))
    only = type(run)(only.rows, only.classes, *_of_model(only, model))
    robust = robustness.robustness(only)[model][task]
    assert told["conditions"] == {name: written(value) for name, value in robust.items()}
    by_class = tables.class_scores(only, task, draws)
    for row, each in zip(by_class.itertuples(), told["by_class"], strict=True):
        assert [each[n] for n in ("f1", "f1_low", "f1_high")] == [
            written(v) for v in (row.f1, row.f1_low, row.f1_high)
        ]
        assert each["support"] == row.support
    curve = robustness.missing_rate_curve(only, task, draws)
    assert [[p["rate"], p["macro_f1"], p["low"], p["high"]] for p in told["curve"]] == [
        [written(v) for v in row] for row in curve.to_numpy()
    ]


def _of_model(run, model):
    kept = [number for number, key in enumerate(run.keys) if key.model == model]
    outputs = {t: {p: v[kept] for p, v in parts.items()} for t, parts in run.outputs.items()}
    return tuple(run.keys[number] for number in kept), outputs


def test_own_predictions_give_evaluates_numbers(run, evaluated, capsys):
    told = score(f"{FILE}#student", "--baseline", f"{FILE}#teacher")
    train, dev = (manifests.read_manifests(split, ["sample"]) for split in ("train", "dev"))
    masks = slices.slice_masks(
        manifests.read_manifests("test", ["sample"]), pd.concat([train, dev], ignore_index=True)
    )
    for task, content in told["tasks"].items():
        check_numbers(task, content, run)
        measured = reliability.calibration_measures(run, task, "student")
        for name, value in content["calibration"].items():
            by_class = value if isinstance(value, dict) else {name: value}
            expected = measured[name] if isinstance(value, dict) else {name: measured[name]}
            assert by_class == {key: written(each) for key, each in expected.items()}
        report = significance.compare(run, run, ("teacher", "student"), task, protocols.ROUNDS)
        assert content["comparison"]["verdict"] == report.pop("verdict")
        assert {name: content["comparison"][name] for name in report} == {n: written(v) for n, v in report.items()}
        shown = slices.slice_table(run, task, masks, ["student"])
        assert [each["macro_f1"] for each in content["slices"]] == [written(v) for v in shown["macro_f1"]]
        clean = run.take(masks["clean test"])
        draws = bootstrap.draw(clean.groups()[1], 2, protocols.ROUNDS, protocols.BOOTSTRAP_SEED)
        board = headline.headline(clean, task, "student", draws)
        assert content["clean"]["macro_f1"]["low"] == written(board["macro_f1_low"])
    gap = selection_gap.epoch_gap(run, "student")
    assert told["tasks"]["emotion"]["selection_gap"] == {name: written(value) for name, value in gap.items()}
    printed = capsys.readouterr().out
    assert "protocol 1.0 (docs/protocols/sample.md)" in printed and "no floor: out/encode/train" in printed
    assert max(map(len, printed.splitlines())) <= 110


@pytest.mark.parametrize("form", ["shuffled.parquet", "shuffled.csv", "plain.parquet"])
def test_rows_may_come_in_any_order_and_form(run, form):
    told = score(f"{FILE}#student", "--baseline", f"{FILE}#teacher")
    order = np.random.default_rng(5)
    if form == "shuffled.parquet":
        table = pq.read_table(FILE)
        pq.write_table(table.take(pa.array(order.permutation(len(table)))), form)
        word = f"{form}#student"
    else:
        columns = as_columns(run, "student").sample(frac=1, random_state=2)
        columns.to_csv(form, index=False) if form.endswith("csv") else columns.to_parquet(form)
        word = form
    again = score(word, "--baseline", f"{FILE}#teacher")
    for task, content in told["tasks"].items():
        other = again["tasks"][task]
        for name in ("scores", "by_class", "slices", "clean", "conditions", "curve", "equity", "replicates"):
            assert other[name] == content[name], name
        assert {n: v for n, v in other["comparison"].items() if n != "verdict"} == {
            n: v for n, v in content["comparison"].items() if n != "verdict"
        }
    assert again["reference"] == told["reference"]
    if form == "shuffled.parquet":
        assert again["predictions"]["digest"] == told["predictions"]["digest"]
        assert again["tasks"] == told["tasks"]


def test_labels_alone_and_a_file_a_seed(run):
    for number, seed in enumerate((1, 2), start=1):
        table = pd.DataFrame({"utterance": run.rows["utterance"]})
        for task in run.outputs:
            block = run.blocks("student", ["full"])[seed - 1, 0]
            order = np.array(run.classes[task])
            table[task] = order[run.outputs[task]["probability"][block].argmax(-1)]
        table.sample(frac=1, random_state=seed).to_csv(f"seed{number}.csv", index=False)
    told, both = score("seed1.csv", "seed2.csv"), score(f"{FILE}#student")
    assert told["predictions"]["seeds"] == [1, 2] and told["predictions"]["conditions"] == ["full"]
    for task, content in told["tasks"].items():
        assert content["kind"] == "labels" and content["calibration"] is None
        assert content["scores"] == both["tasks"][task]["scores"]
    assert any("labels, not probabilities" in note for note in told["notes"])


def test_missing_rows_are_refused_or_said(run, capsys):
    columns = as_columns(run, "student")
    columns = columns[columns["condition"] == "full"]
    dropped = run.rows["utterance"][run.rows["emotion"].notna()].iloc[3]
    columns[(columns["utterance"] != dropped) | (columns["seed"] != 2)].to_csv("short.csv", index=False)
    assert main(["score", "short.csv", "--corpus", "sample"]) == 2
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1 and dropped in refused and "seed 2" in refused and "--allow-missing" in refused
    told = score("short.csv", "--allow-missing", "--baseline", f"{FILE}#teacher")
    kept = run.take((run.rows["utterance"] != dropped).to_numpy())
    draws = bootstrap.draw(kept.groups()[1], 2, protocols.ROUNDS, protocols.BOOTSTRAP_SEED)
    board = headline.headline(kept, "emotion", "student", draws)
    assert told["tasks"]["emotion"]["scores"]["macro_f1"]["value"] == written(board["macro_f1"])
    assert told["predictions"]["missing"] == 1 and told["reference"]["scored"] == len(run.rows) - 1
    assert any("1 labelled utterances have no prediction" in note for note in told["notes"])
    gain = significance.compare(kept, kept, ("teacher", "student"), "emotion", protocols.ROUNDS)["difference"]
    assert told["tasks"]["emotion"]["comparison"]["difference"] == written(gain)


def test_epochs_show_on_which_split_a_system_was_selected(run, capsys):
    columns = as_columns(run, "student")
    columns = columns[columns["condition"].isin(["epoch:1", "epoch:2"])]
    by_epoch = dict(list(columns.groupby("condition")))
    told = {epoch: headline_of(run, epoch) for epoch in by_epoch}
    best = {seed: max(told, key=lambda epoch: told[epoch][seed]) for seed in (1, 2)}
    worst = {seed: min(told, key=lambda epoch: told[epoch][seed]) for seed in (1, 2)}

    def with_full(choice):
        chosen = [by_epoch[choice[s]][by_epoch[choice[s]]["seed"] == s].assign(condition="full") for s in (1, 2)]
        return pd.concat([columns, *chosen])

    with_full(best).to_csv("best.csv", index=False)
    with_full(worst).to_csv("worst.csv", index=False)
    # in dev the other epoch is best: the dev rows answer what the labels are
    dev = manifests.read_manifests("dev", ["sample"]).dropna(subset=["emotion"])
    parts = []
    for seed in (1, 2):
        for name in ("full", "epoch:1", "epoch:2"):
            label = dev["emotion"] if name in ("full", worst[seed]) else dev["emotion"].shift(-1, fill_value="joy")
            parts.append(
                pd.DataFrame({"utterance": dev["utterance"], "seed": seed, "condition": name, "emotion": label})
            )
    pd.concat(parts).to_csv("dev.csv", index=False)
    assert score("best.csv", "--dev", "dev.csv", "--selected-on", "test")["selected_on"] == "test"
    told = score("worst.csv", "--dev", "dev.csv")
    assert told["selected_on"] == "dev" and told["tasks"]["emotion"]["selection_gap"]["macro_f1"] >= 0
    assert told["tasks"]["emotion"]["dev"]["accuracy"]["value"] == 1.0
    assert main(["score", "best.csv", "--corpus", "sample", "--dev", "dev.csv", "--selected-on", "dev"]) == 2
    assert "is the epoch that is best on test" in capsys.readouterr().err


def headline_of(run, epoch):
    """{seed: macro F1 for emotion}."""
    matrices = run.confusions("emotion", "student", [epoch])[:, 0]
    return dict(zip((1, 2), headline.scores.summarise(matrices)["macro_f1"], strict=True))


def test_the_floor_is_fitted_where_there_are_features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = draw_corpus(features=True)["test"]
    run = made_predictions(rows, seeds=(4,))
    as_columns(run, "student").to_csv("mine.csv", index=False)
    told = score("mine.csv")
    space = read_reference(protocols.protocol("sample"), "test", "meld").space
    train, dev, test = (dataset.read_split(s, ["sample"], manifests.MODALITIES, space) for s in manifests.SPLITS)
    fitted = floor.fit_seeds(train, dev, 1.0, [4])[4]
    answers = join_rows(floor.predict(fitted, test, {"full": np.ones((len(test), 3), dtype=bool)}))
    for task in told["tasks"]:
        actual = run.actual(task)
        expected = headline.scores.scores(
            actual, answers[task]["probability"][0].argmax(-1), len(run.classes[task])
        )
        assert told["tasks"][task]["floor"]["macro_f1"]["value"] == written(expected["macro_f1"])
        gain = told["tasks"][task]["scores"]["macro_f1"]["value"] - written(expected["macro_f1"])
        assert told["tasks"][task]["against_floor"]["difference"] == pytest.approx(gain, abs=2e-4)


def test_the_log_has_a_line_for_every_look(run):
    for _ in range(2):
        score(f"{FILE}#student", "--log", "looks/log.jsonl")
    lines = [json.loads(line) for line in Path("looks/log.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and lines[0]["split"] == "test" and lines[0]["predictions"] == lines[1]["predictions"]
    told = score(f"{FILE}#student")["tasks"]["emotion"]["scores"]["macro_f1"]
    assert lines[0]["emotion"] == pytest.approx(told["value"], abs=1e-4)


def test_the_result_file_is_typed(run):
    told = score(f"{FILE}#student")
    read = result_file.read(Path("result.json"))
    assert read.system == "student" and read.merc == merc_version() and read.protocol.version == "1.0"
    assert json.loads(read.model_dump_json()) == told
    rows = read_reference(protocols.protocol("sample"), "test", "meld").rows()
    assert (
        read.reference.digest == digest(rows) != digest(rows.assign(emotion=rows["emotion"].iloc[::-1].to_list()))
    )
    assert len(read.tasks["emotion"].replicates) == protocols.ROUNDS


def test_the_protocols_are_evaluates_and_have_pages():
    section = section_evaluate()
    assert section["mask_seed"] == protocols.MASK_SEED and list(protocols.RATES) == section["rates"]
    assert list(protocols.UNEVEN) == section["uneven"] and section["repeats"] == protocols.REPEATS
    assert (section["rounds"], section["bootstrap_seed"]) == (protocols.ROUNDS, protocols.BOOTSTRAP_SEED)
    protocols.check_conditions("x", [*protocols.CONDITIONS, *section["corruptions"], "epoch:12", "rate:0.35/1"])
    for name, protocol in protocols.PROTOCOLS.items():
        page = ROOT / f"docs/protocols/{name}.md"
        assert f"Version {protocol.version}" in page.read_text(encoding="utf-8")


def test_only_what_a_dev_file_or_a_baseline_is_for_is_read(run):
    reference = read_reference(protocols.protocol("sample"), "test", "meld")
    system = read_system([f"{FILE}#student"], reference, select=prediction_files.only_full)
    assert system.predictions.conditions("student") == ["full"] and system.predictions.num_seeds == 2
    epochs = read_system([f"{FILE}#student"], reference, select=prediction_files.full_and_epochs)
    assert epochs.predictions.conditions("student") == ["full", "epoch:1", "epoch:2"]
