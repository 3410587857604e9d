"""merc masks and merc leaderboard: evaluate's masks for others, and one page of many result files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scored import as_columns, draw_corpus
from test_evaluate import made_predictions

from merc.__main__ import main
from merc.corpora.meld_layout import utterances
from merc.data.records.manifest import MODALITIES
from merc.evaluation import significance
from merc.evaluation.missing_modalities import condition_mask
from merc.media.extraction import extraction
from merc.studies.scoring import leaderboard, modality_equity, protocols, result_file
from merc.studies.scoring.reference import digest, read_reference

MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Result files: two alike, a weak one, one selected on test, one with fewer utterances, one of MELD."""
    folder = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        rows = draw_corpus()["test"]
        systems = {"strong": (6.0, 1), "alike": (5.8, 2), "weak": (0.0, 3), "peeked": (9.0, 4), "fewer": (6.0, 5)}
        runs = {}
        for name, (skill, seed) in systems.items():
            runs[name] = made_predictions(rows, skill=skill, seed=seed)
            table = as_columns(runs[name], "student")
            if name == "fewer":
                table = table[table["utterance"] != rows["utterance"][rows["emotion"].notna()].iloc[0]]
            table.to_csv(f"{name}.csv", index=False)
            words = [f"{name}.csv", "--corpus", "sample", "--allow-missing", "--out", f"results/{name}.json"]
            assert main(["score", *words, "--selected-on", "test" if name == "peeked" else "dev"]) == 0
        _meld()
        assert main(["leaderboard", "results", "--out", "pages/board.html"]) == 0
    return folder, runs


def _meld():
    folder = Path("data/raw/meld")
    folder.mkdir(parents=True)
    labels = ["neutral", "joy", "anger", "fear"] * 3
    for split in ("train", "dev", "test"):
        lines = [
            f'{n},Words {n} of {split},Ann,{label},neutral,{n // 4},{n % 4},1,1,"00:00:01,000","00:00:02,000"\n'
            for n, label in enumerate(labels)
        ]
        (folder / f"{split}_sent_emo.csv").write_text(MELD + "".join(lines))
    names = [f"dia{n // 4}_utt{n % 4}" for n in range(12)]
    pd.DataFrame({"utterance": names, "emotion": "neutral"}).to_csv("a|b.csv", index=False)
    assert main(["score", "a|b.csv", "--corpus", "meld", "--out", "results/meld.json"]) == 0


def table_of(board):
    results = [result_file.read(path) for path in sorted((board[0] / "results").glob("*.json"))]
    return next(t for t in leaderboard.tables(results) if t.title.startswith("sample, test split: emotion"))


def test_rows_are_sorted_ranked_and_marked(board):
    table = table_of(board)
    names = [row.system for row in table.rows]
    assert names[-2:] == ["weak", "peeked"] and table.measure == "macro_f1"
    assert [table.rank(n) for n in range(5)] == ["1", "2", "3", "4", ""]
    scores = [row.scores["macro_f1"] for row in table.rows[:4]]
    assert scores == sorted(scores, reverse=True)
    assert next(row.note for row in table.rows if row.system == "fewer") == "39 of 40 utterances"
    assert 0 < table.place(min(scores)) < table.place(max(scores)) < 1


def test_pairs_are_told_apart_as_by_the_paired_test(board):
    _, runs = board
    table = table_of(board)
    rows = {row.system: row for row in table.rows}
    for pair in (("strong", "alike"), ("strong", "weak"), ("weak", "peeked")):
        tested = significance.compare(*(runs[name] for name in pair), ("student", "student"), "emotion", 1000)
        is_apart = tested["low"] > 0 or tested["high"] < 0
        assert leaderboard.told_apart(*(rows[name] for name in pair)) == is_apart
        drawn = leaderboard.bootstrap.interval(rows[pair[1]].replicates - rows[pair[0]].replicates)
        assert drawn == pytest.approx((tested["low"], tested["high"]), abs=2e-4)
    weak = [row.system for row in table.rows].index("weak")
    assert any({0, 1} <= set(tie) for tie in table.ties) and not any({0, weak} <= set(tie) for tie in table.ties)
    assert set(table.letters(0)) & set(table.letters(1)) and not set(table.letters(0)) & set(table.letters(weak))


def test_ties_are_the_longest_runs_without_a_told_apart_pair():
    def row(name, low, high):
        return leaderboard.Row(name, {}, (low, high), "dev", seeds=1, scored=name)

    published = leaderboard.Row("paper", {}, (None, None), "dev")
    chain = [row("a", 0.7, 0.9), row("b", 0.6, 0.75), published, row("c", 0.5, 0.65), row("d", 0.1, 0.2)]
    assert leaderboard.ties(chain) == [[0, 1], [1, 3]]


def test_the_pages_hold_everything(board):
    html, text = ((board[0] / f"pages/board{suffix}").read_text(encoding="utf-8") for suffix in (".html", ".md"))
    for page in (html, text):
        for name in ("strong", "weak", "peeked", "EmoBERTa", "MultiEMO, SDT", "not comparable", "published"):
            assert name in page
    assert html.count("<svg") >= 12 and "http" not in html and "<line" in html
    assert "a|b" in html and r"a\|b" in text
    assert all(line.count(" | ") == 9 for line in text.splitlines() if line.startswith("| ") and "rank" not in line)


def test_masks_are_evaluates(board, monkeypatch, capsys):
    monkeypatch.chdir(board[0])
    for suffix, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        assert main(["masks", "--corpus", "sample", "--out", f"m/masks.{suffix}"]) == 0
        masks = read(f"m/masks.{suffix}")
        rows = read_reference(protocols.protocol("sample"), "test", "meld").manifest
        assert list(masks["condition"].unique()) == protocols.CONDITIONS and len(protocols.CONDITIONS) == 107
        for name in ("full", "only:text+vision", "rate:0.5/3", "rate:text=0.7+audio=0.1+vision=0.1/2"):
            of_one = masks[masks["condition"] == name]
            assert list(of_one["utterance"]) == list(rows["utterance"])
            expected = condition_mask(name, rows, MODALITIES, protocols.MASK_SEED)
            assert (of_one[list(MODALITIES)].to_numpy() == expected).all()
    assert main(["masks", "--corpus", "sample", "--out", "masks.txt"]) == 2
    assert "a .csv or a .parquet" in capsys.readouterr().err


def test_equity_is_one_for_even_losses_and_nought_for_one():
    pairs = {"only:audio+vision": 0.6, "only:text+vision": 0.6, "only:text+audio": 0.6}
    assert modality_equity.losses({"full": 0.8} | pairs) == pytest.approx(dict.fromkeys(MODALITIES, 0.2))
    assert modality_equity.equity({"text": 0.2, "audio": 0.2, "vision": 0.2}) == pytest.approx(1)
    assert modality_equity.equity({"text": 0.4, "audio": 0.0, "vision": -0.1}) == pytest.approx(0)
    assert np.isnan(modality_equity.equity({"text": 0.0, "audio": -0.1}))
    assert modality_equity.losses({"full": 0.8, "only:text": 0.7, "only:audio": 0.5}) == pytest.approx(
        {"text": 0.3, "audio": 0.1}
    )


def test_raw_tables_give_the_reference_that_extract_gives(board, monkeypatch):
    """MELD's ids, labels and order, from the CSVs alone and from manifests."""
    monkeypatch.chdir(board[0])
    raw = read_reference(protocols.protocol("meld"), "test", "meld")
    assert not raw.knows_media and len(raw.seen) == 24 and raw.source == "data/raw/meld"
    listing = utterances.without_media(Path("data/raw/meld"))
    missing = {"status": "missing", "reason": "", "files": {}, "start": None}
    outcome = {"audio": missing, "vision": missing, "text": {"words": None, "reason": "", "recognised": ""}}
    rows = extraction.manifest_rows("meld", listing, [outcome] * len(listing.utterances))
    for split in ("train", "dev", "test"):
        of_split = rows[rows["split"] == split].reset_index(drop=True)
        columns = [name for name in raw.manifests[split] if not name.endswith("_status")]
        pd.testing.assert_frame_equal(raw.manifests[split][columns], of_split[columns], check_dtype=False)
    assert len(digest(raw.rows())) == 64
