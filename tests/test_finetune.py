"""Finetune: encoders learn inside the whole network after a frozen start; off it costs nothing."""

from dataclasses import replace
from pathlib import Path

import loops
import numpy as np
import pytest
import tiny
import torch
import yaml
from torch import nn
from tuned_project import ROOT, as_encode_loads_it, changed, original, run_without_torch, set_up

from merc.data.records.encoder_inputs import TextInput
from merc.data.records.manifest import MODALITIES
from merc.data.records.selection import Selection, off_metrics
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder, extract_features
from merc.finetuning import trainable_layers, whole_network
from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from merc.training.core import loop, objectives, supervision
from merc.training.core.saved_training import SavedTraining
from models.network import Network, NetworkConfig
from stages.finetune import main

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
    assert set(metrics) == {"emotion", "sentiment", "best_epoch"}
    log = loops.logged("finetune")
    assert {"train/loss", "train/emotion", "train/sentiment", "dev/score"} <= set(log)
    assert log["dev/score"] == [1, 4, 7]


def test_misls_esag_freezes_its_encoders_at_first_and_then_teaches_all_three(monkeypatch):
    """The preset, its network narrowed, on tiny weights."""
    preset = yaml.safe_load((ROOT / "presets/misls-esag.yaml").read_text(encoding="utf-8"))
    settings = preset["finetune"]
    set_up("finetune", encoder="speaks", **settings, batch=3)
    document = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    document["model"] |= preset["model"] | {"dim": 16, "fused": 16}
    document["encode"]["vision"]["encoder"] = preset["encode"]["vision"]["encoder"]
    Path("params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    monkeypatch.setattr("torchvision.models.resnet50", tiny.resnet50)
    tiny.checkpoint(tiny.resnet50, Path("data/weights/resnet50-11ad3fa6.pth"))
    unfrozen, score = [], whole_network.EndToEndScorer.__call__

    def rising(judge, network) -> dict[str, float]:
        unfrozen.append(set(network.unfrozen()))
        assert 0 <= score(judge, network)[loop.SCORE] <= 1
        return {loop.SCORE: len(unfrozen)}

    monkeypatch.setattr(whole_network.EndToEndScorer, "__call__", rising)
    main()
    frozen = settings["freeze_epochs"]
    assert 0 < frozen < settings["epochs"] == len(unfrozen) and not any(unfrozen[:frozen])
    assert all(names == {"text/tiny", "audio/speaks", "vision/resnet50"} for names in unfrozen[frozen:])
    assert read_json(Path("metrics/finetune.json"))["best_epoch"] == settings["epochs"]
    for modality, before in untaught_encoders().items():
        after = factory.select_encoder(modality, "sample").build()
        assert changed(before, after), modality


def untaught_encoders() -> dict[str, Encoder]:
    """The encoders as they were before any training."""
    selected = {modality: factory.select_encoder(modality, "sample") for modality in MODALITIES}
    return {modality: replace(one, weights=None).build() for modality, one in selected.items()}


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
    judge = whole_network.EndToEndScorer(objective.source, Selection("emotion", "macro_f1"))
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
    assert read_json(Path("metrics/finetune.json")) == off_metrics()


@pytest.mark.parametrize(
    ("wanted", "said"), [("vision", "'hog'.* take vision out of"), ("smell", r"finetune\.encoders\.0 = 'smell'")]
)
def test_what_cannot_be_fine_tuned_is_named(wanted, said):
    set_up("finetune", **(ON | {"encoders": [wanted]}))
    with pytest.raises(UserError, match=said):
        main()
