"""A network that nothing taught before: soft labels, averaged weights, batch statistics; going on when killed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scenes import extracted
from torch import nn
from torch.nn import functional
from tuned_project import set_up

from merc.data.records.encoder_inputs import AudioInput
from merc.data.records.labels import label_space
from merc.encoders.base import factory, tuned
from merc.encoders.base.encoder import extract_features
from merc.finetuning import one_encoder
from merc.finetuning.augmentation import AugmentedBatch
from merc.runtime.errors import UserError
from merc.runtime.results import read_json
from merc.training.core import loop
from merc.training.core.optim import moving_average
from stages import adapt, encode

AUGMENT = {
    "speed": 0.1, "seconds": 0.8, "gain": 3.0, "noise": 0.5, "time_mask": 0.1, "band_mask": 0.1, "mixup": 0.5
}  # fmt: skip
ON = {"epochs": 2, "freeze_epochs": 0, "head_lr": 0.003, "batch": 8, "average": 0.9, "label_smoothing": 0.1}
WEIGHTS = Path("out/adapt/audio/model.safetensors")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def taught(**changes) -> bytes:
    """The weights that adapt leaves."""
    set_up("adapt.audio", encoder="mel-network", **(ON | {"augment": AUGMENT} | changes))
    adapt.main("audio")
    return WEIGHTS.read_bytes()


def network(weights: Path | None = None):
    return factory.build("audio", "mel-network", factory.encoding_section("audio"), weights=weights)


def test_all_of_it_learns_batch_statistics_too_and_encode_gets_it_in_eval_mode():
    taught()
    before, after = network().state_dict(), load_file(WEIGHTS)
    assert {name for name in before if torch.equal(before[name], after[name])} == set()
    assert read_json(Path("metrics/adapt/audio.json"))["emotion"]["uar"] is not None
    encoder = network(tuned.tuned_folder("audio", "mel-network"))
    sound = AudioInput(np.random.default_rng(0).normal(0, 0.1, 9000).astype(np.float32))
    assert not any(part.training for part in encoder.modules())
    assert not np.allclose(
        extract_features(encoder, [sound])[0], extract_features(network(), [sound])[0], atol=1e-2
    )


def test_twice_and_killed_and_continued_are_the_same_bytes(monkeypatch):
    whole = taught()
    assert taught() == whole
    learn, calls = loop._train_epoch, []

    def killed(*given):
        losses = learn(*given)
        calls.append(None)
        if len(calls) == 2:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            taught()
    assert taught() == whole
    assert len(calls) == 2


def test_every_parameter_matters():
    changes = [{}, {"average": 0.0}, {"label_smoothing": 0.0}, {"augment": AUGMENT | {"mixup": 0.0}}]
    assert len({taught(epochs=1, **one) for one in changes}) == len(changes)


def test_before_it_has_learnt_encode_refuses_it():
    set_up("adapt.audio", encoder="mel-network", epochs=0)
    extracted("test", "sample", 4, seed=200)
    adapt.main("audio")
    with pytest.raises(UserError, match=r"mel-network has learnt nothing yet.* adapt\.audio\.epochs above 0"):
        encode.main("sample", "audio")


@pytest.mark.parametrize("wrong", [{"speed": -0.1}, {"mixup": 1.5}, {"time_mask": 1.0}, {"pitch": 0.1}])
def test_wrong_values_are_refused_with_their_place(wrong):
    set_up("adapt.audio", encoder="mel-network", **(ON | {"augment": AUGMENT | wrong}))
    with pytest.raises(UserError, match=rf"adapt\.audio.*augment\.{next(iter(wrong))}"):
        adapt.main("audio")


def test_the_loss_of_a_mixture_is_the_cross_entropy_of_soft_labels():
    """torch's own, which takes probabilities; the part of a row that has no label does not count."""
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    targets, other, share = np.array([0, 1, 2, 1]), np.array([2, 0, 3, 1]), np.array([0.6, 0.9, 1.0, 0.5])

    class Fixed(nn.Module):
        norm, heads = nn.LayerNorm(3), {"emotion": nn.Linear(1, 3)}

        def part_logits(self, inputs):
            return {"emotion": logits[None]}

    train = one_encoder.LabelledUtterances(
        [0, 1, 2, 3], {"emotion": targets}, np.ones(4), label_space("meld").tasks
    )
    objective = one_encoder.ProbeObjective(
        train, {"emotion": 3}, 0.5, 0.1, lambda raw: AugmentedBatch(raw, other, share)
    )

    def loss() -> torch.Tensor:
        return objective(Fixed(), np.arange(4))["emotion"]

    hot = np.eye(3, dtype=np.float32)
    soft = torch.from_numpy(share[:, None] * hot[targets] + (1 - share[:, None]) * hot[targets[other]]).float()
    expected = functional.cross_entropy(logits, soft, objective.weights["emotion"], label_smoothing=0.1)
    assert torch.allclose(loss(), expected, atol=1e-6)
    targets[0] = -100
    counted = [(1, 1, 0.9), (2, 2, 1.0), (3, 1, 0.5), (3, 1, 0.5), (0, 2, 0.4)]  # row, label, share
    each = [
        part
        * functional.cross_entropy(
            logits[row : row + 1],
            torch.tensor([label]),
            objective.weights["emotion"],
            reduction="none",
            label_smoothing=0.1,
        )
        for row, label, part in counted
    ]
    assert torch.allclose(loss(), sum(each).sum() / sum(part for *_, part in counted), atol=1e-6)


def test_averaged_weights_and_batch_statistics_stand_beside_the_networks_own():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = moving_average(network, 0.9)
    average.update_parameters(network)
    with torch.no_grad():
        network[0].weight.add_(1)
        network[1].running_mean.add_(4)
        network[1].num_batches_tracked.add_(3)
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    average.update_parameters(network)  # the plain mean, at first
    averaged = average.module.state_dict()
    assert torch.allclose(averaged["0.weight"], own["0.weight"] - 0.5)
    assert averaged["1.running_mean"].tolist() == [2.0, 2.0] and averaged["1.num_batches_tracked"] == 3
    assert all(torch.equal(tensor, own[name]) for name, tensor in network.state_dict().items())


def test_each_network_judges_on_its_own_and_learns_from_its_own_mistakes():
    set_up("adapt.audio", encoder="mel-network")
    probe = one_encoder.LinearProbe(network(), {"emotion": 8, "sentiment": 3}, label_space("meld").tasks).eval()
    assert probe.encoder.parts == len(probe.encoder.towers) > 1
    sounds = [
        AudioInput(np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32))
        for length in (5000, 9000)
    ]
    each, together = probe.part_logits(sounds), probe(sounds)
    steps = [torch.from_numpy(one).mean(dim=0) for one in extract_features(probe.encoder, sounds)]
    for task, head in probe.heads.items():
        assert torch.allclose(each[task].mean(dim=0), together[task])
        for part, weight in enumerate(head.weight.chunk(probe.encoder.parts, dim=1)):
            own = torch.stack([step.chunk(probe.encoder.parts)[part] for step in steps])
            expected = functional.layer_norm(own, own.shape[1:]) @ weight.T + head.bias
            assert torch.allclose(each[task][part], expected, atol=1e-4)
    each["emotion"][0].logsumexp(dim=1).sum().backward()
    moved = [
        sum(float(weight.grad.abs().sum()) for weight in tower.parameters() if weight.grad is not None)
        for tower in probe.encoder.towers
    ]
    assert moved[0] > 0 and not any(moved[1:])
