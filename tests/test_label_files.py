"""Label spaces of one's own: what they mean, and one line for each mistake in them."""

from pathlib import Path

import numpy as np
import packed
import pandas as pd
import pytest

from merc.corpora.registry import READERS
from merc.data.records import labels, manifest, selection
from merc.data.records.listing import Listing, Utterance
from merc.media.extraction import training_checks
from merc.runtime.errors import UserError

MISTAKES = {
    "- a": "is no mapping; write `tasks:`",
    "": "is no mapping; write `tasks:`",
    "tasks: [": "not valid YAML",
    "task: {}": "task: unknown key; the only one is tasks",
    "tasks: {}": "tasks: names no task; write one",
    "tasks: {rows: {classes: [a, b]}}": "tasks.rows: means something else in merc",
    "tasks: {Mood: {classes: [a, b]}}": "tasks.Mood: cannot name a task",
    "tasks: {mood: }": "tasks.mood: is no mapping; write its classes",
    "tasks: {mood: {}}": "tasks.mood.classes: names 0: name at least 2",
    "tasks: {mood: {classes: []}}": "tasks.mood.classes: names 0: name at least 2",
    "tasks: {mood: {classes: [a]}}": "tasks.mood.classes: names 1: name at least 2",
    "tasks: {mood: {kind: multilabel}}": "tasks.mood.classes: names 0: name at least 1",
    "tasks: {mood: {classes: [a, b, a]}}": "tasks.mood.classes: names 'a' twice: name each class once",
    "tasks: {mood: {classes: [a, no]}}": "tasks.mood.classes.1 = False: is no word to YAML; put it in quotes",
    "tasks: {mood: {classes: [a, b]}, mood: {classes: [a, c]}}": "mood stands twice; keep one",
    "tasks: {mood: {klasses: [a, b]}}": "tasks.mood.klasses: unknown key; there are kind, column, classes",
    "tasks: {mood: {classes: [a, b], map: {all: {x: }}}}": "tasks.mood.map.all.x: maps to nothing; write a class",
    "tasks: {mood: {classes: [a, b], map: {all: {x: c}}}}": "tasks.mood.map.all.x: 'c' is none of the classes",
    "tasks: {mood: {classes: [a, b], map: {x: a}}}": "tasks.mood.map.x = 'a': stands for no corpus; write a corpus",
    "tasks: {mood: {classes: [a, b], map: {all: {x: a}}, drop: {all: [x]}}}": "tasks.mood.map.all.x: is in drop",
    "tasks: {mood: {classes: [a, b], colours: {a: red}}}": "tasks.mood.colours.a: 'red' is no colour",
    "tasks: {mood: {classes: [a, b], sentiments: {a: good}}}": "tasks.mood.sentiments.a: 'good': choose one of",
    "tasks: {mood: {classes: [a, b], range: [0, 1]}}": "tasks.mood.range: a classification has no range",
    "tasks: {mood: {kind: regression}}": "tasks.mood.range: is missing: write the smallest and the largest",
    "tasks: {mood: {kind: regression, range: [3, 3]}}": "tasks.mood.range: [3.0, 3.0] is empty: write the smaller",
    "tasks: {mood: {kind: regression, range: [0, 1], classes: [a]}}": "tasks.mood.classes: a regression has no",
    "tasks: {mood: {kind: guess}}": "tasks.mood.kind = 'guess': choose classification, multilabel or regression",
    "tasks: {mood: {classes: [a, b], column: My mood}}": "tasks.mood.column: 'My mood' names no column",
    "tasks:\n\tmood: {classes: [a, b]}": "indent with blanks, not with tabs",
    "tasks: [mood]": "tasks: names no task; write one",
    "tasks: {1: {classes: [a, b]}}": "tasks.1: cannot name a task; write small letters, digits and _",
    "tasks: {no: {classes: [a, b]}}": "tasks.False: cannot name a task; write small letters, digits and _",
    "tasks: {text: {classes: [a, b]}}": "tasks.text: means something else in merc; choose another name",
    "tasks: {clip: {classes: [a, b]}}": "tasks.clip: means something else in merc; choose another name",
    "tasks: {mood: {classes: [0, 1]}}": "tasks.mood.classes.0 = 0: is no word to YAML; put it in quotes",
    "tasks: {mood: {classes: ab}}": "tasks.mood.classes = 'ab': write a list of words",
    "tasks: {mood: {classes: }}": "tasks.mood.classes = nothing: write a list of words",
    "tasks: {mood: {classes: [joy, Joy]}}": "'joy' and 'Joy' differ only in case or Unicode form",
    'tasks: {mood: {classes: ["fr\u00f6h", "fro\u0308h"]}}': "differ only in case or Unicode form",
    'tasks: {mood: {classes: ["a\\nb", b]}}': "is no name: write visible characters",
    f"tasks: {{mood: {{classes: [{'a' * 61}, b]}}}}": "write visible characters without ';', at most 60",
    "tasks: {mood: {classes: [a, b], map: }}": "tasks.mood.map = nothing: write a corpus, or all",
    "tasks: {mood: {classes: [a, b], map: {all: }}}": "tasks.mood.map.all = nothing: write a corpus, or all",
    "tasks: {mood: {classes: [a, b], map: {all: {no: a}}}}": "map.all: the word False is no word to YAML",
    "tasks: {mood: {classes: [a, b], map: {all: {x: a, x: b}}}}": "line 1: x stands twice; keep one of them",
    "tasks: {mood: {classes: [a, b], map: {all: {'*': a}}}}": "tasks.mood.map.all.*: '*' is no word of a corpus",
    "tasks: {mood: {classes: [a, b], drop: [x]}}": "tasks.mood.drop = ['x']: write a corpus, or all, and a list",
    "tasks: {mood: {classes: [a, b], colours: {a: #00ff00}}}": "a colour needs quotes: '#3366cc'",
    "tasks: {mood: {classes: [a, b], votes: mood}}": "tasks.mood.votes: is the column of the classes, too",
    "tasks: {mood: {classes: [a, b], column: text}}": "tasks.mood.column: 'text' holds no labels",
    "tasks: {mood: {kind: regression, range: [3]}}": "tasks.mood.range.1 = [3]: write the smallest and the largest",
    "tasks: {mood: {kind: regression, range: [low, 3]}}": "tasks.mood.range.0 = 'low': write the smallest",
    "tasks: {mood: {kind: regression, range: [0, 1.0e+39]}}": "tasks.mood.range: [0, 1e+39] is too wide",
    "tasks: {mood: {classes: [a, b]}}" + " " * 1_000_000: "1,000,032 bytes are no label file; write at most",
}


def written(text: str, name: str = "own") -> labels.LabelSpace:
    labels.OWN_FOLDER.mkdir(parents=True, exist_ok=True)
    (labels.OWN_FOLDER / f"{name}.yaml").write_text(text, encoding="utf-8")
    return labels.label_space(name)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_with_file_key_and_remedy(text):
    with pytest.raises(UserError) as refused:
        written(text)
    assert str(refused.value).startswith("data/labels/own.yaml: ")
    assert MISTAKES[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_in_another_encoding():
    labels.OWN_FOLDER.mkdir(parents=True)
    (labels.OWN_FOLDER / "own.yaml").write_bytes("tasks: {mood: {classes: [fröhlich, b]}}".encode("latin-1"))
    with pytest.raises(UserError, match=r"data/labels/own.yaml: is no text in UTF-8; save it so"):
        labels.label_space("own")


def test_an_unusual_file_that_is_right():
    """A byte-order mark, other line ends, an alias, and words that other scripts write."""
    text = "\ufefftasks:\r\n  mood: &same\r\n    classes: [fröhlich, 悲しい]\r\n  voice: *same\r\n"
    assert written(text).outputs == dict.fromkeys(("mood", "voice"), ("fröhlich", "悲しい"))


def test_a_corpus_that_there_is_not():
    with pytest.raises(UserError, match=r"tasks.mood.drop.meldd: is no corpus; choose one of all, sample"):
        written("tasks: {mood: {classes: [a, b], drop: {meldd: [x]}}}").check_corpora(READERS)


@pytest.mark.parametrize("name", ["mood.yaml", "data/labels/mood.yaml", "mood.yml"])
def test_a_name_with_its_suffix(name):
    written("tasks: {mood: {classes: [a, b]}}", "mood")
    with pytest.raises(UserError, match=r"data.labels = .*: write the name alone, mood, of the file mood.yaml"):
        labels.label_space(name)


def test_a_name_that_no_file_has_or_that_is_built_in():
    with pytest.raises(
        UserError, match=r"data.labels = 'own': choose one of cremad, .* or write data/labels/own.yaml"
    ):
        labels.label_space("own")
    with pytest.raises(UserError, match=r"meld is the name of a built-in label space; rename the file"):
        written("tasks: {mood: {classes: [a, b]}}", "meld")


ALL_KINDS = """
tasks:
  mood:
    classes: [bad, good]
    map: {all: {sad: bad, glad: good}, chat: {odd: bad}}
    drop: {all: [odd]}
    votes: mood_votes
  emotions: {kind: multilabel, classes: [happy, sad], drop: {all: ["*"]}}
  valence: {kind: regression, range: [-3, 3], column: score}
"""


def rows(**columns) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    table = pd.DataFrame(index=range(size), columns=manifest.SCHEMA.names)
    return table.assign(corpus="chat", **{name: pd.Series(values) for name, values in columns.items()})


def test_targets_of_every_kind_survive_the_manifest(tmp_path):
    votes = [{"sad": 2.0, "glad": 1.0}, None, {"glad": 3.0}, {"sad": 1.0, "glad": 1.0}]
    table = rows(
        mood=["good", "sad", None, None],
        mood_votes=votes,
        emotions=[("happy",), (), None, ("sad", "awed")],
        score=[1.5, None, -3, 0.25],
    )
    manifest.write_manifest(tmp_path / "manifest.parquet", table)
    read, space = manifest._read_corpus(tmp_path / "manifest.parquet"), written(ALL_KINDS)
    assert space.targets(read, "mood").tolist() == [1, 0, 1, -100]  # the column, or the votes' clear majority
    shares = space.tasks["mood"].distributions(read)
    assert np.allclose(shares, [[2 / 3, 1 / 3], [np.nan] * 2, [0, 1], [0.5, 0.5]], equal_nan=True)
    assert np.array_equal(space.targets(read, "emotions"), [[1, 0], [0, 0], [np.nan] * 2, [0, 1]], equal_nan=True)
    assert np.array_equal(space.targets(read, "valence"), np.float32([1.5, np.nan, -3, 0.25]), equal_nan=True)
    labelled = {task: mask.tolist() for task, mask in space.labelled(read).items()}
    assert labelled == {"mood": [1, 1, 1, 0], "emotions": [1, 1, 0, 1], "valence": [1, 0, 1, 1]}


def test_a_corpus_of_its_own_says_what_its_words_mean():
    space = written(ALL_KINDS)
    assert space.targets(rows(mood=["odd", "sad"]), "mood").tolist() == [0, 0]
    assert space.targets(rows(mood=["odd", "sad"]).assign(corpus="talk"), "mood").tolist() == [-100, 0]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"mood": ["gooood"]}, "chat: mood = 'gooood': is unknown to data.labels: data/labels/own.yaml"),
        ({"score": [3.5]}, r"chat: score = 3.5: lies outside tasks.valence.range = \[-3, 3\] of data/labels"),
        ({"score": ["high"]}, "chat: score = 'high': is no number"),
        ({"emotions": ["happy"]}, "chat: emotions = 'happy': is no list of words"),
        ({"mood": [1.0]}, "chat: mood = 1.0: is no word; a table's numbers are words by data.chat.kinds"),
        ({"score": ["1"]}, r"data.chat.kinds: {score: number} in params.yaml names that"),
        (
            {"mood_votes": ["glad"]},
            "chat: mood_votes = 'glad': is no votes, .* write `bad: 3; good: 1`",
        ),
        ({"mood_votes": [("glad: -1", "sad: 2")]}, "is no votes"),
    ],
)
def test_a_label_without_meaning_is_refused(columns, line):
    with pytest.raises(UserError, match=line):
        written(ALL_KINDS).labelled(rows(**columns))


def test_what_selects_must_be_a_score_of_a_labelled_task():
    space, table = written(ALL_KINDS), rows(score=[1.0, 3.0, 2.0], split=["train", "train", "dev"])
    assert selection.selection("valence.mae", space).sign == -1
    for wrong in ("valence.macro_f1", "emotion.macro_f1", "valence", ""):
        with pytest.raises(UserError, match=r"train.select = .*: choose one of mood.{accuracy, .*valence.{mae"):
            selection.selection(wrong, space)
    selection.check_labels(table, space, "valence.ccc", is_whole=True)
    selection.check_labels(table, space, "mood.macro_f1", is_whole=False)  # another corpus may have that label
    with pytest.raises(UserError, match=r"no utterance of train, or of dev, .* choose one of valence\.{mae"):
        selection.check_labels(table, space, "mood.macro_f1", is_whole=True)
    with pytest.raises(UserError, match=r"train and dev share no labelled task of data.labels = 'own'"):
        selection.check_labels(table.assign(score=[1.0, 3.0, None]), space, "valence.mae", is_whole=True)


def test_a_training_split_of_one_label_is_refused():
    space = written(ALL_KINDS)
    for column, label, select in (("score", 1.0, "valence.mae"), ("mood", "good", "mood.macro_f1")):
        table = rows(**{column: [label, label, label], "split": ["train", "train", "dev"]})
        with pytest.raises(UserError, match=f"all 2 labelled utterances of train have .* = {label!r}: there is"):
            selection.check_labels(table, space, select, is_whole=True)
        selection.check_labels(table, space, select, is_whole=False)


@pytest.mark.parametrize("empty", ["train", "dev"])
def test_a_split_without_utterances_is_named(empty):
    table = rows(score=[1.0, 3.0], split=["test", "dev" if empty == "train" else "train"])
    with pytest.raises(UserError, match=f"^chat: {empty} has no utterance, .*; bring files or rows of {empty}"):
        selection.check_labels(table, written(ALL_KINDS), "valence.mae", is_whole=True)
    selection.check_labels(table, written(ALL_KINDS), "valence.mae", is_whole=False)


def test_a_file_gives_what_the_built_in_space_gives():
    """RAVDESS's eight classes, by a file."""
    words = ", ".join(labels.RAVDESS_EMOTIONS)
    own, built_in = written(f"tasks: {{emotion: {{classes: [{words}]}}}}"), labels.label_space("ravdess")
    table = rows(emotion=[*labels.RAVDESS_EMOTIONS, None])
    assert (
        own.targets(table, "emotion").tolist() == built_in.targets(table, "emotion").tolist() == [*range(8), -100]
    )


def test_the_corpora_words_are_classes_of_the_built_in_spaces():
    spaces = {name: labels.label_space(name) for name in labels.BUILT_IN}
    assert {path.stem for path in labels.BUILT_IN_FOLDER.iterdir()} == set(labels.BUILT_IN)
    assert spaces["meld"].outputs == {"emotion": labels.MELD_EMOTIONS, "sentiment": labels.MELD_SENTIMENTS}
    assert spaces["iemocap6"].outputs["emotion"] == labels.IEMOCAP_EMOTIONS
    assert spaces["ravdess"].outputs["emotion"] == labels.RAVDESS_EMOTIONS
    assert Path(labels.BUILT_IN_FOLDER).is_dir()


def utterance(split: str, number: int, **given) -> Utterance:
    columns = {"emotion": None, "sentiment": None, "start": None, "end": None, "media": None, "clip": None}
    name = f"{split}{number}"
    return Utterance(split=split, dialogue=name, name=name, group=name, speaker="", text="hi", **(columns | given))


@pytest.mark.parametrize(
    ("values", "given", "line"),
    [
        ({}, {"sentiment": "positive"}, r"train.select = 'emotion.macro_f1': .*choose one of sentiment\.{accuracy"),
        ({}, {}, "folder: train and dev share no labelled task of data.labels = 'meld'"),
        ({}, {"emotion": "hapy"}, "folder: emotion = 'hapy': is unknown to data.labels: meld; there are neutral"),
        ({"data__labels": "own"}, {"emotion": "joy"}, "data.labels = 'own': choose one of cremad"),
        (
            {"train__select": "valence.mae"},
            {"emotion": "joy"},
            "train.select = 'valence.mae': choose one of emotion",
        ),
        (
            {},
            {"emotion": "joy"},
            "folder: all 2 labelled utterances of train have emotion = 'joy': there is nothing",
        ),
        ({"train__select": "sentiment.macro_f1"}, {"sentiment": ("positive", "negative")}, None),
    ],
)
def test_extract_refuses_what_no_training_could_use(tmp_path, values, given, line):
    corpus = {"data__corpora": ["folder"], "data__share": {"folder": 1.0}}
    packed.copy_parameters(tmp_path, **(corpus | values))
    labelled = [
        {key: label if isinstance(label, str) else label[n] for key, label in given.items()} for n in range(2)
    ]
    listing = Listing([utterance(split, n, **labelled[n]) for split in manifest.SPLITS for n in range(2)])
    if line is None:
        training_checks.check_training("folder", listing, READERS)
    else:
        with pytest.raises(UserError, match=line):
            training_checks.check_training("folder", listing, READERS)
