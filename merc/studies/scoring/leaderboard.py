"""`python -m merc leaderboard`: one page, HTML and Markdown, of the result files in a folder.

Two systems count as told apart if the 95 % interval of their difference leaves out 0. Files scored against the same
utterances were resampled by the same draws of groups, so their stored replicates are paired by round; files with
other utterances are compared by whether their intervals overlap. A bar joins neighbours of which no two can be told
apart.
"""

import csv
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from merc import templates
from merc.data.records.selection import LOWER_IS_BETTER, METRICS, TITLES
from merc.evaluation import bootstrap
from merc.runtime.errors import CommandLine, UserError
from merc.studies.scoring import result_file
from merc.studies.scoring.result_file import Number, ResultFile

PUBLISHED = Path(__file__).with_name("published.csv")
TEMPLATES = {suffix: Path(__file__).with_name(f"leaderboard{suffix}.jinja") for suffix in (".html", ".md")}
NO_SHARES = ("mae", "pearson", "ccc")
SELECTED = {
    "dev": "dev",
    "test": "test: not comparable",
    "unknown": "not said",
}


@dataclass(frozen=True)
class Row:
    """A system's scores in one table."""

    system: str
    scores: dict[str, Number]
    interval: tuple[Number, Number]  # of the table's measure
    selected_on: str
    seeds: int | None = None  # None for a published number
    replicates: np.ndarray = field(default_factory=lambda: np.zeros(0))
    scored: str = ""  # digest of the scored utterances
    note: str = ""
    shown: dict[str, str] = field(default_factory=dict)  # how a publication gives its scores, in per cent

    @property
    def is_published(self) -> bool:
        """Whether it is a number from the literature."""
        return self.seeds is None


@dataclass(frozen=True)
class Table:
    """The systems of one corpus, split, label space, protocol version and task, best first."""

    title: str
    measure: str
    titles: dict[str, str]  # measure -> its name, of the task's kind
    rows: list[Row]
    ties: list[list[int]]  # runs of rows, by index, of which no two can be told apart
    smallest: float  # ends of the drawn axis
    largest: float

    def rank(self, index: int) -> str:
        """Among the systems selected on dev."""
        if self.rows[index].selected_on != "dev" or self.rows[index].is_published:
            return ""
        return str(sum(row.selected_on == "dev" and not row.is_published for row in self.rows[: index + 1]))

    def letters(self, index: int) -> str:
        """The ties that a row is in: rows with a letter in common cannot be told apart."""
        return " ".join(_letter(number) for number, tie in enumerate(self.ties) if index in tie)

    def cell(self, row: Row, name: str) -> str:
        """A score: in per cent, but errors and correlations."""
        if row.is_published:
            return row.shown.get(name, "-")
        return shown(name, row.scores.get(name))

    def interval(self, row: Row) -> tuple[str, ...]:
        """The two ends of the measure's interval, or nothing."""
        return tuple(shown(self.measure, end) for end in row.interval) if row.interval[0] is not None else ()

    def place(self, value: float) -> float:
        """Between 0 and 1 along the axis."""
        return (value - self.smallest) / (self.largest - self.smallest)


def shown(name: str, value: Number) -> str:
    """A score for readers."""
    if value is None:
        return "-"
    return f"{value:.3f}" if name in NO_SHARES else f"{100 * value:.1f}"


def _letter(number: int) -> str:
    letters = string.ascii_lowercase
    return letters[number % 26] + (str(number // 26) if number >= 26 else "")


def leaderboard(*words: str) -> None:
    """Write page.html and page.md from the result files of a folder."""
    parser = CommandLine(
        prog="python -m merc leaderboard", description="One page of the result files in DIR (docs/score.md)."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="its *.json are result files of `merc score`")
    parser.add_argument("--out", required=True, type=Path, metavar="PAGE", help="PAGE.html and PAGE.md are written")
    options = parser.parse_args(words)
    files = sorted(options.folder.glob("*.json"))
    if not files:
        raise UserError(f"{options.folder}: holds no *.json; `python -m merc score ... --out FILE` writes one")
    page = tables([result_file.read(path) for path in files])
    base = options.out.with_suffix("") if options.out.suffix in TEMPLATES else options.out
    base.parent.mkdir(parents=True, exist_ok=True)
    for suffix, template in TEMPLATES.items():
        path = base.with_name(base.name + suffix)
        path.write_text(templates.render(template, tables=page, selected=SELECTED), encoding="utf-8")
        print(path)


def tables(results: Sequence[ResultFile]) -> list[Table]:
    """A table for every task, corpus, split, label space, protocol version and set of labels."""
    grouped: dict[tuple, list[ResultFile]] = {}
    for result in results:
        stamp = result.protocol
        for task in result.tasks:
            key = (stamp.corpus, stamp.split, stamp.labels, stamp.version, result.reference.digest, task)
            grouped.setdefault(key, []).append(result)
    several = {key[:4] for key in grouped for other in grouped if key[:4] == other[:4] and key[4] != other[4]}
    return [_table(key, grouped[key], key[:4] in several) for key in sorted(grouped)]


def _table(key: tuple, results: Sequence[ResultFile], names_digest: bool) -> Table:
    corpus, split, labels, version, digest, task = key
    first = results[0].tasks[task]
    measure: Any = first.measure or results[0].protocol.measure
    sign = 1
    if measure in LOWER_IS_BETTER:
        sign = -1
    rows = [_row(result, task, measure) for result in results]
    rows += _published(corpus, labels, split, task, measure)
    rows.sort(key=lambda row: (row.selected_on == "test", _last(row.scores[measure], sign), row.system))
    values = [value for row in rows for value in (row.scores[measure], *row.interval) if value is not None]
    space = max(0.05 * (max(values, default=1.0) - min(values, default=0.0)), 0.01)
    title = f"{corpus}, {split} split: {task} (labels {labels}, protocol {version})"
    title += f", reference {digest[:8]}" if names_digest else ""
    smallest, largest = min(values, default=0.0) - space, max(values, default=1.0) + space
    titles = {name: TITLES[name] for name in METRICS[first.task_kind]}
    return Table(title, measure, titles, rows, ties(rows), smallest, largest)


def _last(value: Number, sign: int) -> float:
    """Sorts the best first, and what has no score last."""
    return np.inf if value is None else -sign * value


def _row(result: ResultFile, task: str, measure: Any) -> Row:
    content, reference = result.tasks[task], result.reference
    score = content.scores[measure]
    partial = f"{reference.scored} of {reference.utterances} utterances" if result.predictions.missing else ""
    return Row(
        system=result.system,
        scores={str(name): score.value for name, score in content.scores.items()},
        interval=(score.low, score.high),
        selected_on=result.selected_on,
        seeds=len(result.predictions.seeds),
        replicates=np.array([np.nan if value is None else value for value in content.replicates]),
        scored=reference.scored_digest,
        note=partial,
    )


def _published(corpus: str, labels: str, split: str, task: str, measure: str) -> list[Row]:
    """Numbers of the literature that have the table's measure."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    wanted = {"corpus": corpus, "labels": labels, "split": split, "task": task}
    rows: dict[str, Row] = {}
    for line in lines:
        if any(line[name] != value for name, value in wanted.items()):
            continue
        row = rows.setdefault(
            line["system"],
            Row(line["system"], dict.fromkeys(TITLES), (None, None), line["selected_on"], note=line["note"]),
        )
        row.scores[line["measure"]] = float(line["value"])
        row.shown[line["measure"]] = line["shown"]
    return [row for row in rows.values() if row.scores[measure] is not None]


def ties(rows: Sequence[Row]) -> list[list[int]]:
    """The longest runs of neighbouring rows of which no two can be told apart; published numbers have no part."""
    own = [index for index, row in enumerate(rows) if not row.is_published]
    apart = {(a, b) for a, b in combinations(own, 2) if told_apart(rows[a], rows[b])}
    found: list[list[int]] = []
    for start in range(len(own)):
        end = start + 1
        while end < len(own) and not any((other, own[end]) in apart for other in own[start:end]):
            end += 1
        run = own[start:end]
        if len(run) > 1 and not (found and set(run) <= set(found[-1])):
            found.append(run)
    return found


def told_apart(first: Row, second: Row) -> bool:
    """Whether the difference's interval leaves out 0; for other utterances, whether the intervals are apart."""
    if first.scored == second.scored and len(first.replicates) == len(second.replicates):
        low, high = bootstrap.interval(first.replicates - second.replicates)
        return bool(low > 0 or high < 0)
    return _is_above(first.interval, second.interval) or _is_above(second.interval, first.interval)


def _is_above(one: Iterable[Number], other: Iterable[Number]) -> bool:
    (low, _), (_, high) = one, other
    return low is not None and high is not None and low > high
