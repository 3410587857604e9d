"""Studies: the page says what the files say, rows are valid, a row runs beside the user's files."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from test_params import SECTIONS

from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import BlockKey, Predictions
from merc.runtime import params
from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from merc.studies import cells, definitions, label_studies, measure, presets, results_page, run, typicality
from merc.studies.definitions import PRETRAINED_SUFFIX, STUDIES, Study, StudyRow
from merc.training.core.scores import HEADLINE_METRICS

ROOT = Path(__file__).resolve().parent.parent
VALUES = ([0.5, 0.6, 0.8], [0.4, 0.6, 0.5])
FOLDERS = ("stages", "models", "merc", "data/raw/own", "data/features", "data/weights/align", "docs/results")
FILES = sorted((ROOT / "docs/results").glob("*.json"))


def test_the_page_is_what_the_files_say():
    page = results_page.render_results_page([read_json(file) for file in FILES])
    assert (ROOT / "docs/results.md").read_text(encoding="utf-8") == page


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_of_results_is_whole(file):
    text = file.read_text(encoding="utf-8")
    content = json.loads(text)
    assert text == json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    for row in content.get("rows", ()):
        assert row["test_scored"] == (content["until"] == "evaluate") == (row["test"] is not None)
        assert row["seeds"] and len(row["lock"]) == 64 and len(row["commit"]) == 7 and str(ROOT) not in text


def test_shares_are_of_the_utterances_that_have_the_modality():
    judged = np.array([[0.001, 0.5], [np.nan, 0.001], [0.9, 0.9], [0.001, 0.001]])
    row = typicality._row("a model", "a shift", judged, ("text", "audio"))
    assert row["left_out"] == {"text": pytest.approx(2 / 3), "audio": 0.5, "any": 0.75, "all": 0.5}
    study = {"study": "typicality", "title": "What is left out", "false_alarms": 0.05, "shifts": [row]}
    page = results_page.render_results_page([study]).splitlines()
    assert "| a model | a shift | 4 | 0.667 | 0.500 | - | 0.750 | 0.500 |" in page


@pytest.mark.parametrize("name", STUDIES)
def test_the_rows_of_a_study_are_valid_and_differ(name, tmp_path):
    study = STUDIES[name]
    texts = [run.row_parameters(study, row) for row in study.rows]
    assert len({row.name for row in study.rows}) == len(set(texts)) == len(texts)
    known = yaml.safe_load(presets.preset_text(study.preset))
    for row, text in zip(study.rows, texts, strict=True):
        for key in study.flags | row.flags:
            assert _has(known, key), key
        (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
        for section, kind in SECTIONS.items():
            params.read(section, kind, tmp_path / "params.yaml")


def _has(values: dict, key: str) -> bool:
    for part in key.split("."):
        if part not in values:
            return False
        values = values[part]
    return True


@pytest.mark.parametrize(
    ("words", "told"), [(("meldd",), "no study 'meldd'"), (("distill", "phase 3"), "no row 'phase 3'")]
)
def test_a_wrong_name_is_refused_with_those_there_are(words, told):
    with pytest.raises(UserError, match=told) as problem:
        run.run_study(*words)
    assert "distill" in str(problem.value) or "phase 1 only" in str(problem.value)


def test_a_paired_gain_has_the_interval_of_scipy():
    own, first = ({str(seed): value for seed, value in enumerate(values)} for values in VALUES)
    low, high = stats.ttest_rel(list(own.values()), list(first.values())).confidence_interval()
    assert cells.format_paired_gain(own, first) == f"{np.mean([0.1, 0.0, 0.3]):+.3f} [{low:+.3f}, {high:+.3f}]"


PROJECT = {  # stages that copy a parameter into metrics: what a study needs of the pipeline, in a second
    "stages": {
        "sample": {"cmd": "mkdir -p data/raw/sample", "outs": ["data/raw/sample"]},
        "pretrain": {
            "cmd": "mkdir -p metrics && cp data/raw/own/number.json metrics/pretrain.json",
            "deps": ["data/raw/own"],
            "outs": [{"metrics/pretrain.json": {"cache": False}}],
        },
        "train": {
            "cmd": "python stages/learn.py",
            "deps": ["stages/learn.py", "metrics/pretrain.json", "data/features"],
            "params": ["train"],
            "outs": [{"metrics/train.json": {"cache": False}}, {"plots/train/learning.csv": {"cache": False}}],
        },
    }
}
LEARN = """
import json, pathlib, yaml
assert pathlib.Path("data/features/own/numbers.csv").exists() and not pathlib.Path("data/features/own").is_symlink()
pathlib.Path("log").open("a").write("learnt")
rate = yaml.safe_load(open("params.yaml"))["train"]["lr"]
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("plots/train").mkdir(parents=True, exist_ok=True)
emotion = {"weighted_f1": rate, "macro_f1": rate, "uar": rate}
told = {"emotion": emotion, "best_epoch": {"1": 2}, "by_seed": {"1": rate}}
pathlib.Path("metrics/train.json").write_text(json.dumps(told))
pathlib.Path("plots/train/learning.csv").write_text("seed,epoch,dev_score\\n1,1,0.0\\n1,2,1.0\\n")
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A repository with an own branch, own data and uncommitted parameters."""
    home = tmp_path / "project"
    for folder in FOLDERS:
        (home / folder).mkdir(parents=True)
    (home / "data/features/own").mkdir()
    (home / "data/features/own/numbers.csv").touch()
    for folder in ("features", "weights", "weights/align"):
        (home / "data" / folder / "README.md").touch()
    shutil.copytree(ROOT / "presets", home / "presets")
    shutil.copy(ROOT / "params.yaml", home)
    (home / "dvc.yaml").write_text(yaml.safe_dump(PROJECT, sort_keys=False), encoding="utf-8")
    (home / "stages/learn.py").write_text(LEARN, encoding="utf-8")
    (home / "data/raw/own/number.json").write_text('{"recall_at_1": null}', encoding="utf-8")
    (home / ".gitignore").write_text("/data/raw\n/data/features/own\n/out\n/log\n", encoding="utf-8")
    monkeypatch.chdir(home)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(run.tempfile, "tempdir", str(tmp_path))
    rows = (StudyRow("slow", {"train.lr": 0.25}), StudyRow("fast", {"train.lr": 0.5}))
    study = Study("Two rates", "sample", "train", rows, {"train.seeds": [1]})
    monkeypatch.setattr(run, "STUDIES", {"rates": study})
    for words in (["git", "init", "-q"], [*DVC, "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(words, check=True)
    subprocess.run([*AS_SOMEBODY, "commit", "-qm", "begin"], check=True)
    return home


DVC = [run.sys.executable, "-m", "dvc"]
AS_SOMEBODY = ["git", "-c", "user.name=x", "-c", "user.email=x@y.z"]


def state(home: Path) -> list:
    words = (["status", "--porcelain"], ["for-each-ref"], ["stash", "list"])
    said = [subprocess.run(["git", *one], cwd=home, capture_output=True, text=True).stdout for one in words]
    return [*said, (home / "params.yaml").read_bytes()]


@pytest.mark.slow
def test_a_study_runs_its_rows_once_and_leaves_the_project_as_it_was(project, capsys):
    (project / "params.yaml").write_text("compute:\n  workers: 1\n", encoding="utf-8")  # the user is at work
    before = state(project)
    run.run_study("rates", "fast")
    run.run_study("rates")
    written = read_json(project / "docs/results/rates.json")
    assert [row["dev"]["teacher"]["emotion"]["macro_f1"] for row in written["rows"]] == [0.25, 0.5]
    assert [row["flags"] for row in written["rows"]] == [{"train.lr": 0.25}, {"train.lr": 0.5}]
    assert written["rows"][0]["params"] == {"train.seeds": [1], "train.lr": 0.25}
    assert written["rows"][0]["lock"] != written["rows"][1]["lock"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert {row["commit"] for row in written["rows"]} == {head[:7]}
    assert "fast: done with this code" in capsys.readouterr().out
    file = (project / "docs/results/rates.json").read_bytes()
    shutil.rmtree(project / "docs")
    (project / "docs/results").mkdir(parents=True)
    assert state(project) == before and not list(project.parent.glob("merc-results-*/*"))
    run.run_study("rates")  # another order
    assert (project / "docs/results/rates.json").read_bytes() == file


@pytest.mark.slow
def test_a_study_goes_on_after_a_kill_that_left_unsaved_outputs(project, monkeypatch):
    subprocess.run([*DVC, "repro", "-q", "sample"], check=True)
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run([*AS_SOMEBODY, "commit", "-qm", "lock"], check=True)

    def die(clone, study, row):
        (clone / "data/raw/sample/half").write_text("written before the kill", encoding="utf-8")
        raise UserError("killed")

    with monkeypatch.context() as once:
        once.setattr(run, "_reproduce", die)
        with pytest.raises(UserError, match="killed"):
            run.run_study("rates", "fast")
    run.run_study("rates", "fast")
    assert read_json(project / "docs/results/rates.json")["rows"][0]["name"] == "fast"


@pytest.mark.slow
def test_changed_code_runs_a_row_again_once_it_is_committed(project):
    run.run_study("rates", "fast")
    first = read_json(project / "docs/results/rates.json")["rows"][0]
    (project / "stages/learn.py").write_text(LEARN.replace('macro_f1": rate', 'macro_f1": rate / 2'))
    with pytest.raises(UserError, match=r"stages/learn\.py is not committed"):
        run.run_study("rates", "fast")
    subprocess.run([*AS_SOMEBODY, "commit", "-qam", "halve"], check=True)
    run.run_study("rates", "fast")
    again = read_json(project / "docs/results/rates.json")["rows"][0]
    assert again["dev"]["teacher"]["emotion"]["macro_f1"] == 0.25 != first["dev"]["teacher"]["emotion"]["macro_f1"]
    assert again["key"] != first["key"] and again["lock"] != first["lock"]


@pytest.mark.slow
def test_what_a_stage_says_of_its_failure_is_shown(project, capsys):
    (project / "stages/learn.py").write_text("raise SystemExit('no learning today')", encoding="utf-8")
    subprocess.run([*AS_SOMEBODY, "commit", "-qam", "break"], check=True)
    with pytest.raises(UserError, match="failed in"):
        run.run_study("rates")
    assert "no learning today" in capsys.readouterr().err


def test_published_figures_stand_under_the_table():
    study = {"study": "x", "title": "X", "preset": "sample", "until": "train", "rows": [], "published": ["a 0.5"]}
    assert "- Published: a 0.5." in results_page.render_results_page([study]).splitlines()


def answered(right: dict[str, float], seeds=(1, 2)) -> Predictions:
    """Answers to 60 utterances of two corpora, of which such a share is right."""
    random, names = np.random.default_rng(1), ("joy", "anger", "fear")
    rows = pd.DataFrame({"corpus": ["a"] * 30 + ["b"] * 30, "dialogue": [str(n // 3) for n in range(60)]})
    rows = rows.assign(utterance=[f"u{n}" for n in range(60)], group=rows["corpus"] + rows["dialogue"])
    actual = random.integers(0, 3, 60)
    rows = rows.assign(emotion=[names[one] for one in actual], sentiment=None)
    hit = random.random((len(seeds), 60)) < rows["corpus"].map(right).to_numpy()
    probability = np.eye(3)[np.where(hit, actual, (actual + 1) % 3)]
    keys = tuple(BlockKey("teacher", seed, FULL) for seed in seeds)
    return Predictions(rows, {"emotion": names}, keys, {"emotion": {"probability": probability}})


def test_a_row_is_compared_with_the_reference_of_each_corpus(tmp_path, monkeypatch):
    found = {
        "A": answered({"a": 0.9, "b": 0.2}),
        "B": answered({"a": 0.2, "b": 0.5}),
        "both": answered({"a": 0.9, "b": 1.0}),
    }
    monkeypatch.setattr(measure, "PREDICTIONS_FOLDER", tmp_path)
    monkeypatch.setattr(measure.predictions, "read_predictions", lambda file: found[file.stem])
    for name in found:
        (tmp_path / f"{name}.parquet").touch()
    study = Study("", "joint", "evaluate", (), models=("teacher",), against={"a": "A", "b": "B"})
    rows = {name: {"name": name, "key": name} for name in found}
    measure.add_comparisons(study, rows)
    against = {name: row["against"] for name, row in rows.items()}
    assert set(against["A"]) == {"b"} and set(against["B"]) == {"a"} and set(against["both"]) == {"a", "b"}
    assert against["both"]["a"]["teacher"]["difference"] == 0 and against["both"]["b"]["row"] == "B"
    own = against["both"]["b"]["teacher"]
    assert 0 < own["low"] < own["difference"] and own["verdict"].startswith("both beats B by ")
    (tmp_path / "B.parquet").unlink()  # as after a clone: nothing is said without the answers, nor unsaid
    rows["A"].pop("against")
    measure.add_comparisons(study, rows)
    assert "against" not in rows["A"] and rows["both"]["against"]["b"]["row"] == "B"


def test_the_table_by_corpus_has_the_differences_and_the_verdicts():
    scores = {name: {"mean": 0.5, "low": 0.4, "high": 0.6} for name in HEADLINE_METRICS}
    told = {"difference": 0.1, "low": 0.05, "high": 0.15, "permutation_p": 0.01, "verdict": "both beats A by 0.1"}
    by_task = {"emotion": scores, "sentiment": scores}
    known = {"dev": {"teacher": {"emotion": {"macro_f1": 0.5}}}, "test": {"teacher": by_task}}
    known |= {"corpora": {"a": {"teacher": by_task}}, "about": "", "flags": {}, "seeds": [1], "commit": "abc"}
    rows = [{"name": name} | known for name in ("A", "both")]
    rows[1]["against"] = {"a": {"row": "A", "teacher": told}}
    study = {"study": "x", "title": "X", "preset": "joint", "until": "evaluate", "rows": rows}

    def by_corpus() -> list[str]:
        page = results_page.render_results_page([study]).splitlines()
        return page[next(number for number, line in enumerate(page) if "tested on" in line) :]

    assert by_corpus()[2].endswith("| - |") and by_corpus()[3].endswith("| +0.100 [+0.050, +0.150] (A) |")
    assert by_corpus()[4:6] == ["", "- On a, teacher: both beats A by 0.1."]
    rows[1]["against"]["a"]["teacher"] = {"verdict": "no utterance has a label for emotion"}
    assert by_corpus()[3].endswith("| - |")


def test_the_curve_of_label_shares_has_both_lines_and_their_intervals():
    def row(share, values, suffix=PRETRAINED_SUFFIX):
        dev = {"teacher": {"by_seed": dict(zip("123", values, strict=True))}}
        return {"name": f"{share}{suffix}", "flags": {"data.label_fraction": share}, "dev": dev}

    plain = row(0.5, VALUES[1], "")
    table = label_studies.label_fraction_curves({"rows": [row(1.0, VALUES[0]), row(0.5, VALUES[0]), plain]})
    assert list(table["share"]) == [0.5, 1.0] and table["without"].isna().tolist() == [False, True]
    low, high = stats.ttest_1samp(VALUES[1], 0).confidence_interval()
    assert table.loc[0, ["without_low", "without_high"]].tolist() == pytest.approx([low, high])


def test_the_code_of_a_row_is_that_of_every_item_of_a_matrix():
    one, both = (set(run._code("evaluate", corpora)) for corpora in (["sample"], ["sample", "ravdess"]))
    files = {named.split()[0] for named in one}
    assert {"stages/adapt.py", "merc/encoders/vision/__init__.py", "merc/corpora/sample.py"} <= files
    assert not {"stages/export.py", "merc/corpora/ravdess.py"} & files
    assert [named.split()[0] for named in both - one] == ["merc/corpora/ravdess.py"]


def test_the_scores_of_a_row_are_those_of_the_metrics_files():
    study = definitions.Study("", "sample", "evaluate", ())
    measured = measure.measure_row(
        ROOT, study, StudyRow("as committed"), yaml.safe_load(presets.preset_text("sample"))
    )
    scores = read_json(ROOT / "metrics/evaluate.json")
    assert measured["test"]["student"]["emotion"]["uar"]["high"] == scores["student"]["emotion"]["uar_high"]
    assert measured["dev"]["student"]["by_seed"] == read_json(ROOT / "metrics/distill.json")["by_seed"]
    assert (
        set(measured["dev"]["student"]["subsets_by_seed"]) == {"1", "2", "3", "4", "5"} and measured["params"] == {}
    )


def test_the_tables_across_studies_take_the_rows_that_they_name():
    def row(name, accuracy, some=(), parts=None):
        scores = {one: {"mean": accuracy, "low": None, "high": None} for one in results_page.HEADLINE_METRICS}
        told = {"emotion": scores, "emotion_macro_f1_of": parts or {}}
        return {"name": name, "flags": {"model.modalities": list(some)}, "test": {"teacher": told, "student": told}}

    subsets = [
        row("text", 0.25, ["text"]),
        row("audio and vision", 0.5, ["audio", "vision"]),
        row("late fusion", 0.75),
    ]
    student = [
        row("teacher and student", 0.9, parts={"only:text": 0.24, "only:audio+vision": 0.53, "only:audio": 1})
    ]
    rows = {"subsets": {row["name"]: row for row in subsets}, "student": {row["name"]: row for row in student}}
    lines = [(corpus, line, emotion["uar"]["mean"]) for corpus, line, emotion in results_page.four_lines(rows)]
    assert lines == [("sample", "text only", 0.25), ("sample", "late fusion", 0.75)]
    assert results_page.student_beside(rows) == [("text", 0.24, 0.25), ("audio and vision", 0.53, 0.5)]
    assert results_page.four_lines({}) == results_page.student_beside({}) == []


def test_what_pretraining_saves_is_told_by_share_of_labels():
    def row(share, suffix, *scores):
        by_seed = {str(seed): score for seed, score in enumerate(scores)}
        dev = {"teacher": {"emotion": {"macro_f1": np.mean(scores)}, "by_seed": by_seed}}
        return {"name": f"{share}{suffix}", "flags": {"data.label_fraction": share}, "dev": dev}

    rows = [row(0.05, PRETRAINED_SUFFIX, 0.2, 0.4), row(0.05, "", 0.1, 0.2), row(1.0, PRETRAINED_SUFFIX, 0.5, 0.5)]
    told = label_studies.label_fraction_cells({"rows": rows})
    wide = 12.706 * 0.05  # Student's t of one degree of freedom times the standard error
    assert told == [("5%", "0.300", "0.150", f"+0.150 [{0.15 - wide:+.3f}, {0.15 + wide:+.3f}]")]


def test_the_tables_across_studies_name_rows_that_there_are():
    for study, lines in results_page.FOUR_LINES.values():
        assert set(lines.values()) <= {row.name for row in STUDIES[study].rows}
