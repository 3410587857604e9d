"""Of a sound shorter than 30 seconds Whisper writes the sentence down many times."""

import pytest

from merc.encoders.pretrained import transcription


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I know what you did. I know, what you did!", (0, 5)),
        ("Oh, I know it well, I know it well", (1, 4)),
        ("no no no no no no no", (0, 3)),
        ("It is what it is", None),
        ("", None),
    ],
)
def test_words_that_come_again_at_once(text, found):
    assert transcription.repeated_words(text) == found
    assert transcription.without_loop(text) == text  # what may have been said stays
