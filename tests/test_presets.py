"""Presets: valid, seeds' printed numbers on the built network, comments kept, flags that DVC reads as the file."""

import io
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from dvc.utils.hydra import apply_overrides
from hypothesis import given
from hypothesis import strategies as st
from test_params import SECTIONS
from torch import nn

from merc.__main__ import main
from merc.corpora.registry import reader_module
from merc.data.batches.label_fraction import Fraction
from merc.data.records import labels
from merc.encoders.base import factory
from merc.encoders.pretrained.cards import WEIGHTS
from merc.encoders.weights import command
from merc.runtime import params
from merc.runtime.errors import UserError
from merc.studies import presets, yaml_overlay
from merc.studies.yaml_overlay import merged, overlaid
from merc.training.core.supervision import SupervisionConfig
from models.network import Network, NetworkConfig
from models.stems import StepConvolution

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
SEEDS = {"misls-esag", "avt-memocmt", "concat-r3d", "graph-lipsync"}
FOLDERS = {"roberta-large": 1024, "wav2vec2-large": 1024}  # widths of what lies under data/weights


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "presets", "presets")
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    return tmp_path


@cache
def read(name: str) -> dict:
    base = yaml.safe_load((ROOT / "presets/sample.yaml").read_text(encoding="utf-8"))
    return merged(base, yaml.safe_load((ROOT / f"presets/{name}.yaml").read_text(encoding="utf-8")))


def comments(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("#")]


def test_every_preset_that_is_promised_is_there():
    promised = {
        "pretrained",
        "pretrained-small",
        "sample",
        "meld",
        "meld-features",
        "ravdess",
        "sentences",
        "small",
        "strong",
        "weighted-sampling",
    }
    assert promised | SEEDS <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_valid_in_every_section_and_keeps_the_comments(here, name):
    assert main(["preset", name]) == 0
    text = params.FILE.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == read(name)
    assert comments(text) == comments((ROOT / "presets/sample.yaml").read_text(encoding="utf-8"))
    corpora = params.read("data.corpora", list[str])
    sections = SECTIONS | {f"data.{corpus}": reader_module(corpus).Options for corpus in corpora}
    for key, kind in sections.items():
        params.read(key, kind)
    params.read("data.label_fraction", Fraction)
    labels.label_space(params.read("data.labels", str))
    assert all(params.read("data.share", dict[str, float])[corpus] > 0 for corpus in corpora)


def test_the_base_itself_is_written_byte_for_byte(here):
    assert main(["preset", "small"]) == 0 == main(["preset", "sample"])
    assert params.FILE.read_bytes() == (ROOT / "presets/sample.yaml").read_bytes()


def test_what_changes_is_printed(here, capsys):
    main(["preset", "weighted-sampling"])
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["train.sampling: shuffled -> weighted", "train.class_weight_power: 0.5 -> 0.0"]
    main(["preset", "weighted-sampling"])
    assert "no value has changed" in capsys.readouterr().out


@pytest.mark.parametrize("before", ["sample", "meld-features", "concat-r3d"])
@pytest.mark.parametrize("name", NAMES)
def test_the_flags_give_dvc_the_same_values(here, capsys, name, before):
    """As after `dvc exp run $(python -m merc preset NAME --flags)`: split at spaces, nothing unquoted."""
    main(["preset", before])
    text = params.FILE.read_bytes()
    capsys.readouterr()
    assert main(["preset", name, "--flags"]) == 0
    assert params.FILE.read_bytes() == text  # the branch is left as it is
    words = capsys.readouterr().out.split()
    assert words[::2] == ["-S"] * (len(words) // 2)
    if words:
        apply_overrides(params.FILE, words[1::2])
    assert yaml.safe_load(params.FILE.read_text(encoding="utf-8")) == read(name)
    assert shlex.split(" ".join(words)) == words  # so that pasting them does the same


@pytest.mark.parametrize("name", ["pretrained", "pretrained-small"])
def test_the_weights_of_a_pretrained_preset_come_without_the_hub(name):
    named = command.of_preset(name)
    chosen = {section["encoder"] for section in read(name)["encode"].values()}
    assert chosen - {"minilm"} == set(named)  # minilm is a package of requirements.txt
    assert all(WEIGHTS[one].packages for one in named)


def test_a_wrong_name_is_one_line(here, capsys):
    for words in (["preset"], ["preset", "smal"], ["preset", "small", "meld"]):
        assert main(words) == 2
        assert re.fullmatch(r"merc: preset: [^\n]* choose one of [^\n]*small[^\n]*\n", capsys.readouterr().err)


def test_what_no_flag_can_say_is_refused():
    for value in ("two words", "", 1e-7, "a,b"):
        with pytest.raises(UserError, match="cannot be a flag"):
            presets.hydra_flag("train.lr", value)


def written_again(text: str) -> str:
    form, written = yaml_overlay.round_trip(), io.StringIO()
    form.dump(form.load(text), written)
    return written.getvalue()


@pytest.mark.parametrize("file", ["params.yaml", "dvc.yaml", *(f"presets/{name}.yaml" for name in NAMES)])
def test_what_is_read_is_written_byte_for_byte(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert written_again(text) == text


@pytest.mark.parametrize(
    ("before", "over", "after"),
    [
        ("  a:\n    - x\n    - y\n  # of b\n  b: 1\n", {"a": ["z"]}, "  a:\n    - z\n  # of b\n  b: 1\n"),
        ("  a:\n    - x\n\n# of c\nc: 1\n", {"a": ["x", "y"]}, "  a:\n    - x\n    - y\n\n# of c\nc: 1\n"),
        ("  a:\n    - x\n  # of b\n  b: 1\n", {"a": []}, "  a: []\n  # of b\n  b: 1\n"),
        ("  a: []\n  # of b\n  b: 1\n", {"a": ["x"]}, "  a:\n    - x\n  # of b\n  b: 1\n"),
        ("  a: {}\n  # of b\n  b: 1\n", {"a": {"x": 1}}, "  a:\n    x: 1\n  # of b\n  b: 1\n"),
        ("  a: 1\n\n# of c\nc: 1\n", {"b": {"x": "no"}}, "  a: 1\n  b:\n    x: 'no'\n\n# of c\nc: 1\n"),
        ("  a:\n    - x: 1\n  # of b\n  b: 1\n", {"a": 1e-5}, "  a: 1.0e-05\n  # of b\n  b: 1\n"),
    ],
)
def test_a_comment_stays_before_the_key_that_it_is_of(before, over, after):
    assert overlaid(f"top:\n{before}", {"top": over}) == f"top:\n{after}"


FLOATS = st.integers(0, 10**6).map(lambda millionths: millionths / 10**6)
SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.none(), st.text("abc: #'-", max_size=6), FLOATS)
# as in the lists of params.yaml; behind one that ends in nothing or in [], ruamel.yaml loses the comment
ENTRIES = SCALARS.filter(lambda value: value is not None)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.one_of(ENTRIES, st.dictionaries(st.sampled_from("pqrs"), ENTRIES, min_size=1)), max_size=3),
        st.dictionaries(st.sampled_from("pqrs"), inner, max_size=3),
    ),
    max_leaves=6,
)
TREES = st.dictionaries(st.sampled_from("abcd"), VALUES, min_size=1, max_size=3)


@given(base=TREES, over=TREES)
def test_an_overlay_gives_the_merged_values(base, over):
    lines = written_again(yaml.safe_dump(base, sort_keys=False, width=1000))
    text = "".join(f"# {line}\n{line}\n" if line[0] != " " else f"{line}\n" for line in lines.splitlines())
    written = overlaid(text, over)
    assert yaml.safe_load(written) == merged(base, over)
    kept = [line for line in comments(written) if line in comments(text)]
    assert kept == comments(text)


# ------------------------------------------------------------ the seeds' printed numbers


def width(modality: str, name: str) -> int:
    table = factory.modality_package(modality).ENCODERS
    return table[name].width if name in table else FOLDERS[name]


def built(name: str) -> Network:
    document = read(name)
    config = NetworkConfig.model_validate(document["model"])
    chosen = {m: document["encode"][m]["encoder"] for m in config.modalities}
    space = labels.label_space(document["data"]["labels"])
    order = space.outputs
    return Network(config, {f"{m}/{one}": width(m, one) for m, one in chosen.items()}, order)


def linears(part: nn.Module) -> list[tuple[int, int]]:
    return [(one.in_features, one.out_features) for one in part.modules() if isinstance(one, nn.Linear)]


def test_concat_r3d():
    network, document = built("concat-r3d"), read("concat-r3d")
    text, sound, pictures = (
        network.stems[key] for key in ("text/bert-base-uncased", "audio/log-mel", "vision/r3d_18")
    )
    assert linears(text) == [(768, 128)] and linears(pictures) == [(512, 128)]
    convolutions = [one for one in sound.modules() if isinstance(one, StepConvolution)]
    norms = [one for one in sound.modules() if isinstance(one, nn.BatchNorm1d)]
    assert len(convolutions) == len(norms) == 2 and linears(sound)[-1][1] == 128
    assert linears(network.fusion) == [(384, 256)]
    assert isinstance(network.fusion.norm, nn.BatchNorm1d) and network.fusion.norm.num_features == 256
    assert {task: linears(head) for task, head in network.heads.tasks.items()} == {
        "emotion": [(256, 64), (64, 7)],
        "sentiment": [(256, 64), (64, 3)],
    }
    assert not list(network.context.parameters()) and network.role is None
    assert document["adapt"]["text"]["epochs"] == document["finetune"]["epochs"] == 0  # BERT is frozen
    train = document["train"]
    assert (train["optimiser"], train["schedule"], train["clip"]) == ("adam", "plateau", 1.0)
    assert (train["label_smoothing"], train["class_weight_power"]) == (0.05, 1.0)
    assert len(set(train["lr_scale"].values())) > 1 and min(train["task_weights"].values()) > 0


def test_avt_memocmt():
    network, document = built("avt-memocmt"), read("avt-memocmt")
    assert list(network.streams) == ["audio/hubert-base-ls960", "text/bert-base-uncased", "vision/resnet50"]
    assert network.streams["vision/resnet50"] == 2048 and document["encode"]["vision"]["picture"] == "face"
    assert {tuple(linears(stem)) for stem in network.stems.values()} == {((768, 256),), ((2048, 256),)}
    assert len(network.fusion.attend) == 6 and all(one.embed_dim == 256 for one in network.fusion.attend.values())
    assert type(network.context).__name__ == "TransformerContext"


def test_graph_lipsync():
    network, document = built("graph-lipsync"), read("graph-lipsync")
    assert {name.split("/")[0]: dim for name, dim in network.streams.items()} == {
        "text": 1024,
        "audio": 1024,
        "vision": 768,
    }
    parts = [type(one).__name__ for one in network.fusion.children()]
    assert parts == ["GraphNodes", "ModalityAttention"]  # the graph, then the attention
    assert document["lipsync"]["epochs"] > 0


def test_misls_esag():
    network, document = built("misls-esag"), read("misls-esag")
    assert list(network.streams) == ["audio/wav2vec2-base", "text/deberta-v3-base", "vision/resnet50"]
    assert document["encode"]["vision"]["picture"] == "frame"
    assert type(network.fusion).__name__ == "ESAG" and type(network.context).__name__ == "GRUContext"
    assert network.fusion.queries.shape == (7, 256)


def test_weighted_sampling():
    for section in ("train", "distill"):
        own = {name: read("weighted-sampling")[section][name] for name in SupervisionConfig.model_fields}
        assert SupervisionConfig.model_validate(own).sampling == "weighted" and own["class_weight_power"] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_builds_a_network(name):
    if name == "meld-features":
        document = read(name)
        assert document["encode"]["audio"]["encoder"] == "imported/prosody"
        network = Network(
            NetworkConfig.model_validate(document["model"]),
            {"text/minilm": 384, "audio/imported/prosody": 8},
            labels.label_space("meld").outputs,
        )
    else:
        network = built(name)
    assert sum(one.numel() for one in network.parameters()) > 0 and torch.get_num_threads() == 1
