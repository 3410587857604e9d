"""Heads: each task's answer from the utterance in its context: logits of classes, or a number."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 64
UNSEEN = -1e4  # logit of a class that training never showed: finite, so that products with 0 stay 0


class HeadKind(BaseModel):
    """What the outputs of a head mean."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # logits of one class among several; of any number of classes, each for itself; or one number
    kind: Literal["classification", "multilabel", "regression"] = "classification"
    range: tuple[float, float] = (0.0, 0.0)  # of a regression's number
    unseen: tuple[str, ...] = ()  # classes that training never showed: they are never answered


def classifier(dim: int, classes: int, dropout: float) -> nn.Sequential:
    """logits = W2 Dropout(ReLU(W1 Dropout(x))); hidden width 64, as in the concatenation seed."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(dim, HIDDEN),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, classes),
    )


class IndependentHeads(nn.Module):
    """logits_task = MLP_task(x) + bias_task: one separate head per task.

    `lead` is the task that the others may hear, "" for none.
    """

    def __init__(self, dim: int, classes: dict[str, int], dropout: float, lead: str):
        super().__init__()
        self.tasks = nn.ModuleDict({task: classifier(dim, count, dropout) for task, count in classes.items()})

    def forward(self, x: Tensor, bias: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: head(x) + bias.get(task, 0) for task, head in self.tasks.items()}


class HierarchicalHeads(IndependentHeads):
    """sentiment = MLP(x) + S softmax(emotion): S, learned, is the sentiment an emotion implies (joy is positive).

    The leading task in place of the emotion, and every other task in place of the sentiment. Ours; the other tasks'
    losses also train the leading head.
    """

    def __init__(self, dim: int, classes: dict[str, int], dropout: float, lead: str):
        super().__init__(dim, classes, dropout, lead)
        self.lead = lead
        self.implied = nn.ModuleDict(
            {
                task: nn.Linear(classes[lead], count, bias=False)
                for task, count in classes.items()
                if lead and task != lead
            }
        )

    def forward(self, x: Tensor, bias: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = super().forward(x, bias)
        for task, implied in self.implied.items():
            logits[task] = logits[task] + implied(functional.softmax(logits[self.lead], -1))
        return logits


class Answers(nn.Module):
    """Outputs in the labels' unit: value = middle + half x for a regression; no class that was never shown."""

    def __init__(self, labels: dict[str, tuple[str, ...]], kinds: dict[str, HeadKind]):
        super().__init__()
        self.kinds = kinds
        for task, kind in kinds.items():
            if kind.unseen:
                hidden = torch.tensor([name in kind.unseen for name in labels[task]])
                self.register_buffer(f"unseen_{task}", hidden, persistent=False)

    def forward(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: self._answer(task, output) for task, output in outputs.items()}

    def _answer(self, task: str, output: Tensor) -> Tensor:
        kind = self.kinds[task]
        if kind.kind == "regression":
            low, high = kind.range
            return (low + high) / 2 + (high - low) / 2 * output
        return output.masked_fill(getattr(self, f"unseen_{task}"), UNSEEN) if kind.unseen else output


HEADS = {"independent": IndependentHeads, "hierarchical": HierarchicalHeads}
