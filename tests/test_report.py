"""The page stands alone, escapes what people said, and fits a phone."""

import re

import pytest
from browsers import barriers, is_too_wide, needs_chromium
from test_evaluate import SPACE, made_predictions, manifest

from merc.data.records.selection import Selection
from merc.evaluation import bootstrap, predictions
from merc.evaluation.report import html_report, result_files

REGRESSIONS = {"all": {"dev_macro_f1": 0.5, "test_macro_f1": 0.4, "chosen": 1.0}}
LEFT_OUT = {"text": 0.01, "audio": 0.0, "vision": 0.0, "any": 0.012, "all": 0.0}
REMARKS = result_files.Remarks(["emotion: the floor <is> ahead."], {"emotion": REGRESSIONS}, {"full": LEFT_OUT})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The files that `result_files.write_results` makes of made-up predictions; returns the page's path."""
    folder = tmp_path_factory.mktemp("report")
    splits = {split: full(manifest(9, split=split)) for split in ("train", "dev", "test")}
    run = made_predictions(
        splits["test"], skill=2.0, names=("full", "only:text", "rate:0.5/1", "rate:0.5/2", "typical")
    )
    splits["test"].loc[::5, "text"] = "<script>alert(1)</script>"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result_files.write_results(
            run, SPACE, splits, bootstrap.draw(run.groups()[1], 2, 50, 1), REMARKS, Selection("emotion", "macro_f1")
        )
        predictions.write_predictions(predictions.PREDICTIONS_FILE, run)
    return folder / "out/evaluate/report/index.html"


def full(rows):
    """With the columns that slices and dialogues are made of."""
    rows = rows.assign(
        speaker="someone", text="what was said then and there", turn=rows.groupby("dialogue").cumcount()
    )
    rows = rows.assign(source=None, start=None, end=None)
    return rows.assign(**{f"{modality}_status": "ok" for modality in ("text", "audio", "vision")})


def test_nothing_is_asked_of_the_network(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([a-z]+:)', text)) == {"data:"}
    assert "@import" not in text
    assert "url(" not in text


def test_all_parts_are_there_and_words_are_escaped(page):
    text = page.read_text(encoding="utf-8")
    assert "<li>emotion: the floor &lt;is&gt; ahead.</li>" in text
    assert re.search(r"emotion: all modalities</td>\s*<td>0.500</td>\s*<td>0.400</td>\s*<td>yes<", text)
    parts = (
        "Scores on",
        "Findings",
        "The floor",
        "Teacher or student",
        "Figures: emotion",
        "Figures: sentiment",
        "Missing and damaged",
        "Unlike anything that was learnt",
        "1.2 %",
    )
    for part in (*parts, "probabilities be believed", "For whom", "Is the comparison fair", "Dialogues"):
        assert part in text
    assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert text.count("<img ") == 14  # per task: classes, three confusions, missing rate, reliability, risk


def test_most_wrong_and_most_right_dialogues_are_shown(page):
    text = page.read_text(encoding="utf-8")
    hits = [int(right) / int(all_) for right, all_ in re.findall(r": (\d) of (\d) right</h3>", text)]
    assert len(hits) == 2 * html_report.SHOWN_DIALOGUES
    assert max(hits[:3]) <= min(hits[3:])


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_barriers_and_fits_a_phone(browser, page, scheme):
    shown = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    shown.goto(page.as_uri())
    assert barriers(shown) == []
    assert not is_too_wide(shown)
    assert "emotion: student" in shown.inner_text("main")
    shown.close()


def test_tables_for_a_paper_lie_beside(page):
    """Every tabular has as many cells a row as columns, and nothing that LaTeX would read as a command."""
    folder = page.parents[1]
    made = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.tex")}
    assert set(made) == {"results", "robustness", "calibration", "classes_emotion", "classes_sentiment"}
    for text in made.values():
        columns = len(re.search(r"begin{tabular}{(l+r+)}", text)[1])
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 2 and {len(re.split(r"(?<!\\)&", row)) for row in rows} == {columns}
        assert not re.search(r"(?<!\\)[_%#$]", text)
