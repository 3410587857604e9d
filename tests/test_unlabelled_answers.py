"""Semi-supervision: whose soft answers the student learns from."""

from pathlib import Path
from typing import Any

import networks
import numpy as np
import packed
import pytest
import torch

from merc.data.batches import dataset
from merc.data.records.labels import label_space
from merc.training.core import objectives
from merc.training.distill.distillation_loss import (
    DistillationObjective,
    DistillWeights,
    compute_teacher_outputs,
    trusted_rows,
)
from models.network import Network

CALIBRATED = {"temperature": 2.0, "threshold": 0.3}


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.write_split("train", seed=1, dialogues=12)
    split = dataset.read_split("train", ["sample"], networks.MODALITIES, label_space("meld"))
    split.targets["emotion"][5:] = -100
    return split


def test_the_rows_are_the_labelled_and_of_the_others_all_none_or_the_sure(train):
    logits = torch.randn(len(train), 7, generator=torch.Generator().manual_seed(1)) * 4
    labelled = torch.arange(len(train)) < 5
    sets = (logits.double() / 2).softmax(1) >= 0.3
    sure = sets.sum(1) == 1
    assert 5 < (sure | labelled).sum() < len(train)
    assert trusted_rows("all", "emotion", train, logits, CALIBRATED) is None
    none, chosen = (trusted_rows(which, "emotion", train, logits, CALIBRATED) for which in ("none", "sure"))
    assert none is not None and torch.equal(none, labelled)
    largest_alone = sets.sum(1) == 0  # below the threshold the most probable label is the set
    assert chosen is not None and torch.equal(chosen, labelled | sure | largest_alone)


def test_the_soft_loss_is_that_of_the_trusted_rows_and_the_others_change_nothing(train):
    torch.manual_seed(1)
    student, teacher = (Network(networks.config(), train.streams, train.heads()).eval() for _ in range(2))
    outputs, batch = compute_teacher_outputs(teacher, train), train.batch(range(train.dialogues))
    trusted = torch.from_numpy(np.random.default_rng(1).random(len(train)) < 0.5)

    def soft(of: dict, rows: torch.Tensor | None) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        objective = DistillationObjective(
            of, objectives.LabelLoss.of(train, 0.5, {}, 0.0), objectives.ModalityDropout(0.0, generator),
            objectives.FeatureNoise(0.0, 1.0, generator), 2.0,
            DistillWeights(label=0.0, soft=1.0, feature=0.0, relation=0.0), subsets=False, trusted=rows,
        )  # fmt: skip
        return objective(student, batch)["soft"]

    other = outputs | {
        task: torch.where(trusted.unsqueeze(1), outputs[task], -outputs[task]) for task in train.labels
    }
    assert torch.equal(soft(outputs, trusted), soft(other, trusted)) and soft(outputs, None) != soft(other, None)
    assert torch.equal(soft(outputs, torch.ones_like(trusted)), soft(outputs, None))
    nothing = soft(outputs, torch.zeros_like(trusted))
    nothing.backward()
    assert nothing == 0


def test_the_stage_reads_the_teachers_calibration(train):
    from merc.runtime import results
    from stages import distill

    outputs = {"emotion": torch.zeros(len(train), 7)}
    job = packed_job(distill)
    results.write_json(Path("out/train/seed-3/calibration.json"), {"emotion": CALIBRATED | {"threshold": 0.0}})
    first = distill._trusted_rows(job, train, outputs)
    assert first is not None and first.tolist() == [row < 5 for row in range(len(train))]
    outputs["emotion"][7, 2] = 9.0
    results.write_json(Path("out/train/seed-3/calibration.json"), {"emotion": CALIBRATED})
    second = distill._trusted_rows(job, train, outputs)
    assert second is not None and second[7]


def packed_job(distill: Any) -> Any:
    from merc.runtime import params

    packed.copy_parameters(Path(), **packed.QUICK | {"distill__unlabelled": "sure"})
    return distill.DistillJob(3, params.read("distill", distill.DistillConfig), None, None, 0.1)
