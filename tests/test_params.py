"""params.yaml: read strictly, a mistake is named with its place."""

import re
from pathlib import Path

import pytest
import yaml

from merc.corpora.registry import READERS, reader_module
from merc.corpora.synthesis.corpus import Counts
from merc.encoders.base import factory
from merc.encoders.text import TextEncoding
from merc.evaluation.inference import EvaluateConfig
from merc.explanation.explainer import ExplainConfig
from merc.export.bundle import ExportConfig
from merc.media.extraction.extraction_config import ExtractionConfig
from merc.runtime import params
from merc.runtime.errors import UserError
from merc.runtime.params import StrictModel
from merc.training.core.seeds import Seeds
from models.network import NetworkConfig
from stages.adapt import SECTIONS as ADAPT
from stages.distill import DistillConfig
from stages.finetune import FinetuneConfig
from stages.lipsync import LipSyncConfig
from stages.pretrain import PretrainConfig
from stages.train import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
MODALITIES = ("text", "audio", "vision")
# Every mapping of the committed params.yaml and the type that its readers give it; `data` and `compute` hold
# single values, which are read one by one.
SECTIONS = {
    "data.sample": reader_module("sample").Options,
    "model": NetworkConfig,
    "sample.utterances": Counts,
    "extract": ExtractionConfig,
    "lipsync": LipSyncConfig,
    **{f"adapt.{modality}": config for modality, config in ADAPT.items()},
    "finetune": FinetuneConfig,
    **{f"encode.{m}": getattr(factory.modality_package(m), f"{m.capitalize()}Encoding") for m in MODALITIES},
    "pretrain": PretrainConfig,
    "train": TrainConfig,
    "distill": DistillConfig,
    "evaluate": EvaluateConfig,
    "explain": ExplainConfig,
    "export": ExportConfig,
}


class Rates(StrictModel):
    lr: float
    seeds: list[int]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"lr: 2020-99-99",
        b"lr: " + b"9" * 5000,
        b"lr: !!bool x",
        b"lr: !!float x",
        b"lr: " + b"[" * 5000 + b"]" * 5000,
        "lr: é".encode("latin1"),
    ],
)
def test_a_file_that_yaml_cannot_read_is_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"params\.yaml: ") as error:
        params.read("lr", float, path)
    assert "\n" not in str(error.value)


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
        ("train: 5", "train.seeds", r"train = 5: is no section, and seeds belongs in it"),
        ("train: [1]", "train.seeds", r"train = \[1\]: is no section"),
        ("train:", "train.seeds", r"train = None: is no section"),
        ("1: {lr: 1.0}", "train", r"train is missing; add it back"),
        ("", "train.seeds", "holds no sections"),
        ("- train", "train", "holds no sections"),
        ("train: {lr: .inf, seeds: [1]}", "train", r"train\.lr = inf: Input should be a finite number"),
        ("train: {lr: .nan, seeds: [1]}", "train", r"train\.lr = nan: Input should be a finite number"),
    ],
)
def test_a_mistake_is_one_problem_that_names_the_place(tmp_path, text, key, said):
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=said):
        params.read(key, Rates, path)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="run from the top of the repository"):
        params.read("train", Rates, tmp_path / "params.yaml")


def test_the_committed_parameters_are_the_preset_sample():
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "presets" / "sample.yaml").read_bytes()


@pytest.mark.parametrize("key", SECTIONS)
def test_every_section_loads_and_a_misspelt_key_is_named(tmp_path, key):
    committed = ROOT / "params.yaml"
    params.read(key, SECTIONS[key], committed)
    document = yaml.safe_load(committed.read_text(encoding="utf-8"))
    node = document
    for name in key.split("."):
        node = node[name]
    node["mispelt"] = 1
    with pytest.raises(UserError, match=rf"{key}\.mispelt: unknown key"):
        params.read(key, SECTIONS[key], written(tmp_path, yaml.safe_dump(document)))


def test_every_section_stands_in_the_table():
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert {key.split(".")[0] for key in SECTIONS} | {"compute", "numerics"} == set(document)


@pytest.mark.parametrize("corpus", READERS)
def test_every_corpus_has_options_and_a_reader(corpus):
    assert issubclass(reader_module(corpus).Options, StrictModel)
    assert callable(reader_module(corpus).read)


@pytest.mark.parametrize(
    ("key", "kind", "value"),
    [
        ("train.seeds", Seeds, [2**70]),
        ("train.seeds", Seeds, [2**31]),  # predictions.parquet holds int32
        ("train.seeds", Seeds, [-1]),
        ("train.seeds", Seeds, [1, 1]),
        ("lipsync.seed", LipSyncConfig, 2**70),
        ("adapt.text.seed", ADAPT["text"], 2**70),
        ("explain.seed", ExplainConfig, 2**70),
        ("evaluate.bootstrap_seed", EvaluateConfig, 2**70),
        ("evaluate.mask_seed", EvaluateConfig, 2**70),
        ("evaluate.rounds", EvaluateConfig, 10**12),
        ("evaluate.rates", EvaluateConfig, [30.0]),
        ("evaluate.rates", EvaluateConfig, [-0.5]),
        ("evaluate.uneven", EvaluateConfig, [{"txt": 0.7}]),
        ("evaluate.uneven", EvaluateConfig, [{"text": 70.0}]),
        ("evaluate.uneven", EvaluateConfig, [{}]),
        ("evaluate.corruptions", EvaluateConfig, ["drop:text/3"]),
        ("lipsync.batch", LipSyncConfig, 10**12),
        ("lipsync.epochs", LipSyncConfig, 10**12),
        ("train.epochs", TrainConfig, 10**12),
        ("sample.utterances.train", Counts, 10**12),
        ("model.dim", NetworkConfig, 10**9 * 8),
        ("model.fused", NetworkConfig, 10**9 * 8),
        ("model.roles", NetworkConfig, 10**12),
        ("model.belief_weight", NetworkConfig, float("inf")),
        ("encode.text.max_tokens", TextEncoding, 0),
        ("encode.text.before", TextEncoding, -1),
    ],
)
def test_a_number_out_of_all_proportion_is_refused_by_name(tmp_path, key, kind, value):
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    *sections, name = key.split(".")
    section = document
    for word in sections:
        section = section[word]
    section[name] = value
    with pytest.raises(UserError, match=rf"params\.yaml: {re.escape(key)}[. ].*= ?"):
        params.read(key if kind is Seeds else ".".join(sections), kind, written(tmp_path, yaml.safe_dump(document)))
