"""Writes docs/results.md: every study of docs/results/*.json as a table."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from merc.runtime.results import read_json
from merc.studies import digest, label_studies
from merc.studies.cells import format_interval, format_number, format_paired_gain, markdown_table
from merc.studies.label_studies import label_fraction_table, varies_label_fraction
from merc.training.core.scores import HEADLINE_METRICS

FOLDER, PAGE = Path("docs/results"), Path("docs/results.md")
HEAD = """\
# Results of studies

`python -m merc results NAME` runs the rows of a study (`merc/studies/definitions.py`) through `dvc exp run`, in a
clone that leaves branch and files as they are, and writes `docs/results/NAME.json`: flags, seeds, scores, the
parameters that differ from the sample's, the hash of the row's `dvc.lock`. Rows that are done with the present code
are not run again; words after NAME choose rows. This page is generated from those files. Selection sees dev
alone; a row says whether its test split was scored: once, by the code that it was run with; `docs/log.md` tells
which rows an earlier code had scored. Real data must lie where `docs/data.md` says.
"""
TEST = ("accuracy", "weighted F1 [95 %]", "macro F1 [95 %]", "UAR", "sentiment weighted F1 [95 %]")


def write_results_page() -> None:
    """Write the page and the figures from docs/results/*.json."""
    studies = [read_json(file) for file in sorted(FOLDER.glob("*.json"))]
    PAGE.write_text(render_results_page(studies), encoding="utf-8")
    for study in filter(varies_label_fraction, studies):
        label_studies.draw_label_fraction_curves(study, FOLDER / f"{study['study']}.svg")


def render_results_page(studies: Iterable[dict]) -> str:
    """Markdown text of the page."""
    studies = list(studies)
    return "\n".join([HEAD, *digest.cross_study_tables(studies), *(_section(study) for study in studies)])


def _section(study: dict) -> str:
    is_test_scored = study["until"] == "evaluate"
    results = _test_table(study["rows"]) if is_test_scored else _dev_table(study)
    split = (
        "test split, scored once by the code of each row" if is_test_scored else "dev split; test was not scored"
    )
    lines = [f"## {study['study']}", "", f"{study['title']}.", ""]
    lines += [f"Preset `{study['preset']}`, `{study['until']}` last; {split}.", "", *results, ""]
    lines += _by_corpus(study["rows"]) if is_test_scored else []
    if varies_label_fraction(study):
        lines += [
            *label_fraction_table(study["rows"]),
            "",
            f"![Macro F1 by share of labels](results/{study['study']}.svg)",
            "",
        ]
    lines += [_description(row) for row in study["rows"]]
    return "\n".join([*lines, *(f"- Published: {figure}." for figure in study.get("published", ())), ""])


def _description(row: dict) -> str:
    flags = ", ".join(f"`{key}={_flag(value)}`" for key, value in row["flags"].items()) or "the preset as it is"
    return f"- {row['name']}: {row['about'] + '; ' if row['about'] else ''}{flags}; {_seeds(row['seeds'])}"


def _flag(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seed" + ("s" if len(seeds) > 1 else "")


def _test_table(rows: list[dict]) -> list[str]:
    head = ("row", "model", "dev macro F1", *TEST)
    scores = [_test_cells(row, model) for row in rows for model in _models(row)]
    means = [_mean_cells(name, parts, model) for name, parts in _families(rows) for model in _models(parts[0])]
    return markdown_table(head, [*scores, *means])


def _by_corpus(rows: list[dict]) -> list[str]:
    """Test scores of each row by corpus, and the comparisons with the corpus's reference row."""
    if not all("corpora" in row for row in rows):
        return [*_verdicts(rows), ""] if any("against" in row for row in rows) else []
    head = ("row", "model", "tested on", "accuracy", *TEST[1:4], "macro F1 less that of the row in brackets [95 %]")
    cells = [
        [row["name"], model, corpus, *_headline(scores["emotion"]), _difference(row, corpus, model)]
        for row in rows
        for corpus, by_model in row["corpora"].items()
        for model, scores in by_model.items()
    ]
    return [*markdown_table(head, cells), "", *_verdicts(rows), ""]


def _headline(emotion: dict) -> list[str]:
    f1_scores = [format_interval(emotion[name]) for name in ("weighted_f1", "macro_f1")]
    return [format_number(emotion["accuracy"]["mean"]), *f1_scores, format_number(emotion["uar"]["mean"])]


def _difference(row: dict, corpus: str, model: str) -> str:
    comparison = row.get("against", {}).get(corpus)
    if comparison is None or "difference" not in comparison[model]:  # a corpus without labels has only a verdict
        return "-"
    scores = comparison[model]
    return f"{scores['difference']:+.3f} [{scores['low']:+.3f}, {scores['high']:+.3f}] ({comparison['row']})"


def _verdicts(rows: list[dict]) -> list[str]:
    """The verdict in words of every comparison of a row that is not itself a reference."""
    references = {comparison["row"] for row in rows for comparison in row.get("against", {}).values()}
    return [
        f"- On {corpus}, {model}: {comparison[model]['verdict']}."
        for row in rows
        if row["name"] not in references
        for corpus, comparison in row.get("against", {}).items()
        for model in comparison
        if model != "row"
    ]


def _models(row: dict) -> list[str]:
    return [model for model in row["test"] if model != "baseline"]


def _test_cells(row: dict, model: str) -> list[str]:
    dev, test = row["dev"][model]["emotion"], row["test"][model]
    emotion, sentiment = test["emotion"], test["sentiment"]
    first_cells = [row["name"], model, format_number(dev["macro_f1"])]
    return [*first_cells, *_headline(emotion), format_interval(sentiment["weighted_f1"])]


def _families(rows: list[dict]) -> list[tuple[str, list[dict]]]:
    """Rows named `<name> / <part>`, grouped by name."""
    parts = [row for row in rows if " / " in row["name"]]
    return [(name, list(group)) for name, group in groupby(parts, lambda row: row["name"].split(" / ")[0])]


def _mean_cells(name: str, parts: list[dict], model: str) -> list[str]:
    """Means over the parts of a family; without intervals, which belong to each part."""
    dev = [row["dev"][model]["emotion"]["macro_f1"] for row in parts]
    emotion = [[row["test"][model]["emotion"][name]["mean"] for row in parts] for name in HEADLINE_METRICS]
    sentiment = [row["test"][model]["sentiment"]["weighted_f1"]["mean"] for row in parts]
    means = [format_number(_average(values)) for values in (dev, *emotion, sentiment)]
    return [f"{name}: mean of {len(parts)}", model, *means]


def _average(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None


def _dev_table(study: dict) -> list[str]:
    model = "student" if study["until"] == "distill" else "teacher"
    results = [row["dev"][model] for row in study["rows"]]
    columns = [("row", [row["name"] for row in study["rows"]]), *_dev_columns(model, results)]
    columns += [] if varies_label_fraction(study) else _gain_columns(results)
    return markdown_table([head for head, _ in columns], zip(*(cells for _, cells in columns), strict=True))


def _dev_columns(model: str, results: list[dict]) -> list[tuple[str, list[str]]]:
    scores = {f"{model}: weighted F1": "weighted_f1", "macro F1": "macro_f1", "UAR": "uar"}
    return [(head, [format_number(result["emotion"][name]) for result in results]) for head, name in scores.items()]


def _gain_columns(results: list[dict]) -> list[tuple[str, list[str]]]:
    """Differences to the first row, with all modalities and on subsets of them."""
    subsets = [result.get("subsets_by_seed", {}) for result in results]
    return [
        ("macro F1 on subsets", [format_number(_average(list(scores.values()))) for scores in subsets]),
        (
            "macro F1 less the first row's",
            [format_paired_gain(result["by_seed"], results[0]["by_seed"]) for result in results],
        ),
        ("on subsets less the first row's", [format_paired_gain(scores, subsets[0]) for scores in subsets]),
    ]
