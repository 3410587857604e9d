"""Cells and tables of the studies' page."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(one)} |" for one in cells]


def interval(score: dict[str, float | None]) -> str:
    """A mean and, where it has one, its interval."""
    around = "" if score["low"] is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return number(score["mean"]) + around


def number(value: float | None) -> str:
    """Three decimals, or a dash for what is not known."""
    return "-" if value is None else f"{value:.3f}"
