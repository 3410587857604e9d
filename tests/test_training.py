"""The training loop, its objectives and the three stages that use it, on a small synthetic split."""

import copy
import itertools
from pathlib import Path
from typing import get_args

import packed
import pandas as pd
import pytest
import torch
from torch import nn

from merc.data.batches import dataset
from merc.data.batches.sampling import SAMPLERS
from merc.data.records.labels import label_space
from merc.data.records.selection import Selection
from merc.runtime import results
from merc.training.core import loop, objectives, optim, supervision
from merc.training.distill import distillation_loss
from merc.training.distill.distillation_loss import (
    DistillationObjective,
    DistillWeights,
    compute_teacher_outputs,
    forward_views,
)
from merc.training.pretrain import alignment_loss
from models import checkpoint
from models.network import Network, NetworkConfig
from stages import distill as distill_stage
from stages import pretrain as pretrain_stage
from stages import train as train_stage

MODALITIES = ("text", "audio", "vision")
RATES = loop.LearningRateScale(text=1.0, audio=1.0, vision=1.0)
OPTIMISATION = loop.OptimisationConfig(
    epochs=12, patience=12, lr=0.005, lr_scale=RATES, optimiser="adamw", schedule="cosine", warmup=0.1,
    weight_decay=0.01, clip=1.0, average=0.5, batch=4, accumulate=1, precision="float32",
)  # fmt: skip
TASKS = objectives.TaskWeights(emotion=1.0, sentiment=0.5)
LOUDEST = 2.0  # noise, in standard deviations


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=1, dialogues=20)
    packed.write_split("dev", seed=2, dialogues=8)
    return tmp_path


def read(split):
    return dataset.read_split(split, ["sample"], MODALITIES, label_space("meld"))


def network(train, dropout=0.0, fusion="esag"):
    torch.manual_seed(1)
    stem = {"text": "mlp", "audio": "conv1d", "vision": "mlp"}
    config = NetworkConfig(
        modalities=list(MODALITIES), dim=16, fused=16, stem=stem, fusion=fusion, context="gru", heads="independent",
        causal=False, dropout=dropout, roles=3, belief_weight=0.3,
    )  # fmt: skip
    built = Network(config, train.streams, train.heads())
    loop.standardise(built, train)
    return built


def batches(train, seed=1):
    randomness = supervision.SeedRandomness(seed, torch.Generator().manual_seed(seed))
    return randomness.batches(train, {"sample": 1.0}, "shuffled", 4)


def labels(train, power=0.5, smoothing=0.0):
    return objectives.LabelLoss.of(train, power, TASKS, smoothing)


def hide(chance):
    return objectives.ModalityDropout(chance, torch.Generator().manual_seed(1))


def noise(chance):
    return objectives.FeatureNoise(chance, LOUDEST, torch.Generator().manual_seed(1))


def test_overfits_a_small_split(folder):
    train = read("train")
    built = network(train)
    objective = objectives.SupervisedObjective(labels(train), hide(0.0))
    config = OPTIMISATION.model_copy(update={"epochs": 20, "patience": 20, "lr": 0.01})
    history = loop.fit(
        built,
        objective,
        batches(train),
        supervision.DevScore(train, Selection("emotion", "macro_f1"), subsets=False),
        config,
    )
    assert history[-1]["train_loss"] < 0.2 * history[0]["train_loss"]
    assert (
        supervision.DevScore(train, Selection("emotion", "macro_f1"), subsets=False)(built)["dev_macro_f1"] > 0.95
    )


def test_the_best_epochs_weights_come_back(folder):
    train, seen = read("train"), []

    def score(trailing):
        seen.append(copy.deepcopy(trailing.state_dict()))
        return {loop.SCORE: [0.1, 0.3, 0.9, 0.2, 0.9, 0.5, 0.4][len(seen) - 1]}

    built = network(train)
    config = OPTIMISATION.model_copy(update={"patience": 4})
    objective = objectives.SupervisedObjective(labels(train), hide(0.0))
    history = loop.fit(built, objective, batches(train), score, config)
    assert len(history) == 7  # the third was the best, then four without a better one
    assert loop.best_epoch(history) == 3
    assert all(torch.equal(seen[2][name], tensor) for name, tensor in built.state_dict().items())


def test_a_modalitys_learning_rate_reaches_its_own_parameters_alone(folder):
    train = read("train")
    built = network(train)
    config = OPTIMISATION.model_copy(update={"lr_scale": RATES.model_copy(update={"audio": 0.5})})
    parts = loop.modality_parts(built, config)
    slow = {id(one) for part in parts if part.rate == config.lr * 0.5 for one in part.parameters}
    names = {name for name, parameter in built.named_parameters() if id(parameter) in slow}
    assert names and all("audio" in name for name in names)
    assert any(name.startswith("stems") for name in names)
    assert sum(len(part.parameters) for part in parts) == len(list(built.parameters()))


def test_the_moving_average_starts_as_a_mean(folder):
    module = nn.Linear(1, 1, bias=False)
    average, seen = optim.moving_average(module, 0.75), []
    for value in (4.0, 2.0, 9.0, 1.0, 3.0):
        nn.init.constant_(module.weight, value)
        average.update_parameters(module)
        seen.append(average.module.weight.item())
    assert seen == pytest.approx([4.0, 3.0, 5.0, 4.0, 3.75])


@pytest.mark.parametrize("fusion", ["esag", "concat"])
def test_distilling_from_oneself_leaves_the_label_loss(folder, fusion):
    train = read("train")
    built = network(train, fusion=fusion).eval()
    weights = DistillWeights(label=1.0, soft=1.0, feature=1.0, relation=1.0)
    objective = DistillationObjective(
        compute_teacher_outputs(built, train), labels(train), hide(0.0), noise(0.0), 2.0, weights, subsets=False
    )
    batch = train.batch(range(6))
    parts = objective(built, batch)
    assert parts["label"].item() == pytest.approx(sum(labels(train)(built(batch), batch).values()).item())
    assert all(parts[name].item() == pytest.approx(0.0, abs=1e-6) for name in ("soft", "feature", "relation"))
    other = network(train, fusion=fusion)
    nn.init.normal_(other.context.out.weight)
    apart = DistillationObjective(compute_teacher_outputs(other, train), *list(vars(objective).values())[1:])
    assert all(apart(built, batch)[name].item() > 1e-3 for name in ("soft", "feature", "relation"))


def test_views_in_one_batch_are_the_answers_to_each(folder):
    train = read("train")
    built, batch = network(train).eval(), train.batch([2, 0, 3])
    views = [torch.tensor(seen) for seen in ((True, True, True), (False, True, False), (True, False, True))]
    seen = torch.cat([batch["present"] & view for view in views])
    output, many = forward_views(built, batch, seen)
    assert many["index"].tolist() == 3 * batch["index"].tolist()
    for number, view in enumerate(views):
        rows, alone = slice(number * len(batch["index"]), (number + 1) * len(batch["index"])), built(batch, view)
        for name in ("emotion", "sentiment", "context"):
            torch.testing.assert_close(output[name][rows], alone[name], atol=1e-5, rtol=1e-4)


def test_the_second_phase_asks_by_chance_and_from_every_part(folder):
    train = read("train")
    weights = DistillWeights(label=1.0, soft=1.0, feature=1.0, relation=1.0)
    batch = train.batch(range(6))
    settings = compute_teacher_outputs(network(train), train), labels(train), hide(0.3), noise(0.3), 2.0, weights
    seen = DistillationObjective(*settings, subsets=True)._views(batch).view(10, -1, 3)
    for part in itertools.product((False, True), repeat=3):
        wanted = batch["present"] & torch.tensor(part)
        assert (0 < sum(part) < 3) == any(view.equal(wanted) for view in seen[1:])
    assert not seen[0].equal(batch["present"])


def test_the_teacher_is_heard_once_with_everything_and_stays_as_it_is(folder):
    train = read("train")
    teacher, batch = network(train, dropout=0.3), train.batch([3, 0])
    before = copy.deepcopy(teacher.state_dict())
    outputs = compute_teacher_outputs(teacher, train)
    assert not teacher.training
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    with torch.no_grad():
        directly = teacher(batch)
    for name in ("emotion", "sentiment", "utterance", "context"):
        assert torch.allclose(outputs[name][batch["index"]], directly[name], atol=1e-5)


def test_the_student_learns_with_modalities_hidden_and_noisy(folder):
    train, dev = read("train"), read("dev")
    teacher, student = network(train).eval(), network(train, dropout=0.3)
    weights = DistillWeights(label=1.0, soft=1.0, feature=0.5, relation=0.1)
    objective = DistillationObjective(
        compute_teacher_outputs(teacher, train), labels(train), hide(0.5), noise(0.5), 2.0, weights, subsets=True
    )
    config = OPTIMISATION.model_copy(update={"epochs": 2})
    history = loop.fit(
        student,
        objective,
        batches(train),
        supervision.DevScore(dev, Selection("emotion", "macro_f1"), subsets=True),
        config,
    )
    assert history[1]["train_loss"] < history[0]["train_loss"]


def test_modality_dropout_hides_and_never_touches_features(folder):
    train = read("train")
    batch = train.batch(range(train.dialogues))
    before = copy.deepcopy(batch)
    masks = torch.stack([hider(batch) for hider in [hide(0.4)] for _ in range(300)])
    assert torch.equal(batch["present"], before["present"])
    assert all(torch.equal(values, before["values"][name]) for name, values in batch["values"].items())
    assert not (masks & ~batch["present"]).any()
    there = batch["present"].expand_as(masks)
    assert (masks & there).sum() / there.sum() == pytest.approx(0.6, abs=0.02)
    assert torch.equal(hide(0.0)(batch), batch["present"])


def test_noise_has_the_level_that_it_tells_and_leaves_the_rest_alone(folder):
    train = read("train")
    built, batch = network(train), train.batch(range(train.dialogues))
    before = {name: values.clone() for name, values in batch["values"].items()}
    made, squares = noise(0.4), {m: [] for m in MODALITIES}
    clear = torch.stack([_heard(made, built, batch, squares) for _ in range(200)])
    assert all(
        torch.equal(before[name].nan_to_num(), values.nan_to_num()) for name, values in batch["values"].items()
    )
    assert (clear < 1).float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert clear.min() == pytest.approx(1 / (1 + LOUDEST**2), abs=0.01)
    for m in MODALITIES:  # noise of level s adds s^2 to the mean square of standardised features
        added, level = torch.cat(squares[m]).unbind(1)
        assert added[level == 0].max() < 1e-5 and (added[level > 0] > 0).all()
        assert added.sum() / level.square().sum() == pytest.approx(1, abs=0.05)
    still, clean = noise(0.0)(built, batch)
    assert still is batch and (clean == 1).all()


def _heard(made, built, batch, squares):
    """One draw's share of signal; of each utterance the mean square of what was added, and its level."""
    heard, clear = made(built, batch)
    for stream, own in heard["values"].items():
        rows, steps = batch["rows"][stream], batch["steps"][stream]
        added = ((own - batch["values"][stream]) / built.spread(stream)).square().nanmean(2)  # (n, S)
        mean = torch.stack([one[:length].mean() for one, length in zip(added, steps, strict=True)])
        level = (1 / clear[rows, built.modalities.index(stream.split("/")[0])] - 1).clamp(min=0).sqrt()
        squares[stream.split("/")[0]].append(torch.stack([mean, level], 1))
    return clear


def test_the_teachers_gate_is_shared_out_by_what_the_student_hears():
    gate = torch.tensor([[[0.6, 0.3, 0.1]]])
    output = {"context": torch.eye(1), "weights": {"gate": torch.zeros(1, 1, 3)}}
    teacher_output = {"context": torch.eye(1), "gate": gate}
    for seen, expected in (([1.0, 1.0, 1.0], gate), ([0.5, 1.0, 0.0], torch.tensor([[[0.5, 0.5, 0.0]]]))):
        output["weights"]["gate"] = expected
        loss = distillation_loss.relation_loss(output, teacher_output, torch.tensor([seen]))
        assert loss.item() == pytest.approx(0.0, abs=1e-7)


def test_relations_of_many_rows_are_compared_by_blocks(monkeypatch):
    random = torch.Generator().manual_seed(1)
    student, teacher = ({"context": torch.randn(5, 4, generator=random)} for _ in range(2))
    monkeypatch.setattr(distillation_loss, "MAX_ROWS", 4)
    parts = [
        ({"context": s}, {"context": t})
        for s, t in zip(*(one["context"].tensor_split(2) for one in (student, teacher)), strict=True)
    ]
    expected = [distillation_loss.relation_loss(*part, torch.ones(1)) for part in parts]
    found = distillation_loss.relation_loss(student, teacher, torch.ones(5, 3))
    assert found == sum(expected) / 2 and expected[0] != expected[1]


def test_class_weights_and_counts(folder):
    train = read("train")
    frequency = torch.bincount(train.targets["emotion"][train.targets["emotion"] >= 0], minlength=7).float()
    for power in (0.0, 0.5, 1.0):
        weights = objectives.class_weights(train, "emotion", power)
        assert torch.allclose((weights * frequency).sum() / frequency.sum(), torch.tensor(1.0))
        assert torch.allclose(weights * frequency**power, (weights * frequency**power)[0].expand(7))
    batch, loss = train.batch(range(3)), labels(train, smoothing=0.1)
    logits = {"emotion": torch.randn(len(batch["index"]), 7), "sentiment": torch.randn(len(batch["index"]), 3)}
    reference = nn.functional.cross_entropy(
        logits["emotion"], batch["emotion"], loss.weights["emotion"], label_smoothing=0.1
    )
    assert loss(logits, batch)["emotion"].item() == pytest.approx(reference.item(), rel=1e-5)
    count = torch.ones(len(batch["index"]))
    count[0] = 0
    without = batch | {"emotion": batch["emotion"].clone(), "sentiment": batch["sentiment"].clone()}
    without["emotion"][0] = without["sentiment"][0] = -100
    counted, reference = loss(logits, batch | {"count": count}), loss(logits, without)
    assert all(torch.allclose(counted[task], reference[task]) for task in counted)


def test_alignment_is_least_for_aligned_latents(folder):
    torch.manual_seed(1)
    vectors, present = torch.randn(20, 8), torch.ones(20, 2, dtype=torch.bool)
    same, other = ({"text": vectors, "audio": one} for one in (vectors, torch.randn(20, 8)))
    pair = ("text", "audio")
    assert alignment_loss.contrastive_loss(same, present, pair) < 0.1
    assert alignment_loss.contrastive_loss(other, present, pair) > 0.1
    assert alignment_loss.recall_at_1(same, present, pair) == (1.0, pytest.approx(1 / 20))
    present[1:, 0] = False
    assert alignment_loss.contrastive_loss(same, present, pair) == 0.0  # one utterance has nothing to be told from


def test_blocks_of_rows_are_aligned_as_the_whole(monkeypatch):
    generator, pair = torch.Generator().manual_seed(1), ("text", "audio")
    latent = {modality: torch.randn(50, 8, generator=generator) for modality in pair}
    present = torch.rand(50, 2, generator=generator) > 0.1
    whole = (
        alignment_loss.contrastive_loss(latent, present, pair),
        alignment_loss.recall_at_1(latent, present, pair),
    )
    monkeypatch.setattr(alignment_loss, "BLOCK", 7)
    loss, recall = (
        alignment_loss.contrastive_loss(latent, present, pair),
        alignment_loss.recall_at_1(latent, present, pair),
    )
    assert loss.item() == pytest.approx(whole[0].item(), rel=1e-6)
    assert recall == whole[1]


def test_registries_and_choices_agree():
    fields = supervision.SupervisionConfig.model_fields
    tables = {
        "sampling": SAMPLERS, "schedule": optim.SCHEDULES, "optimiser": optim.OPTIMISERS,
        "loss": objectives.LOSSES, "class_counts": objectives.CLASS_COUNTS,
    }  # fmt: skip
    assert all(set(get_args(fields[name].annotation)) == set(table) for name, table in tables.items())


def run_stages(folder, **changes):
    packed.copy_parameters(folder, **(packed.QUICK | changes))
    for stage in (pretrain_stage, train_stage, distill_stage):
        stage.main()
    return {str(path): path.read_bytes() for top in ("out/pretrain", "out/train", "out/distill", "metrics", "plots")
            for path in sorted(Path(top).rglob("*")) if path.is_file()}  # fmt: skip


def test_stages_repeat_bit_for_bit_in_parallel_and_in_order(folder):
    first = run_stages(folder, compute__workers=2, pretrain__weights__order=1.0)
    assert first == run_stages(folder, compute__workers=1, pretrain__weights__order=1.0)
    assert {f"out/{stage}/seed-{seed}/model.safetensors" for stage in ("pretrain", "train", "distill")
            for seed in (3, 4)} <= first.keys()  # fmt: skip
    spaces = results.read_json(Path("metrics/pretrain.json"))
    assert list(spaces) == [
        "recall_at_1",
        "modality_probe",
        "norm_ratio",
        "order",
        "speaker_share",
        "best_epoch",
    ]
    assert all(set(spaces[name]) == {"before", "after", "chance"} for name in list(spaces)[:4])
    assert spaces["order"]["before"] == 0.5 != spaces["order"]["after"]  # it starts undecided
    for stage in ("train", "distill"):
        measured = results.read_json(Path(f"metrics/{stage}.json"))
        assert list(measured) == ["emotion", "sentiment", "best_epoch", "by_seed"]
        assert set(measured["by_seed"]) == {"3", "4"} and 0 <= measured["emotion"]["macro_f1"] <= 1
        curves = pd.read_csv(f"plots/{stage}/learning.csv")
        assert {"seed", "epoch", "train_loss", "dev_loss", "dev_macro_f1"} <= set(curves)
    built = checkpoint.load("out/distill/seed-3")
    logits = loop.predict(built, read("dev"))
    nothing = loop.predict(built, read("dev"), torch.zeros(len(read("dev")), 3))
    assert logits["emotion"].shape == (len(read("dev")), 7) and logits["sentiment"].shape[1] == 3
    assert not (logits["emotion"] == nothing["emotion"]).all()


def test_without_pretraining_and_with_weighted_sampling(folder):
    files = run_stages(folder, pretrain__epochs=0, train__sampling="weighted", train__modality_dropout=0.2)
    assert "out/pretrain/off.json" in files and not any("pretrain/seed" in name for name in files)
    assert results.read_json(Path("metrics/pretrain.json"))["recall_at_1"]["after"] is None
    assert list(pd.read_csv("plots/pretrain/learning.csv"))[:2] == ["seed", "epoch"]


def test_one_modality_is_trained(folder):
    run_stages(folder, model__modalities=["audio"], train__seeds=[3])
    assert "one modality" in results.read_json(Path("out/pretrain/off.json"))["off"]
