"""docs/results.md: every study in docs/results as a table."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from merc import study_digest
from merc.results import read_json
from merc.scores import HEADLINE
from merc.study_labels import saved, varies_labels
from merc.study_table import gain, interval, number, table

FOLDER, PAGE = Path("docs/results"), Path("docs/results.md")
HEAD = """\
# Results of studies

`python -m merc results NAME` runs the rows of a study (`merc/studies.py`) through `dvc exp run`, in a clone that
leaves branch and files as they are, and writes `docs/results/NAME.json`: flags, seeds, scores, the parameters that
differ from the sample's, the hash of the row's `dvc.lock`. Rows that are done with the present code are not run
again; words after NAME choose rows. This page is generated from those files. Selection sees dev alone; a row says
whether its test split was scored: once, by the code that it was run with; `docs/log.md` tells which rows an earlier
code had scored. Real data must lie where `docs/data.md` says.
"""
TEST = ("accuracy", "weighted F1 [95 %]", "macro F1 [95 %]", "UAR", "sentiment weighted F1 [95 %]")


def write() -> None:
    """Write the page from the files as they are."""
    studies = [read_json(file) for file in sorted(FOLDER.glob("*.json"))]
    PAGE.write_text(page(studies), encoding="utf-8")
    for study in filter(varies_labels, studies):
        from merc import plots_studies  # matplotlib takes a second to load

        plots_studies.draw(study, FOLDER / f"{study['study']}.svg")


def page(studies: Iterable[dict]) -> str:
    """The page of these studies."""
    studies = list(studies)
    return "\n".join([HEAD, *study_digest.digest(studies), *(_section(study) for study in studies)])


def _section(study: dict) -> str:
    scored = study["until"] == "evaluate"
    shown = _tested(study["rows"]) if scored else _selected(study)
    which = "test split, scored once by the code of each row" if scored else "dev split; test was not scored"
    lines = [f"## {study['study']}", "", f"{study['title']}.", ""]
    lines += [f"Preset `{study['preset']}`, `{study['until']}` last; {which}.", "", *shown, ""]
    lines += _by_corpus(study["rows"]) if scored else []
    if varies_labels(study):
        lines += [*saved(study["rows"]), "", f"![Macro F1 by share of labels](results/{study['study']}.svg)", ""]
    lines += [_about(row) for row in study["rows"]]
    return "\n".join([*lines, *(f"- Published: {one}." for one in study.get("published", ())), ""])


def _about(row: dict) -> str:
    flags = ", ".join(f"`{key}={_flag(value)}`" for key, value in row["flags"].items()) or "the preset as it is"
    return f"- {row['name']}: {row['about'] + '; ' if row['about'] else ''}{flags}; {_seeds(row['seeds'])}"


def _flag(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _seeds(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} seed" + ("s" if len(seeds) > 1 else "")


def _tested(rows: list[dict]) -> list[str]:
    head = ("row", "model", "dev macro F1", *TEST)
    own = [_scored(row, model) for row in rows for model in _models(row)]
    means = [_mean(name, parts, model) for name, parts in _families(rows) for model in _models(parts[0])]
    return table(head, [*own, *means])


def _by_corpus(rows: list[dict]) -> list[str]:
    """What each row reaches on each corpus of several, and whether that differs from the corpus's reference row."""
    if not all("corpora" in row for row in rows):
        return [*_verdicts(rows), ""] if any("against" in row for row in rows) else []
    head = ("row", "model", "tested on", "accuracy", *TEST[1:4], "macro F1 less that of the row in brackets [95 %]")
    cells = [
        [row["name"], model, corpus, *_headline(own[model]["emotion"]), _less(row, corpus, model)]
        for row in rows
        for corpus, own in row["corpora"].items()
        for model in own
    ]
    return [*table(head, cells), "", *_verdicts(rows), ""]


def _headline(emotion: dict) -> list[str]:
    wide = [interval(emotion[name]) for name in ("weighted_f1", "macro_f1")]
    return [number(emotion["accuracy"]["mean"]), *wide, number(emotion["uar"]["mean"])]


def _less(row: dict, corpus: str, model: str) -> str:
    told = row.get("against", {}).get(corpus)
    if told is None or "difference" not in told[model]:  # a corpus without labels has a verdict alone
        return "-"
    own = told[model]
    return f"{own['difference']:+.3f} [{own['low']:+.3f}, {own['high']:+.3f}] ({told['row']})"


def _verdicts(rows: list[dict]) -> list[str]:
    """In words, of the rows that are nobody's reference."""
    references = {told["row"] for row in rows for told in row.get("against", {}).values()}
    return [
        f"- On {corpus}, {model}: {told[model]['verdict']}."
        for row in rows
        if row["name"] not in references
        for corpus, told in row.get("against", {}).items()
        for model in told
        if model != "row"
    ]


def _models(row: dict) -> list[str]:
    return [model for model in row["test"] if model != "baseline"]


def _scored(row: dict, model: str) -> list[str]:
    dev, test = row["dev"][model]["emotion"], row["test"][model]
    emotion, sentiment = test["emotion"], test["sentiment"]
    plain = [number(emotion[name]["mean"]) for name in ("accuracy", "uar")]
    wide = [interval(emotion[name]) for name in ("weighted_f1", "macro_f1")]
    first = [row["name"], model, number(dev["macro_f1"])]
    return [*first, plain[0], *wide, plain[1], interval(sentiment["weighted_f1"])]


def _families(rows: list[dict]) -> list[tuple[str, list[dict]]]:
    """Rows named `<name> / <part>`, by name."""
    parts = [row for row in rows if " / " in row["name"]]
    return [(name, list(own)) for name, own in groupby(parts, lambda row: row["name"].split(" / ")[0])]


def _mean(name: str, parts: list[dict], model: str) -> list[str]:
    """The mean over the parts, which have no interval in common."""
    dev = [row["dev"][model]["emotion"]["macro_f1"] for row in parts]
    emotion = {one: [row["test"][model]["emotion"][one]["mean"] for row in parts] for one in HEADLINE}
    sentiment = [row["test"][model]["sentiment"]["weighted_f1"]["mean"] for row in parts]
    found = [dev, *(emotion[one] for one in HEADLINE), sentiment]
    return [f"{name}: mean of {len(parts)}", model, *(number(_average(one)) for one in found)]


def _average(values: list[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None


def _selected(study: dict) -> list[str]:
    model = "student" if study["until"] == "distill" else "teacher"
    told = [row["dev"][model] for row in study["rows"]]
    columns = [("row", [row["name"] for row in study["rows"]]), *_on_dev(model, told)]
    columns += [] if varies_labels(study) else _gains(told)
    return table([head for head, _ in columns], zip(*(cells for _, cells in columns), strict=True))


def _on_dev(model: str, told: list[dict]) -> list[tuple[str, list[str]]]:
    scores = {f"{model}: weighted F1": "weighted_f1", "macro F1": "macro_f1", "UAR": "uar"}
    return [(head, [number(one["emotion"][name]) for one in told]) for head, name in scores.items()]


def _gains(told: list[dict]) -> list[tuple[str, list[str]]]:
    """What a row has over the first, with everything there and on subsets."""
    subsets = [one.get("subsets_by_seed", {}) for one in told]
    return [
        ("macro F1 on subsets", [number(_average(list(one.values()))) for one in subsets]),
        ("macro F1 less the first row's", [gain(one["by_seed"], told[0]["by_seed"]) for one in told]),
        ("on subsets less the first row's", [gain(one, subsets[0]) for one in subsets]),
    ]
