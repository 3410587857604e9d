"""The network: features -> stems -> MISLS -> fusion -> context -> heads, configured by `model` in params.yaml."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, cast

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
from models.packed import ScatterRows
from models.standardise import Standardise, feature_deviation
from models.stems import STEMS, flat_indices

FUSIONS = {
    "concat": Concat,
    "esag": ESAG,
    "crossmodal": CrossModal,
    "graph": Graph,
    "multiattn": MultiAttn,
    "graph-multiattn": GraphMultiAttn,
}
BELIEF_WEIGHT = 0.3  # of the fusion's log belief in the emotion logits: enough to tie it to the emotions (ours)
MODALITIES = ("text", "audio", "vision")


def _member_of(choices: Iterable[str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return name

    return check


Modality = Annotated[str, AfterValidator(_member_of(MODALITIES))]


class NetworkConfig(BaseModel):
    """Section `model` of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    modalities: list[Modality] = Field(min_length=1)
    dim: int = Field(gt=0, multiple_of=ATTENTION_HEADS)
    fused: int = Field(gt=0, multiple_of=ATTENTION_HEADS)
    stem: dict[Modality, Annotated[str, AfterValidator(_member_of(STEMS))]]
    fusion: Annotated[str, AfterValidator(_member_of(FUSIONS))]
    context: Annotated[str, AfterValidator(_member_of(CONTEXTS))]
    heads: Annotated[str, AfterValidator(_member_of(HEADS))]
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
    """logits = heads(context(fusion(MISLS(stems(x))) + role embedding of the speaker)).

    streams: feature dimension of each "<modality>/<encoder>"; labels: each task's labels in the order of its
    logits.
    """

    def __init__(self, config: NetworkConfig, streams: dict[str, int], labels: dict[str, tuple[str, ...]]):
        super().__init__()
        self.config, self.labels = config, {task: tuple(names) for task, names in labels.items()}
        self.modalities = tuple(config.modalities)
        self.streams = {s: dim for s, dim in sorted(streams.items()) if modality_of(s) in self.modalities}
        stem = {s: STEMS[config.stem[modality_of(s)]] for s in self.streams}
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
        """Set the mean and standard deviation (D,) of a stream on the training split."""
        self._standard(stream).fill(mean, std)

    def spread(self, stream: str) -> Tensor:
        """The standard deviation (D,) of a stream's features on the training split."""
        return self._standard(stream).std

    def parameters_of(self, modality: str) -> list[nn.Parameter]:
        """The parameters of one modality before fusion: its stems and its projection into the latent space."""
        stems = [
            stem for s, stem in zip(self.streams, self.stems.values(), strict=True) if s.startswith(modality + "/")
        ]
        modules = (*stems, self.misls.projections[modality])
        return [parameter for module in modules for parameter in module.parameters()]

    def forward(self, batch: dict[str, Any], present: Tensor | None = None) -> dict[str, Any]:
        """Logits (N, C) by task, with "utterance", "context" and "weights"; `present` (N, M) hides modalities.

        merc/data/batches/dataset.py describes a batch. It may contain its `size` (number of dialogues, turns of the
        longest), which an ONNX export cannot derive from the positions.
        """
        return self.forward_encoded(*self.encode(batch), batch, present)

    def forward_encoded(
        self,
        hidden: dict[str, Tensor],
        steps: dict[str, Tensor],
        deviation: Tensor,
        batch: dict[str, Any],
        present: Tensor | None = None,
    ) -> dict[str, Any]:
        """Outputs as of `forward` from the outputs of `encode`; the batch's values are not used."""
        visible: Tensor = batch["present"] if present is None else batch["present"] & present
        visible = visible & torch.stack([steps[m] > 0 for m in self.modalities], 1)
        z, steps = self.misls(hidden, steps, visible)
        return self.fuse(z, steps, visible, deviation, batch)

    def fuse(
        self,
        z: dict[str, Tensor],
        steps: dict[str, Tensor],
        present: Tensor,
        deviation: Tensor,
        batch: dict[str, Any],
    ) -> dict[str, Any]:
        """Outputs as of `forward` from latent sequences, their steps, presence and feature deviations (N, M)."""
        latents = Latents(z, steps, present, deviation, batch["place"], batch["speaker"])
        utterance, weights = self.fusion(latents, self.config.causal)
        return {**self.classify(utterance, weights, batch), "utterance": utterance, "weights": weights}

    def classify(self, utterance: Tensor, weights: dict[str, Tensor], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Each task's logits (N, C), and the "context" (N, D), from the fusion's utterance vectors (N, D)."""
        position, speaker = batch["place"], batch["speaker"]
        size = batch.get("size") or (position.amax(0) + 1).tolist()
        context = self._in_context(utterance, position, speaker, size)
        bias = {"emotion": BELIEF_WEIGHT * weights["belief"]} if "belief" in weights else {}
        return {**self.heads(context, bias), "context": context}

    def latent(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """{m: (N, D)} mean of each modality's steps in the shared space, undefined where it is absent."""
        hidden, steps, _ = self.encode(batch)
        return self.misls.latent(hidden, steps)

    def encode(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Projected steps {m: (N, S_m, D)}, their numbers {m: (N,)}, and the feature deviations (N, M).

        The streams of a modality have disjoint rows and are merged.
        """
        parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {m: [] for m in self.modalities}
        deviations = {m: torch.zeros_like(batch["present"][:, 0], dtype=torch.float) for m in self.modalities}
        for stream in self.streams:
            if stream in batch["values"]:
                modality, rows = modality_of(stream), batch["rows"][stream]
                values = self.standards[_key(stream)](batch["values"][stream])
                deviation = feature_deviation(values, batch["steps"][stream])
                deviations[modality] = deviations[modality].index_copy(0, rows, deviation)
                values, steps = self.stems[_key(stream)](values, batch["steps"][stream])
                parts[modality].append((self.misls.project(modality, values), steps, rows))
        merged = {m: _scatter(streams, batch["present"], self.config.dim) for m, streams in parts.items()}
        hidden = {m: values for m, (values, _) in merged.items()}
        steps = {m: lengths for m, (_, lengths) in merged.items()}
        return hidden, steps, torch.stack([deviations[m] for m in self.modalities], 1)

    def _standard(self, stream: str) -> Standardise:
        return cast(Standardise, self.standards[_key(stream)])

    def _in_context(self, utterance: Tensor, position: Tensor, speaker: Tensor, size: tuple[int, int]) -> Tensor:
        if self.role is not None:
            utterance = utterance + self.role(speaker.clamp(max=self.config.roles - 1))
        return self.context(utterance, position, size, self.config.causal)


def modality_of(stream: str) -> str:
    """The modality of a stream's name, `<modality>/<encoder>`."""
    return stream.partition("/")[0]


def _key(stream: str) -> str:
    """The stream's module name, which must not contain a dot."""
    return stream.replace(".", "_")


def _scatter(parts: list[tuple[Tensor, Tensor, Tensor]], like: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Merge streams of (values (n, S, D) or packed, steps (n,), rows (n,)) into (N, S, D) and lengths (N,).

    `like` (N, M) gives N and the device; rows of no stream are 0.
    """
    size = max([_max_steps(values, steps) for values, steps, _ in parts], default=1)
    lengths = torch.zeros(like.shape[0], dtype=torch.long, device=like.device)
    for _, steps, rows in parts:
        lengths = lengths.index_copy(0, rows, steps)
    if parts and parts[0][0].dim() == 2:
        values, indices = parts[0][0].float(), flat_indices(parts[0][1], size, parts[0][2])
        for others, steps, rows in parts[1:]:
            values = torch.cat([values, others.float()])
            indices = torch.cat([indices, flat_indices(steps, size, rows)])
        return ScatterRows.apply(values, indices, like.shape[0] * size).view(like.shape[0], size, dim), lengths
    merged = torch.zeros(like.shape[0], size, dim, device=like.device)
    for values, _, rows in parts:
        padded = functional.pad(values.float(), (0, 0, 0, size - values.shape[1]))
        merged = merged.index_copy(0, rows, padded)
    return merged, lengths


def _max_steps(values: Tensor, steps: Tensor) -> int:
    return values.shape[1] if values.dim() == 3 else int(steps.max())
