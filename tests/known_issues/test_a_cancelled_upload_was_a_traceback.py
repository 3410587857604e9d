"""Who cancelled an upload left a traceback in the terminal."""

import time

from test_page_connections import Browser, model, served, until  # noqa: F401 (fixtures)


def test_a_cancelled_upload_leaves_no_traceback_and_nothing_else(served, caplog):  # noqa: F811
    app, address = served
    browser = Browser(address)
    job = browser.open(100)
    browser.begin(b"PUT " + job + b"/clips/0 HTTP/1.1", b"abc", length=100).close()
    until(lambda: not app.state.desk.jobs)
    until(lambda: [path.name for path in app.state.desk.folder.iterdir()] == ["alive.lock"])
    time.sleep(0.1)
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
