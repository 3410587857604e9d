"""The table that `merc score` prints: a result file for readers."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from merc.data.records.selection import MAIN_METRIC, METRICS, TITLES
from merc.studies.cells import format_number
from merc.studies.scoring.result_file import Comparison, Number, ResultFile, Score, TaskResult

NAME_WIDTH, CELL_WIDTH, LINE_WIDTH = 22, 22, 110
COLUMNS = (LINE_WIDTH - NAME_WIDTH) // CELL_WIDTH  # scores side by side
CALIBRATION = {
    "ece": "ECE",
    "classwise_ece": "classwise ECE",
    "brier": "Brier score",
    "nll": "log loss",
    "aurc": "area under risk and coverage",
    "ece_raw": "ECE before calibration",
    "coverage": "coverage of the sets",
    "set_size": "mean size of the sets",
    "width": "mean width of the intervals",
}


def result_table(result: ResultFile) -> str:
    """Lines of at most 110 characters."""
    protocol, reference = result.protocol, result.reference
    seeds = len(result.predictions.seeds)
    lines = [
        f"{result.system}: {protocol.corpus}, {protocol.split} split, protocol {protocol.version} "
        f"(docs/protocols/{protocol.corpus}.md), labels {protocol.labels}",
        f"{reference.scored} of {reference.utterances} utterances in {reference.groups} groups, {seeds} "
        f"seed{'s' * (seeds > 1)}, {len(result.predictions.conditions)} conditions; selected on "
        f"{result.selected_on}; reference {reference.digest[:8]}, predictions {result.predictions.digest[:8]}",
    ]
    for task, content in result.tasks.items():
        lines += ["", *_task(task, content)]
    lines += ["", *result.notes]
    return "\n".join(textwrap.fill(line, LINE_WIDTH, subsequent_indent="    ") if line else "" for line in lines)


def _task(task: str, result: TaskResult) -> Iterator[str]:
    measures: Any = METRICS[result.task_kind]
    named = {"test": result.scores, "clean test": result.clean, "dev": result.dev, "floor": result.floor}
    for first in range(0, len(measures), COLUMNS):
        some: Sequence[Any] = measures[first : first + COLUMNS]
        yield _row(f"{task} ({result.utterances})", [TITLES[measure] for measure in some])
        for name, scores in named.items():
            if scores is not None:
                yield _row(name, [_interval(scores[measure]) for measure in some])
        yield _row("commonest label", [format_number(result.majority.get(measure)) for measure in some])
        yield _row("smallest difference", [format_number(result.smallest_difference[measure]) for measure in some])
    yield f"    that the split shows in 4 of 5 cases, against {result.smallest_difference_pair}"
    for comparison in (result.comparison, result.against_floor):
        if comparison is not None:
            yield from _comparison(comparison, _main(result))
    if result.by_class:
        yield ""
        yield _row("class", ["precision", "recall", "F1", "support"])
    for each in result.by_class:
        f1 = _with_interval(each.f1, each.f1_low, each.f1_high)
        yield _row(each.label, [format_number(each.precision), format_number(each.recall), f1, str(each.support)])
    yield from _further(result)


def _further(result: TaskResult) -> Iterator[str]:
    main = _main(result)
    if worst := next((each for each in result.slices if each.worst), None):
        score = (
            f"MAE {format_number(worst.mae)}"
            if worst.accuracy is None
            else f"accuracy {format_number(worst.accuracy)}"
        )
        yield f"worst slice: {worst.name}: {score}, {worst.utterances} utterances"
    if result.calibration:
        known = {name: result.calibration[name] for name in CALIBRATION if name in result.calibration}
        shown = [
            f"{CALIBRATION[name]} {format_number(value)}"
            for name, value in known.items()
            if not isinstance(value, dict)
        ]
        yield "calibration: " + ", ".join(shown)
    if result.selection_gap:
        gap = result.selection_gap[MAIN_METRIC[result.task_kind]]
        yield f"selection gap: test's best epoch is {format_number(gap)} {main} above the selected"
    if result.jensen_shannon is not None:
        yield f"Jensen-Shannon divergence from the votes: {format_number(result.jensen_shannon)}"
    if result.curve:
        yield f"{main} by missing rate: " + ", ".join(
            f"{each.rate:g}: {format_number(each.ccc if each.macro_f1 is None else each.macro_f1)}"
            for each in result.curve
        )
    subsets = {name: value for name, value in result.conditions.items() if name.startswith("only:")}
    if subsets:
        yield f"{main} of " + ", ".join(f"{name} {format_number(value)}" for name, value in subsets.items())
    if result.equity:
        lost = ", ".join(f"{name} {format_number(value)}" for name, value in result.equity.losses.items())
        yield f"equity {format_number(result.equity.equity)}: {main} lost without {lost}"


def _main(result: TaskResult) -> str:
    return TITLES[MAIN_METRIC[result.task_kind]]


def _comparison(comparison: Comparison, main: str) -> Iterator[str]:
    if comparison.difference is not None:
        difference = _with_interval(comparison.difference, comparison.low, comparison.high)
        tests = {"permutation": comparison.permutation_p, "McNemar": comparison.mcnemar_p}
        tests["t over seeds"] = comparison.paired_t_p
        shown = ", ".join(f"{name} {format_number(value)}" for name, value in tests.items())
        yield f"minus {comparison.other}: {main} {difference}; p: {shown}"
    yield f"    {comparison.verdict}"


def _row(name: str, cells: list[str]) -> str:
    return (f"{name:<{NAME_WIDTH}}" + "".join(f"{cell:<{CELL_WIDTH}}" for cell in cells)).rstrip()


def _interval(score: Score) -> str:
    return _with_interval(score.value, score.low, score.high)


def _with_interval(value: Number, low: Number, high: Number) -> str:
    return f"{format_number(value)} [{format_number(low)}, {format_number(high)}]"
