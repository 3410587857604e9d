"""The name of a stream: one modality's features from one encoder."""

from typing import NamedTuple


class StreamName(NamedTuple):
    """`<modality>/<encoder>` in packs, networks and results; an encoder's own name may hold slashes (hub ids)."""

    modality: str
    encoder: str

    @classmethod
    def parse(cls, name: str) -> "StreamName":
        """From its text form."""
        modality, _, encoder = name.partition("/")
        return cls(modality, encoder)

    def __str__(self) -> str:
        return f"{self.modality}/{self.encoder}"
