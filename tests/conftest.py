"""No network, one thread, few examples: `make test-all` asks for more through HYPOTHESIS_PROFILE=many."""

import gc
import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import stages  # noqa: F401 (sets one thread, before anything imports torch or OpenCV)

settings.register_profile("few", max_examples=15, derandomize=True, deadline=None)
settings.register_profile(
    "many", max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))


# a shell's background job, as CI may be, starts with Ctrl-C ignored, and so would all that the tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_installed_recogniser(monkeypatch) -> None:
    """No weights write speech down by default, even where they are: tests of it name theirs."""
    monkeypatch.setattr("merc.encoders.pretrained.transcription.installed", lambda: None)


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    """A command freezes what it has loaded (merc/runtime/collector.py); here its process goes on."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def browser():
    """Chromium with a camera and a microphone that play a test picture and beeps."""
    from browsers import CHROMIUM, FLAGS, MISSING
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, MISSING
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield started
        started.close()


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty project, entered, with the parameters that extraction reads."""
    from extracted import PARAMS

    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    return tmp_path
