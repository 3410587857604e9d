"""Tables of one's own, with recordings or without: kinds of labels, splits, mistakes, and IEMOCAP's table."""

import json
import re

import corpora_files
import pytest

from merc.corpora import folder, registry
from merc.corpora.forms import table
from merc.data.records.manifest import SPLITS
from merc.runtime.errors import UserError


def listed(corpus: str, place, **options):
    reader = registry.reader_module(corpus)
    return reader.read(place, place / "scratch", reader.Options.model_validate(options))


def write(place, text: str) -> None:
    (place / "utterances.csv").write_text(text, encoding="utf-8")


def test_rows_without_clips_are_utterances_with_labels_of_every_kind(tmp_path):
    corpora_files.sentences(tmp_path)
    found = listed("folder", tmp_path).utterances
    assert len(found) == 30 and not any(utterance.media or utterance.clip for utterance in found)
    assert {utterance.absent for utterance in found} == {"utterances.csv names no clip"}
    first = found[0]
    assert (first.dialogue, first.name, first.text, first.split) == ("d0", "row_2", "Sentence 0 is glad.", "train")
    assert first.labels == {
        "mood": "glad",
        "score": -3.0,
        "holds": (),
        "mood_votes": {"glad": 2.0, "plain": 1.0},
    }
    assert found[1].labels["holds"] == ("glad", "loud")
    assert first.place.endswith("utterances.csv line 2")


def test_the_user_says_what_a_column_holds_where_its_cells_do_not(tmp_path):
    write(tmp_path, "split,text,label,sentiment\ntrain,a,0,1\ntrain,b,1,\n")
    with pytest.raises(
        UserError, match=r"sentiment = '1': .*or write params.yaml: data.folder.kinds: {sentiment: word}"
    ):
        listed("folder", tmp_path)
    kinds = {"label": "word", "sentiment": "word"}
    found = listed("folder", tmp_path, kinds=kinds).utterances
    assert [(utterance.labels["label"], utterance.sentiment) for utterance in found] == [("0", "1"), ("1", None)]
    with pytest.raises(UserError, match=r"data.folder.kinds.lable: .*has no such column of labels; it has label"):
        listed("folder", tmp_path, kinds={"lable": "word"})
    with pytest.raises(UserError, match="line 2: label = '0': write votes: word: count; word: count, or nothing"):
        listed("folder", tmp_path, kinds=kinds | {"label": "votes"})


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_delimiters_and_turns(tmp_path, delimiter):
    rows = ["Split,Dialogue,Turn,Text", "train,a,2,Second.", "train,a,1,First.", "dev,b,1,Third.", "test,c,1,Last."]
    write(tmp_path, "\n".join(rows).replace(",", delimiter))
    texts = [utterance.text for utterance in listed("folder", tmp_path).utterances]
    assert texts == ["First.", "Second.", "Third.", "Last."]


def test_groups_are_drawn_and_folded_whole(tmp_path):
    text = "text,dialogue,group\n" + "".join(f"s{n},d{n // 4},g{n // 8}\n" for n in range(160))
    write(tmp_path, text)
    found = listed("folder", tmp_path, split="by group").utterances
    assert found == listed("folder", tmp_path, split="by group").utterances
    sizes = {split: sum(utterance.split == split for utterance in found) for split in SPLITS}
    assert sizes == {"train": 112, "dev": 24, "test": 24}
    for utterances in [
        found,
        *[listed("folder", tmp_path, split="by group", folds=5, fold=n).utterances for n in (1, 5)],
    ]:
        splits = {(utterance.group, utterance.split) for utterance in utterances}
        assert len(splits) == 20 == len({group for group, _ in splits})
    folds = [listed("folder", tmp_path, split="by group", folds=5, fold=fold).utterances for fold in range(1, 6)]
    tests = [{one.group for one in fold if one.split == "test"} for fold in folds]
    assert sum(map(len, tests)) == 20 == len(set().union(*tests))


@pytest.mark.parametrize("name", ["official.csv", "official.json", "cmu_std_folds.py"])
def test_the_file_of_an_official_split(tmp_path, name):
    write(tmp_path, "text,dialogue,utterance\na,d1,u1\nb,d2,u2\nc,d3,u3\n")
    lists = {"train": ["d1"], "valid": ["d2"], "test": ["d3"]}
    content = {
        "official.csv": "dialogue,split\nd1,training\nd2,val\nd3,test\n",
        "official.json": json.dumps(lists),
        "cmu_std_folds.py": "\n".join(f"standard_{split}_fold = {names}" for split, names in lists.items()),
    }
    (tmp_path / name).write_text(content[name])
    assert [utterance.split for utterance in listed("folder", tmp_path, split=name).utterances] == list(SPLITS)


MISTAKES = [
    ("s.csv", "name,split\nd1,train\n", "s.csv: lacks a column of names; write one of utterance, dialogue"),
    ("s.csv", "dialogue,split\nd1,first\n", "s.csv line 2: split = 'first': write one of train, dev, test"),
    ("s.csv", "dialogue,split\nd1,train\nd1,dev\n", "s.csv line 3: dialogue = 'd1': is in train too"),
    ("s.csv", "dialogue,split\nd1,train\n", "line 3: neither u2 nor its dialogue or group is in s.csv"),
    ("s.json", '{"train": 3}', 's.json: the content: write {"train": [names]'),
    ("s.json", '{"eval": []}', 's.json: eval: write {"train": [names]'),
    ("s.json", "{", "s.json: is no JSON"),
    ("s.json", '{"train": ["d1"], "test": ["d1"]}', "s.json: d1 is in train and in test"),
    ("s.py", "standard_train_fold = open('x')", "s.py: cannot be read"),
    ("s.py", "a = 1", "s.py: lacks one of standard_train_fold"),
]


@pytest.mark.parametrize(("name", "content", "words"), MISTAKES)
def test_a_split_file_that_is_wrong(tmp_path, name, content, words):
    write(tmp_path, "text,dialogue,utterance\na,d1,u1\nb,d2,u2\n")
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(words)) as refused:
        listed("folder", tmp_path, split=name)
    assert "\n" not in str(refused.value)


def test_splits_that_cannot_be_drawn(tmp_path):
    write(tmp_path, "text,dialogue,group,split\na,d1,g,train\nb,d2,g,dev\n")
    with pytest.raises(UserError, match="line 3: group = 'g': is in train too; keep it in one split"):
        listed("folder", tmp_path)
    with pytest.raises(UserError, match="1 groups cannot be drawn into train, dev and test; bring three or more"):
        listed("folder", tmp_path, split="by group")
    sizes = {"ann": 1, "ben": 1, "cy": 98}
    write(tmp_path, "text,group\n" + "".join(f"a,{name}\n" * size for name, size in sizes.items()))
    with pytest.raises(UserError, match=r"utterances\.csv: group 'cy' has 98 of 100 rows: none of the 3"):
        listed("folder", tmp_path, split="by group")
    write(tmp_path, "text,group\na,g\nb,g\n")
    with pytest.raises(UserError, match="1 groups cannot be dealt into 5 folds; name fewer"):
        listed("folder", tmp_path, split="by group", folds=5)
    with pytest.raises(UserError, match=r"data.folder.fold = 6: there are 5 folds"):
        listed("folder", tmp_path, split="by group", folds=5, fold=6)
    with pytest.raises(UserError, match=r"official\.csv: not there; bring the file of the split"):
        listed("folder", tmp_path, split="official.csv")


IEMOCAP = """utterance,text,emotion,valence
Ses01F_impro01_F000,Excuse me.,neu,2.5
Ses01F_impro01_M000,Yes?,happy,4
Ses02F_impro01_F000,Hm.,xxx,
Ses03M_script01_1_M000,Go.,ang,1.5
Ses05F_impro02_F001,Bye.,sad,2
"""


def test_iemocap_reads_a_table_and_any_dev_dialogues(tmp_path):
    write(tmp_path, IEMOCAP)
    found = listed("iemocap", tmp_path, test_session=5, dev_session=0, dev_dialogues=["Ses01F_impro01"]).utterances
    assert [(one.name, one.split, one.emotion, one.speaker) for one in found] == [
        ("Ses02F_impro01_F000", "train", None, "Session2-F"),
        ("Ses03M_script01_1_M000", "train", "angry", "Session3-M"),
        ("Ses01F_impro01_F000", "dev", "neutral", "Session1-F"),
        ("Ses01F_impro01_M000", "dev", "happy", "Session1-M"),
        ("Ses05F_impro02_F001", "test", "sad", "Session5-F"),
    ]
    assert [one.labels["valence"] for one in found] == [None, 1.5, 2.5, 4.0, 2.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dev_session": 0}, "dev is empty; name a dev_session, or dev_dialogues"),
        ({"dev_session": 5}, "session 5 cannot be both test and dev"),
        ({"dev_session": 0, "dev_dialogues": ["Ses01F_impro07"]}, "Ses01F_impro07 is not there; take it out"),
        ({"dev_session": 0, "dev_dialogues": ["impro07"]}, "'impro07' is no dialogue; write it as"),
        ({"dev_session": 0, "dev_dialogues": ["Ses05F_impro02"]}, "is of session 5, which is test"),
    ],
)
def test_dev_dialogues_that_cannot_be(tmp_path, options, words):
    write(tmp_path, IEMOCAP)
    with pytest.raises(UserError, match=words):
        listed("iemocap", tmp_path, **({"test_session": 5} | options))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("Ses01F_impro01_F000,Again.,neu,1", "line 7: utterance = 'Ses01F_impro01_F000': stands twice"),
        ("F000,Again.,neu,1", "line 7: utterance = 'F000': is no turn; write it as"),
    ],
)
def test_a_row_of_iemocaps_table_that_is_wrong(tmp_path, row, words):
    write(tmp_path, IEMOCAP + row)
    with pytest.raises(UserError, match=words):
        listed("iemocap", tmp_path, test_session=5, dev_session=2)


ODD = {  # what spreadsheets write, and what hands do
    "text,mood,\nHello,glad,\n": None,
    "text|mood\nHello|glad\n": "lacks a column text or clip; .*; it has 'text|mood'",
    'text,mood\n"Hello,glad\nBye,cross\n': "a quote is opened and never closed, before line 3",
    "PK\x03\x04 and so on": "is a workbook, whatever its name; save the sheet as CSV",
}


@pytest.mark.parametrize("content", ODD)
def test_an_odd_table_is_read_or_told_of_in_one_line(tmp_path, content):
    (tmp_path / "utterances.csv").write_text(content, encoding="utf-8")
    options = folder.Options(split="column" if ODD[content] else "by group")
    if ODD[content]:
        with pytest.raises(UserError, match=ODD[content]):
            folder.read(tmp_path, tmp_path / "scratch", options)
    else:
        assert table.read_table(tmp_path / "utterances.csv").columns == ["text", "mood"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("split,mood,text\ntrain,joy,Well, hello there\n", "line 2: 4 cells, .* put cells with commas in"),
        ("split,mood,text,,\ntrain,joy,Fine.,,\ntrain,joy,Well, hello,\n", "line 3: 5 cells, and the header has 3"),
        ("split;mood;text\ntrain;joy;a;\ntrain;joy;a;b\n", "line 3: 4 cells, .* put cells with semicolons in"),
        ("text\nWell, hello\n", "line 2: 2 cells, and the header has 1"),
        ('split,mood,text\ntrain,joy,"Well, hello",, ,\n', None),
        ("split,mood,text\ntrain,joy\n", None),
    ],
)
def test_a_row_with_more_cells_than_the_header_is_refused(tmp_path, content, words):
    path = tmp_path / "utterances.csv"
    path.write_text(content)
    if words:
        with pytest.raises(UserError, match=rf"utterances\.csv {words}") as refused:
            table.read_table(path)
        assert "\n" not in str(refused.value)
    else:
        found = table.read_table(path)
        assert found.columns == ["split", "mood", "text"] and found.rows[0]["text"] in ("Well, hello", "")


def test_too_few_folds(tmp_path):
    (tmp_path / "utterances.csv").write_text("text,mood\n" + "Hello,glad\n" * 9, encoding="utf-8")
    with pytest.raises(UserError, match=r"data.folder.folds = 2: write 3 or more, or 0 for one draw"):
        folder.read(tmp_path, tmp_path / "scratch", folder.Options(split="by group", folds=2))
