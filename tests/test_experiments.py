"""DVC as the user uses it: what a changed parameter reruns, what the committed lock says."""

import json
import subprocess
from pathlib import Path

import networkx
import pytest
import yaml
from clones import clone, run
from closure import ROOT, names, pipeline
from dvc.repo import Repo

EVERY_STAGE = {
    *("sample", "extract@sample", "lipsync", "adapt@text", "adapt@audio", "adapt@vision", "finetune"),
    *("encode@sample-text", "encode@sample-audio", "encode@sample-vision"),
    *("pretrain", "train", "distill", "evaluate", "explain", "export"),
}
# One scalar of every section, and the stages whose own params track it; what is downstream follows.
TRACKED_BY = {
    "numerics": EVERY_STAGE,
    "data.share.sample": {
        "adapt@text",
        "adapt@audio",
        "adapt@vision",
        "finetune",
        "pretrain",
        "train",
        "distill",
        "evaluate",  # fits the floor
    },
    "data.label_fraction": {
        "adapt@text",
        "adapt@audio",
        "adapt@vision",
        "finetune",
        "train",
        "distill",
        "evaluate",
    },
    "model.dim": {"finetune", "pretrain", "train", "distill"},
    "compute.workers": set(),
    "sample.seed": {"sample"},
    "data.shards": {"extract@sample"},
    "extract.audio.max_seconds": {"extract@sample", "export"},
    "lipsync.lr": {"lipsync"},
    "adapt.text.lr": {"adapt@text"},
    "finetune.lr": {"finetune"},
    # evaluate encodes noisy sound anew
    "encode.audio.frame_rate": {"adapt@audio", "explain", "finetune", "encode@sample-audio", "evaluate", "export"},
    "pretrain.lr": {"pretrain"},
    "train.lr": {"train"},
    "distill.lr": {"distill"},
    "evaluate.mask_seed": {"evaluate"},
    "explain.utterances": {"explain"},
    "export.seed": {"export"},
}
EVERY_SEED = {"pretrain", "train", "distill", "evaluate", "explain", "export"}
BOTH_TASKS = ("emotion", "sentiment")


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    """The committed pipeline without its data, in a repository of its own."""
    return clone(tmp_path_factory.mktemp("clone") / "merc")


def short(stage) -> str:
    return stage.addressing.split(":")[-1]


def change(path: Path, key: str) -> None:
    """Another value of the same type under a dotted key."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    *parents, last = key.split(".")
    node = document
    for name in parents:
        node = node[name]
    node[last] = "all" if isinstance(node[last], str) else node[last] * 2 + 1
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def own_changes(folder: Path) -> set[str]:
    with Repo(str(folder)) as repo:
        stages = [stage for stage in repo.index.stages if any(dep.status() for dep in stage.params)]
        return {short(stage) for stage in stages}


@pytest.mark.parametrize("key", TRACKED_BY)
def test_a_changed_parameter_reruns_what_tracks_it(committed, key):
    original = (committed / "params.yaml").read_bytes()
    try:
        change(committed / "params.yaml", key)
        assert own_changes(committed) == TRACKED_BY[key]
    finally:
        (committed / "params.yaml").write_bytes(original)


def test_every_section_stands_in_the_table():
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert {key.split(".")[0] for key in TRACKED_BY} == set(params)


def test_the_seeds_are_tracked_by_all_that_loops_over_them(committed):
    document = yaml.safe_load((committed / "params.yaml").read_text(encoding="utf-8"))
    original = (committed / "params.yaml").read_bytes()
    document["train"]["seeds"] = [1, 2]
    try:
        (committed / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        assert own_changes(committed) == EVERY_SEED
    finally:
        (committed / "params.yaml").write_bytes(original)


def test_a_learning_rate_reruns_train_and_what_follows_and_nothing_before(committed):
    with Repo(str(committed)) as repo:
        graph = repo.index.graph  # an edge points from a stage to what it needs
        train = next(stage for stage in graph if short(stage) == "train")
        after = {short(stage).split("@")[0] for stage in networkx.ancestors(graph, train)}
        before = {short(stage).split("@")[0] for stage in networkx.descendants(graph, train)}
    assert after == {"distill", "evaluate", "explain", "export"}
    assert before == {"sample", "extract", "lipsync", "adapt", "finetune", "encode", "pretrain"}


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "dvc", *words)


def test_the_lock_belongs_to_the_committed_code(committed):
    done = dvc(committed, "repro", "--dry", "--allow-missing")
    assert done.returncode == 0, done.stderr
    assert "Running" not in done.stdout, done.stdout


def locked() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def test_a_folder_of_outputs_has_the_size_of_what_is_below_it():
    """`--allow-missing` cannot see a changed dependency on a folder above outputs; its size and count can."""
    outs = {out["path"]: out for stage in locked().values() for out in stage["outs"]}
    checked = 0
    for name, stage in locked().items():
        for dep in stage["deps"]:
            below = [out for path, out in outs.items() if path.startswith(dep["path"] + "/")]
            if below:
                checked += 1
                assert dep["size"] == sum(out["size"] for out in below), (name, dep["path"])
                assert dep["nfiles"] == sum(out.get("nfiles", 1) for out in below), (name, dep["path"])
    assert checked > 5


def test_a_dataset_that_is_not_named_changes_nothing(committed):
    (committed / "data/raw/meld").mkdir()
    (committed / "data/raw/meld/train_sent_emo.csv").write_text("Utterance\n", encoding="utf-8")
    done = dvc(committed, "repro", "--dry", "--allow-missing")
    assert "Running" not in done.stdout, done.stdout


def metric_files() -> list[str]:
    return [path for stage in pipeline().values() for path in names(stage.get("metrics", []))]


def numbers(content) -> int:
    if isinstance(content, dict):
        return sum(numbers(value) for value in content.values())
    return 1


@pytest.mark.parametrize("path", sorted((ROOT / "metrics").rglob("*.json")), ids=lambda path: path.name)
def test_a_metric_file_is_short(path):
    if "bench" not in path.parts:
        assert 0 < numbers(json.loads(path.read_text(encoding="utf-8"))) <= 135  # 45 of each model


@pytest.mark.parametrize("stage", ["train", "distill"])
def test_the_contract_of_what_experiments_are_ranked_by(stage):
    content = json.loads((ROOT / f"metrics/{stage}.json").read_text(encoding="utf-8"))
    seeds = {str(seed) for seed in yaml.safe_load((ROOT / "params.yaml").read_text())["train"]["seeds"]}
    assert set(content) == {*BOTH_TASKS, "best_epoch", "by_seed"}
    assert set(content["best_epoch"]) == set(content["by_seed"]) == seeds
    for task in BOTH_TASKS:
        assert {"accuracy", "weighted_f1", "macro_f1", "uar"} <= set(content[task])


def test_metrics_are_shown_as_one_table():
    done = dvc(ROOT, "metrics", "show", "--md")
    assert done.returncode == 0, done.stderr
    assert "metrics/evaluate.json" in done.stdout
