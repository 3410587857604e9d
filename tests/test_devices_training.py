"""On a GPU and on a Mac's (both pretended): networks, objectives, training stages, evaluation and fine-tuning."""

from pathlib import Path

import packed
import pytest
import torch
from networks import every_combination
from packed import copy_parameters
from pretend_device import Pretended, pretend
from torch import nn

from merc.data.batches import dataset
from merc.data.records.labels import label_space
from merc.training.core import loop, objectives
from models import checkpoint
from models.network import Network, NetworkConfig
from models.stems import STEMS
from stages import distill, evaluate, pretrain, train

MODALITIES = ("text", "audio", "vision")
SMALL = packed.QUICK | {
    "train__seeds": [3], "train__epochs": 1, "pretrain__epochs": 1,
    "compute__device": "auto", "compute__workers": 1,
    "evaluate__rates": [0.5], "evaluate__uneven": [], "evaluate__repeats": 1, "evaluate__rounds": 10,
    "evaluate__corruptions": ["blank:text", "drop:vision/0.3"],
}  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Three small splits, and parameters under which a stage takes a second."""
    place = tmp_path_factory.mktemp("device")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for number, split in enumerate(("train", "dev", "test")):
            packed.write_split(split, seed=number, dialogues=4)
        copy_parameters(place, **SMALL)
        yield place


def read(split: str) -> dataset.Split:
    return dataset.read_split(split, ["sample"], MODALITIES, label_space("meld"))


def built(split: dataset.Split, stem: str = "mlp", **changes) -> Network:
    values = {
        "modalities": list(MODALITIES), "stem": dict.fromkeys(MODALITIES, stem), "fusion": "esag", "context": "gru",
        "heads": "hierarchical", "dim": 8, "fused": 8, "dropout": 0.1, "causal": False, "roles": 3,
        "belief_weight": 0.3,
    }  # fmt: skip
    network = Network(NetworkConfig(**(values | changes)), split.streams, split.heads())
    loop.standardise(network, split)
    return network


def learnt_and_asked(gpu: Pretended, split: dataset.Split, network: nn.Module) -> None:
    """One step of training and one of answering; everything stays on the device."""
    split, network, here, every = split.to(gpu.device), network.to(gpu.device), gpu.device, range(split.dialogues)
    labels = objectives.LabelLoss.of(split, 0.5, objectives.TaskWeights(emotion=1.0, sentiment=0.5), 0.1)
    batch = split.batch(every)
    loss = sum(labels(network.train()(batch), batch).values())
    loss.backward()
    assert {one.grad.device for one in network.parameters() if one.grad is not None} == {here}
    answer = network.eval()(split.batch(every))
    found = [*(one for one in answer.values() if isinstance(one, torch.Tensor)), *answer["weights"].values()]
    assert {one.device for one in found} == {here}


@every_combination
def test_every_fusion_and_context_learns_and_answers(project, fusion, context):
    with pretend("mps") as gpu:
        split = read("train")
        learnt_and_asked(gpu, split, built(split, fusion=fusion, context=context))


@pytest.mark.parametrize("stem", STEMS)
def test_every_stem_learns_and_answers(project, stem):
    with pretend("mps") as gpu:
        split = read("train")
        learnt_and_asked(gpu, split, built(split, stem=stem, heads="independent", causal=True))


def test_a_split_of_known_streams_stays_where_it_is(project):
    with pretend() as gpu:
        split = read("train").to(gpu.device)
        batch = split.with_streams(["text/toy"]).batch([0, 1])
        assert batch["present"].device == gpu.device
        assert not batch["present"][:, 1:].any()


OTHERWISE = {
    "optimiser": "adam", "schedule": "plateau", "sampling": "weighted", "loss": "poly", "class_counts": "effective",
    "logit_adjustment": 0.5, "modality_dropout": 0.3, "accumulate": 2, "precision": "bfloat16",
}  # fmt: skip
RUNS = {
    "everything": ("mps", (pretrain, train, distill, evaluate), {"pretrain__weights__order": 1.0}),
    "otherwise, without pretraining": (
        "cuda",
        (pretrain, train, distill),
        {"pretrain__epochs": 0, "data__label_fraction": 0.8}
        | {f"{stage}__{name}": value for stage in ("train", "distill") for name, value in OTHERWISE.items()},
    ),
}


@pytest.mark.parametrize(("kind", "stages", "changes"), RUNS.values(), ids=RUNS)
def test_the_stages_that_train_and_evaluate(project, tmp_path, monkeypatch, kind, stages, changes):
    """Self-supervision, teacher, student, each with dev scores and calibration; then every condition on test."""
    (tmp_path / "out").mkdir()
    for name in ("extract", "encode"):
        (tmp_path / "out" / name).symlink_to(project / "out" / name)
    monkeypatch.chdir(tmp_path)
    copy_parameters(tmp_path, **(SMALL | changes))
    monkeypatch.setattr(
        "merc.evaluation.report.result_files.write_results", lambda *_: None
    )  # numpy and plots alone, which take seconds
    for stage in stages:
        with pretend(kind) as gpu:
            stage.main()
        is_off = stage is pretrain and not changes.get("pretrain__epochs", 1)
        assert is_off or any("log_sigmoid" in kernel._schema.name for kernel in gpu.kernels)  # ESAG's
    network = checkpoint.load(Path("out/distill/seed-3"))
    assert {one.device.type for one in network.state_dict().values()} == {"cpu"}
