"""The page's server: limits, hostile names, strangers, several users, deletion; the model is a stand-in."""

import io
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stand_in import LIMITS, StandIn
from starlette.testclient import TestClient

from merc.runtime.errors import UserError
from merc.serve.predictor import recording_files
from merc.serve.web import application, handlers, jobs, quotas, uploads
from merc.serve.web.examples import ExampleDialogue
from merc.serve.web.jobs import JobClip, PageLimits
from merc.serve.web.quotas import Busy, Client

HOME = "http://127.0.0.1:8017"


@pytest.fixture
def model():
    made = StandIn()
    yield made
    made.go.set()
    made.why.set()


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
    assert "1 were declared" in answer.json()["error"]
    assert on_disk(app) == []
    for sent, status in (((b"xx",), 413), ((b"x", b"x"), 413), ((b"",), 400)):  # a generator tells no length
        job_url = opened(user, b"x")
        assert user.put(f"{job_url}/clips/0", content=iter(sent)).status_code == status
        assert on_disk(app) == []
        assert user.get(job_url).status_code == 404


def test_less_than_was_declared_is_refused(user, app):
    job_url = opened(user, b"four")
    answer = user.put(f"{job_url}/clips/0", content=b"one")
    assert (answer.status_code, "4 were declared" in answer.json()["error"]) == (400, True)
    job_url = opened(user, b"four")
    answer = user.put(f"{job_url}/clips/0", content=iter([b"one"]))
    assert (answer.status_code, "3 of 4 bytes" in answer.json()["error"]) == (400, True)
    assert on_disk(app) == []


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


def test_one_browser_and_one_address_leave_room_for_others(app, user):
    """Empty jobs, as one client once blocked everyone with for half an hour."""
    near, far = another(app), [TestClient(app, HOME, client=(f"10.0.0.{number}", 1)) for number in range(2)]
    assert [ask_room(user) for _ in range(3)] == [201, 201, 429]
    assert ask_room(near) == 201
    assert ask_room(near) == 429  # half of six, whatever the cookie
    for client in far:
        client.get("/")
    assert [ask_room(far[0]) for _ in range(3)] == [201, 201, 429]
    assert [ask_room(far[1]) for _ in range(2)] == [201, 429]
    answer = far[1].post("/api/jobs", json={"clips": offer(b"x")})
    assert answer.json()["error"] == "too many conversations are waiting; try again in a minute"


def ask_room(client):
    return client.post("/api/jobs", json={"clips": offer(b"x")}).status_code


def test_clips_that_do_not_come_make_room_soon(app, user, monkeypatch):
    stale, fresh = opened(user, b"x"), opened(user, b"x")
    now = time.monotonic()
    app.state.desk.jobs[fresh.rpartition("/")[2]].last_received = now + LIMITS.unsent
    assert user.get(stale).status_code == 200  # asking is no sending
    monkeypatch.setattr("merc.serve.web.jobs.time.monotonic", lambda: now + LIMITS.unsent + 1)
    app.state.desk.expire()
    assert [user.get(job_url).status_code for job_url in (stale, fresh)] == [404, 200]


def test_what_is_not_read_yet_has_a_size_too(app, user):
    desk, client = app.state.desk, Client("s", "10.0.0.1")
    desk.open(client, [("a.mp4", "", "", 3000)], None)
    with pytest.raises(Busy, match="too much"):
        desk.open(client, [("a.mp4", "", "", 1001)], None)
    desk.open(Client("s", "10.0.0.2"), [("a.mp4", "", "", 1001)], None)


def test_a_long_queue_of_one_client_costs_others_one_conversation(app, user, model):
    other = another(app)
    model.go.clear()
    for name in ("first.mp4", "second.mp4"):
        send(user, b"one", names=[name])
    theirs = send(other, b"one", names=["theirs.mp4"])
    assert other.get(theirs).json()["ahead"] == 1
    model.go.set()
    finished(other, theirs)
    for _ in range(500):
        if len(model.reads) == 3:
            break
        time.sleep(0.01)
    assert model.reads == ["first.mp4", "theirs.mp4", "second.mp4"]


def test_who_was_served_last_waits_longest():
    turns, crowd = quotas.Turns(), [Client(f"forged {number}", "a") for number in range(3)]
    turns.take(Client("forged", "a"))
    assert turns.order([*crowd, Client("x", "b"), Client("y", "b")]) == [3, 0, 4, 1, 2]
    for number in range(3000):
        turns.take(Client(f"{number}", "a"))
    assert len(turns.served) == quotas.MAX_REMEMBERED


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")).map(lambda one: Client(*one))))
def test_everyones_first_comes_before_anyones_second(owners):
    order = quotas.Turns().order(owners)
    assert sorted(order) == list(range(len(owners)))
    addresses = [owners[place].address for place in order]
    ranks = [addresses[:place].count(address) for place, address in enumerate(addresses)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_network_of_ipv6_is_one_address(host, counted):
    assert quotas.network_of(host) == counted


def test_results_of_others_are_not_pushed_out_by_one_address(app, user):
    mine = send(user, b"one")
    finished(user, mine)
    hungry = TestClient(app, HOME, client=("10.0.0.1", 1))
    hungry.get("/")
    for _ in range(LIMITS.kept + 1):
        finished(hungry, send(hungry, b"one"))
    assert user.get(mine).status_code == 200


def test_an_example_is_read_and_explained_once_for_all(app, user, model):
    other, urls = another(app), []
    for client in (user, other):
        job_url = f"/api/jobs/{client.post('/api/jobs', json={'example': 'example-1'}).json()['job']}"
        assert finished(client, job_url)["state"] == "ready"
        assert client.get(f"{job_url}/explanations/0").json()["words"] == "hello from the corpus"
        urls.append(job_url)
    assert (model.reads, model.explained) == (["example.mp4"], 1)
    assert user.get(urls[1]).status_code == 404
    assert user.delete(urls[0]).status_code == 204
    assert other.get(f"{urls[1]}/dialogue").json()["rows"][0]["text"] == "hello from the corpus"


def test_explanations_have_a_queue_of_their_own(app, user, model):
    job_url = send(user, b"one", b"two", b"three")
    finished(user, job_url)
    model.why.clear()
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(user.get, f"{job_url}/explanations/{number}") for number in range(2)]
        while len(app.state.desk.explaining) < 2:
            time.sleep(0.01)
        assert user.get(f"{job_url}/dialogue").status_code == 200  # is not behind them
        refused = user.get(f"{job_url}/explanations/2")
        assert (refused.status_code, "2 explanations" in refused.json()["error"]) == (429, True)
        model.why.set()
        assert [one.result().status_code for one in asked] == [200, 200]
    assert user.get(f"{job_url}/explanations/2").status_code == 200


def test_explanations_of_a_forgotten_job_are_dropped(app, user, model):
    job_url = send(user, b"one", b"two")
    finished(user, job_url)
    model.why.clear()
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(user.get, f"{job_url}/explanations/{number}") for number in range(2)]
        while len(app.state.desk.explaining) < 2:
            time.sleep(0.01)
        assert user.delete(job_url).status_code == 204
        model.why.set()
        assert sorted(one.result().status_code for one in asked) == [200, 404]
    assert model.explained == 1


def test_a_job_that_takes_too_long_ends_with_a_sentence(app, user, model, monkeypatch):
    model.go.clear()
    job_url = send(user, b"one")
    while not model.reads:
        time.sleep(0.01)
    next(iter(app.state.desk.jobs.values())).deadline = 0.0
    told = finished(user, job_url)
    assert (told["state"], told["error"].startswith("reading takes too long here")) == ("failed", True)


def test_an_error_is_one_line(app, user, model):
    def fail(job):
        raise UserError(f"{job.clips[0].path}: several\nlines\n" + "x" * 1000)

    app.state.desk.read = fail
    error = finished(user, send(user, b"one"))["error"]
    assert error.startswith("clip0.mp4: several lines x")
    assert len(error) <= jobs.MAX_ERROR_LENGTH


@pytest.mark.parametrize("cookie", ["merc=\xe9\xe8", "merc=x", "merc=" + "x" * 10_000, "merc=%ff; merc", "\xff"])
def test_a_cookie_that_is_none_of_ours_is_none(app, user, cookie):
    job_url, stranger = send(user, b"one"), TestClient(app, HOME)
    headers = {"cookie": cookie.encode("latin-1")}
    assert stranger.get(job_url, headers=headers).status_code == 403
    assert stranger.post("/api/jobs", json={"clips": offer(b"x")}, headers=headers).status_code == 403
    assert "set-cookie" in stranger.get("/", headers=headers).headers


def test_nothing_is_left_when_the_server_stops(app, model, tmp_path):
    with TestClient(app, base_url=HOME) as user:
        user.get("/")
        model.go.clear()
        for client in (user, another(app)):
            send(client, b"one")
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
        names = {opened(client, b"x") for _ in range(2)}
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
        "import os; from pathlib import Path; from merc.serve.web.jobs import Client, JobQueue, PageLimits; "
        f"desk = JobQueue(None, PageLimits(), Path({str(tmp_path)!r})); "
        "desk.open(Client('s', 'a'), [('a.mp4', '', '', 1)], None)"
        ".clips[0].path.write_text('x'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False)
    living = jobs.JobQueue(None, PageLimits(), tmp_path)
    starting = tmp_path / f"{jobs.STARTING_PREFIX}x"
    starting.mkdir()
    assert len(list(tmp_path.glob(f"{jobs.PREFIX}*"))) == 2
    jobs.delete_abandoned_folders()
    assert {path.name for path in tmp_path.iterdir()} == {living.folder.name, starting.name}
    starting.rmdir()
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


def test_the_server_computes_with_one_thread_as_predict_does():
    """On a busy machine, torch's threads that wait for each other took 25 times the processor's seconds."""
    code = (
        "import os; from merc.runtime.errors import UserError; from merc.serve.web import serve\n"
        "try: serve.serve('--host', '0.0.0.0')\n"
        "except UserError: print(os.environ['OMP_NUM_THREADS'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
    assert ran.stdout == "1\n", ran.stderr


def test_who_waits_for_a_job_is_answered_as_soon_as_it_is_read(app, user, model):
    model.go.clear()
    job_url = send(user, b"one")
    began = time.monotonic()
    assert user.get(f"{job_url}?wait").json()["state"] in ("waiting", "reading")
    assert 0.2 < time.monotonic() - began < 5
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(user.get, f"{job_url}?wait")
        time.sleep(0.05)
        model.go.set()
        asked.result()
    (job,) = app.state.desk.jobs.values()
    assert job.over.done() and user.get(f"{job_url}?wait").json()["state"] == "ready"
