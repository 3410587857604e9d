"""Distillation objective: the student, with modalities missing, matches a teacher with all modalities."""

from dataclasses import dataclass
from typing import cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from merc.data.batches.dataset import Split, is_labelled
from merc.data.records.labels import Task
from merc.runtime.params import StrictModel
from merc.training.core import calibration
from merc.training.core.calibration import Calibration
from merc.training.core.loop import iterate_outputs
from merc.training.core.network import MultimodalNetwork
from merc.training.core.objectives import FeatureNoise, LabelLoss, ModalityDropout
from merc.training.core.similarity import cosine_similarities
from merc.training.core.supervision import subset_masks

MAX_ROWS = 2048  # whose pairs are compared: with all views of a batch, pairs would take the memory of many batches


class DistillWeights(StrictModel):
    """Weights of the loss terms; 0 leaves a term out."""

    label: float = Field(ge=0)
    soft: float = Field(ge=0)
    feature: float = Field(ge=0)
    relation: float = Field(ge=0)


@dataclass(frozen=True)
class DistillationObjective:
    """Label loss plus distances to the teacher: softened labels, utterance and context vectors, relations.

    Each distance is 0 for a student that equals its teacher.
    """

    teacher_outputs: dict[str, Tensor]  # of every row of train, by compute_teacher_outputs
    labels: LabelLoss
    hide: ModalityDropout  # with rate 0 in the first phase
    noise: FeatureNoise  # with rate 0 in the first phase
    temperature: float
    weights: DistillWeights
    subsets: bool  # second phase: also predict every utterance from each proper subset of the modalities
    trusted: Tensor | None = None  # (N,) rows of train whose soft answers are learnt from; None: all

    def __call__(self, network: MultimodalNetwork, batch: dict) -> dict[str, Tensor]:
        views = self._views(batch)
        noisy_batch, signal = self.noise(network, batch)
        output, view_batch = forward_views(network, noisy_batch, views)
        visible = views * repeat_rows(signal, len(views) // len(signal))
        teacher = {name: values[view_batch["index"]] for name, values in self.teacher_outputs.items()}
        return {
            "label": self.weights.label * cast(Tensor, sum(self.labels(output, view_batch).values())),
            "soft": self.weights.soft * self._soft(*self._trusted_answers(output, teacher, view_batch["index"])),
            "feature": self.weights.feature * self._feature(output, teacher),
            "relation": self.weights.relation * relation_loss(output, teacher, visible),
        }

    def _views(self, batch: dict) -> Tensor:
        """(views N, M): the modality masks of the batch's views, one view after another.

        A single modality is a view twice, since it has the most to gain (docs/log.md).
        """
        present = batch["present"]
        subsets = subset_masks(present.shape[1]) if self.subsets else []
        subsets += [subset for subset in subsets if subset.sum() == 1]
        return torch.cat([self.hide(batch), *(present & subset.to(present.device) for subset in subsets)])

    def _trusted_answers(self, output: dict, teacher: dict, index: Tensor) -> tuple[dict, dict]:
        """The student's and the teacher's answers for the rows that are trusted."""
        if self.trusted is None:
            return output, teacher
        trusted = self.trusted[index]
        tasks = self.labels.tasks
        return {name: output[name][trusted] for name in tasks}, {name: teacher[name][trusted] for name in tasks}

    def _feature(self, output: dict, teacher: dict) -> Tensor:
        """Distance of the utterance vectors plus that of the context vectors."""
        return cast(Tensor, sum(_distance(output[name], teacher[name]) for name in ("utterance", "context")))

    def _soft(self, output: dict, teacher: dict) -> Tensor:
        """Divergence of the softened probabilities, times T^2 to preserve gradient size (Hinton et al. 2015)."""
        if not all(len(teacher[name]) for name in self.labels.tasks):  # no row is trusted
            return cast(Tensor, sum(output[name].sum() for name in self.labels.tasks)) * 0.0
        losses = [
            self.labels.task_weight(name)
            * SOFT_LOSSES[task.kind](output[name], teacher[name], self.temperature, task)
            for name, task in self.labels.tasks.items()
        ]
        return torch.stack(losses).sum()


def compute_teacher_outputs(teacher: MultimodalNetwork, train: Split) -> dict[str, Tensor]:
    """The teacher's logits, vectors and gate (if it has one) of each row, in eval mode with every modality.

    Computed once, because they depend neither on the batch nor on the epoch.
    """
    batch_outputs: list[dict[str, Tensor]] = []
    for _, output in iterate_outputs(teacher, train):
        values = {name: output[name] for name in (*teacher.labels, "utterance", "context")}
        gate = {"gate": output["weights"]["gate"]} if "gate" in output["weights"] else {}
        batch_outputs.append({name: value.clone() for name, value in (values | gate).items()})
    return {name: torch.cat([output[name] for output in batch_outputs]) for name in batch_outputs[0]}


def trusted_rows(
    unlabelled: str, task: str, train: Split, logits: Tensor, calibrated: Calibration
) -> Tensor | None:
    """(N,) bool: the rows whose teacher's answer is learnt from: those with a label, and of the others all (None),
    none, or, if `sure`, those whose calibrated label set (`calibration.label_sets`) has one label.
    """
    if unlabelled == "all":
        return None
    trusted = is_labelled(train.targets[task])
    if unlabelled == "sure":
        probabilities = calibration.apply(logits.cpu().numpy(), calibrated)
        sizes = calibration.label_sets(probabilities, calibrated).sum(-1)
        trusted = trusted | torch.from_numpy(sizes == 1).to(trusted.device)
    return trusted


def forward_views(network: MultimodalNetwork, batch: dict, views: Tensor) -> tuple[dict, dict]:
    """The network's output on N rows under modality masks `views` (K N, M), and the batch repeated K times.

    The stems run once. All views form one batch, so that batch norm sees the mixture of views that it will be used
    on; statistics of each view alone would fit none of them later.
    """
    place, num_views = batch["place"], len(views) // len(batch["present"])
    view_batch = {name: repeat_rows(value, num_views) for name, value in batch.items() if isinstance(value, Tensor)}
    offsets = torch.arange(num_views, device=place.device).repeat_interleave(len(place)) * (place[:, 0].max() + 1)
    view_batch["place"] = view_batch["place"] + torch.stack([offsets, torch.zeros_like(offsets)], 1)
    hidden, steps, deviation = network.encode(batch)
    hidden_views, step_views = (
        {m: repeat_rows(value, num_views) for m, value in values.items()} for values in (hidden, steps)
    )
    deviation_views = repeat_rows(deviation, num_views)
    output = network.forward_encoded(hidden_views, step_views, deviation_views, view_batch, views)
    return output, view_batch


def repeat_rows(rows: Tensor, times: int) -> Tensor:
    """(N, ...) -> (times N, ...): all rows, then all rows again."""
    return rows.repeat(times, *[1] * (rows.dim() - 1))


def softened_divergence(
    logits: Tensor, teacher_logits: Tensor, temperature: float, task: Task | None = None
) -> Tensor:
    """T^2 KL(softmax(teacher_logits / T) || softmax(logits / T)), mean over utterances."""
    student, teacher = (functional.log_softmax(x / temperature, dim=1) for x in (logits, teacher_logits))
    return temperature**2 * functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def binary_divergence(logits: Tensor, teacher_logits: Tensor, temperature: float, task: Task) -> Tensor:
    """T^2 KL of each class's yes and no, mean over classes and utterances."""
    student, teacher = logits / temperature, teacher_logits / temperature
    yes = teacher.sigmoid()
    cross = functional.binary_cross_entropy_with_logits(student, yes)
    return temperature**2 * (cross - functional.binary_cross_entropy_with_logits(teacher, yes))


def value_distance(values: Tensor, teacher_values: Tensor, temperature: float, task: Task) -> Tensor:
    """|value - teacher's| in halves of the range, mean over utterances: a number has no temperature."""
    return (values - teacher_values).abs().mean() / ((task.high - task.low) / 2)


# outputs and the teacher's (N, C), temperature, task -> their distance
SOFT_LOSSES = {"classification": softened_divergence, "multilabel": binary_divergence, "regression": value_distance}


def relation_loss(output: dict, teacher: dict, visible: Tensor) -> Tensor:
    """Mean squared difference of the utterances' pairwise similarities, plus that of the gates if there are any.

    A batch with more than MAX_ROWS rows is compared within equal parts. The teacher's gate is first rescaled by
    `visible` (N, M), the fraction of each modality that the student sees.
    """
    parts = -(-len(output["context"]) // MAX_ROWS)
    blocks = zip(*(values["context"].tensor_split(parts) for values in (output, teacher)), strict=True)
    losses = [
        functional.mse_loss(cosine_similarities(student), cosine_similarities(reference))
        for student, reference in blocks
    ]
    loss = torch.stack(losses).mean()
    if "gate" in teacher:
        target = teacher["gate"] * visible.unsqueeze(1)
        target = target / target.sum(2, keepdim=True).clamp(min=1e-6)
        loss = loss + (output["weights"]["gate"] - target).square().sum(2).mean()
    return loss


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference, in units of the teacher's variance."""
    return (student - teacher).square().mean() / teacher.var(0, correction=0).mean().clamp(min=1e-6)
