"""The page in a real browser: upload, wait, see, ask why, switch off, download; by keyboard, on a phone."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from browsers import barriers, is_too_wide, needs_chromium
from exported import write_dialogue, write_model

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 90_000  # milliseconds that a busy machine may take for anything
# `python -m merc`, but explanations do not wait for idle processors: a second test may leave none for minutes
SERVE = """
import sys
from merc.__main__ import main
from merc.serve.web import model
model.NICENESS = 0
sys.exit(main(sys.argv[1:]))
"""

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two drawn clips, what is said in them, and a file that is none."""
    folder = tmp_path_factory.mktemp("clips")
    said = write_dialogue(folder, 2)
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(500))
    return [folder / f"dia0_utt{number}.mp4" for number in range(2)], said, folder / "broken.mp4"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`merc serve` with a network that was never trained; its address."""
    place = tmp_path_factory.mktemp("server")
    model = write_model(place / "model")
    command = [sys.executable, "-c", SERVE, "serve", "--model", str(model), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place), "PYTHONUNBUFFERED": "1"}
    log = (place / "log").open("w+")
    process = subprocess.Popen(command, cwd=place, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _address(process, place / "log"), process, place
    finally:
        process.kill()
        process.wait()


def _address(process, log):
    for _ in range(2800):  # 280 s: on a busy machine
        if found := re.search(r"http://\S+/", log.read_text()):
            return found[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def opened(browser, server):
    """Opens pages that fail on any request to another origin, any error, any message in the console."""
    address, *_ = server
    contexts, wrong = [], []

    def open_page(width=1280, expected=(), **how):
        context = browser.new_context(viewport={"width": width, "height": 844}, accept_downloads=True, **how)
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda one: wrong.append(one.url) if not _own(one.url, address) else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text) if not _allowed(line.text, expected) else None)
        page.goto(address)
        _until(page, "document.querySelector('#about').textContent")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def _own(url, address):
    return url.startswith((address, f"blob:{address}"))


def _allowed(text, expected):
    return any(word in text for word in expected)


def _until(page, expression, given=None):
    """Playwright's wait_for_function evaluates a string inside the page, whose security policy forbids it."""
    for _ in range(SECONDS // 100):
        if page.evaluate(expression, given):
            return
        page.wait_for_timeout(100)
    raise AssertionError(expression)


def _read(page, clips, said=()):
    page.set_input_files("#files", clips)
    for number, text in enumerate(said):
        page.fill(f"#text-{number}", text)
    page.click("#send button.main")
    page.wait_for_selector("#utterances .utterance")


def _emotions(page):
    return page.locator("#utterances .emotion").all_inner_texts()


def test_upload_wait_see_ask_why_switch_off_download(opened, clips, server):
    paths, said, _ = clips
    page = opened()
    _read(page, paths, said)
    assert page.locator("#utterances .utterance").count() == page.locator("#timeline button").count() == 2
    assert said[0] in page.inner_text("#utterances")
    assert page.locator("#utterances img.face").count() == 2
    _until(page, "[...document.querySelectorAll('img.face')].every((one) => one.naturalWidth > 0)")
    before = _emotions(page)

    page.locator("#utterances .utterance").nth(1).click()
    page.wait_for_selector(".why[aria-busy=false]")
    why = page.inner_text(".why")
    for part in ("Words, sound or picture", "Words", "Sound", "Picture"):
        assert part in why
    marks = page.locator(".words mark").all_inner_texts()
    assert "".join(marks).replace(" ", "") == said[1].replace(" ", "")
    assert page.locator(".why canvas").count() == 2
    _until(page, "document.querySelector('.detail video').readyState >= 1")
    assert page.evaluate("document.querySelector('.detail video').duration") > 0.5

    page.uncheck("#modalities input[value=text]")
    _until(page, "(old) => document.querySelector('#utterances .emotion').innerText !== old", before[0])
    assert "was " in page.inner_text("#utterances")
    assert "without words" in page.inner_text("#utterances").lower()
    with page.expect_download() as without:
        page.click("#json")
    rows = json.loads(Path(without.value.path()).read_text(encoding="utf-8"))
    assert all(row["missing"] == ["text"] for row in rows)
    page.check("#modalities input[value=text]")
    _until(page, "(old) => document.querySelector('#utterances .emotion').innerText === old", before[0])

    with page.expect_download() as subtitles:
        page.click("#srt")
    subtitle_text = Path(subtitles.value.path()).read_text(encoding="utf-8")
    assert subtitle_text.count("-->") == 2
    assert said[1] in subtitle_text
    assert [row["utterance"] for row in rows] == [path.name for path in paths]
    left = [path for path in server[2].rglob("merc-serve-*/**/*") if path.is_file()]
    assert [path.name for path in left] == ["alive.lock"]


def test_what_cannot_be_read_is_a_sentence_on_the_page(opened, clips):
    page = opened()
    page.set_input_files("#files", clips[2])
    page.click("#send button.main")
    page.wait_for_selector("#problem:not([hidden])")
    message = page.inner_text("#problem")
    assert message.startswith("broken.mp4: ")
    assert "/" not in message
    assert page.is_visible("#choose")


def test_everything_is_reached_by_keyboard(opened, clips):
    page = opened()
    page.set_input_files("#files", clips[0])
    page.focus("#send button.main")
    page.keyboard.press("Enter")
    page.wait_for_selector("#utterances .utterance")
    seen = []
    for _ in range(9):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.place || 'box'"))
    assert seen == ["json", "srt", "again", "box", "box", "box", "0", "1", "0"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".detail")
    assert page.evaluate("document.activeElement.id") == "detail-title"
    assert page.get_attribute("#utterances [data-place='1']", "aria-expanded") == "true"
    page.keyboard.press("Escape")
    assert page.locator(".detail").count() == 0
    assert page.evaluate("document.activeElement.dataset.place") == "1"
    assert page.get_attribute("#status", "aria-live") == "polite"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_barriers_and_fits_a_phone_and_a_screen(opened, clips, scheme):
    """axe-core: names, roles, labels, contrast; before and after a conversation, with the reasons open."""
    page = opened(width=390, color_scheme=scheme, reduced_motion="reduce")
    page.set_input_files("#files", clips[0])
    assert barriers(page) == []
    assert not is_too_wide(page)
    page.click("#send button.main")
    page.locator("#utterances .utterance").first.click()
    page.wait_for_selector(".why[aria-busy=false]")
    assert barriers(page) == []
    for width in (1600, 1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert not is_too_wide(page), width
    small = "[...document.querySelectorAll('button, .button, .toggles label')].filter((one) => one.offsetParent)"
    assert page.evaluate(f"Math.min(...{small}.map((one) => one.getBoundingClientRect().height))") >= 40


@pytest.mark.parametrize(("width", "count", "upright"), [(390, 12, True), (1280, 40, True), (1280, 3, False)])
def test_every_label_of_the_timeline_can_be_read(opened, width, count, upright):
    page = opened(width=width)
    page.evaluate(
        """async (count) => {
          const { drawResult } = await import("/draw.js");
          const row = { emotion: { surprise: 0.9 }, sentiment: {}, gates: {}, missing: [], text: "", end: 1 };
          const rows = Array(count).fill({ ...row, start: 0, utterance: "a", speaker: "" });
          document.getElementById("choose").hidden = true;
          document.getElementById("result").hidden = false;
          drawResult({ shown: { rows, view: rows.map(() => ({ picture: false })) }, first: rows, own: "" });
        }""",
        count,
    )
    page.wait_for_timeout(200)  # two frames and more
    labels = page.locator("#timeline b")
    assert labels.count() == count and labels.first.inner_text() == "surprise"
    inside = """(labels) => labels.every((one) => {
      const [own, around] = [one, one.parentElement].map((part) => part.getBoundingClientRect());
      return one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight
        && own.left >= around.left && own.right <= around.right && own.top >= around.top + 24;
    })"""
    assert labels.evaluate_all(inside)
    assert ("upright" in page.get_attribute("#timeline", "class")) == upright


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(opened, clips, scheme):
    """WCAG's contrast of every text colour with the page and the cards: at least 4.5."""
    page = opened(color_scheme=scheme)
    names = ("ink", "soft", "back", "card", "fill", "accent", "on-accent", "bad", "bad-back")
    value = "(name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()"
    colour = {name: _luminance(page.evaluate(value, name)) for name in names}
    pairs = [(one, other) for one in ("ink", "soft") for other in ("back", "card", "fill")]
    for one, other in [*pairs, ("on-accent", "accent"), ("bad", "bad-back")]:
        light, dark = max(colour[one], colour[other]), min(colour[one], colour[other])
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (one, other)


def _luminance(code):
    parts = (int(code[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_german_is_spoken_where_it_is_wanted_and_everything_is_said_in_it(opened, clips):
    page = opened(locale="de-DE")
    assert page.get_attribute("html", "lang") == "de" and "Gespräch" in page.title()
    _read(page, clips[0][:1], clips[1][:1])
    page.locator("#utterances .utterance").first.click()
    page.wait_for_selector(".why[aria-busy=false]")
    why = page.inner_text(".detail")
    assert "Am meisten zählte" in why and "So liest man die Zahlen" in why
    assert not re.search(r"\b(the|against|Words|Strongest|certainty)\b", why.replace(clips[1][0], ""))
    page.click("#languages button[value=en]")
    _until(page, "document.querySelector('#utterances .emotion')")
    _until(page, "document.querySelector('.why .summary')?.innerText.includes('counted most')")
    assert page.get_attribute("html", "lang") == "en"
    page.reload()
    assert page.get_attribute("html", "lang") == "en", "the choice is kept"


def test_both_languages_have_every_text(opened):
    page = opened()
    told = page.evaluate(
        """async () => {
          const { LANGUAGES } = await import("/texts.js");
          const all = [document, document.getElementById("detail-template").content];
          const used = (name) =>
            all.flatMap((root) => [...root.querySelectorAll(`[data-${name}]`)].map((one) => one.dataset[name]));
          return [...Object.values(LANGUAGES).map(Object.keys), [...used("text"), ...used("label")]];
        }"""
    )
    english, german, used = map(set, told)
    assert english == german and used <= english
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "merc/serve/web/page").glob("*.js"))
    assert set(re.findall(r'\bt\("(\w+)"', scripts)) <= english


@pytest.mark.parametrize("what", ["record-both", "record-sound"])
def test_a_recording_of_the_browser_is_read_though_it_tells_no_length(opened, what):
    page = opened()
    page.click(f"#{what}")
    page.wait_for_selector("#recorder:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "record-stop"
    page.wait_for_timeout(1500)
    page.keyboard.press("Enter")
    page.wait_for_selector("#clips li")
    assert page.evaluate("document.activeElement.id") == what
    page.click("#send button.main")
    page.wait_for_selector("#utterances .utterance")
    assert 1.0 < float(re.search(r"([\d.]+) s", page.inner_text("#utterances"))[1]) < 30
    page.locator("#utterances .utterance").first.click()
    _until(page, "Number.isFinite(document.querySelector('.detail video').duration)")
    page.click("#again")
    page.click(f"#{what}")
    page.click("#record-discard")
    assert page.locator("#clips li").count() == 0


def test_leaving_drops_what_is_still_asked_of_the_conversation(opened, clips):
    """Else the answers, which come when the conversation is forgotten, would be errors in the console."""
    page = opened()
    _read(page, clips[0])
    held = []
    page.route(re.compile(r"/(explanations|dialogue|pictures)\b"), lambda route: held.append(route))
    page.locator("#utterances .utterance").nth(1).click()
    page.locator("#modalities input").first.click()
    while len(held) < 2:
        page.wait_for_timeout(50)
    page.click("#again")
    page.wait_for_selector("#choose:not([hidden])")
    for route in held:
        route.continue_()
    page.wait_for_timeout(1000)
    assert page.is_hidden("#problem") and not page.locator("#utterances .utterance, .detail").count()
    page.unroute_all()
    _read(page, clips[0])


def test_ctrl_c_leaves_nothing_behind_even_in_the_middle(opened, clips, server):
    """The last test: it ends the server while it reads."""
    _, process, place = server
    page = opened(expected=("ERR_", "Failed to load"))
    page.set_input_files("#files", [clips[0][0]] * 30)
    page.click("#send button.main")
    page.wait_for_selector("#work:not([hidden])")
    threading.Timer(1.0, process.send_signal, [signal.SIGINT]).start()
    assert process.wait(timeout=60) in (0, 130, -signal.SIGINT)
    assert not list(place.glob("merc-serve-*"))
    assert "Traceback" not in (place / "log").read_text()
    page.wait_for_selector("#problem:not([hidden])")
    assert "does not answer" in page.inner_text("#problem") or "connection broke" in page.inner_text("#problem")
