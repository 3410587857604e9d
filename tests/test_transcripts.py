"""What is said, in whatever file stands beside a recording."""

from pathlib import Path

import pytest

from merc.runtime.errors import UserError
from merc.serve.predictor import recording_files, transcripts


def _recording(path: Path) -> recording_files.Recording:
    return recording_files.Recording(path, path.stem, "")


def test_words_beside_a_clip_are_found(tmp_path):
    clip = _recording(tmp_path / "a.mp4")
    assert transcripts.read_cues(clip, None) == []
    (tmp_path / "all.csv").write_text("Clip;Speaker;Transcript\nb.mp4;Bo;No.\na.mp4;Al;“Yes.”\n", encoding="utf-8")
    assert transcripts.read_cues(clip, None) == [transcripts.Cue("“Yes.”", "Al")]
    (tmp_path / "a.vtt").write_text(
        "WEBVTT\n\nNOTE no\n\n1\n00:01.000 --> 00:02.500 align:start\n<v Ann>Good <i>day</i> &amp;\nall</v>\n"
    )
    assert transcripts.read_cues(clip, None) == [transcripts.Cue("Good day & all", "Ann", 1.0, 2.5)]
    (tmp_path / "a.srt").write_bytes("\ufeff1\r\n01:00:00,5 --> 01:00:02,000\r\nHi\r\n\r\n2\r\nnone\r\n".encode())
    assert transcripts.read_cues(clip, None) == [transcripts.Cue("Hi", "", 3600.5, 3602.0)]
    (tmp_path / "a.txt").write_bytes("Na\u00efve\n words".encode("cp1252"))
    assert transcripts.read_cues(clip, None) == [transcripts.Cue("Na\u00efve words")]
    (tmp_path / "a.txt").write_bytes("Both\n".encode("utf-16"))
    assert transcripts.read_cues(clip, None) == [transcripts.Cue("Both")]


def test_subtitles_are_read_that_lack_an_index_a_fraction_or_a_blank_line():
    said = transcripts.parse_subtitles(
        "00:00:02 --> 00:03,5\n{\\an8}One\n2\n0:00:04,000 --> 0:00:05,000\nTwo <b>2</b>\n"
    )
    assert [(cue.start, cue.end) for cue in said] == [(2.0, 3.5), (4.0, 5.0)]
    assert said[1].text == "Two 2"


def test_melds_table_is_read_by_its_numbers(tmp_path):
    table = tmp_path / "dev.csv"
    table.write_text("Utterance,Speaker,Dialogue_ID,Utterance_ID\nOh!,Ann,0,1\nAh!,Bob,0,10\n")
    said = transcripts.read_cues(_recording(tmp_path / "dia0_utt10.mp4"), str(table))
    assert said == [transcripts.Cue("Ah!", "Bob")]
    assert transcripts.read_cues(_recording(tmp_path / "dia1_utt1.mp4"), str(table)) == []


def test_texts_that_do_not_fit_are_refused(tmp_path):
    clip = _recording(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=r"words\.srt: no such file"):
        transcripts.read_cues(clip, "words.srt")
    with pytest.raises(UserError, match="1 texts for 2 utterances"):
        transcripts.texts_by_utterance("Hello", 2)
    assert transcripts.texts_by_utterance(["a", None], 2) == ["a", ""]
    words = "so " * 100 + "it is in the file notes.txt"  # longer than a name can be
    assert transcripts.texts_by_utterance(words, 1) == [words]
    with pytest.raises(UserError, match="no such file"):
        transcripts.texts_by_utterance("y" * 300 + ".txt", 1)
    assert transcripts.read_cues(clip, {"a.mp4": "Hi"}) == [transcripts.Cue("Hi")]
    (tmp_path / "bad.srt").write_text("just words")
    with pytest.raises(UserError, match=r"bad\.srt: holds no subtitle"):
        transcripts.read_cues(clip, tmp_path / "bad.srt")
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n")
    with pytest.raises(UserError, match=r"bad\.csv: has no column of words"):
        transcripts.read_cues(clip, tmp_path / "bad.csv")
    (tmp_path / "one.csv").write_text("file,text\na.mp4,One\n")
    (tmp_path / "two.csv").write_text("file,text\na.mp4,Two\n")
    with pytest.raises(UserError, match=r"one\.csv and two\.csv"):
        transcripts.read_cues(clip, None)


def test_words_with_a_comma_are_not_cut_off(tmp_path):
    clip, table = _recording(tmp_path / "a.mp4"), tmp_path / "said.csv"
    table.write_text('file,text\nb.mp4,Well, no\na.mp4,"Well, yes",\n')
    assert [cue.text for cue in transcripts.read_cues(clip, table)] == ["Well, yes"]  # b's row is nothing to a
    table.write_text("file,text\na.mp4,Well, yes\n")
    with pytest.raises(UserError, match=r"said\.csv: the row 'a\.mp4, Well' goes on beyond the 2 columns .*quotes"):
        transcripts.read_cues(clip, table)


def test_a_subtitle_belongs_where_most_of_it_is_heard():
    said = [
        transcripts.Cue("a", "", 0.0, 1.0),
        transcripts.Cue("b", "", 1.8, 4.0),
        transcripts.Cue("c", "", 9.0, 9.5),
    ]
    shared = transcripts.assign_cues(said, [(0.0, 2.0), (2.0, 4.0)])
    assert [[cue.text for cue in own] for own in shared] == [["a"], ["b"]]
