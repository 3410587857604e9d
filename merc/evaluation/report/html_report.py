"""The report page out/evaluate/report/index.html: one self-contained HTML file."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from merc.evaluation.missing_modalities import FULL
from merc.evaluation.predictions import Predictions
from merc.evaluation.report import html_tables

SHOWN_DIALOGUES = 3  # number of best dialogues shown, and of worst ones
TEXT_CLASS = ' class="words"'
MIN_LABELLED = 3  # labelled utterances of a dialogue that may be shown, at least
MISSING = """<p>A rate is the chance that a modality of an utterance is missing, each for itself; the masks follow
from the utterances' ids and lie in <code>out/evaluate/masks/</code>. Small print: the share of the full
score that is left. Damage was asked of the first seed alone.</p>"""
CHECKS = """<p>Checked before anything was scored, and refused if so: a group in two splits; the same text and
recording in two splits; a feature dimension that determines the label; another label order than the
network's; an epoch that test chose. Near-duplicates and overlapping stretches of a recording are not
refused but told apart above: "clean test" is without them.</p>"""
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1c2430;max-width:72rem;margin:0 auto;padding:1rem}
p,li{max-width:56rem}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d4dae2}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e4e8ee;white-space:nowrap}
th{font-weight:600}th:first-child,td:first-child{text-align:left}.words{text-align:left;white-space:normal;min-width:12rem}
h3{font-size:1rem;margin-bottom:.3rem}tr>:first-child{position:sticky;left:0;background:#fff}
small{color:#5b6675}.figures{display:flex;flex-wrap:wrap;gap:1rem}.figures img{max-width:100%;height:auto}
.wrong td,.wrong td:first-child{background:#fdecea}.right td,.right td:first-child{background:#eef7ee}
@media (max-width:40rem){table{font-size:.8rem}th,td{padding:.2rem .35rem}th,tr>:first-child{white-space:normal}
tr>:first-child{min-width:7rem;overflow-wrap:anywhere}.words{min-width:9rem}}
@media print{tr>:first-child{position:static}body{max-width:none;padding:0;font-size:11pt}.wide{overflow:visible}
small{white-space:nowrap}img,tr,h2,h3{break-inside:avoid}h2,h3{break-after:avoid}
th,td{white-space:normal;padding:.15rem .35rem}}
"""


def write_page(path: Path, page: str) -> None:
    """Write the page, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


class ReportData(NamedTuple):
    """The results to report: the contents of the result files."""

    board: Mapping
    robust: Mapping
    compared: Mapping
    calibrated: Mapping
    corpora: Mapping
    slices: Mapping[str, pd.DataFrame]


def render_page(predictions: Predictions, test: pd.DataFrame, data: ReportData, figures: Path) -> str:
    """The HTML document; `figures` is the folder of the SVGs to embed."""
    tasks = list(predictions.classes)
    headline = html_tables.headline(data.board, [*predictions.models(), "baseline"])
    gap = html_tables.selection(data.board["selection_gap"]["emotion"])
    sections = [
        ("Scores on the test split", headline + html_tables.corpora(data.corpora)),
        ("Teacher or student", html_tables.compared(data.compared)),
        *((f"Figures: {task}", _figures(sorted(figures.glob(f"*_{task}*.svg")))) for task in tasks),
        ("Missing and damaged modalities", MISSING + html_tables.missing(data.robust)),
        ("Can the probabilities be believed?", html_tables.calibrated(data.calibrated)),
        *((f"For whom and when: {task}", html_tables.slices(data.slices[task])) for task in tasks),
        ("Is the comparison fair?", CHECKS + gap),
        ("Dialogues, right and wrong", _dialogues(predictions, test)),
    ]
    body = "".join(f"<section><h2>{escape(title)}</h2>{content}</section>" for title, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>merc: evaluation</title><style>{STYLE}</style></head><body>"
        f"<h1>merc: evaluation</h1><p>{_summary(predictions)}</p>{body}</body></html>\n"
    )


def _summary(predictions: Predictions) -> str:
    corpora = ", ".join(dict.fromkeys(predictions.rows["corpus"]))
    return escape(
        f"{len(predictions.rows)} test utterances in {predictions.groups()[1]} groups of {corpora}; "
        f"{predictions.num_seeds} training seeds. Scores are means over seeds; brackets hold 95 % intervals from "
        "drawing groups and seeds anew."
    )


def _figures(paths: Sequence[Path]) -> str:
    images = [
        f'<img alt="{escape(path.stem)}" src="data:image/svg+xml;base64,{coded}">'
        for path, coded in ((path, base64.b64encode(path.read_bytes()).decode()) for path in paths)
    ]
    return f'<div class="figures">{"".join(images)}</div>'


def _dialogues(predictions: Predictions, test: pd.DataFrame) -> str:
    """The dialogues with the lowest and the highest accuracy of the student's mean probabilities over seeds."""
    if "emotion" not in predictions.outputs:
        return "<p>No emotion was asked.</p>"
    probability = predictions.values("emotion", "student", [FULL])[:, 0].mean(0)  # (N, C)
    order, actual = np.array(predictions.classes["emotion"]), predictions.actual("emotion")
    rows = test[["corpus", "dialogue", "utterance", "speaker", "text"]].assign(
        actual=[order[label] if label >= 0 else "-" for label in actual],
        answer=order[probability.argmax(-1)],
        sure=probability.max(-1),
        right=probability.argmax(-1) == actual,
        labelled=actual >= 0,
    )
    return "".join(_dialogue(dialogue) for dialogue in _worst_and_best(rows))


def _worst_and_best(rows: pd.DataFrame) -> list[pd.DataFrame]:
    dialogues = dict(list(rows.groupby(["corpus", "dialogue"], sort=False)))
    labelled = {key: dialogue["right"][dialogue["labelled"]] for key, dialogue in dialogues.items()}
    accuracy = {key: is_right.mean() for key, is_right in labelled.items() if len(is_right) >= MIN_LABELLED}
    ranked = sorted(accuracy, key=accuracy.__getitem__)  # stable: ties in the order of the split
    return [dialogues[key] for key in dict.fromkeys([*ranked[:SHOWN_DIALOGUES], *ranked[-SHOWN_DIALOGUES:]])]


def _dialogue(rows: pd.DataFrame) -> str:
    lines = [_utterance(row) for row in rows.itertuples()]
    columns = ("utterance", "speaker", "text", "actual", "student", "sure")
    head = "<tr>" + "".join(f"<th{TEXT_CLASS if name == 'text' else ''}>{name}</th>" for name in columns) + "</tr>"
    right = f"{rows['right'][rows['labelled']].sum()} of {rows['labelled'].sum()} right"
    title = f"<h3>{escape(rows['corpus'].iloc[0])}, dialogue {escape(rows['dialogue'].iloc[0])}: {right}</h3>"
    return f'{title}<div class="wide"><table>{head}{"".join(lines)}</table></div>'


def _utterance(row) -> str:
    kind = {(True, True): "right", (True, False): "wrong"}.get((row.labelled, row.right), "unlabelled")
    values = [row.utterance, row.speaker or "", row.text or "", row.actual, row.answer, f"{row.sure:.2f}"]
    cells = [f"<td{TEXT_CLASS if column == 2 else ''}>{escape(value)}</td>" for column, value in enumerate(values)]
    return f'<tr class="{kind}">{"".join(cells)}</tr>'
