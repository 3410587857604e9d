"""HTML templates: what people said and what files are called is text, and a forgotten value is an error."""

import numpy as np
import pandas as pd
import pytest
from browsers import barriers, is_too_wide, needs_chromium
from jinja2 import UndefinedError

from merc import templates
from merc.data.records.encoder_inputs import AudioInput, VisionInput
from merc.explanation.gallery import page

HOSTILE = "<script>alert('1')</script> \"&\""
ESCAPED = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &#34;&amp;&#34;"


def entry(**changes) -> page.GalleryEntry:
    """An utterance that is hostile wherever its words are free."""
    names = ("corpus", "dialogue", "utterance", "speaker", "text", "emotion")
    rows = pd.DataFrame({name: [HOSTILE] for name in names} | {"words": [[{"word": HOSTILE, "start": 0.0}]]})
    audio = AudioInput(np.sin(np.arange(16_000, dtype=np.float32)))
    vision = VisionInput(
        np.zeros((1, 32, 32, 3), np.uint8), np.array([[0, 0, 9, 9]], np.float32), np.zeros(1, np.float32)
    )
    explanation = {
        "emotion": "joy",
        "probability": 0.75,
        "modalities": {"text": 0.5, "audio": None},
        "gates": {"text": 0.25},
        "words": [(HOSTILE, -0.5), ("well", 0.25)],
        "word_gap": 0.01,
        "tokens": [(HOSTILE, 1.0)],
        "token_gap": 0.0,
        "sound": [(0.0, 1.0, 0.5)],
        "picture": [{"method": "occlusion", "signed": True, "time": 0.0, "map": [[0.5, -1.0], [0.0, 0.0]]}],
        "picture_times": [0.0],
        "influence": [(0, 1.0)],
        "token_spans": [(0, len(HOSTILE))],
        "attention": {"text>audio": [[1.0]]},
    }
    return page.GalleryEntry(HOSTILE, rows, 0, {"audio": audio, "vision": vision}, explanation | changes)


def test_the_gallery_escapes_whatever_it_shows():
    shown = page.render_page([entry()], HOSTILE)
    assert "<script" not in shown
    # titles, link, heading, label, word and token, word of the sound, label of the heat map
    assert shown.count(ESCAPED) == 2 + 1 + 5 + 1 + 2 + 1 + 1
    for part in ("text attends to audio", "text (gate 0.25)", "-0.500", "75 %", 'alt="the same with its map"'):
        assert part in shown


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_gallery_has_no_barriers_and_fits_a_phone(browser, scheme):
    shown = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    shown.set_content(page.render_page([entry()], "why"))
    assert barriers(shown) == []
    assert not is_too_wide(shown)
    shown.close()


def test_the_gallery_shows_what_there_is():
    shown = page.render_page([entry(words=[], tokens=[], sound=[], picture=[], attention={})], "why")
    assert f"{ESCAPED} <small>words need a language model</small>" in shown
    for part in ("Words:", "Tokens:", "Sound:", "Picture:", "Cross-modal"):
        assert part not in shown


def test_a_value_that_is_not_given_is_an_error(tmp_path):
    (tmp_path / "page.html.jinja").write_text("<p>{{ name }}</p>\n", encoding="utf-8")
    assert templates.render(tmp_path / "page.html.jinja", name="<b>") == "<p>&lt;b&gt;</p>\n"
    with pytest.raises(UndefinedError, match="name"):
        templates.render(tmp_path / "page.html.jinja", names="")
