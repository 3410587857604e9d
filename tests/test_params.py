"""params.yaml: read strictly, a mistake is named with its place."""

from pathlib import Path

import pytest

from merc import params
from merc.params import Strict
from merc.problem import Problem

ROOT = Path(__file__).resolve().parent.parent


class Rates(Strict):
    lr: float
    seeds: list[int]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_section_and_a_single_value(tmp_path):
    path = written(tmp_path, "train:\n  lr: 1\n  seeds: [1, 2]\n")
    assert params.read("train", Rates, path) == Rates(lr=1.0, seeds=[1, 2])
    assert params.read("train.seeds", list[int], path) == [1, 2]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("train: {lr: 1.0, seed: [1]}", "train", r"train\.seed: unknown key; did you mean seeds\?"),
        ("train: {lr: 1.0}", "train", r"train\.seeds is missing"),
        ("train: {lr: fast, seeds: [1]}", "train", r"train\.lr = 'fast': Input should be a valid number"),
        ("train: {lr: '1', seeds: [1]}", "train", r"train\.lr = '1'"),
        ("train: 3", "train", r"train = 3: Input should be"),
        ("trian: {}", "train", r"train is missing; |train is missing"),
        ("train: {lr: 1.0", "train", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_problem_that_names_the_place(tmp_path, text, key, said):
    path = written(tmp_path, text)
    with pytest.raises(Problem, match=said):
        params.read(key, Rates, path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(Problem, match="run from the top of the repository"):
        params.read("train", Rates, tmp_path / "params.yaml")


def test_the_committed_parameters_are_the_preset_sample():
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "presets" / "sample.yaml").read_bytes()
