"""The network: steps -> stem -> MISLS -> fusion -> context -> heads, as `model` in params.yaml names them."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from models.concat import Concat
from models.context import CONTEXTS
from models.context import HEADS as ATTENTION_HEADS
from models.crossmodal import CrossModal
from models.esag import ESAG
from models.graph import Graph
from models.graph_multiattn import GraphMultiAttn
from models.heads import HEADS
from models.latents import Latents
from models.misls import MISLS
from models.multiattn import MultiAttn
from models.packed import Laid
from models.standards import Standardise, oddity
from models.stems import STEMS, positions

FUSIONS = {
    "concat": Concat,
    "esag": ESAG,
    "crossmodal": CrossModal,
    "graph": Graph,
    "multiattn": MultiAttn,
    "graph-multiattn": GraphMultiAttn,
}
BELIEF_SHARE = 0.3  # of a fusion's own belief in the emotion logits: enough to give it its meaning (ours)
MODALITIES = ("text", "audio", "vision")


def _one_of(choices: Iterable[str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return name

    return check


Modality = Annotated[str, AfterValidator(_one_of(MODALITIES))]


class NetworkConfig(BaseModel):
    """Section `model` of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    modalities: list[Modality] = Field(min_length=1)
    dim: int = Field(gt=0, multiple_of=ATTENTION_HEADS)
    fused: int = Field(gt=0, multiple_of=ATTENTION_HEADS)
    stem: dict[Modality, Annotated[str, AfterValidator(_one_of(STEMS))]]
    fusion: Annotated[str, AfterValidator(_one_of(FUSIONS))]
    context: Annotated[str, AfterValidator(_one_of(CONTEXTS))]
    heads: Annotated[str, AfterValidator(_one_of(HEADS))]
    causal: bool
    dropout: float = Field(ge=0, lt=1)
    roles: int = Field(ge=0)

    @model_validator(mode="after")
    def _complete(self) -> "NetworkConfig":
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError(f"modalities: {', '.join(self.modalities)}: each at most once")
        if missing := [m for m in self.modalities if m not in self.stem]:
            raise ValueError(f"stem: {', '.join(missing)} has none; choose one of {', '.join(STEMS)}")
        return self


class Network(nn.Module):
    """logits = heads(context(fusion(MISLS(stems(x))) + speaker role)).

    streams: the width of each "<modality>/<encoder>"; labels: each task's labels in the order of its logits.
    """

    def __init__(self, config: NetworkConfig, streams: dict[str, int], labels: dict[str, tuple[str, ...]]):
        super().__init__()
        self.config, self.labels = config, {task: tuple(names) for task, names in labels.items()}
        self.modalities = tuple(config.modalities)
        self.streams = {s: dim for s, dim in sorted(streams.items()) if s.split("/")[0] in self.modalities}
        stem = {s: STEMS[config.stem[s.split("/")[0]]] for s in self.streams}
        self.standards = nn.ModuleDict({_key(s): Standardise(dim) for s, dim in self.streams.items()})
        self.stems = nn.ModuleDict(
            {_key(s): stem[s](dim, config.dim, config.dropout) for s, dim in self.streams.items()}
        )
        self.misls = MISLS(self.modalities, config.dim)
        classes = {task: len(names) for task, names in self.labels.items() if names}
        self.fusion = FUSIONS[config.fusion](
            self.modalities, config.dim, classes["emotion"], config.dropout, config.roles, config.fused
        )
        self.role = nn.Embedding(config.roles, config.fused) if config.roles else None
        self.context = CONTEXTS[config.context](config.fused, config.dropout)
        self.heads = HEADS[config.heads](config.fused, classes, config.dropout)

    def standardise(self, stream: str, mean: Tensor, std: Tensor) -> None:
        """Set a stream's statistics (D,), measured on the training split."""
        self.standards[_key(stream)].fill(mean, std)

    def spread(self, stream: str) -> Tensor:
        """(D,) the standard deviation of a stream's features on the training split."""
        return self.standards[_key(stream)].std

    def parameters_of(self, modality: str) -> list[nn.Parameter]:
        """What belongs to one modality alone before fusion: its stems and its projection into the latent space."""
        stems = [
            stem for s, stem in zip(self.streams, self.stems.values(), strict=True) if s.startswith(modality + "/")
        ]
        return [one for part in (*stems, self.misls.projections[modality]) for one in part.parameters()]

    def forward(self, batch: dict[str, Any], present: Tensor | None = None) -> dict[str, Any]:
        """See merc/batches.py for a batch; `present` (N, M) hides modalities from it.

        A batch may know its `size`, (dialogues, longest dialogue), which an export cannot read off the places.
        """
        return self.judge(*self.tokens(batch), batch, present)

    def judge(
        self,
        hidden: dict[str, Tensor],
        steps: dict[str, Tensor],
        odd: Tensor,
        batch: dict[str, Any],
        present: Tensor | None = None,
    ) -> dict[str, Any]:
        """Everything after the latent steps, from what `tokens` returns; the batch's values are not looked at."""
        here = batch["present"] if present is None else batch["present"] & present
        here = here & torch.stack([steps[m] > 0 for m in self.modalities], 1)
        return self.unite(*self.misls(hidden, steps, here), here, odd, batch)

    def unite(
        self, z: dict[str, Tensor], steps: dict[str, Tensor], here: Tensor, odd: Tensor, batch: dict[str, Any]
    ) -> dict[str, Any]:
        """Everything after MISLS, from its latent sequences, their steps, who is present (N, M) and how oddly."""
        latents = Latents(z, steps, here, odd, batch["place"], batch["speaker"])
        utterance, weights = self.fusion(latents, self.config.causal)
        return {**self.conclude(utterance, weights, batch), "utterance": utterance, "weights": weights}

    def conclude(self, utterance: Tensor, weights: dict[str, Tensor], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Everything after the fusion: each task's logits, and the `context`, from utterance vectors (N, D)."""
        place, speaker = batch["place"], batch["speaker"]
        size = batch.get("size") or (place.amax(0) + 1).tolist()
        context = self._in_context(utterance, place, speaker, size)
        given = {"emotion": BELIEF_SHARE * weights["belief"]} if "belief" in weights else {}
        return {**self.heads(context, given), "context": context}

    def latent(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """{m: (N, D)} where each modality lies in the shared space; of an absent one it means nothing."""
        hidden, steps, _ = self.tokens(batch)
        return self.misls.latent(hidden, steps)

    def tokens(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """The stems' answers in the one space {m: (N, S_m, D)} and {m: (N,)} steps; a modality's streams in one.

        And how odd each modality is (N, M), see `oddity`.
        """
        parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {m: [] for m in self.modalities}
        odd = {m: torch.zeros_like(batch["present"][:, 0], dtype=torch.float) for m in self.modalities}
        for stream in self.streams:
            if stream in batch["values"]:
                modality, rows = stream.split("/")[0], batch["rows"][stream]
                values = self.standards[_key(stream)](batch["values"][stream])
                odd[modality] = odd[modality].index_copy(0, rows, oddity(values, batch["steps"][stream]))
                values, steps = self.stems[_key(stream)](values, batch["steps"][stream])
                parts[modality].append((self.misls.project(modality, values), steps, rows))
        joined = {m: _scatter(part, batch["present"], self.config.dim) for m, part in parts.items()}
        hidden, steps = ({m: one[part] for m, one in joined.items()} for part in (0, 1))
        return hidden, steps, torch.stack([odd[m] for m in self.modalities], 1)

    def _in_context(self, utterance: Tensor, place: Tensor, speaker: Tensor, size: tuple[int, int]) -> Tensor:
        if self.role is not None:
            utterance = utterance + self.role(speaker.clamp(max=self.config.roles - 1))
        return self.context(utterance, place, size, self.config.causal)


def _key(stream: str) -> str:
    """A module's name must not contain a dot."""
    return stream.replace(".", "_")


def _scatter(parts: list[tuple[Tensor, Tensor, Tensor]], like: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Several (values (n, S, D) or packed, steps (n,), rows (n,)) -> (N, S, D) and (N,) steps, 0 where none."""
    size = max([_longest(values, steps) for values, steps, _ in parts], default=1)
    lengths = torch.zeros(like.shape[0], dtype=torch.long, device=like.device)
    for _, steps, rows in parts:
        lengths = lengths.index_copy(0, rows, steps)
    if parts and parts[0][0].dim() == 2:
        values, where = parts[0][0].float(), positions(parts[0][1], size, parts[0][2])
        for more, steps, rows in parts[1:]:
            values = torch.cat([values, more.float()])
            where = torch.cat([where, positions(steps, size, rows)])
        return Laid.apply(values, where, like.shape[0] * size).view(like.shape[0], size, dim), lengths
    joined = torch.zeros(like.shape[0], size, dim, device=like.device)
    for values, _, rows in parts:
        padded = functional.pad(values.float(), (0, 0, 0, size - values.shape[1]))
        joined = joined.index_copy(0, rows, padded)
    return joined, lengths


def _longest(values: Tensor, steps: Tensor) -> int:
    return values.shape[1] if values.dim() == 3 else int(steps.max())
