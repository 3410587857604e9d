"""What a reader of media knows of threads that are idle: it shares its work with them, or does it alone."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class SpareThreads(Protocol):
    """Threads beside the calling one, which may all be busy, or none at all."""

    def any_idle(self) -> bool:
        """Whether work that is shared now may become faster."""
        ...

    def share(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """`function` of each item, in order; the calling thread and those that are idle take the next in turn."""
        ...


class _NoThreads:
    """The calling thread alone, as in the processes of `extract`, of which each has a core."""

    def any_idle(self) -> bool:
        return False

    def share(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        return [function(item) for item in items]


ALONE: SpareThreads = _NoThreads()
