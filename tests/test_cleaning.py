"""What a text becomes before a language model reads it, and that every word piece still knows its characters."""

import re
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merc.data.records.encoder_inputs import TextInput
from merc.encoders.base import factory
from merc.encoders.base.encoder import extract_features
from merc.encoders.text.cleaning import CLEANERS, CleanerName, clean_text
from merc.explanation import parts

# each cleaner once more, in the plainest way
EXPECTED = {
    "cp1252": lambda text: "".join(
        bytes([ord(one)]).decode("cp1252", "replace").replace("\ufffd", " ") if "\x80" <= one <= "\x9f" else one
        for one in text
    ),
    "lowercase": lambda text: "".join(one.lower() for one in text),
    "asides": lambda text: re.sub(r"\[[^\[\]]{1,60}\]|\([^()]{1,60}\)|\*[^*\s][^*]{0,60}\*", " ", text),
    "links": lambda text: re.sub(r"(?i)(https?://|www\.)\S+", " ", text),
    "repeats": lambda text: re.sub(r"([^\w\s])\1+", r"\1", text),
}
MARKS = ["Oh", " ", "!", "!!", "?!", "[sighs]", "(", ")", "*gasps*", "www.a.org/x", "İ", "\x92", "\x81", "é", "🙂"]
texts = st.lists(st.sampled_from(MARKS) | st.text(max_size=5), max_size=12).map("".join)
names = st.lists(st.sampled_from(list(CLEANERS)), max_size=4)


def words(*cleaners):
    config = factory.encoding_section("text").model_copy(update={"clean": list(cleaners)})
    return factory.build("text", "minilm", config)


def test_the_tables_name_the_same_cleaners():
    assert tuple(CLEANERS) == get_args(CleanerName) == tuple(EXPECTED)


@given(texts, names)
def test_the_text_is_what_each_cleaner_makes_of_the_one_before(text, chosen):
    expected = text
    for name in chosen:
        expected = EXPECTED[name](expected)
    assert clean_text(text, chosen).text == expected


@given(texts, names)
def test_every_character_knows_where_it_came_from(text, chosen):
    cleaned = clean_text(text, chosen)
    assert len(cleaned.origin) == len(cleaned.text)
    assert all(0 <= start <= end <= len(text) for start, end in cleaned.origin)
    assert sorted(cleaned.origin) == list(cleaned.origin)
    for one, (start, end) in zip(cleaned.text, cleaned.origin, strict=True):
        original = text[start:end]
        known = one in original or one in original.lower() or "\x80" <= original <= "\x9f"
        assert not original or known, (one, original)
    assert clean_text(text, []).origin == tuple((place, place + 1) for place in range(len(text)))


SAID = "Wait!!! [loud laughter] LOOK (sighs) at www.x.org/a, it\x92s *gasps* over...!!"


def test_pieces_are_spans_of_the_text_as_it_was():
    spans = words(*CLEANERS).units([TextInput(SAID, "")])[0].astype(int)
    found = [SAID[start:end] for start, end in spans]
    assert found == ["", "Wait", "!!!", "LOOK", "at", "it", "\x92", "s", "over", "...", "!!"]
    owner, own = parts.CUTS["text"](spans.astype(np.float32), SAID, 0.0)
    assert [word for _, _, word in own] == ["", "Wait!!!", "LOOK", "at", "it\x92s", "over...!!"]
    whose = [own[one][2] for one in owner]
    assert whose == ["", *["Wait!!!"] * 2, "LOOK", "at", *["it\x92s"] * 3, *["over...!!"] * 3]


def test_features_are_those_of_the_cleaned_text():
    cleaned = extract_features(words(*CLEANERS), [TextInput(SAID, "")])
    other = extract_features(words(), [TextInput("Wait! LOOK at it’s over.!", "")])
    assert np.array_equal(cleaned[0], other[0])
    assert not np.array_equal(extract_features(words(), [TextInput(SAID, "")])[0][0], other[0][0])


@pytest.mark.parametrize("text", ["", "[laughter]", "(sighs)*gasps*", "www.x.org"])
def test_what_is_left_empty_has_the_sentences_step_alone(text):
    assert words(*CLEANERS).units([TextInput(text, "")])[0].tolist() == [[0, 0]]
    assert np.array_equal(extract_features(words(*CLEANERS), [TextInput(text, "")])[0], words().blank)


def test_neighbours_are_cleaned_as_well():
    config = factory.encoding_section("text").model_copy(
        update={"clean": ["asides"], "before": 1, "speakers": True}
    )
    encoder = factory.build("text", "minilm", config)
    loud, quiet = (TextInput("yes", "Ann", before=(TextInput(text, "Bob"),)) for text in ("No [shouts]", "No"))
    assert np.array_equal(extract_features(encoder, [loud])[0], extract_features(encoder, [quiet])[0])
