"""A cookie of another program on this machine that is not ASCII was answered with 500."""

import socket

from test_page_connections import Browser, model, served  # noqa: F401 (fixtures)


def test_a_cookie_that_is_not_ascii_is_no_mistake_of_the_server(served, caplog):  # noqa: F811
    browser = Browser(served[1])
    job = browser.open(3)
    with socket.create_connection(served[1], 20) as connection:
        cookie = "cookie: merc=\xe9\xe8\r\n".encode("latin-1")
        connection.sendall(b"GET " + job + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n" + cookie + b"\r\n")
        assert b"403 Forbidden" in connection.recv(1000)
    assert "Traceback" not in caplog.text
