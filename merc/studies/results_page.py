"""Writes docs/results.md: every study of docs/results/*.json as a table."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from merc import templates
from merc.runtime.results import read_json
from merc.studies import cells, label_studies
from merc.studies.cells import format_number
from merc.training.core.scores import HEADLINE_METRICS

FOLDER, PAGE = Path("docs/results"), Path("docs/results.md")
TEMPLATE = Path(__file__).with_name("results_page.md.jinja")
# corpus -> its study, and the study's row for each line of the table that papers usually print
FOUR_LINES = {
    "sample": (
        "subsets",
        {
            "text only": "text",
            "audio and text": "text and audio",
            "late fusion": "late fusion",
            "proposed": "text, audio and vision",
        },
    ),
    "MELD": (
        "meld",
        {
            "text only": "text alone",
            "audio and text": "text + prosody",
            "late fusion": "concat",
            "proposed": "pretrained",
        },
    ),
}


def without_floor(studies: Iterable[dict]) -> str:
    """The rows whose test split was scored without a floor: `study` whole, or `study` (row, row)."""
    told = []
    for study in studies:
        scored = [row for row in study["rows"] if row.get("test")]
        lacking = [row["name"] for row in scored if "floor" not in row["test"]]
        if lacking:
            rows = f"{len(lacking)} rows" if len(lacking) == len(scored) else ", ".join(lacking)
            told.append(f"`{study['study']}` ({'all' if len(lacking) == len(scored) else rows})")
    return ", ".join(told)


def write_results_page() -> None:
    """Write the page and the figures from docs/results/*.json."""
    studies = [read_json(file) for file in sorted(FOLDER.glob("*.json"))]
    PAGE.write_text(render_results_page(studies), encoding="utf-8")
    for study in filter(label_studies.varies_label_fraction, (study for study in studies if "rows" in study)):
        label_studies.draw_label_fraction_curves(study, FOLDER / f"{study['study']}.svg")


def render_results_page(studies: Iterable[dict]) -> str:
    """Markdown text of the page: studies of training runs, then that of merc/studies/typicality.py."""
    studies = list(studies)
    shifts = [study for study in studies if "shifts" in study]
    studies = [study for study in studies if "rows" in study]
    rows = {study["study"]: {row["name"]: row for row in study["rows"]} for study in studies}
    return templates.render(
        TEMPLATE,
        studies=studies,
        shifts=shifts,
        without_floor=without_floor(studies),
        four_lines=four_lines(rows),
        student_beside=student_beside(rows),
        number=format_number,
        interval=cells.format_interval,
        paired_gain=cells.format_paired_gain,
        average=_average,
        family_means=_family_means,
        verdicts=_verdicts,
        label_fractions=label_studies.label_fraction_cells,
    )


def four_lines(rows: dict[str, dict[str, dict]]) -> list[tuple[str, str, dict]]:
    """Corpus, name and test scores of the unimodal, bimodal, late fusion and proposed network, where run.

    `rows`: the rows by study and name.
    """
    return [
        (corpus, line, rows[study][row]["test"]["teacher"]["emotion"])
        for corpus, (study, lines) in FOUR_LINES.items()
        for line, row in lines.items()
        if row in rows.get(study, {})
    ]


def student_beside(rows: dict[str, dict[str, dict]]) -> list[tuple[str, float, float]]:
    """By subset of modalities, macro F1 of the student shown it and of a network trained on it alone."""
    if not {"student", "subsets"} <= rows.keys():
        return []
    (student,) = (row["test"]["student"]["emotion_macro_f1_of"] for row in rows["student"].values())
    teachers = {_modalities(row): row["test"]["teacher"]["emotion"] for row in rows["subsets"].values()}
    separate = {f"only:{subset}": scores["macro_f1"]["mean"] for subset, scores in teachers.items()}
    return [
        (name.removeprefix("only:").replace("+", " and "), score, separate[name])
        for name, score in student.items()
        if name in separate
    ]


def _modalities(row: dict) -> str:
    return "+".join(row["flags"].get("model.modalities", ()))


def _verdicts(rows: list[dict]) -> list[str]:
    """The verdict in words of every comparison of a row that is not itself a reference."""
    references = {comparison["row"] for row in rows for comparison in row.get("against", {}).values()}
    return [
        f"On {corpus}, {model}: {comparison[model]['verdict']}."
        for row in rows
        if row["name"] not in references
        for corpus, comparison in row.get("against", {}).items()
        for model in comparison
        if model != "row"
    ]


def _family_means(rows: list[dict]) -> Iterator[list[str]]:
    """Means over rows named `<name> / <part>`, by name and model; without intervals, which belong to each part."""
    parts = [row for row in rows if " / " in row["name"]]
    for name, family in groupby(parts, lambda row: row["name"].split(" / ")[0]):
        family = list(family)
        for model in family[0]["test"]:
            if model in family[0]["dev"]:  # neither floor nor baseline
                dev = [row["dev"][model]["emotion"]["macro_f1"] for row in family]
                tests = [row["test"][model] for row in family]
                emotion = [[test["emotion"][metric]["mean"] for test in tests] for metric in HEADLINE_METRICS]
                sentiment = [test["sentiment"]["weighted_f1"]["mean"] for test in tests]
                means = [format_number(_average(values)) for values in (dev, *emotion, sentiment)]
                yield [f"{name}: mean of {len(family)}", model, *means]


def _average(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
