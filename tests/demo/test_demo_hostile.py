"""What the demo must refuse: requests for other files, other machines, of wrong shapes and sizes, over plain HTTP."""

import contextlib
import http.client
import json
import os
import signal
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, start_demo
from test_demo import EXAMPLES, ask, catch_refusal, encode, post, upload

ENDPOINTS = ("predict_sketch", "predict_upload", "read_number")


@pytest.fixture(scope="module", autouse=True)
def still_answers(demo):
    """Fails where the demo doesn't read a digit any more after all that the tests did to it.

    Asked once: to ask after each takes as long as most of them.
    """
    yield
    answer = ask(demo, "predict_upload", "seven.jpg", (EXAMPLES / "squared_paper.jpg").read_bytes())
    assert answer["digit"] == 7


@pytest.fixture
def neighbour():
    """A server that only machines near the demo can reach: its port, and the requests that it got."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write((EXAMPLES / "letter.jpg").read_bytes())

        do_HEAD = do_POST = do_GET  # noqa: N815 - the names are the library's

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, requests
    server.shutdown()
    thread.join()
    server.server_close()


def get(address, path):
    """Returns status and body, following no redirection and leaving the path as it is."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


# ---------------------------------------------------------------- other files, other machines


@pytest.mark.parametrize(
    "prefix", ["/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/theme/", "/"]
)
@pytest.mark.parametrize("up", ["", "../../../../../..", "..%2f..%2f..%2f..%2f..%2f..", "%2e%2e/%2e%2e/%2e%2e/%2e%2e"])
def test_no_file_of_the_server_is_given_away(demo, prefix, up):
    for name in ("/etc/passwd", str(REPOSITORY / "pyproject.toml"), "/proc/self/environ"):
        status, body = get(demo, prefix + up + name)
        assert status >= 400 or b"<html" in body.lower()  # the page itself, at addresses that it doesn't know
        assert b"root:" not in body
        assert b"[project]" not in body
        assert b"PATH=" not in body


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "2130706433", "0x7f.1", "127.1"])  # noqa: S104
def test_no_other_machine_is_asked(demo, neighbour, endpoint, host):
    port, requests = neighbour
    url = f"http://{host}:{port}/secret.jpg"
    for data in ({"path": url}, {"url": url, "path": ""}, {"url": url, "path": "x.jpg"}, {"path": "x.jpg", "url": url}):
        body = json.dumps({"data": [{**data, "meta": {"_type": "gradio.FileData"}}]}).encode()
        catch_refusal(lambda body=body: post(demo, f"/gradio_api/run/{endpoint}", body))
    get(demo, f"/gradio_api/file={url}")
    get(demo, f"/gradio_api/proxy={url}")
    assert requests == []


@pytest.mark.parametrize(
    "url", ["https://example.org/x.jpg", "http://example.org/x.jpg", "file:///etc/passwd", "ftp://example.org/x"]
)
def test_nothing_is_fetched_at_all(demo, url):
    body = json.dumps({"data": [{"path": url, "meta": {"_type": "gradio.FileData"}}]}).encode()
    _, message = catch_refusal(lambda: post(demo, "/gradio_api/run/predict_upload", body))
    assert "root:" not in message
    if url.startswith("http"):
        assert "none is fetched" in message


@pytest.mark.parametrize(
    "name", ["../../../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "%2e%2e%2fevil.png", "x" * 400, ".."]
)
def test_uploads_stay_in_their_folder(demo, demo_folder, seven, name):
    with contextlib.suppress(urllib.error.HTTPError):
        path = Path(upload(demo, name, encode(seven))["path"])
        assert path.resolve().is_relative_to(demo_folder / "gradio")
        assert path.resolve() == path
    for place in (
        Path("/etc/evil.png"),
        Path("/evil.png"),
        demo_folder / "evil.png",
        demo_folder.parent / "evil.png",
        REPOSITORY / "evil.png",
    ):
        assert not place.exists()


# ---------------------------------------------------------------- wrong shapes and sizes

FILE = {"path": "x.png", "meta": {"_type": "gradio.FileData"}}
WRONG_DATA = (
    [],
    [1],
    [None],
    ["x"],
    [[]],
    [{}],
    [{"path": 1}],
    [{"path": None}],
    [{"path": {}}],
    [FILE] * 1000,
    {"a": 1},
    None,
    7,
)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("data", WRONG_DATA, ids=lambda data: json.dumps(data)[:30])
def test_wrong_shapes_are_refused(demo, endpoint, data):
    _, message = catch_refusal(lambda: post(demo, f"/gradio_api/run/{endpoint}", json.dumps({"data": data}).encode()))
    assert "Traceback" not in message


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"data": [' + b"9" * 100_000 + b"]}", b'{"data": [NaN]}']
)
def test_what_is_no_request_is_refused(demo, body):
    _, message = catch_refusal(lambda: post(demo, "/gradio_api/run/predict_upload", body))
    assert "Traceback" not in message


@pytest.mark.parametrize("count", [1_000, 3_000])
def test_a_thousand_files_at_once_are_taken_or_refused(demo, count):
    part = '--x\r\nContent-Disposition: form-data; name="files"; filename="{}.png"\r\n\r\nx\r\n'
    body = "".join(part.format(i) for i in range(count)).encode() + b"--x--\r\n"
    with contextlib.suppress(urllib.error.HTTPError):
        assert len(post(demo, "/gradio_api/upload", body, "multipart/form-data; boundary=x")) == count


# ---------------------------------------------------------------- the end


@pytest.mark.slow  # it has a demo of its own
def test_sigterm_ends_it_after_the_answers_that_are_due(seven, tmp_path):
    large = np.full((3000, 4000), 255, np.uint8)  # takes a fifth of a second to read, so that most are still waiting
    large[1000:2200, 1500:2500] = np.kron(seven, np.ones((10, 10), np.uint8))
    with start_demo(REPOSITORY / "demo" / "app.py", tmp_path) as (address, process):
        body = json.dumps({"data": [upload(address, "large.png", encode(large))]}).encode()
        path = "/gradio_api/call/predict_upload"
        events = [post(address, path, body)["event_id"] for _ in range(8)]
        with contextlib.ExitStack() as stack:
            urls = [f"{address}{path}/{event}" for event in events]
            streams = [stack.enter_context(urllib.request.urlopen(url, timeout=60)) for url in urls]
            os.kill(process.pid, signal.SIGTERM)
            answers = [stream.read().decode() for stream in streams]
        assert all('"digit": 7' in answer for answer in answers), answers
        assert process.wait(60) == 0
