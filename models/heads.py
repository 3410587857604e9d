"""Heads: emotion and sentiment logits from the utterance in its context."""

from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 64


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
    """logits_task = MLP_task(x) + bias_task: one separate head per task."""

    def __init__(self, dim: int, classes: dict[str, int], dropout: float):
        super().__init__()
        self.tasks = nn.ModuleDict({task: classifier(dim, count, dropout) for task, count in classes.items()})

    def forward(self, x: Tensor, bias: dict[str, Tensor]) -> dict[str, Tensor]:
        return {task: head(x) + bias.get(task, 0) for task, head in self.tasks.items()}


class HierarchicalHeads(IndependentHeads):
    """sentiment = MLP(x) + S softmax(emotion): S, learned, is the sentiment an emotion implies (joy is positive).

    Ours; the sentiment's loss also trains the emotion head.
    """

    def __init__(self, dim: int, classes: dict[str, int], dropout: float):
        super().__init__(dim, classes, dropout)
        self.implied = nn.ModuleDict(
            {
                task: nn.Linear(classes["emotion"], count, bias=False)
                for task, count in classes.items()
                if task != "emotion" and "emotion" in classes
            }
        )

    def forward(self, x: Tensor, bias: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = super().forward(x, bias)
        for task, implied in self.implied.items():
            logits[task] = logits[task] + implied(functional.softmax(logits["emotion"], -1))
        return logits


HEADS = {"independent": IndependentHeads, "hierarchical": HierarchicalHeads}
