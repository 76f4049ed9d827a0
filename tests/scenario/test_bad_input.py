# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends gets a 4xx with a problem body that says what was expected."""

import socket

import pytest

from support.mistd import PATIENCE
from support.raw_http import connect, read_all

JOBS = "/v2/api/functions/typed/jobs"


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    return plain_mist_for_module


CASES = [
    ("POST", JOBS, b"", 400, "empty"),
    ("POST", JOBS, b"{", 400, "JSON"),
    ("POST", JOBS, b"[1]", 400, "object"),
    ("POST", JOBS, b"null", 400, "object"),
    ("POST", JOBS, b"\xff\xfe", 400, "UTF-8"),
    ("POST", JOBS, b'{"i": 1} x', 400, "JSON"),
    ("POST", JOBS, b'{"i": 1, "i": 2}', 400, "twice"),
    ("POST", JOBS, b'{"i": "\\u0000"}', 400, "JSON"),
    ("POST", JOBS, b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "deep"),
    ("POST", JOBS, b"{}", 400, "Invalid field i: Invalid type: expected Int"),
    ("POST", JOBS, b'{"i": "1"}', 400, 'expected Int, got "1"'),
    ("POST", JOBS, b'{"i": 1, "l": [1, "x"]}', 400, "l[1]"),
    ("POST", JOBS + "?force=maybe", b'{"i": 1}', 400, "force"),
    ("POST", JOBS + "?startTimeout=soon", b'{"i": 1}', 400, "startTimeout"),
    ("POST", JOBS + "?performTimeout=-3s", b'{"i": 1}', 400, "performTimeout"),
    ("POST", JOBS + "?priority=1000", b'{"i": 1}', 400, "priority"),
    ("POST", JOBS + "?context=..%2Fetc", b'{"i": 1}', 400, "context"),
    ("POST", JOBS + "?context=", b'{"i": 1}', 400, "context"),
    ("POST", JOBS + "?externalId=" + "x" * 2000, b'{"i": 1}', 400, "externalId"),
    ("POST", "/v2/api/functions/none/jobs", b"{}", 404, "none"),
    ("POST", "/v2/api/functions/missing/jobs", b"{}", 404, "artifact"),
    ("POST", "/v2/api/functions/broken/jobs", b"{}", 400, "broken"),
    ("POST", "/v2/api/functions/no-such-name/jobs", b"{}", 400, "no_such_name"),
    ("GET", "/v2/api/jobs?status=canceled", None, 400, "Unknown statuses: Unknown status canceled; did you mean cancelled? (there are initialized, queued, "),
    ("GET", "/v2/api/jobs?limit=x", None, 400, "limit"),
    ("GET", "/v2/api/jobs?limit=-1", None, 400, "limit"),
    ("GET", "/v2/api/jobs?offset=99999999999999999999", None, 400, "offset"),
    ("GET", "/v2/api/jobs?paginate=2", None, 400, "paginate"),
    ("GET", "/v2/api/jobs/nope", None, 404, "nope"),
    ("GET", "/v2/api/jobs/0190c0de-0000-7000-8000-000000000000", None, 404, "0190c0de"),
    ("GET", "/v2/api/jobs/0190c0de-0000-7000-8000-000000000000/logs", None, 404, "0190c0de"),
    ("DELETE", "/v2/api/jobs/0190c0de-0000-7000-8000-000000000000", None, 404, "0190c0de"),
    ("GET", "/v2/api/functions/none", None, 404, "none"),
    ("GET", "/v2/api/contexts/none", None, 404, "none"),
    ("GET", "/v2/api/workers/none", None, 404, "none"),
    ("DELETE", "/v2/api/workers/none", None, 400, "Unknown worker"),
    ("GET", "/no/such/path", None, 404, "could not be found"),
    ("GET", "/v2/api/status/", None, 404, "could not be found"),
    ("POST", "/v2/api/status", b"{}", 405, "GET"),
    ("PATCH", JOBS, b"{}", 405, "POST"),
    ("GET", "/v2/workers/connect", None, 400, "WebSocket"),
]


@pytest.mark.parametrize("method,path,body,status,words", CASES, ids=[f"{c[0]} {c[1][:60]} {i}" for i, c in enumerate(CASES)])
def test_a_refusal_says_what_was_expected(gateway, method, path, body, status, words):
    r = gateway.session.request(method, gateway.url + path, data=body, timeout=60 * PATIENCE)
    assert r.status_code == status, r.text
    assert r.headers["Content-Type"] == "application/problem+json"
    problem = r.json()
    assert problem["status"] == status and problem["title"] and problem["type"] == "about:blank"
    assert words in problem["detail"], problem["detail"]
    assert "Traceback" not in problem["detail"] and ".c:" not in problem["detail"]
    if status == 405:
        assert words in r.headers["Allow"]


def test_a_body_of_100_mb_is_refused_and_read(gateway):
    before = gateway.resident_bytes()
    r = gateway.post(JOBS, data=b"x" * 100_000_000)
    assert r.status_code == 413 and "http.body" in r.json()["detail"]
    assert gateway.resident_bytes() - before < 20_000_000


def test_a_large_body_in_chunks_is_refused(gateway):
    r = gateway.post(JOBS, data=(b"y" * 65536 for _ in range(400)))
    assert r.status_code == 413


def test_a_connection_that_breaks_in_the_middle_of_a_body_harms_nobody(gateway):
    for _ in range(50):
        with socket.create_connection((gateway.host, gateway.port)) as s:
            s.sendall(b"POST " + JOBS.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"i\"")
    assert gateway.run("typed", {"i": 1})["success"]


@pytest.mark.parametrize("body", [b"file=", b"file=a%", b"file"])
def test_a_form_for_an_artifact_that_breaks_in_the_middle_harms_nobody(gateway, body):
    """What is left of it is read when the connection has ended."""
    with connect(gateway) as s:
        s.sendall(b"POST /v2/api/artifacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                  b"Content-Length: 100\r\n\r\n" + body)
        s.shutdown(socket.SHUT_WR)
        read_all(s)
    assert gateway.get("/v2/api/status").status_code == 200


def test_a_caller_that_leaves_does_not_stop_its_job(gateway, tmp_path):
    flag = tmp_path / "flag"
    body = b'{"path": "%s"}' % str(flag).encode()
    with socket.create_connection((gateway.host, gateway.port)) as s:
        s.sendall(b"POST /v2/api/functions/wait_for/jobs?force=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        gateway.until(lambda: gateway.get("/v2/api/functions/wait_for/jobs?status=started").json() != [])
    [job] = gateway.get("/v2/api/functions/wait_for/jobs").json()
    flag.write_text("")
    assert gateway.wait(job["jobId"])["status"] == "finished"


def test_not_http_at_all(gateway):
    with connect(gateway) as s:
        s.sendall(b"\x16\x03\x01\x00\xa5 hello\r\n\r\n")
        s.shutdown(socket.SHUT_WR)
        read_all(s)
    assert gateway.get("/health/live").status_code == 200


def test_an_external_id_that_is_not_utf8_is_refused(gateway):
    r = gateway.post(JOBS + "?externalId=%FF", data=b'{"i": 1}')
    assert r.status_code == 400 and "externalId" in r.json()["detail"]
    assert gateway.run("typed", {"i": 1})["success"]
