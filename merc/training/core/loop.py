"""The training loop of every stage that trains, and predictions of a network."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from merc.data.batches.dataset import Split, move_batch
from merc.runtime.divergence import check_losses, check_weights
from merc.runtime.params import StrictModel
from merc.training.core import data_parallel, torchrun
from merc.training.core.loop_config import LoopConfig
from merc.training.core.network import MultimodalNetwork
from merc.training.core.optim import TrainablePart, moving_average, new_optimiser, set_learning_rate

SCORE = "dev_score"  # metric that selects the best epoch; higher is better
EVALUATION_BATCH_SIZE = 32  # batch size, in dialogues, of evaluation


class LearningRateScale(StrictModel):
    """Learning rate multipliers of the parameters that belong to a single modality."""

    text: float = Field(gt=0)
    audio: float = Field(gt=0)
    vision: float = Field(gt=0)


class OptimisationConfig(LoopConfig):
    """Optimiser settings, shared by the sections pretrain, train and distill of params.yaml."""

    lr_scale: LearningRateScale


Objective = Callable[[Any, Any], dict[str, Tensor]]  # a network and a batch -> the weighted terms of the loss
Scorer = Callable[[Any], dict[str, float]]  # a network -> its metrics on dev, SCORE among them
History = list[dict[str, float]]  # the metrics of each epoch
EpochCallback = Callable[[dict[str, float], Any], None]  # called after an epoch: its metrics, the scored network


class Batches(Protocol):
    """The training batches: each is drawn as a small description, and built when its turn comes."""

    def draw(self) -> Sequence[Any]:
        """The batches of the next epoch."""
        ...

    def build(self, drawn: Any, progress: float) -> Any:
        """A drawn batch as the objective takes it; `progress`: fraction of the training completed after it."""
        ...

    def describe(self, draws: Sequence[Any]) -> dict[str, float]:
        """Metrics of an epoch's batches, for the history."""
        ...


class SavedState(Protocol):
    """Stores the state of a training after each epoch, so that a killed one is resumed."""

    def write(self, training: "Training") -> None: ...

    def restore(self, training: "Training") -> None: ...


@dataclass
class Training:
    """The state of a training after some epochs."""

    network: nn.Module
    parts: Sequence[TrainablePart]
    config: LoopConfig
    average: AveragedModel | None
    optimiser: torch.optim.Optimizer | None = None
    history: History = field(default_factory=list)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def scored(self) -> nn.Module:
        """The network that is scored and kept."""
        return self.network if self.average is None else self.average.module

    def unfreeze(self, epoch: int) -> torch.optim.Optimizer:
        """The optimiser of this epoch (counted from 0): a new one when further parts are unfrozen.

        All moments then start anew, because those of the unfrozen parts would lag behind the others.
        """
        if self.optimiser is None or epoch in {part.first_epoch for part in self.parts}:
            self.optimiser = new_optimiser(self.network, self.parts, epoch, self.config)
        return self.optimiser


def fit(
    network: Any,
    objective: Objective,
    batches: Batches,
    score: Scorer,
    config: LoopConfig,
    parts: Sequence[TrainablePart] = (),
    callbacks: Sequence[EpochCallback] = (),
    saved: SavedState | None = None,
) -> History:
    """Minimise the objective over the batches of each epoch; the network ends with the weights of its best epoch.

    After every epoch, `score` evaluates the moving average of the weights; its `dev_score` selects the best epoch.
    Without `parts` all parameters are trained from the beginning. Of several processes all end with these weights;
    callbacks and `saved.write` are called in the first one.
    """
    parts = parts or [TrainablePart(list(network.parameters()), config.lr)]
    training = Training(network, parts, config, moving_average(network, config.average) if config.average else None)
    if saved is not None:
        saved.restore(training)
    for epoch in range(len(training.history), config.epochs):
        draws = batches.draw()
        losses = _train_epoch(training, objective, batches, draws, epoch)
        row = {"epoch": epoch + 1, **losses, **batches.describe(draws), **score(training.scored)}
        row = data_parallel.agreed(row)
        check_losses({name: value for name, value in row.items() if name.endswith("_loss")}, epoch + 1)
        training.history.append(row)
        for callback in callbacks if torchrun.is_first() else ():
            callback(row, training.scored)
        best = best_epoch(training.history)
        if best == epoch + 1:
            weights = training.scored.state_dict()
            training.best_weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
        if epoch + 1 - best >= config.patience:
            break
        if saved is not None and epoch + 1 < config.epochs and torchrun.is_first():
            saved.write(training)
    network.load_state_dict(training.best_weights)
    check_weights(network)
    network.eval()
    return training.history


def _train_epoch(
    training: Training, objective: Objective, batches: Batches, draws: Sequence[Any], epoch: int
) -> dict[str, float]:
    """Train for one epoch; returns the mean loss over its batches, in total and by term."""
    config, optimiser, losses = training.config, training.unfreeze(epoch), []
    loss_terms = data_parallel.loss_terms(training.network, objective)
    scores = [row[SCORE] for row in training.history]
    groups = [draws[first : first + config.accumulate] for first in range(0, len(draws), config.accumulate)]
    training.network.train()
    for step, group in enumerate(groups):
        before, after = ((epoch + done / len(groups)) / config.epochs for done in (step, step + 1))
        losses += _gradients(training, loss_terms, [batches.build(drawn, after) for drawn in group])
        set_learning_rate(optimiser, config, before, after, scores)
        optimiser.step()
        optimiser.zero_grad()
        if training.average is not None:
            training.average.update_parameters(training.network)
    terms = {f"train_{name}": torch.stack([batch[name] for batch in losses]).mean().item() for name in losses[0]}
    return {"train_loss": sum(terms.values()), **terms}


def _gradients(
    training: Training, loss_terms: Callable[[Any], dict[str, Tensor]], batches: list[Any]
) -> list[dict[str, Tensor]]:
    """Accumulate the gradient of the batches' mean loss, clip it, and return each batch's loss terms, detached."""
    network, config, batch_losses = training.network, training.config, []
    device = next(network.parameters()).device.type
    # in half precision on a GPU that has it; on a CPU it has a cost and no benefit
    is_half = config.precision == "bfloat16" and device == "cuda" and torch.cuda.is_bf16_supported()
    for number, batch in enumerate(batches, start=1):
        exchange = nullcontext() if number == len(batches) else data_parallel.accumulating(loss_terms)
        with exchange, torch.autocast(device, torch.bfloat16, enabled=is_half):
            losses = {name: loss.float() for name, loss in loss_terms(batch).items()}
        (torch.stack([*losses.values()]).sum() / len(batches)).backward()
        batch_losses.append({name: loss.detach() for name, loss in losses.items()})
    nn.utils.clip_grad_norm_(network.parameters(), config.clip)
    return batch_losses


def best_epoch(history: History) -> int:
    """The number, counted from 1, of the epoch whose weights `fit` restored."""
    return int(max(history, key=lambda row: row[SCORE])["epoch"])


def predict(
    network: MultimodalNetwork, split: Split, present: Tensor | np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Logits (N, C) of every task; `present` (N, M) hides modalities. Modalities without a stem are absent."""
    views = torch.ones_like(split.present) if present is None else torch.as_tensor(present, dtype=torch.bool)
    return {task: logits[0] for task, logits in predict_views(network, split, views.unsqueeze(0)).items()}


def predict_views(network: MultimodalNetwork, split: Split, views: Tensor) -> dict[str, np.ndarray]:
    """Logits (K, N, C) of every task under each modality mask in `views` (K, N, M)."""
    parts = [logits for _, logits in iterate_views(network, split, views)]
    nothing = {task: np.zeros((len(views), 0, len(names)), np.float32) for task, names in network.labels.items()}
    return {task: np.concatenate([empty, *(part[task] for part in parts)], 1) for task, empty in nothing.items()}


@torch.inference_mode()
def iterate_views(
    network: MultimodalNetwork, split: Split, views: Tensor
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """The rows of each batch, in order, with their logits (K, n, C) under each mask in `views` (K, N, M).

    The stems run once a batch. The views run one after the other: all of a batch's 320 utterances by 2, 4, 8 and 16
    views at once took 1.0, 1.1, 1.8 and 3.2 times the processor seconds (107 views of the sample, one core).
    """
    network.eval()
    device = next(network.parameters()).device
    for batch in batches(network, split):
        index, encoded = batch["index"], network.encode(batch)
        outputs = [
            network.forward_encoded(*encoded, batch, view) for view in views[:, index.to(views.device)].to(device)
        ]
        logits = {task: torch.stack([output[task] for output in outputs]).float().cpu() for task in network.labels}
        first, last = int(index[0]), int(index[-1])
        yield slice(first, last + 1), {task: one.numpy() for task, one in logits.items()}


@torch.inference_mode()
def iterate_outputs(network: MultimodalNetwork, split: Split) -> Iterator[tuple[dict, dict]]:
    """Each batch of the split, in order, with all outputs of the network in eval mode."""
    network.eval()
    for batch in batches(network, split):
        yield batch, network(batch)


def batches(network: MultimodalNetwork, split: Split) -> Iterator[dict]:
    """The split in order, reduced to the streams of the network, on the network's device."""
    device = next(network.parameters()).device
    for batch in split.with_streams(list(network.streams)).batches(EVALUATION_BATCH_SIZE):
        yield move_batch(batch, device)


def standardise(network: MultimodalNetwork, train: Split) -> None:
    """Set the network's feature standardisation to the training split's mean and standard deviation."""
    for stream, (mean, deviation) in train.statistics().items():
        network.standardise(stream, mean, deviation)


def modality_parts(network: MultimodalNetwork, config: OptimisationConfig) -> list[TrainablePart]:
    """The parameters of each modality at its scaled learning rate, then the shared ones."""
    by_modality = {m: network.parameters_of(m) for m in network.modalities}
    own_ids = {id(parameter) for parameters in by_modality.values() for parameter in parameters}
    shared = [parameter for parameter in network.parameters() if id(parameter) not in own_ids]
    parts = [TrainablePart(own, config.lr * getattr(config.lr_scale, m)) for m, own in by_modality.items()]
    return [*parts, TrainablePart(shared, config.lr)]
