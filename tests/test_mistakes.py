"""Mistakes of a user that show only while a stage learns: one line each, which says what to do."""

from pathlib import Path

import loops
import numpy as np
import packed
import pytest
import torch
from scenes import conversation
from torch import nn
from tuned_project import set_up

from merc.data.batches import dataset, sampling
from merc.data.records.labels import label_space
from merc.encoders.lipsync import clip_inputs
from merc.finetuning import one_encoder
from merc.runtime import divergence, results
from merc.runtime.errors import UserError, error_context
from merc.training.core import loop, supervision
from models.lipsync import Synchrony, TowersConfig
from stages import adapt, finetune, lipsync
from stages import pretrain as pretrain_stage
from stages import train as train_stage

TOWERS = TowersConfig(height=32, width=48, bands=40, frames_per_picture=4, dim=8)
TOO_FAST = 1e30  # a learning rate


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=1, dialogues=12)
    packed.write_split("dev", seed=2, dialogues=6)
    return tmp_path


def parameters(folder: Path, **changes) -> None:
    packed.copy_parameters(folder, **(packed.QUICK | {"compute__workers": 1} | changes))


@pytest.mark.parametrize("stage", [pretrain_stage, train_stage])
@pytest.mark.parametrize("share", [0.0001, 0.08])
def test_a_share_too_small_for_one_dialogue_an_epoch_is_refused(folder, stage, share):
    results.write_json(Path("out/pretrain/off.json"), {"off": "not tried here"})
    parameters(folder, data__share={"sample": share})
    with pytest.raises(
        UserError, match=rf"data\.share: sample {share:g}: .* dialogues an epoch; raise it"
    ) as error:
        stage.main()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sampling.SAMPLERS)
def test_a_share_of_one_dialogue_an_epoch_draws_one_at_least(folder, name):
    train = dataset.read_split("train", ["sample"], list(packed.WIDTHS), label_space("meld"))
    seed = supervision.SeedRandomness(1, torch.Generator().manual_seed(1))
    batches = seed.batches(train, {"sample": 1.2 / train.dialogues}, name, 4)
    epochs = [batches.draw() for _ in range(30)]
    assert all(sum(len(draw.dialogues) for draw in epoch) >= 1 for epoch in epochs)


def test_an_epoch_of_adapt_draws_an_utterance_at_least():
    class Encoder:
        def size(self, one):
            return 1

    train = one_encoder.LabelledUtterances(
        ["words"] * 40, {"emotion": np.zeros(40, np.int64)}, np.full(40, 1.2 / 40), label_space("meld").tasks
    )
    batches = one_encoder.UtteranceBatches(train, Encoder(), 4, seed=1)
    epochs = [batches.draw() for _ in range(30)]
    assert all(sum(map(len, epoch)) >= 1 and all(map(len, epoch)) for epoch in epochs)


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_a_share_that_is_none_is_refused(folder, value):
    parameters(folder, data__share={"sample": value})
    with pytest.raises(UserError, match=r"data\.share\.sample = "):
        supervision.read_data(["text"])


def test_no_corpus_at_all_is_refused(folder):
    parameters(folder, data__corpora=[])
    with pytest.raises(UserError, match=r"data\.corpora = \[\]: name at least one"):
        supervision.read_data(["text"])


def test_one_corpus_twice_is_refused(folder):
    parameters(folder, data__corpora=["sample", "meld", "sample"])
    with pytest.raises(UserError, match=r"data\.corpora = \[sample, meld, sample\]: sample stands twice; name it"):
        supervision.read_data(["text"])


@pytest.mark.parametrize("stage", [pretrain_stage, train_stage])
@pytest.mark.parametrize(("numbers", "said"), [([], "at least 1 item"), ([1, 1], "each seed once")])
def test_no_seed_and_one_seed_twice_are_refused(folder, stage, numbers, said):
    parameters(folder, train__seeds=numbers)
    with pytest.raises(UserError, match=rf"train\.seeds = .*{said}"):
        stage.main()


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_teacher_whose_loss_is_no_number_is_refused(folder, epochs):
    results.write_json(Path("out/pretrain/off.json"), {"off": "not tried here"})
    parameters(folder, train__lr=TOO_FAST, train__epochs=epochs, train__warmup=0.0)
    with pytest.raises(UserError, match=r"^train: seed 3: epoch 1: .*nan.*; lower the learning rate") as error:
        train_stage.main()
    assert "\n" not in str(error.value)


def fit(step, **changes) -> nn.Module:
    """A network trained by this loss of a batch."""
    network = nn.Linear(2, 1)
    loop.fit(
        network,
        lambda net, batch: {"step": step(net(batch))},
        loops.FixedBatches([torch.ones(1, 2)]),
        lambda _: {"dev_loss": 0.0, loop.SCORE: 0.0},
        loops.config(**changes),
    )
    return network


def test_an_encoder_whose_loss_is_no_number_is_refused():
    assert all(one.isfinite().all() for one in fit(torch.sum, epochs=1).parameters())
    with pytest.raises(
        UserError, match=r"epoch 1: the loss is no finite number \(train_loss nan, dev_loss 0\); lower"
    ):
        fit(lambda answer: (answer * torch.nan).sum(), epochs=2)


FAST_STAGES = {
    "lipsync": (lipsync.main, "lipsync", {"epochs": 3, "lr": TOO_FAST, "batch": 4}),
    "adapt: text": (lambda: adapt.main("text"), "adapt.text", {"epochs": 3, "head_lr": TOO_FAST}),
    "finetune": (finetune.main, "finetune", {"epochs": 3, "network_lr": TOO_FAST}),
}


@pytest.mark.parametrize(("name", "stage"), FAST_STAGES.items(), ids=FAST_STAGES)
def test_the_stage_whose_loss_is_no_number_is_named(tmp_path, monkeypatch, name, stage):
    main, section, changes = stage
    monkeypatch.chdir(tmp_path)
    set_up(section, **changes)
    with pytest.raises(UserError, match=rf"^{name}: epoch \d: the loss is no finite number .*; lower the learning"):
        main()


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_weights_that_the_last_step_broke_are_not_kept(average):
    """The square root of 0 is a number, its gradient is none."""
    with pytest.raises(UserError, match="the weights of the best epoch are no finite numbers"):
        fit(lambda answer: (answer * 0).sum().sqrt(), epochs=1, average=average)


@pytest.mark.parametrize("judged", [True, False])
def test_lip_sync_whose_loss_is_no_number_is_refused(judged):
    clips = [clip_inputs.align_clip(*conversation(seed)[:2]) for seed in range(4)]
    torch.manual_seed(1)
    with pytest.raises(UserError, match=r"epoch \d: the loss is no finite number"):
        loops.synchronise(Synchrony(TOWERS), clips, clips[:1] if judged else [], epochs=2, lr=TOO_FAST, batch=2)


def test_what_was_being_done_stands_before_the_problem():
    with pytest.raises(UserError, match=r"^adapt: text: epoch 2: .*train_loss inf"), error_context("adapt: text"):
        divergence.check_losses({"train_loss": float("inf")}, 2)
