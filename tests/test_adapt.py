"""Adapt: heads first, then the encoder's top layers; encode loads what came of it; off it costs nothing."""

import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import loops
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from transformers.models.bert.modeling_bert import BertLayer
from tuned_project import as_encode_loads_it, changed, original, run_without_torch, set_up

from merc.data.records.encoder_inputs import TextInput
from merc.data.records.labels import Task, label_space
from merc.data.records.selection import off_metrics
from merc.finetuning import frozen_layers, one_encoder, trainable_layers
from merc.finetuning.finetuning_config import UnfreezingConfig
from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from merc.training.core import loop
from merc.training.core.optim import TrainablePart
from stages.adapt import main

ON = {"epochs": 8, "freeze_epochs": 1, "unfreeze_layers": 1, "lr": 0.01, "head_lr": 0.1, "batch": 2}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_top_layer_learns_and_encode_loads_it():
    set_up("adapt.text", **ON)
    main("text")
    scores = read_json(Path("metrics/adapt/text.json"))
    assert scores["emotion"]["macro_f1"] == 1.0  # what is said goes with the emotion
    assert scores["best_epoch"] > ON["freeze_epochs"]
    log = loops.logged("adapt-text")
    assert {"train/loss", "train/emotion", "train/sentiment", "dev/score"} <= set(log)
    assert max(log["dev/score"]) == 1.0 and len(log["train/loss"]) == ON["epochs"]
    learnt = changed(original(), as_encode_loads_it())
    assert learnt
    assert all("layer.1." in name for name in learnt)


def test_twice_the_same_bytes():
    set_up("adapt.text", **ON)
    main("text")
    first = Path("out/adapt/text/model.safetensors").read_bytes()
    main("text")
    assert Path("out/adapt/text/model.safetensors").read_bytes() == first


@pytest.mark.parametrize("modality", ["text", "audio", "vision"])
def test_off_it_leaves_a_marker_and_never_imports_torch(modality):
    set_up(f"adapt.{modality}", epochs=0)
    run_without_torch("adapt", modality)
    assert [path.name for path in Path("out/adapt", modality).iterdir()] == ["off.json"]
    assert read_json(Path(f"metrics/adapt/{modality}.json")) == off_metrics()


def test_an_encoder_without_weights_is_named():
    set_up("adapt.vision", **ON)
    with pytest.raises(UserError, match=r"encode\.vision\.encoder = 'hog'.* set adapt\.vision\.epochs to 0"):
        main("vision")


def test_an_encoder_that_would_never_learn_is_refused():
    set_up("adapt.text", **(ON | {"freeze_epochs": 8}))
    with pytest.raises(UserError, match="freeze_epochs must be less than epochs"):
        main("text")


def how(**changes) -> UnfreezingConfig:
    plain = loops.SETTINGS | {"epochs": 2, "freeze_epochs": 1, "lr": 1.0, "layer_decay": 1.0, "lora": 0}
    return UnfreezingConfig(**(plain | {"class_weight_power": 0.5, "checkpointing": False, "seed": 1} | changes))


class Two(nn.Module):
    """A layer with another one above."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Linear(2, 2), nn.Linear(2, 1)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.above(self.below(values))


def squares(network: Two, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"square": network(batch).square().mean()}


def test_gradients_reach_the_encoder_only_once_it_is_unfrozen_and_the_best_epoch_is_kept():
    torch.manual_seed(0)
    network, events, states = Two(), [], []
    network.below.weight.register_post_accumulate_grad_hook(lambda _: events.append("gradient"))

    def score(scored: Two) -> dict[str, float]:
        events.append("epoch")
        states.append({name: tensor.clone() for name, tensor in scored.state_dict().items()})
        return {loop.SCORE: [0.1, 0.3, 0.9, 0.2][len(states) - 1]}

    above, below = list(network.above.parameters()), list(network.below.parameters())
    parts = [TrainablePart(above, 0.1), TrainablePart(below, 0.1, first_epoch=2)]
    batches = loops.FixedBatches([torch.ones(3, 2), -torch.ones(3, 2)])
    history = loop.fit(network, squares, batches, score, loops.config(), parts)
    assert events == ["epoch", "epoch", *["gradient"] * 2, "epoch", *["gradient"] * 2, "epoch"]
    assert torch.equal(states[0]["below.weight"], states[1]["below.weight"])
    assert not torch.equal(states[0]["above.weight"], states[1]["above.weight"])
    assert loop.best_epoch(history) == 3
    assert all(torch.equal(tensor, states[2][name]) for name, tensor in network.state_dict().items())


def test_layers_are_found_in_any_network():
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    bert = nn.ModuleDict({"embeddings": nn.Embedding(3, 2), "layer": layers})
    assert trainable_layers.layers_of(bert) == list(layers)
    residual = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1)))
    assert trainable_layers.layers_of(residual) == [residual[0][0], residual[0][2]]
    parts = trainable_layers.top_layers(bert, 2, how(lr=1.0, layer_decay=0.5))
    assert [part.rate for part in parts] == [1.0, 0.5]
    assert parts[0].parameters[0] is layers[2].weight
    bert.new_parameters = list  # it has nothing above its layers
    every = trainable_layers.all_layers(bert, how(lr=1.0, layer_decay=0.5))
    assert [part.rate for part in every] == [1.0, 0.5, 0.25, 0.25]
    assert every[-1].parameters == [bert["embeddings"].weight]
    assert sum(len(part.parameters) for part in every) == len(list(bert.parameters()))


@pytest.mark.parametrize("changes", [{"checkpointing": True}, {"lora": 2}])
def test_every_way_of_learning_learns_and_leaves_the_encoders_own_form(changes):
    set_up("adapt.text", **(ON | changes))
    main("text")
    assert read_json(Path("metrics/adapt/text.json"))["emotion"]["macro_f1"] > 0.8
    learnt = changed(original(), as_encode_loads_it())
    assert learnt
    assert all("layer.1." in name for name in learnt)
    if "lora" in changes:  # linear maps alone, by something of that rank
        assert all(name.endswith("weight") and "LayerNorm" not in name for name in learnt)
        before, after = original().state_dict(), as_encode_loads_it().state_dict()
        assert {int(torch.linalg.matrix_rank(after[name] - before[name], tol=1e-5)) for name in learnt} <= {1, 2}


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_checkpointing_changes_nothing_but_memory(average):
    written = []
    for checkpointing in (False, True):
        set_up("adapt.text", **(ON | {"epochs": 3, "average": average, "checkpointing": checkpointing}))
        main("text")
        written.append(
            [Path(name).read_bytes() for name in ("out/adapt/text/model.safetensors", "metrics/adapt/text.json")]
        )
    assert written[0] == written[1]


def test_a_copy_of_a_checkpointed_layer_has_its_own_weights():
    """The moving average is one, and is what is scored."""
    network = Two()
    trainable_layers.top_layers(network, 1, how(checkpointing=True))
    copy, values = deepcopy(network), torch.ones(1, 2)
    assert torch.equal(copy(values), network(values))
    nn.init.zeros_(copy.above.weight)
    assert copy(values).item() == copy.above.bias.item() != network(values).item()


def test_accumulated_batches_step_as_one_large_batch_does():
    ended = []
    values = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    for batches, accumulate in (([values], 1), ([values[:1], values[1:2], values[2:3], values[3:]], 4)):
        torch.manual_seed(0)
        network, config = Two(), loops.config(epochs=3, accumulate=accumulate)
        loop.fit(network, squares, loops.FixedBatches(batches), lambda _: {loop.SCORE: 0.0}, config)
        ended.append(network.below.weight.detach())
    assert torch.allclose(*ended, atol=1e-6)


@pytest.mark.parametrize(("lora", "average"), [(0, 0.0), (0, 0.9), (2, 0.9)])
def test_frozen_layers_are_computed_once_and_change_nothing(monkeypatch, lora, average):
    passes, forward, ended = [], BertLayer.forward, []

    def counted(layer, *given, **options):
        passes.append(layer)
        return forward(layer, *given, **options)

    monkeypatch.setattr(BertLayer, "forward", counted)
    for limit in (frozen_layers.MAX_BYTES, 0):
        monkeypatch.setattr(frozen_layers, "MAX_BYTES", limit)
        set_up("adapt.text", **(ON | {"epochs": 3, "lr": 1e-3, "head_lr": 1e-2, "lora": lora, "average": average}))
        passes.clear()
        main("text")
        ended.append((loops.logged("adapt-text"), passes.count(passes[0])))
        shutil.rmtree("out/runs")  # else the second training's log joins that of the first
    (kept, once), (plain, always) = ended
    assert kept["train/loss"] == pytest.approx(plain["train/loss"], rel=1e-5)
    assert kept["dev/score"] == plain["dev/score"] and once < always / 3


def test_an_input_has_the_states_that_the_whole_encoder_computes():
    set_up("adapt.text", epochs=0)
    lines = [
        TextInput("so what", "Ann"),
        TextInput("no", ""),
        TextInput("so what no so", "Ann", (TextInput("no", ""),)),
    ]
    whole, cached = original(), original()
    frozen = frozen_layers.freeze_lower_layers(cached, 1, [*lines, lines[0]])
    for batch in (lines, lines[::-1], lines[1:2]):
        frozen.load(batch)
        with torch.inference_mode():
            (values, steps), (expected, _) = cached(cached.prepare(batch)), whole(whole.prepare(batch))
        mask = (torch.arange(values.shape[1]) < steps[:, None])[:, :, None]
        assert torch.allclose(values * mask, expected * mask, atol=1e-5)
    assert frozen_layers.freeze_lower_layers(original(), 2, lines) is None  # no layer stays frozen


class Killed(BaseException):
    """Nothing catches it."""


def killed_after(monkeypatch, count: int) -> None:
    """The process ends in the middle of the epoch that follows `count` finished ones."""
    learn, calls = loop._train_epoch, []

    def once(*arguments):
        calls.append(None)
        losses = learn(*arguments)
        if len(calls) > count:
            raise Killed
        return losses

    monkeypatch.setattr(loop, "_train_epoch", once)


@pytest.mark.parametrize(
    ("count", "changes"), [(1, {}), (2, {"average": 0.9}), (3, {"lora": 2}), (3, {"schedule": "plateau"})]
)
def test_killed_and_continued_is_byte_identical_and_does_no_epoch_twice(monkeypatch, count, changes):
    set_up("adapt.text", **(ON | {"epochs": 4, "freeze_epochs": 2} | changes))
    main("text")
    whole = Path("out/adapt/text/model.safetensors").read_bytes()
    metrics = Path("metrics/adapt/text.json").read_bytes()
    with monkeypatch.context() as patch:
        killed_after(patch, count)
        with pytest.raises(Killed):
            main("text")
    assert [path.name for path in Path("out/adapt/text").iterdir()] == ["off.json"]
    epochs, learn = [], loop._train_epoch
    monkeypatch.setattr(loop, "_train_epoch", lambda *given: epochs.append(given[-1]) or learn(*given))
    main("text")
    assert epochs == list(range(count, 4))
    assert Path("out/adapt/text/model.safetensors").read_bytes() == whole
    assert Path("metrics/adapt/text.json").read_bytes() == metrics
    assert not list(Path("out/.partial").glob("adapt-text/*"))


def test_work_begun_with_other_parameters_is_never_continued(monkeypatch, capsys):
    set_up("adapt.text", **(ON | {"epochs": 3}))
    with monkeypatch.context() as patch:
        killed_after(patch, 1)
        with pytest.raises(Killed):
            main("text")
    set_up("adapt.text", **(ON | {"epochs": 3, "lr": 0.02}))
    capsys.readouterr()
    main("text")
    assert "earlier run" not in capsys.readouterr().out


def test_a_mixture_of_layers_learns_while_the_encoder_is_frozen():
    set_up("adapt.audio", **(ON | {"epochs": 2, "lr": 1e-9}), encoder="speaks", layer="weighted")
    main("audio")
    state = load_file("out/adapt/audio/model.safetensors")
    assert state["mixture"].abs().max() > 0.01


def test_low_rank_updates_need_linear_maps():
    with pytest.raises(UserError, match="no linear maps; set lora to 0"):
        trainable_layers.top_layers(nn.ModuleList([nn.Conv1d(2, 2, 1)]), 1, how(lora=2))


def test_only_what_is_heard_of_an_utterance_sorts_it():
    set_up("adapt.text", epochs=0)
    lengths = np.tile(np.arange(1, 9), 4)
    lines = [TextInput("a" * 4 * length, "Ann") for length in lengths]
    train = one_encoder.LabelledUtterances(
        lines, {"emotion": np.zeros(32, np.int64)}, np.ones(32), label_space("meld").tasks
    )

    def spread(**cut) -> float:
        """Of the lengths in a batch, on average over five epochs."""
        batches = one_encoder.UtteranceBatches(train, original(), 4, seed=1, **cut)
        return float(np.mean([np.ptp(lengths[batch]) for _ in range(5) for batch in batches.draw()]))

    assert spread() == 0
    assert spread(longest=1) > 3


def test_shares_say_how_often_an_utterance_is_seen():
    set_up("adapt.text", epochs=0)
    lines = [TextInput("a" * (1 + number % 5), "Ann") for number in range(40)]
    share = np.repeat([2.0, 0.5, 0.0], [10, 20, 10])
    train = one_encoder.LabelledUtterances(
        lines, {"emotion": np.zeros(40, np.int64)}, share, label_space("meld").tasks
    )
    batches = one_encoder.UtteranceBatches(train, original(), 4, seed=1)
    seen = np.zeros(40)
    for _ in range(50):
        for batch in batches.draw():
            assert 1 <= len(batch) <= 4
            np.add.at(seen, batch, 1)
    assert (seen[:10] == 100).all()
    assert abs(seen[10:30].mean() - 25) < 3
    assert (seen[30:] == 0).all()


def test_votes_are_learnt_from_where_there_are_any():
    """The loss of soft labels, and of a label where an utterance has none; a tie of votes counts, too."""
    shares = np.array([[0.75, 0.25], [np.nan, np.nan], [0.5, 0.5]], np.float32)
    task = Task("mood", "classification", ("low", "glad"))
    train = one_encoder.LabelledUtterances(
        ["a", "b", "c"], {"mood": np.array([0, 1, -100])}, np.ones(3), {"mood": task}, {"mood": shares}
    )
    logits = torch.tensor([[[1.0, -1.0], [0.5, 0.0], [0.0, 2.0]]])
    probe: Any = SimpleNamespace(part_logits=lambda inputs: {"mood": logits})
    objective = one_encoder.ProbeObjective(train, {"mood": 2}, class_weight_power=0.0)
    found = objective(probe, np.arange(3))["mood"]
    soft = torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.5, 0.5]])
    assert found.item() == pytest.approx(functional.cross_entropy(logits[0], soft).item(), abs=1e-5)
