"""The objectives of pretraining, by name, and the loss that `pretrain.weights` makes of them; none uses a label.

An objective reads a View of a batch. Those with a glimpse predict what it hides: the fusion and the context
network answer, which the teacher then starts from, through a head of their own, which is thrown away.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from merc.data.batches.dataset import Split
from merc.runtime.numerics import square_root
from merc.runtime.params import StrictModel
from merc.training.core.loop import SCORE, batches
from merc.training.core.network import MultimodalNetwork
from merc.training.core.optim import moving_average
from merc.training.pretrain import alignment_loss
from merc.training.pretrain.alignment_loss import matching_losses, zero_loss
from merc.training.pretrain.glimpses import GLIMPSES

TEACHER_DECAY = (
    0.98  # of the moving average that `regression` learns from; data2vec: 0.999, in 1,000 times the steps
)

VARIANCE_FLOOR = 1e-4  # below it a deviation is that of a single step: 0


class PretrainWeights(StrictModel):
    """Weights of the objectives; 0 leaves one out."""

    align: float = Field(ge=0)
    reconstruct: float = Field(ge=0)
    order: float = Field(ge=0)
    hard: float = Field(ge=0)
    vicreg: float = Field(ge=0)
    masked: float = Field(ge=0)
    regression: float = Field(ge=0)
    upcoming: float = Field(ge=0)
    speaker: float = Field(ge=0)
    hidden_modalities: float = Field(ge=0)
    features: float = Field(ge=0)


class Summary(NamedTuple):
    """What a stream holds of N utterances."""

    values: Tensor  # (N, 2 D_in) mean and standard deviation over the steps, of standardised features
    present: Tensor  # (N,) bool


class View(NamedTuple):
    """What the network makes of N utterances: whole dialogues, one after another."""

    modalities: tuple[str, ...]
    latent: dict[str, Tensor]  # {m: (N, D)} latent vectors
    present: Tensor  # (N, M) bool
    row: Tensor  # (N,) its row in the split
    first: Tensor  # (N,) the row that begins the dialogue: the dialogue's number
    speaker: Tensor  # (N,) role in the dialogue
    target: dict[str, Tensor]  # by glimpse: (N, M) bool, to be predicted
    context: dict[str, Tensor]  # by glimpse: (N, F) context vectors, of what is left to see
    teacher: Tensor  # (N, F) context vectors of the moving average, which sees everything; (N, 0) without one
    summaries: dict[str, Summary]  # by stream; nothing without `features`

    @property
    def following(self) -> Tensor:
        """(N - 1,) bool: whether row n + 1 is the next utterance of row n's dialogue."""
        return self.first[1:] == self.first[:-1]

    @property
    def zero(self) -> Tensor:
        """A loss of 0 with a gradient, for a batch without a target."""
        return zero_loss(self.latent)


class PretrainedNetwork(nn.Module):
    """The network, and the heads by which objectives ask it: trained together, the network alone is kept."""

    network: Any  # a MultimodalNetwork, and an nn.Module

    def __init__(self, network: nn.Module, weights: PretrainWeights, width: int, dim: int) -> None:
        """`width` F of the context's vectors, `dim` D of the latent space."""
        super().__init__()
        self.network = network
        names = [name for name in on(weights) if name in HEADS]
        self.heads = nn.ModuleDict({name: HEADS[name](self.network, width, dim) for name in names})


def on(weights: PretrainWeights) -> list[str]:
    """The names of the objectives with a weight."""
    return [name for name in OBJECTIVES if getattr(weights, name)]


def latent_heads(network: MultimodalNetwork, width: int, dim: int) -> nn.Module:
    """A linear map from context vectors (N, F) to the latent vectors of each modality."""
    return nn.ModuleDict({m: nn.Linear(width, dim) for m in network.modalities})


class SummaryHead(nn.Module):
    """A linear map from latent vectors (N, D) to a stream's summary, and the scale of the summaries."""

    def __init__(self, dim: int, dim_in: int) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(dim, 2 * dim_in), nn.BatchNorm1d(2 * dim_in, affine=False)


def summary_heads(network: MultimodalNetwork, width: int, dim: int) -> nn.Module:
    """A head for each stream."""
    return nn.ModuleDict(
        {stream.replace(".", "_"): SummaryHead(dim, size) for stream, size in network.streams.items()}
    )


def align(trained: PretrainedNetwork, view: View) -> Tensor:
    """InfoNCE between the modalities of an utterance."""
    return alignment_loss.contrastive_loss(view.latent, view.present, view.modalities)


def reconstruct(trained: PretrainedNetwork, view: View) -> Tensor:
    """A modality's latent vector from those of the utterance's others."""
    return alignment_loss.reconstruction_loss(trained.network, view.latent, view.present)


def order(trained: PretrainedNetwork, view: View) -> Tensor:
    """Which of two neighbouring utterances came first."""
    log_odds = alignment_loss.order_log_odds(trained.network, view.latent, view.present, view.following)
    return alignment_loss.order_loss(log_odds, view.latent)


def hard(trained: PretrainedNetwork, view: View) -> Tensor:
    """InfoNCE between modalities whose negatives are what the same speaker says in the same dialogue."""
    same = [one.unsqueeze(1) == one for one in (view.first, view.speaker, view.row)]
    return alignment_loss.hard_contrastive_loss(
        view.latent, view.present, view.modalities, same[0] & same[1] & ~same[2]
    )


def vicreg(trained: PretrainedNetwork, view: View) -> Tensor:
    """Variance, invariance and covariance of the modalities' latent vectors."""
    return alignment_loss.vicreg_loss(view.latent, view.present, view.modalities)


def latents_by_context(trained: PretrainedNetwork, view: View, *, glimpse: str) -> Tensor:
    """InfoNCE, both ways, of the latent vectors that a glimpse asks and what the head makes of the context.

    masked: of masked utterances, by those around them. upcoming: of the next utterance, told from those of other
    dialogues (CPC, van den Oord et al. 2018). hidden_modalities: by an utterance's others and the dialogue.
    """
    losses = [view.zero]
    for column, modality in enumerate(view.modalities):
        rows = view.target[glimpse][:, column]
        if rows.sum() > 1:
            head = cast(nn.ModuleDict, trained.heads[glimpse])[modality]
            losses += matching_losses(head(view.context[glimpse][rows]), view.latent[modality][rows])
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def regression(trained: PretrainedNetwork, view: View) -> Tensor:
    """The context vectors of masked utterances as a moving average of the network has them (data2vec, Baevski et
    al. 2022): mean squared difference to its vectors, normalised.
    """
    rows = view.target["masked"].any(1)
    if not rows.any():
        return view.zero
    target = functional.layer_norm(view.teacher[rows], view.teacher.shape[1:])
    return functional.mse_loss(trained.heads["regression"](view.context["masked"][rows]), target)


def features(trained: PretrainedNetwork, view: View) -> Tensor:
    """An utterance's own features from its latent vectors, an autoencoder: mean squared difference of the
    summaries, every dimension in units of its standard deviation.
    """
    losses = [view.zero]
    heads = cast(nn.ModuleDict, trained.heads["features"])
    for stream, summary in view.summaries.items():
        if summary.present.sum() > 1:
            head, modality = cast(SummaryHead, heads[stream.replace(".", "_")]), stream.partition("/")[0]
            target, latent = head.scale(summary.values[summary.present]), view.latent[modality][summary.present]
            losses.append(functional.mse_loss(head.linear(latent), target))
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


def summarise(network: MultimodalNetwork, batch: dict) -> dict[str, Summary]:
    """The summaries of every stream's features."""
    rows, found = len(batch["present"]), {}
    for stream, dim in network.streams.items():
        summary = batch["present"].new_zeros(rows, 2 * dim, dtype=torch.float)
        has = batch["present"].new_zeros(rows)
        if stream in batch["values"]:
            steps, here = batch["steps"][stream].view(-1, 1, 1), batch["rows"][stream]
            values = network.standardised(stream, batch)  # (n, S, D_in)
            is_real = torch.arange(values.shape[1], device=steps.device).view(1, -1, 1) < steps
            mean = (values * is_real).sum(1, keepdim=True) / steps
            variance = ((values - mean).square() * is_real).sum(1) / steps.squeeze(1)
            pooled = torch.cat([mean.squeeze(1), square_root(variance + VARIANCE_FLOOR)], 1)
            summary, has = summary.index_copy(0, here, pooled), has.index_fill(0, here, True)
        found[stream] = Summary(summary, has)
    return found


def speaker(trained: PretrainedNetwork, view: View) -> Tensor:
    """Whether the speaker goes on: cross-entropy, from the context of the last utterance before the cut."""
    is_last = view.target["upcoming"].any(1)[1:]  # the row before the target
    if not is_last.any():
        return view.zero
    goes_on = (view.speaker[1:] == view.speaker[:-1])[is_last]
    logits = trained.heads["speaker"](view.context["upcoming"][:-1][is_last]).squeeze(1)
    return functional.binary_cross_entropy_with_logits(logits, goes_on.to(logits))


# name in pretrain.weights -> its loss
OBJECTIVES: dict[str, Callable[[PretrainedNetwork, View], Tensor]] = {
    "align": align,
    "reconstruct": reconstruct,
    "order": order,
    "hard": hard,
    "vicreg": vicreg,
    "masked": partial(latents_by_context, glimpse="masked"),
    "regression": regression,
    "upcoming": partial(latents_by_context, glimpse="upcoming"),
    "speaker": speaker,
    "hidden_modalities": partial(latents_by_context, glimpse="hidden_modalities"),
    "features": features,
}
# objective -> network, width F of the context, dim D of the latent space -> its head
HEADS: dict[str, Callable[[MultimodalNetwork, int, int], nn.Module]] = {
    "masked": latent_heads,
    "upcoming": latent_heads,
    "hidden_modalities": latent_heads,
    "regression": lambda network, width, dim: nn.Linear(width, width),
    "speaker": lambda network, width, dim: nn.Linear(width, 1),
    "features": summary_heads,
}
# objective -> the glimpse that it needs
NEEDED: Mapping[str, str] = {
    "masked": "masked",
    "regression": "masked",
    "upcoming": "upcoming",
    "speaker": "upcoming",
    "hidden_modalities": "hidden_modalities",
}
ALWAYS = ("align", "reconstruct", "order")  # of latent vectors alone, so cheap: their curves are always there


class SelfSupervisedObjective:
    """The weighted sum of the objectives that have a weight."""

    def __init__(self, weights: PretrainWeights, generator: torch.Generator) -> None:
        """`generator` draws what glimpses hide in training."""
        self.weights, self.generator = weights, generator
        names = on(weights)
        self.names = [name for name in OBJECTIVES if name in names or name in ALWAYS]
        self.glimpses = list(dict.fromkeys(NEEDED[name] for name in names if name in NEEDED))
        self.teacher: AveragedModel | None = None

    def __call__(self, trained: PretrainedNetwork, batch: dict) -> dict[str, Tensor]:
        if self.weights.regression:
            self._follow(trained.network)
        return self.parts(trained, self.view(trained, batch, self.generator))

    def parts(self, trained: PretrainedNetwork, view: View) -> dict[str, Tensor]:
        """The weighted loss terms."""
        return {name: getattr(self.weights, name) * OBJECTIVES[name](trained, view) for name in self.names}

    def view(self, trained: PretrainedNetwork, batch: dict, generator: torch.Generator) -> View:
        """The view of a batch."""
        network: MultimodalNetwork = trained.network
        place, present = batch["place"], batch["present"]
        hidden, steps, deviation = network.encode(batch)
        target, context = {}, {}
        for name in self.glimpses:
            glimpse = GLIMPSES[name](batch, generator)
            seen = batch | {"speaker": glimpse.speaker}
            output = network.forward_encoded(hidden, steps, deviation, seen, glimpse.present)
            target[name], context[name] = glimpse.target, output["context"]
        latent = network.misls.latent(hidden, steps)
        index, speakers = batch["index"], batch["speaker"]
        first, teacher = index - place[:, 1], self._teacher_context(batch)
        summaries = summarise(network, batch) if self.weights.features else {}
        return View(
            network.modalities, latent, present, index, first, speakers, target, context, teacher, summaries
        )

    def _teacher_context(self, batch: dict) -> Tensor:
        """(N, F) context vectors of the moving average, (N, 0) without one."""
        if self.teacher is None:
            return torch.zeros(len(batch["present"]), 0, device=batch["present"].device)
        with torch.no_grad():
            return self.teacher.module.eval()(batch)["context"]

    def _follow(self, network: nn.Module) -> None:
        """Move the average towards the network's weights."""
        if self.teacher is None:
            self.teacher = moving_average(network, TEACHER_DECAY)
        self.teacher.update_parameters(network)


class PretrainScore:
    """The negated dev loss, which selects the best epoch of pretraining; glimpses of dev are always the same."""

    def __init__(self, dev: Split, objective: SelfSupervisedObjective) -> None:
        self.dev, self.objective = dev, objective

    @torch.inference_mode()
    def __call__(self, trained: PretrainedNetwork) -> dict[str, float]:
        trained.eval()
        network, generator = trained.network, torch.Generator().manual_seed(0)
        view = joined([self.objective.view(trained, batch, generator) for batch in batches(network, self.dev)])
        loss = float(sum(self.objective.parts(trained, view).values()))
        recall, _ = alignment_loss.recall_at_1(view.latent, view.present, view.modalities)
        return {"dev_loss": loss, "dev_recall_at_1": recall, SCORE: -loss}


def joined(views: list[View]) -> View:
    """The views of several batches as one."""

    def rows(of: Callable[[View], Tensor]) -> Tensor:
        return torch.cat([of(view) for view in views])

    def by_name(of: Callable[[View], dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([of(view)[name] for view in views]) for name in of(views[0])}

    return View(
        views[0].modalities,
        by_name(lambda view: view.latent),
        rows(lambda view: view.present),
        rows(lambda view: view.row),
        rows(lambda view: view.first),
        rows(lambda view: view.speaker),
        by_name(lambda view: view.target),
        by_name(lambda view: view.context),
        rows(lambda view: view.teacher),
        {
            stream: Summary(*map(torch.cat, zip(*(view.summaries[stream] for view in views), strict=True)))
            for stream in views[0].summaries
        },
    )
