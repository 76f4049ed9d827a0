# SPDX-License-Identifier: Apache-2.0
"""Artifacts that are elsewhere, against a real HTTP server."""
import email.utils
import http.server
import os
import sys
import threading
import time

import pytest

from mist import fetch
from mist.errors import Refusal
from mist.load import Loader

FIRST, SECOND = "def f(): return 1\n", "def f(): return 2\n"


class Site:
    """Serves one text; `asked` are the headers of the requests, `sent` the statuses of the answers."""

    def __init__(self):
        self.text, self.headers, self.status, self.cut, self.age_s = FIRST, {}, 200, 0, 60
        self.asked, self.sent = [], []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(dict(self.headers))
                status = site.answer_to(self.headers)
                site.sent.append(status)
                self.send_response(status)
                body = site.text.encode() if status == 200 else b""
                self.send_header("Content-Length", str(len(body) + site.cut))
                for name, value in site.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer_to(self, headers):
        is_known = any(headers.get(condition) and headers[condition] == self.headers.get(name)
                       for condition, name in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified")))
        return 304 if is_known else self.status

    def change(self, text, **headers):
        self.text, self.headers = text, {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def site():
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def loader(tmp_path, monkeypatch):
    monkeypatch.setenv("MIST_WORKER_FILE", str(tmp_path / "worker.json"))
    path, modules = list(sys.path), set(sys.modules)
    yield Loader()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def run(loader, path):
    return loader.load(path, "f").call(None, {})


@pytest.mark.parametrize("path, scheme, is_download, name", [
    ("/a/job.py", None, False, "job.py"), ("job.py", None, False, "job.py"), ("/a:/job.py", None, False, "job.py"),
    ("file:///a/job.py", "file", False, "job.py"), ("file:/a/job.py", "file", False, "job.py"),
    ("HTTP://h/a/job.py?v=1.zip#x", "http", True, "job.py"), ("https://h/a%2Fb%20c.py", "https", True, "b c.py"),
    ("hdfs://n:8020/a/job.egg", "hdfs", True, "job.egg"), ("s3a://bucket/a.zip", "s3a", True, "a.zip")])
def test_a_scheme_says_where_a_file_is(path, scheme, is_download, name):
    assert (fetch.scheme_of(path), fetch.is_download(path), fetch.name_of(path)) == (scheme, is_download, name)


def test_a_file_of_this_machine_is_opened_where_it_is(loader, user_file):
    path = user_file(FIRST, "one and two.py")
    for address in (f"file://{path}", f"file://localhost{path}", f"file:{path}", path.as_uri()):
        assert run(loader, address) == 1
    with pytest.raises(Refusal, match="has no host"):
        run(loader, f"file://elsewhere{path}")
    with pytest.raises(Refusal, match="no such file: /no/such.py"):
        run(loader, "file:///no/such.py")


def test_a_tag_is_sent_back_and_an_unchanged_file_not_fetched_again(loader, site, tmp_path):
    site.change(FIRST, ETag='"one"')
    url = f"{site.url}/code/job.py"
    first = loader.load(url, "f")
    assert loader.load(url, "f") is first and site.sent == [200, 304] and site.asked[1]["If-None-Match"] == '"one"'
    site.change(SECOND, ETag='"two"')
    assert run(loader, url) == 2 and first.call(None, {}) == 1 and site.sent[2:] == [200]
    assert fetch.scheme_of(loader.fetch(url)) is None and loader.fetch(url).startswith(str(tmp_path) + os.sep)


def test_without_a_tag_the_time_counts_if_it_is_not_that_of_the_fetch(loader, site):
    site.change(FIRST, Last_Modified=email.utils.formatdate(time.time() - 60, usegmt=True))
    url = f"{site.url}/job.py"
    assert run(loader, url) == run(loader, url) == 1 and site.sent == [200, 304]
    just_now = email.utils.formatdate(time.time() + 1, usegmt=True)
    site.change(SECOND, Last_Modified=just_now)
    assert run(loader, url) == 2
    site.change(FIRST, Last_Modified=just_now)
    assert run(loader, url) == 1 and site.sent == [200, 304, 200, 200]


def test_without_either_it_is_fetched_and_an_equal_file_not_imported_again(loader, site):
    url = f"{site.url}/job.py"
    first = loader.load(url, "f")
    assert loader.load(url, "f") is first and site.sent == [200, 200]
    site.change(SECOND)
    assert run(loader, url) == 2


def test_files_of_one_name_from_two_places_do_not_meet(loader, site):
    assert run(loader, f"{site.url}/a/job.py") == 1
    site.change(SECOND)
    assert run(loader, f"{site.url}/b/job.py") == 2


def test_what_goes_wrong_is_said_in_a_sentence(loader, site, monkeypatch):
    url = f"{site.url}/job.py"
    for status, words in ((404, "the server answered 404 Not Found"), (500, "answered 500 Internal Server Error")):
        site.status = status
        with pytest.raises(Refusal, match=words):
            run(loader, url)
    site.status, site.cut = 200, 7
    with pytest.raises(Refusal, match=f"the server ended after {len(FIRST)} of {len(FIRST) + 7} bytes"):
        run(loader, url)
    site.cut = 0
    assert run(loader, url) == 1
    monkeypatch.setenv("MIST_ARTIFACT_MAX", "10")
    with pytest.raises(Refusal, match="larger than an artifact may be, 10 bytes"):
        run(loader, url)
    for bad, words in ((f"{site.url}/job.txt", "is no Python artifact"), (f"{site.url}/", "is no Python artifact"),
                       ("http://127.0.0.1:1/job.py", "cannot be fetched: .*refused"), ("http:///job.py", "cannot be fetched"),
                       (f"{site.url}/{'x' * 300}.py", "names no file"), ("http://[/job.py", "is no address")):
        with pytest.raises(Refusal, match=words):
            run(loader, bad)


def test_a_server_that_is_gone_fails_what_ran_before(loader, site):
    url = f"{site.url}/job.py"
    assert run(loader, url) == 1
    site.status = 410
    with pytest.raises(Refusal, match="410 Gone"):
        run(loader, url)


def test_without_a_spark_nobody_reads_what_is_hadoops(loader, monkeypatch):
    monkeypatch.delenv("MIST_SPARK", raising=False)
    with pytest.raises(Refusal, match="^hdfs://n/a/job.py is read by Hadoop's client.*context whose runtime is a Spark$"):
        run(loader, "hdfs://n/a/job.py")


def test_a_worker_says_that_it_fetches(gateway, site):
    gateway.start_worker()
    peer = gateway.peer()
    peer.welcome()
    peer.start("away", f"{site.url}/job.py", "f")
    assert [peer.receive()["type"] for _ in range(3)] == ["downloading", "started", "finished"]
    site.status = 404
    peer.start("gone", f"{site.url}/job.py", "f")
    assert peer.receive()["type"] == "downloading"
    failed = peer.receive()
    assert failed["type"] == "failed" and failed["error"].endswith("the server answered 404 Not Found")
    peer.send("ack", jobs=["away", "gone"])
    peer.drain()
