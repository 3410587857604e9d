"""The page's model with a real predictor: what one user asks never passes through what another reads."""

import threading
from pathlib import Path

import pytest
from exported import write_dialogue, write_model

from merc.runtime.errors import UserError
from merc.serve import Predictor
from merc.serve.predictor.explanations import PredictionExplainer
from merc.serve.web.jobs import JobClip, PageJob, PageLimits
from merc.serve.web.model import PredictorPageModel, ReaderProgram
from merc.serve.web.quotas import Client


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = PredictorPageModel(write_model(folder / "model"), PageLimits())
    yield model
    model.close()


@pytest.fixture
def job(tmp_path):
    said = write_dialogue(tmp_path / "clips", 2)
    clips = [
        JobClip(path.name, text, path, has_arrived=True)
        for path, text in zip(sorted(Path(tmp_path / "clips").glob("*.mp4")), said, strict=True)
    ]
    return PageJob(Client("s", "a"), tmp_path, clips, None)


def test_explaining_changes_nothing_for_who_reads_meanwhile(model, job):
    """Explanations replace the output of the text encoder's embeddings: once, of everyone's text."""
    dialogue = model.read(job)
    rows, why = model.answer(dialogue, ()), model.explain(dialogue, 0, ())
    stop, reasons, failures = threading.Event(), [], []

    def explain():
        while not stop.is_set():
            reasons.append(model.explain(dialogue, 0, ()))

    def read(folder):
        folder.mkdir()  # each job writes its words into a folder of its own
        own = PageJob(job.client, folder, job.clips, None)
        try:
            failures.extend(1 for _ in range(5) if model.answer(model.read(own), ()) != rows)
        except Exception as error:
            failures.append(error)

    explaining = threading.Thread(target=explain)
    explaining.start()
    readers = [threading.Thread(target=read, args=(job.folder / name,)) for name in ("one", "two")]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    stop.set()
    explaining.join()
    assert not failures
    assert all(reason == why for reason in reasons)


def test_processes_read_and_explain_as_the_predictor_does(model, job):
    dialogue = model.read(job)
    own = Predictor.load(model.predictor.folder)
    rows = own.answer(own.read([clip.path for clip in job.clips], texts=[clip.text for clip in job.clips]))
    for row, other in zip(model.answer(dialogue, ()), rows, strict=True):
        assert row | {"utterance": other["utterance"]} == other
    why = PredictionExplainer(Predictor.load(model.predictor.folder, engine="torch")).explain(dialogue, 1, ())
    assert model.explain(dialogue, 1, ()) == why


def test_a_model_that_is_none_is_one_line(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        PredictorPageModel(tmp_path / "nowhere", PageLimits())


def test_clips_that_are_too_long_together_are_refused_before_any_is_read(model, job, tmp_path):
    read = ReaderProgram(model.predictor.folder, None, seconds=3.0, asr=None)()
    steps = []
    with pytest.raises(UserError, match=r"^\S+\.mp4 and the others: 0\.1 minutes; at most 0\.05 can be read here"):
        read(lambda *step: steps.append(step), [clip.path for clip in job.clips], tmp_path / "words.csv", None)
    assert not steps
