"""Multilingual weights that are told no language repeat themselves."""

import pytest
from test_whisper import samples, several  # noqa: F401 (fixtures)

from merc.encoders.pretrained import transcription
from merc.runtime.errors import UserError


def test_the_language_is_given_or_heard_once_and_never_unset(several, samples, monkeypatch):  # noqa: F811
    asked = []
    decode = transcription._decode
    monkeypatch.setattr(
        transcription, "_decode", lambda model, hidden, language, *more: asked.append(language) or decode(
            model, hidden, language, *more
        )
    )  # fmt: skip
    recording = transcription.load_transcriber(str(several))
    recording(samples[:8000])
    assert recording.detected_language == ""  # half a second tells no language
    recording(samples)
    heard = recording.detected_language
    assert heard in ("en", "de") and set(asked) <= {"en", "de"} and len(asked) >= 2
    recording(-samples[::-1].copy())
    assert asked[-1] == heard and recording.for_recording().detected_language == ""
    given = transcription.load_transcriber(str(several), "de")
    given(samples)
    assert asked[-1] == "de" and given.for_recording().language == "de"
    with pytest.raises(UserError, match="does not know the language 'xx', but de, en"):
        transcription.load_transcriber(str(several), "xx")
