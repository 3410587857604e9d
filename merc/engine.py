"""One training loop for pretraining, teacher and student, which differ in objective and dev score only."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from merc.batches import Split, move
from merc.divergence import check_losses, check_weights
from merc.objectives import Objective
from merc.optimiser import OPTIMISERS, Group, MovingAverage, rate_share
from merc.params import Strict
from merc.sampling import Draw

SCORE = "dev_score"  # what the best epoch is chosen by; higher is better
DIALOGUES = 32  # a batch, where nothing is learnt


class LearningRates(Strict):
    """Multipliers of the learning rate for what belongs to one modality alone."""

    text: float = Field(gt=0)
    audio: float = Field(gt=0)
    vision: float = Field(gt=0)


class Optimisation(Strict):
    """How a loss is minimised."""

    epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    lr: float = Field(gt=0)
    lr_scale: LearningRates
    optimiser: Literal["adamw", "adam"]
    schedule: Literal["constant", "cosine", "plateau"]
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    clip: float = Field(gt=0)
    average: float = Field(ge=0, lt=1)
    batch: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    precision: Literal["float32", "bfloat16"]


Draws = Callable[[], Iterator[Draw]]
Score = Callable[[nn.Module], dict[str, float]]
History = list[dict[str, float]]
Watch = Callable[[dict[str, float], nn.Module], None]  # sees every epoch's row, and the network that was scored


def fit(
    network: nn.Module,
    objective: Objective,
    train: Split,
    draws: Draws,
    score: Score,
    config: Optimisation,
    watches: Sequence[Watch] = (),
    about: Callable[[list[Draw]], dict[str, float]] = lambda _: {},
) -> History:
    """Minimise the objective over `draws` of each epoch; the network ends with the weights of its best epoch.

    `score` judges the moving average of the weights after every epoch by `dev_score`; `about` adds to an epoch's
    row what there is to say of its batches.
    """
    optimiser = OPTIMISERS[config.optimiser](_groups(network, config), config.weight_decay)
    average = MovingAverage(network, config.average)
    history, best, weights = [], 0, _copy(network)
    for epoch in range(config.epochs):
        drawn, losses = list(draws()), []
        network.train()
        for done, group in _steps(epoch, drawn, config):
            losses += _gradients(network, objective, [_drawn(train, draw, done) for draw in group], config)
            optimiser.step(rate_share(config.schedule, config.warmup, done, [row[SCORE] for row in history]))
            average.update()
        learnt = _mean(losses)
        check_losses(learnt, epoch + 1)
        history.append({"epoch": epoch + 1, **learnt, **about(drawn), **score(average.network)})
        for watch in watches:
            watch(history[-1], average.network)
        if epoch == 0 or history[-1][SCORE] > history[best][SCORE]:
            best, weights = epoch, _copy(average.network)
        if epoch - best >= config.patience:
            break
    network.load_state_dict(weights)
    check_weights(network)
    network.eval()
    return history


def best_epoch(history: History) -> int:
    """The number of the epoch whose weights `fit` restored."""
    return int(max(history, key=lambda row: row[SCORE])["epoch"])


def predict(network: nn.Module, split: Split, present: Tensor | np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Logits (N, C) of every task; `present` (N, M) hides modalities; what has no stem is absent."""
    shown = torch.ones_like(split.present) if present is None else torch.as_tensor(present, dtype=torch.bool)
    return {task: logits[0] for task, logits in answers(network, split, shown.unsqueeze(0)).items()}


@torch.inference_mode()
def answers(network: nn.Module, split: Split, shown: Tensor) -> dict[str, np.ndarray]:
    """Logits (K, N, C) of every task under each of the K views (K, N, M); the stems answer once for all views."""
    network.eval()
    device = next(network.parameters()).device
    shown = shown.to(device)
    parts: dict[str, list[Tensor]] = {
        task: [torch.zeros(len(shown), 0, len(names))] for task, names in network.labels.items()
    }
    for batch in batches(network, split):
        tokens = network.tokens(batch)
        views = [network.judge(*tokens, batch, view) for view in shown[:, batch["index"]]]
        for task, logits in parts.items():
            logits.append(torch.stack([view[task] for view in views]).float().cpu())
    return {task: torch.cat(logits, 1).numpy() for task, logits in parts.items()}


@torch.inference_mode()
def outputs(network: nn.Module, split: Split) -> Iterator[tuple[dict, dict]]:
    """Each batch of the split, in order, with all that the network says of it, in eval mode."""
    network.eval()
    for batch in batches(network, split):
        yield batch, network(batch)


def batches(network: nn.Module, split: Split) -> Iterator[dict]:
    """The split in order, as far as the network knows its streams, where the network is."""
    device = next(network.parameters()).device
    for batch in split.known(network.streams).batches(DIALOGUES):
        yield move(batch, device)


def standardise(network: nn.Module, train: Split) -> None:
    """Give the network the statistics of what it learns from."""
    for stream, (mean, spread) in train.statistics().items():
        network.standardise(stream, mean, spread)


def _groups(network: nn.Module, config: Optimisation) -> list[Group]:
    """Each modality's own parameters at its own rate, then what all share."""
    own = {m: network.parameters_of(m) for m in network.modalities}
    taken = {id(parameter) for group in own.values() for parameter in group}
    shared = [parameter for parameter in network.parameters() if id(parameter) not in taken]
    scaled = [Group.of(group, config.lr * getattr(config.lr_scale, m)) for m, group in own.items()]
    return [*scaled, Group.of(shared, config.lr)]


def _steps(epoch: int, draws: list[Draw], config: Optimisation) -> Iterator[tuple[float, list[Draw]]]:
    """The batches of each step of an epoch, with the share of the training that is done after it."""
    groups = [draws[first : first + config.accumulate] for first in range(0, len(draws), config.accumulate)]
    for step, group in enumerate(groups, start=1):
        yield (epoch + step / len(groups)) / config.epochs, group


def _drawn(train: Split, draw: Draw, done: float) -> dict:
    batch = train.batch(draw.dialogues, packed=True) | {"done": done}
    return batch if draw.count is None else batch | {"count": draw.count.to(batch["index"].device)[batch["index"]]}


def _gradients(
    network: nn.Module, objective: Objective, batches: list[dict], config: Optimisation
) -> list[dict[str, Tensor]]:
    """Send the mean loss of the batches back through the network, one by one; its parts, as numbers."""
    told = []
    for batch in batches:
        device = batch["present"].device.type
        halved = config.precision == "bfloat16" and device == "cuda"  # elsewhere it costs and saves nothing
        with torch.autocast(device, torch.bfloat16, enabled=halved):
            parts = objective(network, batch)
        (torch.stack([part.float() for part in parts.values()]).sum() / len(batches)).backward()
        told.append({name: part.detach() for name, part in parts.items()})
    nn.utils.clip_grad_norm_(network.parameters(), config.clip)
    return told


def _mean(losses: list[dict[str, Tensor]]) -> dict[str, float]:
    """The mean loss over an epoch's steps, whole and by part."""
    parts = {f"train_{name}": torch.stack([one[name] for one in losses]).mean().item() for name in losses[0]}
    return {"train_loss": sum(parts.values()), **parts}


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
