"""The training loop of the stages pretrain, train and distill, which differ in objective and dev score only."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from merc.data.batches.dataset import Split, move_batch
from merc.data.batches.sampling import DrawnBatch
from merc.runtime.divergence import check_losses, check_weights
from merc.runtime.params import StrictModel
from merc.training.core.network import MultimodalNetwork
from merc.training.core.objectives import Objective
from merc.training.core.optim import OPTIMISERS, MovingAverage, ParameterGroup, learning_rate_factor

SCORE = "dev_score"  # metric that selects the best epoch; higher is better
EVALUATION_BATCH_SIZE = 32  # batch size, in dialogues, of evaluation


class LearningRateScale(StrictModel):
    """Learning rate multipliers of the parameters that belong to a single modality."""

    text: float = Field(gt=0)
    audio: float = Field(gt=0)
    vision: float = Field(gt=0)


class OptimisationConfig(StrictModel):
    """Optimiser settings, shared by the sections pretrain, train and distill of params.yaml."""

    epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    lr: float = Field(gt=0)
    lr_scale: LearningRateScale
    optimiser: Literal["adamw", "adam"]
    schedule: Literal["constant", "cosine", "plateau"]
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    clip: float = Field(gt=0)
    average: float = Field(ge=0, lt=1)
    batch: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    precision: Literal["float32", "bfloat16"]


DrawEpoch = Callable[[], Iterator[DrawnBatch]]
ScoreNetwork = Callable[[MultimodalNetwork], dict[str, float]]
History = list[dict[str, float]]
EpochCallback = Callable[
    [dict[str, float], MultimodalNetwork], None
]  # called after every epoch: its metrics, the scored network


def fit(
    network: MultimodalNetwork,
    objective: Objective,
    train: Split,
    draws: DrawEpoch,
    score: ScoreNetwork,
    config: OptimisationConfig,
    watches: Sequence[EpochCallback] = (),
    describe: Callable[[list[DrawnBatch]], dict[str, float]] = lambda _: {},
) -> History:
    """Minimise the objective over the batches of each epoch; the network ends with the weights of its best epoch.

    After every epoch, `score` evaluates the moving average of the weights; its `dev_score` selects the best epoch.
    `describe` adds metrics of the epoch's batches to the history.
    """
    optimiser = OPTIMISERS[config.optimiser](_groups(network, config), config.weight_decay)
    average = MovingAverage(network, config.average)
    history, best, best_weights = [], 0, _copy(network)
    for epoch in range(config.epochs):
        batch_draws, losses = list(draws()), []
        network.train()
        for progress, step_draws in _steps(epoch, batch_draws, config):
            losses += _gradients(network, objective, [_batch(train, draw, progress) for draw in step_draws], config)
            optimiser.step(
                learning_rate_factor(config.schedule, config.warmup, progress, [row[SCORE] for row in history])
            )
            average.update()
        train_losses = _mean(losses)
        check_losses(train_losses, epoch + 1)
        history.append({"epoch": epoch + 1, **train_losses, **describe(batch_draws), **score(average.network)})
        for callback in watches:
            callback(history[-1], average.network)
        if epoch == 0 or history[-1][SCORE] > history[best][SCORE]:
            best, best_weights = epoch, _copy(average.network)
        if epoch - best >= config.patience:
            break
    network.load_state_dict(best_weights)
    check_weights(cast(nn.Module, network))
    network.eval()
    return history


def best_epoch(history: History) -> int:
    """The number, counted from 1, of the epoch whose weights `fit` restored."""
    return int(max(history, key=lambda row: row[SCORE])["epoch"])


def predict(
    network: MultimodalNetwork, split: Split, present: Tensor | np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Logits (N, C) of every task; `present` (N, M) hides modalities. Modalities without a stem are absent."""
    views = torch.ones_like(split.present) if present is None else torch.as_tensor(present, dtype=torch.bool)
    return {task: logits[0] for task, logits in predict_views(network, split, views.unsqueeze(0)).items()}


@torch.inference_mode()
def predict_views(network: MultimodalNetwork, split: Split, views: Tensor) -> dict[str, np.ndarray]:
    """Logits (K, N, C) of every task under each modality mask in `views` (K, N, M); the stems run only once."""
    network.eval()
    device = next(network.parameters()).device
    views = views.to(device)
    logits_by_task: dict[str, list[Tensor]] = {
        task: [torch.zeros(len(views), 0, len(names))] for task, names in network.labels.items()
    }
    for batch in batches(network, split):
        encoded = network.encode(batch)
        view_outputs = [network.forward_encoded(*encoded, batch, view) for view in views[:, batch["index"]]]
        for task, logits in logits_by_task.items():
            logits.append(torch.stack([output[task] for output in view_outputs]).float().cpu())
    return {task: torch.cat(logits, 1).numpy() for task, logits in logits_by_task.items()}


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


def _groups(network: MultimodalNetwork, config: OptimisationConfig) -> list[ParameterGroup]:
    """The parameters of each modality at its scaled learning rate, then the shared ones."""
    parameters_by_modality = {m: network.parameters_of(m) for m in network.modalities}
    modality_ids = {id(parameter) for group in parameters_by_modality.values() for parameter in group}
    shared = [parameter for parameter in network.parameters() if id(parameter) not in modality_ids]
    groups = [
        ParameterGroup.of(group, config.lr * getattr(config.lr_scale, m))
        for m, group in parameters_by_modality.items()
    ]
    return [*groups, ParameterGroup.of(shared, config.lr)]


def _steps(
    epoch: int, draws: list[DrawnBatch], config: OptimisationConfig
) -> Iterator[tuple[float, list[DrawnBatch]]]:
    """The batches of each optimiser step of an epoch, and the fraction of the training completed after it."""
    groups = [draws[first : first + config.accumulate] for first in range(0, len(draws), config.accumulate)]
    for step, step_draws in enumerate(groups, start=1):
        yield (epoch + step / len(groups)) / config.epochs, step_draws


def _batch(train: Split, draw: DrawnBatch, progress: float) -> dict:
    batch: dict[str, Any] = train.batch(draw.dialogues, packed=True) | {"progress": progress}
    return batch if draw.count is None else batch | {"count": draw.count.to(batch["index"].device)[batch["index"]]}


def _gradients(
    network: MultimodalNetwork, objective: Objective, batches: list[dict], config: OptimisationConfig
) -> list[dict[str, Tensor]]:
    """Accumulate the gradient of the batches' mean loss, clip it, and return each batch's loss terms, detached."""
    batch_losses = []
    for batch in batches:
        device = batch["present"].device.type
        is_bfloat16 = config.precision == "bfloat16" and device == "cuda"  # on a CPU it has a cost and no benefit
        with torch.autocast(device, torch.bfloat16, enabled=is_bfloat16):
            losses = objective(network, batch)
        (torch.stack([loss.float() for loss in losses.values()]).sum() / len(batches)).backward()
        batch_losses.append({name: loss.detach() for name, loss in losses.items()})
    nn.utils.clip_grad_norm_(network.parameters(), config.clip)
    return batch_losses


def _mean(losses: list[dict[str, Tensor]]) -> dict[str, float]:
    """The mean loss over an epoch's batches, in total and by term."""
    terms = {f"train_{name}": torch.stack([batch[name] for batch in losses]).mean().item() for name in losses[0]}
    return {"train_loss": sum(terms.values()), **terms}


def _copy(network: MultimodalNetwork) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
