"""The page's server: limits, hostile names, strangers, several users, deletion; the model is a stand-in."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from merc.runtime.errors import UserError
from merc.serve.predictor import recording_files
from merc.serve.web import application, handlers, jobs, uploads
from merc.serve.web.examples import ExampleDialogue
from merc.serve.web.jobs import JobClip, PageLimits

HOME = "http://127.0.0.1:8017"
LIMITS = PageLimits(clips=3, clip_bytes=1000, job_bytes=1500, waiting=4, kept=3, idle=60.0, text=50)


class StandIn:
    """Reads a clip's bytes as its words; waits when told to, fails on b'broken'."""

    def __init__(self):
        self.about = {"modalities": ["text", "audio"], "labels": {"emotion": ["joy", "fear"]}, "told": "a stand-in"}
        self.go, self.explained = threading.Event(), 0
        self.go.set()

    def read(self, job):
        read = []
        for clip in job.clips:
            while not self.go.wait(0.01):
                job.report(f"reading {clip.name}", 0.5)
            content = clip.path.read_bytes()
            if content == b"broken":
                raise UserError(f"{clip.path}: cannot be opened: moov atom not found")
            if content == b"bug":
                raise ZeroDivisionError("secret detail")
            read.append({"name": clip.name, "words": content.decode(), "said": clip.text})
        return read

    def view(self, dialogue):
        return [{"clip": number} for number in range(len(dialogue))]

    def answer(self, dialogue, hide):
        return [{"utterance": one["name"], "text": one["words"], "hidden": list(hide)} for one in dialogue]

    def explain(self, dialogue, number, hide):
        self.explained += 1
        return {"words": dialogue[number]["words"], "hidden": list(hide)}

    def picture(self, dialogue, number, whole):
        return b"jpeg" if number == 0 else b""

    def subtitles(self, dialogue, rows):
        return "".join(row["text"] for row in rows)


@pytest.fixture
def model():
    made = StandIn()
    yield made
    made.go.set()


@pytest.fixture
def example(tmp_path):
    (tmp_path / "example.mp4").write_bytes(b"hello from the corpus")
    return ExampleDialogue(
        "example-1", "Ann", [JobClip("example.mp4", "hi", tmp_path / "example.mp4", has_arrived=True)]
    )


@pytest.fixture
def app(model, example, tmp_path):
    (tmp_path / "own").mkdir()
    return application.build_application(
        model, host="127.0.0.1", limits=LIMITS, examples={example.name: example}, base=tmp_path / "own"
    )


@pytest.fixture
def user(app):
    with TestClient(app, base_url=HOME) as client:
        client.get("/")
        yield client


def another(app):
    """A second browser; the server runs already."""
    client = TestClient(app, base_url=HOME)
    client.get("/")
    return client


def offer(*contents, names=None):
    return [
        {"name": name, "size": len(content), "text": "", "speaker": ""}
        for name, content in zip(names or [f"clip{n}.mp4" for n in range(len(contents))], contents, strict=True)
    ]


def opened(user, *contents, **how):
    answer = user.post("/api/jobs", content=json.dumps({"clips": offer(*contents, **how)}))
    assert answer.status_code == 201, answer.text
    return f"/api/jobs/{answer.json()['job']}"


def send(user, *contents, **how):
    job_url = opened(user, *contents, **how)
    for number, content in enumerate(contents):
        assert user.put(f"{job_url}/clips/{number}", content=content).status_code == 201
    assert user.post(f"{job_url}/start").status_code == 202
    return job_url


def finished(user, job_url):
    for _ in range(500):
        status = user.get(job_url).json()
        if status["state"] in ("ready", "failed"):
            return status
        time.sleep(0.01)
    raise AssertionError(status)


def on_disk(app):
    """The files of all jobs; os.walk passes over a folder that is deleted meanwhile."""
    folders = os.walk(app.state.desk.folder)
    return sorted(Path(folder, name) for folder, _, names in folders for name in names if name != jobs.LOCK_FILE)


def test_clips_are_read_answered_explained_and_downloaded(user, model):
    job_url = send(user, b"one", b"two")
    assert finished(user, job_url)["state"] == "ready"
    dialogue = user.get(f"{job_url}/dialogue").json()
    assert [row["text"] for row in dialogue["rows"]] == ["one", "two"]
    assert user.get(f"{job_url}/dialogue?hide=audio").json()["rows"][0]["hidden"] == ["audio"]
    assert user.get(f"{job_url}/explanations/1?hide=audio").json() == {"words": "two", "hidden": ["audio"]}
    user.get(f"{job_url}/explanations/1?hide=audio")
    assert model.explained == 1  # remembered
    assert user.get(f"{job_url}/pictures/0").content == b"jpeg"
    assert user.get(f"{job_url}/pictures/1").status_code == 404
    downloaded = user.get(f"{job_url}/emotions.json")
    assert [row["utterance"] for row in downloaded.json()] == ["clip0.mp4", "clip1.mp4"]
    assert downloaded.headers["content-disposition"].startswith("attachment")
    assert user.get(f"{job_url}/emotions.srt").text == "onetwo"


def test_an_example_is_read_played_and_kept(user, example):
    job_url = f"/api/jobs/{user.post('/api/jobs', json={'example': 'example-1'}).json()['job']}"
    assert finished(user, job_url)["state"] == "ready"
    played = user.get(f"{job_url}/clips/0", headers={"range": "bytes=6-9"})
    assert (played.status_code, played.content) == (206, b"from")
    user.delete(job_url)
    assert example.clips[0].path.is_file()
    assert user.post("/api/jobs", json={"example": "../../etc"}).status_code == 404


@pytest.mark.parametrize(
    ("clips", "word"),
    [
        (offer(b"x" * 1001), "at most"),
        (offer(*[b"x" * 600] * 3), "together"),
        (offer(*[b"x"] * 4), "4 clips"),
        ([offer(b"x")[0] | {"text": "x" * 51}], "51 characters"),
    ],
)
def test_what_exceeds_a_limit_is_refused_before_it_is_sent(user, app, clips, word):
    answer = user.post("/api/jobs", json={"clips": clips})
    assert answer.status_code == 413
    assert word in answer.json()["error"]
    assert not app.state.desk.jobs


def test_a_clip_that_is_larger_than_announced_is_counted_and_deleted(user, app):
    job_url = opened(user, b"x")
    answer = user.put(f"{job_url}/clips/0", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "at most" in answer.json()["error"]
    assert on_disk(app) == []
    job_url = opened(user, b"x", b"x")
    assert user.put(f"{job_url}/clips/0", content=b"x" * 900).status_code == 201
    assert user.put(f"{job_url}/clips/1", content=b"x" * 900).status_code == 413
    assert on_disk(app) == []
    assert user.get(job_url).status_code == 404


def test_an_empty_clip_and_no_clip_are_told(user):
    job_url = opened(user, b"")
    answer = user.put(f"{job_url}/clips/0", content=b"")
    assert (answer.status_code, "clip0.mp4: the file is empty" in answer.json()["error"]) == (400, True)
    assert user.post("/api/jobs", json={"clips": []}).status_code == 400
    assert user.post("/api/jobs", content=b"{").status_code == 400
    assert user.post("/api/jobs", json={"clips": [], "folder": "/etc"}).status_code == 400


def test_a_clip_is_taken_once_and_only_where_it_is_waited_for(user):
    job_url = opened(user, b"a", b"b")
    assert user.put(f"{job_url}/clips/2", content=b"a").status_code == 409
    assert user.post(f"{job_url}/start").status_code == 409
    assert user.put(f"{job_url}/clips/0", content=b"a").status_code == 201
    assert user.put(f"{job_url}/clips/0", content=b"b").status_code == 409
    assert user.get(f"{job_url}/dialogue").status_code == 409


def test_what_cannot_be_read_is_a_sentence_under_the_users_own_name(user, app):
    status = finished(user, send(user, b"broken", names=["wedding.mp4"]))
    assert status["state"] == "failed"
    assert status["error"] == "wedding.mp4: cannot be opened: moov atom not found"
    status = finished(user, send(user, b"bug"))
    assert status["error"] == jobs.UNEXPECTED
    assert on_disk(app) == []


def test_uploads_are_gone_as_soon_as_they_are_read(user, app):
    job_url = send(user, b"one")
    assert finished(user, job_url)["state"] == "ready"
    time.sleep(0.05)
    assert on_disk(app) == []
    assert user.get(f"{job_url}/clips/0").status_code == 404


def test_a_job_that_is_forgotten_stops_and_leaves_nothing(user, app, model):
    model.go.clear()
    job_url = send(user, b"one")
    while user.get(job_url).json()["state"] != "reading":
        time.sleep(0.01)
    waiting = send(user, b"two")
    assert user.get(waiting).json()["ahead"] == 1
    assert len(on_disk(app)) == 2
    assert user.delete(job_url).status_code == user.delete(waiting).status_code == 204
    assert user.get(job_url).status_code == 404
    for _ in range(200):
        if not on_disk(app):
            break
        time.sleep(0.01)
    assert on_disk(app) == []


def test_an_upload_keeps_every_suffix_that_predict_accepts_and_no_other(user, app):
    for suffix in [*recording_files.MEDIA_SUFFIXES, ".exe"]:
        job_path = opened(user, b"one", names=[f"clip{suffix.upper()}"])
        (job,) = app.state.desk.jobs.values()
        assert job.clips[0].path.suffix == (suffix if suffix != ".exe" else ".bin")
        assert user.delete(job_path).status_code == 204


def test_what_nobody_asks_about_expires(user, app, monkeypatch):
    job_url, unsent = send(user, b"one"), opened(user, b"two")
    finished(user, job_url)
    app.state.desk.expire()
    assert user.get(job_url).status_code == user.get(unsent).status_code == 200
    now = time.monotonic()
    monkeypatch.setattr("merc.serve.web.jobs.time.monotonic", lambda: now + LIMITS.idle + 1)
    app.state.desk.expire()
    answer = user.get(job_url)
    assert answer.status_code == 404
    assert answer.json()["error"] == handlers.JOB_GONE
    assert on_disk(app) == []
    assert not app.state.desk.jobs


def test_the_longest_unused_results_make_room_and_a_crowd_is_told_to_wait(user, app, model):
    owns = [send(user, b"one") for _ in range(1)]
    for _ in range(3):
        finished(user, owns[-1])
        owns.append(send(user, b"one"))
    finished(user, owns[-1])
    assert [user.get(job_url).status_code for job_url in owns] == [404, 200, 200, 200]
    model.go.clear()
    for _ in range(LIMITS.waiting):
        send(user, b"one")
    answer = user.post("/api/jobs", json={"clips": offer(b"x")})
    assert (answer.status_code, "too many" in answer.json()["error"]) == (400, True)


def test_nothing_is_left_when_the_server_stops(app, model, tmp_path):
    with TestClient(app, base_url=HOME) as user:
        user.get("/")
        model.go.clear()
        for _ in range(2):
            send(user, b"one")
        opened(user, b"one")
        assert list((tmp_path / "own").iterdir())
    assert list((tmp_path / "own").iterdir()) == []


def test_users_do_not_see_each_other(user, app):
    job_url = send(user, b"mine")
    finished(user, job_url)
    stranger = another(app)
    paths = ["", "/dialogue", "/explanations/0", "/pictures/0", "/clips/0", "/emotions.json", "/emotions.srt"]
    assert [stranger.get(job_url + path).status_code for path in paths] == [404] * len(paths)
    assert stranger.delete(job_url).status_code == stranger.post(f"{job_url}/start").status_code == 404
    assert stranger.put(f"{job_url}/clips/0", content=b"x").status_code == 404
    theirs = send(stranger, b"theirs")
    finished(stranger, theirs)
    assert user.get(f"{job_url}/dialogue").json()["rows"][0]["text"] == "mine"
    assert stranger.get(f"{theirs}/dialogue").json()["rows"][0]["text"] == "theirs"
    assert user.get(job_url).status_code == 200
    assert TestClient(app, base_url=HOME).get(job_url).status_code == 403  # no cookie


def test_sessions_and_jobs_cannot_be_guessed(app):
    with TestClient(app, base_url=HOME) as client:
        cookies = {another(app).cookies["merc"] for _ in range(20)}
        header = client.get("/").headers["set-cookie"]
        names = {opened(client, b"x") for _ in range(3)}
    assert len(cookies) == 20
    assert min(map(len, cookies)) >= 40
    assert {"httponly", "samesite=strict"} <= set(header.lower().replace(" ", "").split(";"))
    assert min(map(len, names)) >= 40


@pytest.mark.parametrize(
    "path",
    [
        "/../merc/serve/web/application.py",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page/../web.py",
        "/web.py",
        "//etc/passwd",
        "/api/jobs/..%2f..%2f/clips/0",
        "/index.html",
    ],
)
def test_no_path_leads_out_of_the_page(user, path):
    assert user.get(path).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8017", "localhost.evil", "", "[::", "a@b@"]
)
def test_another_host_name_is_refused(user, host):
    assert user.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8017", "127.0.0.1", "[::1]:9000"])
def test_loopbacks_names_are_served(user, host):
    assert user.get("/", headers={"host": host}).status_code == 200


def test_a_server_that_is_open_answers_to_addresses_alone(model, tmp_path):
    with TestClient(application.build_application(model, host="0.0.0.0", base=tmp_path), base_url=HOME) as user:
        assert user.get("/", headers={"host": "192.168.1.7:8017"}).status_code == 200
        assert user.get("/", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_request_of_another_page_is_refused(user, app, headers):
    assert user.post("/api/jobs", json={"example": "example-1"}, headers=headers).status_code == 403
    job_url = opened(user, b"x")
    assert user.delete(job_url, headers=headers).status_code == 403
    assert user.get(job_url).status_code == 200


def test_its_own_page_is_allowed_and_a_link_to_it_works(user):
    headers = {"origin": HOME, "sec-fetch-site": "same-origin"}
    assert user.post("/api/jobs", json={"example": "example-1"}, headers=headers).status_code == 201
    assert user.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
    assert (
        user.get("/api/about", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}).status_code
        == 403
    )


def test_every_answer_forbids_the_browser_what_the_page_does_not_need(user):
    for path in ("/", "/page.js", "/api/about", "/nothing"):
        headers = user.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_pages_files_are_their_own():
    """No address but the page's own, no inline script or style, that the policy would refuse."""
    text = {path.name: path.read_text(encoding="utf-8") for path in application.PAGE.iterdir()}
    assert set(text) == {name for name, _ in application.FILES.values()}
    for name, content in text.items():
        assert "//" not in content.replace("// ", "").replace("http://www.w3.org/2000/svg", ""), name
    assert "style=" not in text["index.html"]
    assert "onclick" not in text["index.html"]
    assert text["index.html"].count("<script") == 1


@given(st.text(max_size=300))
def test_names_are_safe_to_show_and_never_paths(name):
    shown = uploads.display_name(name)
    assert 0 < len(shown) <= uploads.MAX_NAME_LENGTH
    assert not set(shown) & set("/\\\0\n\r\u202e")


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/x.mp4", "C:\\boot.ini", "a\0b.mp4", "..", "con.mp4", "😀" * 400]
)
def test_hostile_names_never_reach_the_disk(user, app, model, name):
    model.go.clear()
    job_url = send(user, b"one", names=[name])
    assert [path.name.split(".")[0] for path in on_disk(app)] == ["000"]
    model.go.set()
    finished(user, job_url)
    assert user.get(f"{job_url}/dialogue").json()["rows"][0]["utterance"] == uploads.display_name(name)


def test_an_unknown_modality_is_refused(user):
    job_url = send(user, b"one")
    finished(user, job_url)
    answer = user.get(f"{job_url}/dialogue?hide=smell")
    assert (answer.status_code, "text, audio" in answer.json()["error"]) == (400, True)


def test_what_a_killed_server_left_is_swept_and_a_living_ones_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    code = (
        "import os; from pathlib import Path; from merc.serve.web.jobs import JobQueue, PageLimits; "
        f"desk = JobQueue(None, PageLimits(), Path({str(tmp_path)!r})); desk.open('s', [('a.mp4', '', '')], None)"
        ".clips[0].path.write_text('x'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False)
    living = jobs.JobQueue(None, PageLimits(), tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2
    jobs.delete_abandoned_folders()
    assert {path.name for path in tmp_path.iterdir()} == left  # too young to judge
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    jobs.delete_abandoned_folders()
    assert [path.name for path in tmp_path.iterdir()] == [living.folder.name]
    living.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_told(user, app, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(28, "No space left on device")

    job_url = opened(user, b"x")
    monkeypatch.setattr(Path, "open", lambda self, mode: Full())
    answer = user.put(f"{job_url}/clips/0", content=b"x")
    assert (answer.status_code, "No space left" in answer.json()["error"]) == (400, True)
