"""What the training stages need of a network; models/network.py has it, which merc does not import."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn


class TrainedModule(Protocol):
    """A module with weights: every nn.Module."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def buffers(self) -> Iterator[Tensor]: ...

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> object: ...

    def eval(self) -> Self: ...


class SharedSpace(Protocol):
    """The shared latent space of the modalities."""

    def earlier(self, first: Tensor, second: Tensor) -> Tensor: ...

    def latent(self, sequences: dict[str, Tensor], steps: dict[str, Tensor]) -> dict[str, Tensor]: ...

    def reconstruct(self, latent: dict[str, Tensor], present: Tensor) -> dict[str, Tensor]: ...


class HeadKind(Protocol):
    """What the outputs of a head mean."""

    @property
    def kind(self) -> str: ...

    @property
    def range(self) -> tuple[float, float]: ...

    @property
    def unseen(self) -> tuple[str, ...]: ...


class SubsetTables(Protocol):
    """Offsets of logits by the subset of the modalities present."""

    def fill(self, tables: dict[str, Tensor]) -> None: ...


class MultimodalNetwork(TrainedModule, Protocol):
    """A network of several modalities, an nn.Module; models/network.py explains the methods."""

    @property
    def labels(self) -> dict[str, tuple[str, ...]]: ...

    @property
    def kinds(self) -> Mapping[str, HeadKind]: ...

    @property
    def lead(self) -> str: ...

    def mask_unseen(self, unseen: Mapping[str, Iterable[str]]) -> None: ...

    @property
    def modalities(self) -> tuple[str, ...]: ...

    @property
    def streams(self) -> dict[str, int]: ...

    @property
    def misls(self) -> SharedSpace: ...

    @property
    def offsets(self) -> SubsetTables: ...

    def train(self, mode: bool = True) -> Self: ...

    def to(self, device: torch.device, /) -> Self: ...

    def standardise(self, stream: str, mean: Tensor, std: Tensor) -> None: ...

    def spread(self, stream: str) -> Tensor: ...

    def standardised(self, stream: str, batch: dict[str, Any]) -> Tensor: ...

    def parameters_of(self, modality: str) -> list[nn.Parameter]: ...

    def __call__(self, batch: dict[str, Any], present: Tensor | None = None) -> dict[str, Any]: ...

    def forward_encoded(
        self,
        hidden: dict[str, Tensor],
        steps: dict[str, Tensor],
        deviation: Tensor,
        batch: dict[str, Any],
        present: Tensor | None = None,
    ) -> dict[str, Any]: ...

    def latent(self, batch: dict[str, Any]) -> dict[str, Tensor]: ...

    def encode(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]: ...
