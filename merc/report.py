"""out/evaluate/report/index.html: the evaluation as one page that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from merc import scores
from merc.conditions import FULL
from merc.predictions import Predictions

DIALOGUES = 3  # shown of those that go best, and as many that go worst
TURNS = 3  # labelled utterances below which a dialogue says too little
TITLES = {"accuracy": "accuracy", "weighted_f1": "weighted F1", "macro_f1": "macro F1", "uar": "UAR"}
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2430;max-width:62rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d4dae2}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e4e8ee;white-space:nowrap}
th{font-weight:600}th:first-child,td:first-child{text-align:left}td.words{text-align:left;white-space:normal;min-width:12rem}
small{color:#5b6675}.figures{display:flex;flex-wrap:wrap;gap:1rem}.figures img{max-width:100%;height:auto}
.wrong td{background:#fdecea}.right td{background:#eef7ee}
@media print{body{max-width:none;padding:0;font-size:11pt}.wide{overflow:visible}
section,img,tr{break-inside:avoid}th,td{white-space:normal;padding:.15rem .35rem}}
"""


def write(path: Path, page: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def page(
    found: Predictions,
    test: pd.DataFrame,
    board: Mapping,
    compared: Mapping[str, Mapping],
    sliced: Mapping[str, pd.DataFrame],
    figures: Path,
) -> str:
    """The whole document; `figures` is the folder of SVGs that are put into it."""
    tasks = list(found.orders)
    sections = [
        ("Scores on the test split", _headline(found, board) + _verdicts(compared)),
        *((f"Figures: {task}", _figures(sorted(figures.glob(f"*_{task}*.svg")))) for task in tasks),
        *((f"For whom and when: {task}", _slices(sliced[task])) for task in tasks),
        ("Dialogues, right and wrong", _dialogues(found, test)),
    ]
    body = "".join(f"<section><h2>{escape(title)}</h2>{content}</section>" for title, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>merc: evaluation</title><style>{STYLE}</style></head><body>"
        f"<h1>merc: evaluation</h1><p>{_about(found)}</p>{body}</body></html>\n"
    )


def _about(found: Predictions) -> str:
    corpora = ", ".join(dict.fromkeys(found.rows["corpus"]))
    return escape(
        f"{len(found.rows)} test utterances in {found.groups()[1]} groups of {corpora}; {found.seeds()} training "
        "seeds. Scores are means over seeds; brackets hold 95 % intervals from drawing groups and seeds anew."
    )


def _headline(found: Predictions, board: Mapping) -> str:
    rows = []
    for model in [*found.models(), "baseline"]:
        for task, measured in board[model].items():
            label = "commonest label" if model == "baseline" else model
            rows.append([f"{task}: {label}", *(_cell(measured, name) for name in scores.HEADLINE)])
    return table(["", *(TITLES[name] for name in scores.HEADLINE)], rows)


def _cell(measured: Mapping[str, float], name: str) -> str:
    low, high = (measured.get(f"{name}_{end}", np.nan) for end in ("low", "high"))
    value = number(measured[name])
    return value if np.isnan(low) else f"{value} <small>[{number(low)}, {number(high)}]</small>"


def _verdicts(compared: Mapping[str, Mapping]) -> str:
    said = "".join(f"<li>{escape(task)}: {escape(told['verdict'])}</li>" for task, told in compared.items())
    return f"<ul>{said}</ul>"


def _figures(paths: Sequence[Path]) -> str:
    images = [
        f'<img alt="{escape(path.stem)}" src="data:image/svg+xml;base64,{coded}">'
        for path, coded in ((path, base64.b64encode(path.read_bytes()).decode()) for path in paths)
    ]
    return f'<div class="figures">{"".join(images)}</div>'


def _slices(sliced: pd.DataFrame) -> str:
    """One row a slice, a column a model; each model's worst slice is bold."""
    cells: dict[str, list[str]] = {}
    for row in sliced.itertuples():
        value = f"<b>{number(row.accuracy)}</b>" if row.worst else number(row.accuracy)
        cells.setdefault(row.slice, [str(row.utterances)]).append(value)
    rows = [[escape(name), *own] for name, own in cells.items()]
    models = map(escape, sliced["model"].drop_duplicates())
    return table(["accuracy (worst of the larger slices: bold)", "utterances", *models], rows)


def _dialogues(found: Predictions, test: pd.DataFrame) -> str:
    """Whole dialogues by the student's mean answer over seeds: those that go worst, then those that go best."""
    if "emotion" not in found.answers:
        return "<p>No emotion was asked.</p>"
    probability = found.of("emotion", "student", [FULL])[:, 0].mean(0)  # (N, C)
    order, actual = np.array(found.orders["emotion"]), found.actual("emotion")
    shown = test[["corpus", "dialogue", "utterance", "speaker", "text"]].assign(
        actual=[order[label] if label >= 0 else "-" for label in actual],
        answer=order[probability.argmax(-1)],
        sure=probability.max(-1),
        right=probability.argmax(-1) == actual,
        labelled=actual >= 0,
    )
    return "".join(_dialogue(rows) for rows in _chosen(shown))


def _chosen(shown: pd.DataFrame) -> list[pd.DataFrame]:
    told = dict(list(shown.groupby(["corpus", "dialogue"], sort=False)))
    labelled = {key: rows["right"][rows["labelled"]] for key, rows in told.items()}
    hits = {key: right.mean() for key, right in labelled.items() if len(right) >= TURNS}
    ranked = sorted(hits, key=hits.get)  # stable: among equals the first in the split
    return [told[key] for key in dict.fromkeys([*ranked[:DIALOGUES], *ranked[-DIALOGUES:]])]


def _dialogue(rows: pd.DataFrame) -> str:
    lines = [_utterance(row) for row in rows.itertuples()]
    head = "<tr><th>utterance</th><th>speaker</th><th>text</th><th>actual</th><th>student</th><th>sure</th></tr>"
    right = f"{rows['right'][rows['labelled']].sum()} of {rows['labelled'].sum()} right"
    title = f"<h3>{escape(rows['corpus'].iloc[0])}, dialogue {escape(rows['dialogue'].iloc[0])}: {right}</h3>"
    return f'{title}<div class="wide"><table>{head}{"".join(lines)}</table></div>'


def _utterance(row) -> str:
    kind = {(True, True): "right", (True, False): "wrong"}.get((row.labelled, row.right), "unlabelled")
    words = [row.utterance, row.speaker or "", row.text or "", row.actual, row.answer, f"{row.sure:.2f}"]
    cells = [f"<td{' class=words' if place == 2 else ''}>{escape(word)}</td>" for place, word in enumerate(words)]
    return f'<tr class="{kind}">{"".join(cells)}</tr>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
