# SPDX-License-Identifier: Apache-2.0
"""Every route of the table × everything that a client may get wrong: a 4xx with one sentence, and a gateway that goes on.

The rows come from routes.c, so a new route is in the matrix without being written here; what it takes is in BODIES and
QUERIES, and one that takes a body must stand there."""
import http.client
import itertools
import json
import re
import socket

import pytest

from support.gateways import FUNCTIONS
from support.mistd import PATIENCE, ROOT

TABLE = (ROOT / "src" / "transport" / "http" / "routes.c").read_text()
ROUTES = re.findall(r'\{ METHOD_(\w+), "([^"]+)", ', TABLE)
PATHS = sorted({path for _, path in ROUTES})
MADE = {"functions": "f", "contexts": "mine"}  # before the first case, by the API
FUNCTION = {"name": "new", "path": FUNCTIONS, "className": "typed", "defaultContext": "plain"}
CONTEXT = {"name": "new", "sparkConf": {}, "downtime": "1s", "maxJobs": 1, "precreated": False, "runOptions": "", "workerMode": "shared",
           "streamingDuration": "1s", "maxConnFailures": 5}
RUN = {"path": FUNCTIONS, "className": "typed", "parameters": {"i": 1}}
# Route → the id of its path, a body that is right, the members that must be there and those that are names.
BODIES = {
    ("POST", "/api/{id}"): ("typed", {"i": 1}, {"i"}, set()),
    ("POST", "/v2/api/functions/{id}/jobs"): ("typed", {"i": 1, "s": "", "l": [], "b": True}, {"i"}, set()),
    ("POST", "/jobs"): (None, {**RUN, "namespace": "plain"}, {"path", "className"}, {"className", "namespace"}),
    ("POST", "/v2/hidden/devrun"): (None, {**RUN, "fakeName": "f", "context": "plain"}, {"fakeName", "path", "className", "context"},
                                    {"fakeName", "context"}),
    ("POST", "/v2/api/functions"): (None, FUNCTION, set(FUNCTION), {"name", "defaultContext"}),
    ("PUT", "/v2/api/functions"): (None, {**FUNCTION, "name": "f"}, set(FUNCTION), {"name", "defaultContext"}),
    ("POST", "/v2/api/contexts"): (None, CONTEXT, {"name"}, {"name"}),
    ("PUT", "/v2/api/contexts/{id}"): ("mine", {**CONTEXT, "name": "mine"}, set(CONTEXT), {"name"}),
}
CLOUD = ("POST", "/v2/api/events")
BODIES[CLOUD] = (None, {"specversion": "1.0", "id": "a", "source": "/b", "type": "run", "subject": "typed", "data": {"i": 1}},
                 {"specversion", "id", "source", "subject", "data"}, {"subject"})
UNREAD = {"type"}
HEADERS = {CLOUD: {"Content-Type": "application/cloudevents+json"}}
# Values of the right type.
VALUES = {"downtime": ["", "soon", "-1s"], "maxJobs": [0, -1, 1 << 40], "workerMode": ["", "both"], "sparkConf": [{"a": {"b": 1}}],
          "streamingDuration": ["", "1x"], "maxConnFailures": [0, 1 << 70], "runtime": ["", "none", "../x"], "jobsPerWorker": [0],
          "retries": [-1, 101], "path": ["", "/no/such/file.py", "no-such-file.py", "../../etc/passwd", "x" * 5000, "a\0b"],
          "className": ["", "no_such_name", "typed.no_such_name"]}
EXTRA = {"/v2/api/contexts": {"runtime", "jobsPerWorker"}, "/v2/api/functions": {"retries"}}
EDITS = {(method, path) for method, path in ROUTES if method != "GET" and re.fullmatch(r"/v2/api/(functions|contexts)(/{id})?", path)}
UPLOAD, DEPLOYMENT = ("POST", "/v2/api/artifacts"), ("POST", "/v2/api/deployments")
FORMS = {UPLOAD, DEPLOYMENT}
LIST = {"limit": ["", "x", "-1", "1.5", "9" * 30, "%31%00"], "offset": ["", "x", "-1", "9" * 30], "paginate": ["", "2", "maybe"],
        "status": ["", "canceled", "x" * 3000, "%FF", "finished%00"]}
SUBMIT = {"force": ["", "maybe"], "startTimeout": ["", "soon", "-1s", "1%20fortnight"], "performTimeout": ["", "x" * 3000],
          "priority": ["", "x", "101", "-101"], "context": ["", "..", "a%2Fb", ".x", "x" * 200, "%FF", "plain%00"],
          "externalId": ["x" * 1025, "%FF", "a%00"]}
QUERIES = {
    ("GET", "/v2/api/jobs"): LIST, ("GET", "/v2/api/functions/{id}/jobs"): LIST, ("GET", "/v2/api/workers/{id}/jobs"): LIST,
    ("POST", "/v2/api/functions/{id}/jobs"): SUBMIT, ("POST", "/api/{id}"): {**SUBMIT},
    ("POST", "/v2/hidden/devrun"): {"force": ["", "maybe", "%00"]},
    ("POST", "/v2/api/functions"): {"force": ["", "maybe", "%00"]}, UPLOAD: {"force": ["", "maybe", "%00"]},
    DEPLOYMENT: {"dryRun": ["", "maybe", "%00"]},
    ("GET", "/v2/api/workers/{id}/output"): {"tail": ["", "x", "-1", "1000001"], "offset": ["", "-1", "1.5", "1&tail=1"],
                                             "limit": ["", "0", "16777217"], "follow": ["", "maybe"]},
    ("GET", "/v2/api/artifacts/{id}/sha"): {"algorithm": ["", "md5", "sha1%00"]},
    ("GET", "/v2/workers/connect"): {"worker": ["", "..", "%FF", "x" * 3000]},
    ("GET", "/v2/api/ws/all"): {"withLogs": ["", "maybe"]}, ("GET", "/v2/api/ws/jobs/{id}"): {"withLogs": ["maybe"]},
    ("GET", "/v2/api/events"): {"withLogs": ["", "maybe"]}, ("GET", "/v2/api/jobs/{id}/events"): {"withLogs": ["maybe"]},
}
IDS = {"unknown": "nope", "an unknown uuid": "0190c0de-0000-7000-8000-000000000000", "too long": "x" * 5000, "dots": "..",
       "encoded dots": "%2e%2e", "half encoded dots": ".%2E", "a dot": ".", "hidden": ".hidden", "an encoded slash": "a%2Fb",
       "a root": "%2Fetc%2Fpasswd", "a way out": "..%2F..%2Fmist.db", "NUL": "a%00", "only NUL": "%00", "not UTF-8": "%ff%fe",
       "overlong": "%c0%af", "a space": "a%20b", "control": "%0d%0aX-Y:%20z", "doubly encoded": "%252e%252e", "broken encoding": "%zz",
       "percent": "%", "a backslash": "..%5C..%5Cx", "quotes": "%27%22%3b--", "a semicolon": "a;b"}
NAMES = {"empty": "", "dots": "..", "a path": "../f", "a slash": "a/b", "a root": "/etc/passwd", "hidden": ".f", "a space": "a b",
         "encoded": "%2e%2e", "a newline": "a\nb", "NUL": "a\0b", "too long": "x" * 129, "far too long": "x" * 100_000, "not ASCII": "ä"}
OF_NO_TYPE = {"null": None, "a number": 17.5, "a string": "x" * 20, "a boolean": True, "an array": [1], "an object": {"a": {"b": 1}}}


def fill(path, name="nope"):
    return path.replace("{id}", name).replace("{path}", name)


def cases():
    """(route, what is wrong, target, body, headers)"""
    for route in ROUTES:
        method, path = route
        name, body, required, names = BODIES.get(route, ("nope", None, set(), set()))
        good = fill(path, name or "nope")

        def case(what, target=good, body=body, headers=None, route=route):
            return route, what, target, body if isinstance(body, (bytes, type(None))) else json.dumps(body), headers or HEADERS.get(route)

        if "{" in path:
            yield from (case(f"id: {what}", fill(path, text)) for what, text in IDS.items())
            yield case("id: empty", fill(path, "") if "{id}" in path else path.replace("{path}", "/"))
        yield case("a slash after it", fill(path) + "/" if path != "/ui" else "/ui//")
        yield case("another case", fill(path).upper() if path != "/" else "/X")
        yield case("an encoded slash in it", fill(path)[:1] + fill(path)[1:].replace("/", "%2F") if path.count("/") > 1 else "/%2F")
        yield case("a dot segment", "/." + fill(path))
        yield from (case(f"a parameter: {text}", good + "?" + text) for text in ("x=%00", "%FF=1", "x=%C3%28"))
        for key, values in QUERIES.get(route, {}).items():
            yield from (case(f"{key}: {value[:20]}", f"{good}?{key}={value}") for value in values)
        if route in EDITS:
            made = fill(path, MADE[path.split("/")[3]])
            yield from (case(f"If-Match: {tag}", made, headers={"If-Match": tag}) for tag in ('"stale"', "W/*", "", '"', "stale"))
        if body is None:
            continue
        bad = {"missing": None, "empty": b"", "not JSON": b"{", "null": b"null", "a number": b"1", "an array": b"[{}]", "a string": b'"x"',
               "not UTF-8": b'{"name": "\xff"}', "NUL": b'{"name": "a\0"}', "UTF-16": json.dumps(body).encode("utf-16"),
               "twice": json.dumps(body)[:-1].encode() + b", " + json.dumps(body)[1:].encode(), "more": json.dumps(body).encode() + b"{}",
               "too deep": b'{"a": ' * 10_000, "too long": b" " * (9 << 20)}
        yield from (case(f"body: {what}", body=text) for what, text in bad.items())
        for member, value in body.items():
            if member in UNREAD:
                continue
            if member in required:
                yield case(f"{member}: missing", body={k: v for k, v in body.items() if k != member})
            for what, other in OF_NO_TYPE.items():
                is_absent = other is None and member not in required  # null and absent are the same
                if not is_absent and type(other) is not type(value):
                    yield case(f"{member}: {what}", body={**body, member: other})
        for member, (what, text) in itertools.product(sorted(names), NAMES.items()):
            yield case(f"{member}: {what}", body={**body, member: text})
        for member in sorted(set(VALUES) & ({*body} | EXTRA.get(path, set()))):
            yield from (case(f"{member}: {str(value)[:20]}", body={**body, member: value}) for value in VALUES[member])


CASES = list(cases())
# Mist answers the history of what it does not know with an empty page.
EMPTY_PAGES = {("GET", "/v2/api/functions/{id}/jobs"), ("GET", "/v2/api/workers/{id}/jobs")}


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    gateway = plain_mist_for_module

    def catalog():
        return [gateway.get(f"/v2/api/{noun}").json() for noun in ("functions", "contexts", "artifacts")]

    assert gateway.post("/v2/api/functions", json={**FUNCTION, "name": MADE["functions"]}).status_code == 200
    assert gateway.post("/v2/api/contexts", json={**CONTEXT, "name": MADE["contexts"]}).status_code == 200
    before = catalog()
    yield gateway
    assert gateway.run("typed", {"i": 1})["success"], "the gateway works after all of it"
    assert catalog() == before, "nothing was made by it"
    assert {job["status"] for job in gateway.get("/v2/api/jobs?limit=1000").json()} <= {"finished", "failed"}
    assert " ERROR " not in gateway.stderr()


def send(gateway, method, target, body=None, headers=None):
    """A request whose target no library makes better: (status, headers, body)."""
    connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=30 * PATIENCE)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def check_refusal(status, headers, body):
    assert 400 <= status < 500, (status, body[:300])
    assert headers["Content-Type"] == "application/problem+json", body[:300]
    problem = json.loads(body)
    detail = problem["detail"]
    assert problem["status"] == status and problem["title"] and problem["type"] == "about:blank"
    assert 0 < len(detail) <= 600 and detail.isprintable(), detail
    assert not re.search(r"Traceback|\.c:\d|Exception| at 0x|\.py\", line", detail), detail


@pytest.mark.parametrize("route,what,target,body,headers", CASES, ids=[f"{c[0][0]} {c[0][1]} {c[1]}" for c in CASES])
def test_what_is_wrong_is_a_4xx_with_one_sentence(gateway, route, what, target, body, headers):
    answer = send(gateway, route[0], target, body, headers)
    if route in EMPTY_PAGES and what.startswith("id: ") and answer[0] == 200:
        assert answer[2] == b"[]"
    else:
        check_refusal(*answer)


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_what_is_right_is_taken(plain_mist, route):
    gateway, (name, body, _required, _names) = plain_mist(), BODIES[route]
    gateway.post("/v2/api/functions", json={**FUNCTION, "name": MADE["functions"]})
    gateway.post("/v2/api/contexts", json={**CONTEXT, "name": MADE["contexts"]})
    status, _headers, answer = send(gateway, route[0], fill(route[1], name or ""), json.dumps(body), HEADERS.get(route))
    assert status == 200 and b'"success":false' not in answer, answer


@pytest.mark.parametrize("path", PATHS)
def test_every_other_method_is_a_405_that_names_the_right_ones(gateway, path):
    allowed = {method for method, p in ROUTES if p == path}
    allowed |= {"HEAD"} & {"HEAD" for method in allowed if method == "GET"} | {"OPTIONS"}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "X" * 40} - allowed:
        status, headers, body = send(gateway, method, fill(path))
        check_refusal(status, headers, body)
        assert status == 405 and set(headers["Allow"].split(", ")) == allowed - {"OPTIONS"}, method


PART = 'Content-Disposition: form-data; name="file"'
PARTS = {"no filename": PART, "another part": 'Content-Disposition: form-data; name="other"; filename="a.py"',
         "no name": 'Content-Disposition: form-data; filename="a.py"', "no disposition": "Content-Type: text/plain",
         **{f"filename: {what}": f'{PART}; filename="{name[:5000]}"' for what, name in NAMES.items() if what not in ("NUL", "a newline")},
         "filename: not UTF-8": f'{PART}; filename="\udcff.py"', "filename: twice": f'{PART}; filename="a/b.py"; filename="../c.py"'}


@pytest.mark.parametrize("route", sorted(FORMS), ids=lambda route: route[1])
@pytest.mark.parametrize("what", PARTS)
def test_an_upload_of_no_artifact(gateway, route, what):
    body = f"--b\r\n{PARTS[what]}\r\n\r\nx\r\n--b--\r\n".encode(errors="surrogateescape")
    check_refusal(*send(gateway, *route, body, {"Content-Type": "multipart/form-data; boundary=b"}))


@pytest.mark.parametrize("route", sorted(FORMS), ids=lambda route: route[1])
@pytest.mark.parametrize("content_type,body", [
    (None, None), (None, b"x"), ("text/plain", b"x"), ("application/json", b"{}"), ("multipart/form-data", b"--b--"),
    ("multipart/form-data; boundary=", b"--b--"), ("multipart/form-data; boundary=b", b""), ("multipart/form-data; boundary=b", b"--c--"),
    ("multipart/form-data; boundary=b", f"--b\r\n{PART}; filename=\"a.py\"\r\n\r\nx".encode()),
    ("multipart/form-data; boundary=b", 2 * f"--b\r\n{PART}; filename=\"a.py\"\r\n\r\nx\r\n".encode() + b"--b--\r\n"),
    ("application/x-www-form-urlencoded", b"file=a.py"),
], ids=lambda value: str(value)[:60])
def test_a_body_that_is_no_upload(gateway, route, content_type, body):
    check_refusal(*send(gateway, *route, body, {"Content-Type": content_type} if content_type else {}))


@pytest.mark.parametrize("request_line", [
    b"GET /\xff\xfe HTTP/1.1", b"GET /v2/api/jobs/\xff HTTP/1.1", b"GET /v2/api/../../etc/passwd HTTP/1.1", b"GET * HTTP/1.1",
    b"GET http://other/v2/api/status HTTP/1.1", b"GET v2/api/status HTTP/1.1", b"GET /v2/api/status\tx HTTP/1.1",
    b"GET /v2/api/jobs?externalId=\xff HTTP/1.1", b"GET /" + b"x" * 40_000 + b" HTTP/1.1", b"GET  HTTP/1.1", b"GET",
    b"GET /v2/api/status HTTP/9.9", b"POST /jobs HTTP/1.1\r\nContent-Length: x", b"POST /jobs HTTP/1.1\r\nContent-Length: -1",
    b"POST /jobs HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz", b"POST /jobs HTTP/1.1\r\nContent-Length: 99999999999999999999999",
    b"GET /v2/api/status HTTP/1.1\r\nX: " + b"y" * 40_000, b"GET /v2/api/status HTTP/1.1\r\n" + b"A: b\r\n" * 5_000,
], ids=lambda line: str(line[:40]))
def test_what_is_hardly_http_is_refused_or_cut_off(gateway, request_line):
    with socket.create_connection((gateway.host, gateway.port), timeout=60 * PATIENCE) as s:
        try:
            s.sendall(request_line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            s.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: s.recv(65536), b""))
        except OSError:
            answer = b""
    status = re.match(rb"HTTP/1\.[01] (\d)", answer)
    assert not answer or (status and status[1] in b"45" and not answer.startswith(b"HTTP/1.1 500")), answer[:300]
    assert gateway.get("/health/live").status_code == 200


def test_every_route_that_takes_a_body_is_in_the_matrix():
    assert {route for route in ROUTES if route[0] in ("POST", "PUT")} == {*BODIES, *FORMS}
    assert len(ROUTES) > 30 and len(ROUTES) == TABLE.count("{ METHOD_")
