"""Every stage's main() in turn on some 48 utterances; whoever trains needs neither test nor raw data."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from closure import ROOT, instances, names
from test_pipeline import below, is_docstring_alone
from whole_run import ORDER, SMALL, merged, prepare, run_all, write_params

from merc.serve import Predictor


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all(folder)
    return folder


def declared(*kinds: str) -> list[str]:
    return [path for _, _, stage in instances() for kind in kinds for path in names(stage.get(kind, []))]


def test_the_order_is_that_of_the_pipeline():
    assert sorted(ORDER) == sorted({name for name, _, _ in instances()})
    made: set[str] = set()
    for stage in ORDER:
        for _, _, one in (instance for instance in instances() if instance[0] == stage):
            missing = [
                dep
                for dep in names(one["deps"])
                if dep.startswith(("out", "metrics")) and not any(m == dep or m.startswith(dep + "/") for m in made)
            ]
            assert not missing, (stage, missing)
        for _, _, one in (instance for instance in instances() if instance[0] == stage):
            made |= {path for kind in ("outs", "metrics", "plots") for path in names(one.get(kind, []))}


def test_every_declared_output_is_there(finished):
    absent = [path for path in declared("outs", "metrics", "plots") if not (finished / path).exists()]
    assert not absent


def test_nothing_undeclared_is_written(finished):
    known = declared("outs", "metrics", "plots")
    written = [
        path for top in ("out", "metrics", "plots") for path in (finished / top).rglob("*") if path.is_file()
    ]
    relative = [path.relative_to(finished).as_posix() for path in written]
    outside = [path for path in relative if not path.startswith(("out/runs/", "out/.partial/", "metrics/bench/"))]
    assert not [path for path in outside if not any(path == k or path.startswith(k + "/") for k in known)]


def test_every_row_of_the_csvs_is_scored_or_marked(finished):
    for split, count in SMALL["sample"]["utterances"].items():
        manifest = pd.read_parquet(finished / f"out/extract/{split}/sample/manifest.parquet")
        assert len(manifest) == count
    predictions = pd.read_parquet(finished / "out/evaluate/predictions.parquet")
    full = predictions[(predictions.condition == "full") & (predictions.model == "student")]
    assert len(full) == SMALL["sample"]["utterances"]["test"]


def test_the_metrics_hold_the_contract(finished):
    content = json.loads((finished / "metrics/evaluate.json").read_text())
    for model, task in itertools.product(("teacher", "student"), ("emotion", "sentiment")):
        assert {"accuracy", "weighted_f1", "macro_f1", "uar"} <= set(content[model][task])
        assert all(value is None or -1 <= value <= 1 for value in content[model][task].values())


def test_the_confusion_diagonal_is_the_uar(finished):
    rows = pd.read_csv(finished / "plots/evaluate/confusion/emotion.csv")
    assert list(rows.columns) == ["actual", "predicted", "seed"]
    by_seed = rows.groupby("seed")[["actual", "predicted"]].apply(
        lambda one: (one.actual == one.predicted).groupby(one.actual).mean().mean()
    )
    uar = json.loads((finished / "metrics/evaluate.json").read_text())["student"]["emotion"]["uar"]
    assert by_seed.mean() == pytest.approx(uar, abs=1e-4)


def test_predict_gives_the_probabilities_of_evaluate(finished, tmp_path):
    """The exported model on the test clips themselves: decoded, encoded and calibrated anew."""
    rows = pd.read_parquet(finished / "out/extract/test/sample/manifest.parquet")
    rows = rows[rows.groupby("dialogue")["clip"].transform(lambda clips: clips.notna().all())]  # whole dialogues
    assert len(rows)
    for clip in rows["clip"]:
        (tmp_path / Path(clip).name).symlink_to(finished / "data/raw/sample" / clip)
    words = pd.DataFrame(
        {"file": [Path(clip).name for clip in rows["clip"]], "text": rows["text"], "speaker": rows["speaker"]}
    )
    words.to_csv(tmp_path / "words.csv", index=False)
    predicted = Predictor.load(finished / "out/export")(tmp_path)
    table = pd.read_parquet(finished / "out/evaluate/predictions.parquet")
    table = table[(table["model"] == "student") & (table["condition"] == "full")].set_index("utterance")
    assert sorted(row["utterance"] for row in predicted) == sorted(rows["utterance"])
    for row in predicted:
        for task in ("emotion", "sentiment"):
            expected = table.loc[row["utterance"], f"{task}_probability"]
            # evaluate reads packs written with portable kernels and rounds; measured: within 1e-5
            assert list(row[task].values()) == pytest.approx(list(expected), abs=1e-3)


def test_no_output_names_this_machine(finished):
    texts = [path for path in finished.rglob("*.json") if ".hidden" not in path.parts]
    assert texts
    for path in texts:
        assert str(finished) not in path.read_text(encoding="utf-8"), path


def contents(folder: Path) -> dict[str, bytes]:
    tops = [folder / top for top in ("out", "metrics", "plots", "data/raw")]
    paths = [path for top in tops for path in sorted(top.rglob("*")) if path.is_file()]
    kept = [path for path in paths if not {"runs", ".partial", "bench"} & set(path.parts)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


@pytest.mark.slow
def test_another_folder_and_one_worker_give_the_same_bytes(finished, tmp_path, monkeypatch):
    prepare(tmp_path)
    write_params(tmp_path, merged(SMALL, {"compute": {"workers": 1}}))
    monkeypatch.chdir(tmp_path)
    run_all(tmp_path)
    first, second = contents(finished), contents(tmp_path)
    assert sorted(first) == sorted(second)
    assert [path for path in first if first[path] != second[path]] == []


LOADED = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
import importlib
importlib.import_module("stages.{stage}").main(*{words!r})
files = [Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
ours = [file.resolve() for file in files if file.resolve().is_relative_to({root!r})]
print("\\n".join(str(file.relative_to({root!r})) for file in ours if ".venv" not in file.parts))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "item", "declaration"), instances())
def test_what_a_stage_really_imports_is_declared(finished, tmp_path, stage, item, declaration):
    """Modules that a registry looks up by name included, which the static closure cannot see."""
    shutil.copytree(finished, tmp_path / "merc")
    write_params(tmp_path / "merc", merged(SMALL, {"compute": {"workers": 1}}))
    program = LOADED.format(root=str(ROOT), stage=stage, words=list(item.values()))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "merc", capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    loaded = {line for line in done.stdout.splitlines() if line.endswith(".py")}
    assert f"stages/{stage}.py" in loaded
    deps = set(names(declaration["deps"]))
    assert not {name for name in loaded if not below(name, deps) and not is_docstring_alone(ROOT / name)}
