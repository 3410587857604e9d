"""The network: features -> stems -> MISLS -> fusion -> context -> heads, configured by `model` in params.yaml."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, cast

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from models.concat import Concat
from models.context import CONTEXTS
from models.context import HEADS as ATTENTION_HEADS
from models.crossmodal import CrossModal
from models.esag import ESAG
from models.graph import Graph
from models.graph_multiattn import GraphMultiAttn
from models.heads import HEADS, Answers, HeadKind
from models.latents import Latents
from models.misls import MISLS
from models.multiattn import MultiAttn
from models.sequences import longest, pack, pad
from models.standardise import Standardise, feature_deviation, speaker_centred
from models.stems import STEMS
from models.subset_offsets import SubsetOffsets

FUSIONS = {
    "concat": Concat,
    "esag": ESAG,
    "crossmodal": CrossModal,
    "graph": Graph,
    "multiattn": MultiAttn,
    "graph-multiattn": GraphMultiAttn,
}
MODALITIES = ("text", "audio", "vision")


def _member_of(choices: Iterable[str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in choices:
            raise ValueError(f"choose one of {', '.join(choices)}")
        return name

    return check


Modality = Annotated[str, AfterValidator(_member_of(MODALITIES))]

MAX_WIDTH = 2**13  # beyond it one layer takes gigabytes


class NetworkConfig(BaseModel):
    """Section `model` of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    modalities: list[Modality] = Field(min_length=1)
    dim: int = Field(gt=0, le=MAX_WIDTH, multiple_of=ATTENTION_HEADS)
    fused: int = Field(gt=0, le=MAX_WIDTH, multiple_of=ATTENTION_HEADS)
    stem: dict[Modality, Annotated[str, AfterValidator(_member_of(STEMS))]]
    fusion: Annotated[str, AfterValidator(_member_of(FUSIONS))]
    context: Annotated[str, AfterValidator(_member_of(CONTEXTS))]
    heads: Annotated[str, AfterValidator(_member_of(HEADS))]
    causal: bool
    dropout: float = Field(ge=0, lt=1)
    roles: int = Field(ge=0, le=MAX_WIDTH)
    belief_weight: float = Field(ge=0)

    @model_validator(mode="after")
    def _complete(self) -> "NetworkConfig":
        if len(set(self.modalities)) < len(self.modalities):
            raise ValueError(f"modalities: {', '.join(self.modalities)}: each at most once")
        if missing := [m for m in self.modalities if m not in self.stem]:
            raise ValueError(f"stem: {', '.join(missing)} has none; choose one of {', '.join(STEMS)}")
        return self


class Network(nn.Module):
    """logits = heads(context(fusion(MISLS(stems(x))) + role embedding of the speaker)).

    streams: feature dimension of each "<modality>/<encoder>"; labels: the names of each task's outputs, in order;
    kinds: what they mean, logits of one class among several where a task has none; offsets: the tasks whose answers
    depend on what is missing by a table.
    """

    def __init__(
        self,
        config: NetworkConfig,
        streams: dict[str, int],
        labels: dict[str, tuple[str, ...]],
        kinds: Mapping[str, Any] | None = None,
        offsets: Iterable[str] = (),
    ):
        super().__init__()
        self.config, self.labels = config, {task: tuple(names) for task, names in labels.items()}
        self.kinds = {task: HeadKind.model_validate((kinds or {}).get(task, {})) for task in self.labels}
        self.modalities = tuple(config.modalities)
        self.streams = {s: dim for s, dim in sorted(streams.items()) if modality_of(s) in self.modalities}
        stem = {s: STEMS[config.stem[modality_of(s)]] for s in self.streams}
        self.standards = nn.ModuleDict({_key(s): Standardise(dim) for s, dim in self.streams.items()})
        self.stems = nn.ModuleDict(
            {_key(s): stem[s](dim, config.dim, config.dropout) for s, dim in self.streams.items()}
        )
        self.misls = MISLS(self.modalities, config.dim)
        classes = {task: len(names) for task, names in self.labels.items() if names}
        gates = classes[self.lead] if self.lead else 1
        self.fusion = FUSIONS[config.fusion](self.modalities, config.dim, gates, config.dropout, config.fused)
        self.role = nn.Embedding(config.roles, config.fused) if config.roles else None
        self.context = CONTEXTS[config.context](config.fused, config.dropout)
        self.heads = HEADS[config.heads](config.fused, classes, config.dropout, self.lead)
        self.answers = Answers(self.labels, self.kinds)
        self.offsets = SubsetOffsets(len(self.modalities), self.labels, offsets)

    @property
    def lead(self) -> str:
        """The first classification, whose classes ESAG's gates and hierarchical heads know; "" without one."""
        return next((task for task in self.labels if self.kinds[task].kind == "classification"), "")

    def mask_unseen(self, unseen: Mapping[str, Iterable[str]]) -> None:
        """Never answer these classes of each task, which training did not show."""
        self.kinds = {
            task: kind.model_copy(update={"unseen": tuple(unseen.get(task, ()))})
            for task, kind in self.kinds.items()
        }
        self.answers = Answers(self.labels, self.kinds).to(next(self.parameters()).device)

    def standardise(self, stream: str, mean: Tensor, std: Tensor) -> None:
        """Set the mean and standard deviation (D,) of a stream on the training split."""
        self._standard(stream).fill(mean, std)

    def spread(self, stream: str) -> Tensor:
        """The standard deviation (D,) of a stream's features on the training split."""
        return self._standard(stream).std

    def standardised(self, stream: str, batch: dict[str, Any]) -> Tensor:
        """(n, S, D) the batch's values of a stream as its stem takes them."""
        return self._standard(stream)(speaker_centred(batch, stream))

    def parameters_of(self, modality: str) -> list[nn.Parameter]:
        """The parameters of one modality before fusion: its stems and its projection into the latent space."""
        stems = [
            stem for s, stem in zip(self.streams, self.stems.values(), strict=True) if s.startswith(modality + "/")
        ]
        modules = (*stems, self.misls.projections[modality])
        return [parameter for module in modules for parameter in module.parameters()]

    def forward(self, batch: dict[str, Any], present: Tensor | None = None) -> dict[str, Any]:
        """Outputs (N, C) by task, with "utterance", "context" and "weights"; `present` (N, M) hides modalities.

        An output is the logits of a task's classes, or its number (N, 1).

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
        outputs = self.offsets(self.classify(utterance, weights, batch), present)
        return {**outputs, "utterance": utterance, "weights": weights}

    def classify(self, utterance: Tensor, weights: dict[str, Tensor], batch: dict[str, Any]) -> dict[str, Tensor]:
        """Each task's outputs (N, C), and the "context" (N, D), from the fusion's utterance vectors (N, D)."""
        position, speaker = batch["place"], batch["speaker"]
        size = batch.get("size") or (position.amax(0) + 1).tolist()
        context = self._in_context(utterance, position, speaker, size)
        bias = (
            {self.lead: self.config.belief_weight * weights["belief"]} if "belief" in weights and self.lead else {}
        )
        return {**self.answers(self.heads(context, bias)), "context": context}

    def latent(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """{m: (N, D)} mean of each modality's steps in the shared space, undefined where it is absent."""
        hidden, steps, _ = self.encode(batch)
        return self.misls.latent(hidden, steps)

    def encode(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Projected steps {m: (N, S_m, D)}, their numbers {m: (N,)}, and the feature deviations (N, M)."""
        encoded = {m: self._encode_modality(m, batch) for m in self.modalities}
        hidden, steps, deviation = ({m: outputs[i] for m, outputs in encoded.items()} for i in range(3))
        return hidden, steps, torch.stack([deviation[m] for m in self.modalities], 1)

    def _encode_modality(self, modality: str, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Projected steps (N, S, D) of one modality, their numbers and the feature deviation (N,); 0 where absent.

        The streams of a modality have disjoint rows.
        """
        absent = torch.zeros_like(batch["present"][:, 0], dtype=torch.long)  # (N,)
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for stream in self.streams:
            if modality_of(stream) == modality and stream in batch["values"]:
                centred = speaker_centred(batch, stream)
                values = self._standard(stream)(pack(centred, batch["steps"][stream]))  # (R, D_in)
                deviation = feature_deviation(values, batch["steps"][stream])
                parts.append(
                    (*self.stems[_key(stream)](values, batch["steps"][stream]), batch["rows"][stream], deviation)
                )
        if not parts:
            return absent.new_zeros(absent.shape[0], 1, self.config.dim, dtype=torch.float), absent, absent.float()
        values, steps, rows, deviation = (torch.cat(part) for part in zip(*parts, strict=True))
        padded = pad(self.misls.project(modality, values).float(), steps, longest(steps))
        hidden = padded.new_zeros(absent.shape[0], *padded.shape[1:]).index_copy(0, rows, padded)
        return hidden, absent.index_copy(0, rows, steps), absent.float().index_copy(0, rows, deviation)

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
