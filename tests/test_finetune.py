"""Finetune: encoders learn inside the whole network after a frozen start; off it costs nothing."""

from pathlib import Path

import loops
import numpy as np
import pytest
import torch
from torch import nn
from tuned_project import as_encode_loads_it, changed, original, run_without_torch, set_up

from merc.data.records.encoder_inputs import TextInput
from merc.data.records.labels import TASKS
from merc.data.records.manifest import MODALITIES
from merc.encoders.base.encoder import extract_features
from merc.finetuning import trainable_layers, whole_network
from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from merc.training.core import loop, objectives, supervision
from merc.training.core.saved_training import SavedTraining
from models.network import Network, NetworkConfig
from stages.finetune import OFF_METRICS, main

ON = {"epochs": 3, "freeze_epochs": 1, "encoders": ["text"], "lr": 0.01, "network_lr": 0.01, "batch": 3}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_named_encoder_learns_after_the_frozen_epochs_and_encode_loads_it(monkeypatch):
    set_up("finetune", **ON)
    events, start, score = [], whole_network.load_encoders, whole_network.EndToEndScorer.__call__

    def watched(*arguments) -> list[whole_network.NetworkEncoder]:
        insides = start(*arguments)
        weight = next(iter(insides[0].encoder.parameters()))
        weight.register_post_accumulate_grad_hook(lambda _: events.append("gradient"))
        return insides

    def rising(judge, network) -> dict[str, float]:
        events.append("epoch")
        assert 0 <= score(judge, network)[loop.SCORE] <= 1
        return {loop.SCORE: len(events)}

    monkeypatch.setattr(whole_network, "load_encoders", watched)
    monkeypatch.setattr(whole_network.EndToEndScorer, "__call__", rising)
    main()
    assert events == ["epoch", *["gradient"] * 2, "epoch", *["gradient"] * 2, "epoch"]
    weights = {name for name, _ in original().named_parameters() if "pooler" not in name}
    assert weights - changed(original(), as_encode_loads_it()) <= {
        "model.model.embeddings.position_embeddings.weight",
        "model.model.embeddings.token_type_embeddings.weight",
    }
    for modality in ("audio", "vision"):
        assert [path.name for path in Path("out/finetune", modality).iterdir()] == ["off.json"]
    metrics = read_json(Path("metrics/finetune.json"))
    assert metrics["best_epoch"] == 3
    assert set(metrics) == {*TASKS, "best_epoch"}
    log = loops.logged("finetune")
    assert {"train/loss", "train/emotion", "train/sentiment", "dev/score"} <= set(log)
    assert log["dev/score"] == [1, 4, 7]


def test_it_starts_from_what_adapt_left():
    set_up("finetune", **ON)
    encoder = original()
    nn.init.zeros_(next(iter(encoder.parameters())))
    trainable_layers.save_encoder(Path("out/adapt/text"), encoder)
    text = whole_network.load_encoders(["text"], ["sample"])[0].encoder
    assert not changed(encoder, text)
    assert changed(original(), text)


def how_far(judge, network) -> dict[str, float]:
    """How far the encoder has moved."""
    moved, there = (
        extract_features(one, [TextInput("so what", "")])[0] for one in (network.trainable["text/tiny"], original())
    )
    return {loop.SCORE: float(np.abs(moved - there).mean())}


class Killed(BaseException):
    """Nothing catches it."""


@pytest.mark.parametrize(
    "changes", [{}, {"lora": 2, "accumulate": 2, "checkpointing": True}, {"average": 0.9, "checkpointing": True}]
)
def test_killed_and_continued_is_byte_identical(monkeypatch, changes):
    set_up("finetune", **(ON | changes))
    monkeypatch.setattr(whole_network.EndToEndScorer, "__call__", how_far)  # so that the last epoch is the best
    main()
    files = [Path("out/finetune/text/model.safetensors"), Path("metrics/finetune.json")]
    whole, write = [file.read_bytes() for file in files], SavedTraining.write
    with monkeypatch.context() as patch:

        def killed(saved, *given):
            write(saved, *given)
            if len(given[-1].history) == 2:
                raise Killed

        patch.setattr(SavedTraining, "write", killed)
        with pytest.raises(Killed):
            main()
    assert not files[0].exists()
    main()
    assert [file.read_bytes() for file in files] == whole
    assert changed(original(), as_encode_loads_it())


def end_to_end() -> tuple[whole_network.EndToEndNetwork, whole_network.EndToEndObjective]:
    """All three encoders inside a network, before any step, and its loss on train."""
    torch.manual_seed(0)
    data = supervision.read_data(list(MODALITIES))
    insides = whole_network.load_encoders(MODALITIES, data.trained_corpora)
    learnt = whole_network.select_trainable(insides, ["text"])
    train = whole_network.read_encoded_split("train", data, insides, learnt)
    stems = dict.fromkeys(MODALITIES, "linear")
    config = NetworkConfig(
        **{
            "modalities": list(MODALITIES),
            "dim": 16,
            "fused": 16,
            "stem": stems,
            "fusion": "concat",
            "context": "none",
        },
        **{"heads": "independent", "causal": False, "dropout": 0.0, "roles": 0, "belief_weight": 0.3},
    )
    network = Network(config, train.split.streams, train.split.heads())
    weights = objectives.TaskWeights(emotion=1.0, sentiment=1.0)
    loss = objectives.LabelLoss.of(train.split, 0.5, weights, smoothing=0.0)
    return whole_network.EndToEndNetwork(network, learnt), whole_network.EndToEndObjective(train, loss)


def test_an_awake_encoder_says_the_same_as_its_kept_features():
    set_up("finetune", **ON)
    whole, objective = end_to_end()
    encoder = whole.trainable["text/tiny"]

    def loss() -> torch.Tensor:
        return sum(objective(whole, objective.source.split.batch([2, 0])).values())

    awake = loss()
    awake.backward()
    assert any(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters() if parameter.grad is not None)
    encoder.requires_grad_(False)
    assert loss().item() == pytest.approx(awake.item(), abs=1e-5)


def test_dev_is_judged_with_the_encoder_as_it_is_now():
    set_up("finetune", **ON)
    whole, objective = end_to_end()
    judge = whole_network.EndToEndScorer(objective.source)
    before = judge.predict(whole)["emotion"]
    with torch.no_grad():
        for parameter in whole.trainable["text/tiny"].parameters():
            parameter.mul_(0.5)
    assert abs(judge.predict(whole)["emotion"] - before).max() > 1e-4


def test_off_it_leaves_three_markers_and_never_imports_torch():
    set_up("finetune", epochs=0)
    run_without_torch("finetune")
    for modality in MODALITIES:
        assert [path.name for path in Path("out/finetune", modality).iterdir()] == ["off.json"]
    assert read_json(Path("metrics/finetune.json")) == OFF_METRICS


@pytest.mark.parametrize(
    ("wanted", "said"), [("vision", "'hog'.* take vision out of"), ("smell", r"finetune\.encoders\.0 = 'smell'")]
)
def test_what_cannot_be_fine_tuned_is_named(wanted, said):
    set_up("finetune", **(ON | {"encoders": [wanted]}))
    with pytest.raises(UserError, match=said):
        main()
