"""Distillation objective: the student answers as a teacher that always sees every modality."""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from merc.batches import Split
from merc.engine import outputs
from merc.learning import subset_views
from merc.objectives import Hide, Labels, Noise
from merc.params import Strict


class DistillWeights(Strict):
    """How much each part counts; 0 leaves it out."""

    label: float = Field(ge=0)
    soft: float = Field(ge=0)
    feature: float = Field(ge=0)
    relation: float = Field(ge=0)


@dataclass(frozen=True)
class Distillation:
    """Labels, softened answers, utterance and context vectors, and relations; every distance to oneself is 0."""

    told: dict[str, Tensor]  # the teacher's answers to every row of train: see `listen`
    labels: Labels
    hide: Hide  # chance 0 in the first phase
    noise: Noise  # likewise
    temperature: float
    weights: DistillWeights
    subsets: bool  # the second phase: besides, every utterance is answered from each part of the modalities

    def __call__(self, network: nn.Module, batch: dict) -> dict[str, Tensor]:
        seen = self._views(batch)
        heard, clear = self.noise(network, batch)
        output, many = through(network, heard, seen)
        weighed = seen * repeated(clear, len(seen) // len(clear))
        told = {name: answer[many["index"]] for name, answer in self.told.items()}
        return {
            "label": self.weights.label * sum(self.labels(output, many).values()),
            "soft": self.weights.soft * self._soft(output, told),
            "feature": self.weights.feature * sum(_apart(output[at], told[at]) for at in ("utterance", "context")),
            "relation": self.weights.relation * relation(output, told, weighed),
        }

    def _views(self, batch: dict) -> Tensor:
        """(views N, M): what is seen of the batch in each of its views, one view after another.

        A lone modality is asked twice, where most is to be gained (docs/log.md).
        """
        present = batch["present"]
        parts = subset_views(present.shape[1]) if self.subsets else []
        parts += [part for part in parts if part.sum() == 1]
        return torch.cat([self.hide(batch), *(present & part.to(present.device) for part in parts)])

    def _soft(self, output: dict, told: dict) -> Tensor:
        """KL divergence of the softened answers, times T^2 to keep its gradient's size (Hinton et al. 2015)."""
        losses = [
            getattr(self.labels.task_weights, task) * softened(output[task], told[task], self.temperature)
            for task in self.labels.weights
        ]
        return torch.stack(losses).sum()


def listen(teacher: nn.Module, train: Split) -> dict[str, Tensor]:
    """What the teacher, in eval mode and with every modality, says of each row: logits, vectors, its gate if any.

    Asked once: neither batch mates nor the epoch change its answers.
    """
    parts: list[dict[str, Tensor]] = []
    for _, output in outputs(teacher, train):
        spoken = {name: output[name] for name in (*teacher.labels, "utterance", "context")}
        gate = {"gate": output["weights"]["gate"]} if "gate" in output["weights"] else {}
        parts.append({name: answer.clone() for name, answer in (spoken | gate).items()})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def through(network: nn.Module, batch: dict, seen: Tensor) -> tuple[dict, dict]:
    """What the network says under each view of the batch, `seen` (views N, M), and the batch so often.

    The stems answer once. All views are one batch, so that a norm over it measures what it will meet: statistics of
    each view alone fit none of them later.
    """
    place, views = batch["place"], len(seen) // len(batch["present"])
    many = {name: repeated(one, views) for name, one in batch.items() if isinstance(one, Tensor)}
    first = torch.arange(views, device=place.device).repeat_interleave(len(place)) * (place[:, 0].max() + 1)
    many["place"] = many["place"] + torch.stack([first, torch.zeros_like(first)], 1)
    hidden, steps, odd = network.tokens(batch)
    tokens = ({m: repeated(one, views) for m, one in part.items()} for part in (hidden, steps))
    return network.judge(*tokens, repeated(odd, views), many, seen), many


def repeated(rows: Tensor, times: int) -> Tensor:
    """All rows (N, ...), then all again: (times N, ...)."""
    return rows.repeat(times, *[1] * (rows.dim() - 1))


def softened(logits: Tensor, told: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(told / T) || softmax(logits / T)), mean over utterances."""
    own, other = (functional.log_softmax(one / temperature, dim=1) for one in (logits, told))
    return temperature**2 * functional.kl_div(own, other, reduction="batchmean", log_target=True)


def relation(output: dict, told: dict, seen: Tensor) -> Tensor:
    """Distance of the utterances' likenesses to each other; of the gates too, where the fusion has one.

    The teacher's gate is first shared out by how much of each modality the student sees: (N, M), 0 nothing, 1 all.
    """
    likeness = (_likeness(one["context"]) for one in (output, told))
    loss = functional.mse_loss(*likeness)
    if "gate" in told:
        target = told["gate"] * seen.unsqueeze(1)
        target = target / target.sum(2, keepdim=True).clamp(min=1e-6)
        loss = loss + (output["weights"]["gate"] - target).square().sum(2).mean()
    return loss


def _apart(own: Tensor, told: Tensor) -> Tensor:
    """Mean squared distance, in units of the teacher's own variance."""
    return (own - told).square().mean() / told.var(0, correction=0).mean().clamp(min=1e-6)


def _likeness(vectors: Tensor) -> Tensor:
    unit = functional.normalize(vectors, dim=1)
    return unit @ unit.T
