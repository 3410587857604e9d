"""The page's server on a socket: what is slow, cut off or gone; the model is a stand-in."""

import json
import socket
import threading
import time

import pytest
import uvicorn
from stand_in import LIMITS, StandIn

from merc.serve.web import application, server, uploads


@pytest.fixture
def model():
    made = StandIn()
    yield made
    made.why.set()


@pytest.fixture
def served(model, tmp_path):
    """The application and its address; the first connection is made when the server says that it is ready."""
    app = application.build_application(model, host="127.0.0.1", limits=LIMITS, base=tmp_path)
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address, ready, refused = listener.getsockname(), threading.Event(), []

    def connect():
        try:
            socket.create_connection(address, 1).close()
        except OSError as error:
            refused.append(error)
        ready.set()

    config = uvicorn.Config(app, http=server.PageProtocol, log_config=None, timeout_graceful_shutdown=1)
    page_server = server.PageServer(config, connect)
    thread = threading.Thread(target=page_server.run, args=([listener],))
    thread.start()
    assert ready.wait(20)
    assert not refused
    yield app, address
    page_server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


class Browser:
    """Requests on connections that tests can hold, cut and slow down."""

    def __init__(self, address):
        self.address, self.cookie = address, ""
        head = self.ask(b"GET / HTTP/1.1")[0]
        self.cookie = (
            next(line for line in head.split("\r\n") if line.startswith("set-cookie")).split()[1].rstrip(";")
        )

    def begin(self, line, body=b"", length=None):
        """A connection on which a request has been sent, with less of a body than it has, if so told."""
        connection = socket.create_connection(self.address, 20)
        length = len(body) if length is None else length
        head = f"host: 127.0.0.1\r\ncookie: {self.cookie}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        connection.sendall(line + b"\r\n" + head.encode() + body)
        return connection

    def ask(self, line, body=b""):
        """Head and body of the answer."""
        with self.begin(line, body) as connection:
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, content = answer.partition(b"\r\n\r\n")
        return head.decode(), content

    def open(self, *sizes):
        clips = [{"name": f"{number}.mp4", "size": size} for number, size in enumerate(sizes)]
        _, content = self.ask(b"POST /api/jobs HTTP/1.1", json.dumps({"clips": clips}).encode())
        return f"/api/jobs/{json.loads(content)['job']}".encode()


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it does not happen")


def test_it_is_ready_when_it_says_so(served):
    """See the fixture."""


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET / HT"])
def test_a_head_that_does_not_come_is_not_waited_for(served, monkeypatch, sent):
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
    begin = time.monotonic()
    with socket.create_connection(served[1], 20) as connection:
        connection.sendall(sent)
        if sent.endswith(b"HT"):
            assert b"200 OK" in connection.recv(100)
        closed = threading.Event()

        def drip():
            while not closed.wait(0.1):
                try:
                    connection.sendall(b"x" if sent else b"")
                except OSError:
                    return

        threading.Thread(target=drip).start()
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass
        closed.set()
    assert 0.4 < time.monotonic() - begin < 10


def test_a_slow_answer_is_waited_for(served, model, monkeypatch):
    """The limit is the head's: an upload or an answer may take longer."""
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    browser = Browser(served[1])
    job = browser.open(6)
    with browser.begin(b"PUT " + job + b"/clips/0 HTTP/1.1", b"abc", length=6) as connection:
        time.sleep(0.8)
        connection.sendall(b"def")
        assert b"201 Created" in connection.recv(1000)


def test_an_upload_that_stands_still_is_given_up(served, monkeypatch):
    monkeypatch.setattr(uploads, "GRACE_SECONDS", 0.3)
    browser = Browser(served[1])
    job = browser.open(6)
    with browser.begin(b"PUT " + job + b"/clips/0 HTTP/1.1", b"abc", length=6) as connection:
        assert b"400 Bad Request" in connection.recv(1000)
    assert not served[0].state.desk.jobs


def test_an_upload_that_hardly_moves_is_given_up(served, monkeypatch):
    monkeypatch.setattr(uploads, "GRACE_SECONDS", 0.3)
    browser = Browser(served[1])
    job = browser.open(100)
    with browser.begin(b"PUT " + job + b"/clips/0 HTTP/1.1", b"abc", length=100) as connection:
        connection.settimeout(0.1)
        for _ in range(50):
            connection.sendall(b"x")
            try:
                answer = connection.recv(1000)
            except TimeoutError:
                continue
            assert b"400 Bad Request" in answer
            break
        else:
            raise AssertionError("it is waited for")


def test_an_explanation_whose_client_has_gone_is_dropped(served, model):
    app, address = served
    browser = Browser(address)
    job = browser.open(3, 3)
    for number in (b"0", b"1"):
        browser.ask(b"PUT " + job + b"/clips/" + number + b" HTTP/1.1", b"abc")
    browser.ask(b"POST " + job + b"/start HTTP/1.1")
    until(lambda: b"ready" in browser.ask(b"GET " + job + b" HTTP/1.1")[1])
    model.why.clear()
    asked = [browser.begin(b"GET " + job + b"/explanations/" + number + b" HTTP/1.1") for number in (b"0", b"1")]
    until(lambda: len(app.state.desk.explaining) == 2)
    for connection in asked:
        connection.close()
    until(lambda: any(future.cancelled() for _, future in app.state.desk.explaining))
    model.why.set()
    until(lambda: all(future.done() for _, future in app.state.desk.explaining))
    assert model.explained == 1
