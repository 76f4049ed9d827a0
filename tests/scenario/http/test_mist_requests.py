# SPDX-License-Identifier: Apache-2.0
"""The requests of Mist's command line and of its page, as they send them, one after the other; with the gateway's own defaults and
with mist.compatibility = "mist-1.1"."""
import hashlib

import pytest

from support.subscribers import WebSocket

CODE = b"import mist\n\n@mist.function\ndef twice(n: int):\n    return 2 * n\n"
CONTEXT = {"name": "me_etl", "sparkConf": {"spark.master": "local[2]"}, "workerMode": "shared", "maxParallelJobs": 3, "downtime": "3600s"}
FUNCTION = {"name": "me_twice", "path": "me_twice_1.0.py", "className": "twice", "defaultContext": "plain"}
LISTED = ["initialized", "queued", "started", "job-file-downloading", "cancelling"]
PAGE = {"Content-Type": "application/json"}  # on every request of the page, with a body or without one


def keys(*names):
    return lambda body: set(names) <= set(body)


def is_(value):
    return lambda body: body == value


def is_page(body):
    return set(body) == {"jobs", "total"} and len(body["jobs"]) <= 25


def has_types(body):
    return body["execute"] == {"n": {"type": "MInt"}} and body["lang"] == "python" and body["tags"] == []


# (what it is, method, path, what is sent, status, what must be true of the body)
COMMAND_LINE = [
    ("status", "GET", "/status", {}, 200, keys("mistVersion", "sparkVersion", "started", "javaVersion")),
    ("list workers", "GET", "/workers", {}, 200, is_([])),
    ("list jobs", "GET", "/jobs", {"params": {"status": ["started"]}}, 200, is_([])),
    ("list jobs --filter", "GET", "/jobs", {"params": {"status": ["started", "queued", "failed"]}}, 200, is_([])),
    ("list functions", "GET", "/functions", {}, 200, lambda body: {"typed", "record"} <= {f["name"] for f in body}),
    ("list contexts", "GET", "/contexts", {}, 200, lambda body: {"default", "plain"} == {c["name"] for c in body}),
    # apply
    ("is the artifact there", "GET", "/artifacts/me_twice_1.0.py/sha", {}, 404, None),
    ("upload it", "POST", "/artifacts", {"params": {"force": "False"}, "files": {"file": ("me_twice_1.0.py", CODE)}}, 200,
     is_("me_twice_1.0.py")),
    ("its sha", "GET", "/artifacts/me_twice_1.0.py/sha", {}, 200, is_(hashlib.sha1(CODE).hexdigest())),
    ("upload it anew", "POST", "/artifacts", {"params": {"force": "True"}, "files": {"file": ("me_twice_1.0.py", CODE)}}, 200, None),
    ("make a context", "POST", "/contexts", {"json": CONTEXT}, 200, lambda body: body["maxJobs"] == 3 and body["workerMode"] == "shared"),
    ("make it again", "POST", "/contexts", {"json": CONTEXT}, 200, lambda body: body["maxJobs"] == 3),
    ("is the context there", "GET", "/contexts/me_etl", {}, 200, keys(*(set(CONTEXT) - {"maxParallelJobs"}))),
    ("is the function there", "GET", "/functions/me_twice", {}, 404, None),
    ("make the function", "POST", "/functions", {"params": {"force": "False"}, "json": FUNCTION}, 200, has_types),
    ("make it again", "POST", "/functions", {"params": {"force": "False"}, "json": FUNCTION}, 400, None),
    ("change it", "PUT", "/functions", {"params": {"force": "False"}, "json": FUNCTION}, 200, has_types),
    ("change it with force", "PUT", "/functions", {"params": {"force": "True"}, "json": FUNCTION}, 200, has_types),
    ("make it with force", "POST", "/functions", {"params": {"force": "True"}, "json": FUNCTION}, 200, is_(FUNCTION)),
    ("its types", "GET", "/functions/me_twice", {}, 200, has_types),
    ("start job", "POST", "/functions/me_twice/jobs", {"params": {"force": "True"}, "json": {"n": 21}}, 200,
     is_({"success": True, "payload": 42, "errors": []})),
    ("start job, that fails", "POST", "/functions/unencodable/jobs", {"params": {"force": "True"}, "json": {}}, 200,
     lambda body: not body["success"] and body["payload"] == {} and len(body["errors"]) == 1),
    ("start job, wrongly", "POST", "/functions/me_twice/jobs", {"params": {"force": "True"}, "json": {"n": "x"}}, 400, None),
    ("kill job, that has ended", "DELETE", "/jobs/{job}", {}, 200, lambda body: body["status"] == "finished"),
    ("kill worker", "DELETE", "/workers/{worker}", {}, 200, None),
]

WEB_PAGE = [
    ("version", "GET", "/status", {}, 200, keys("mistVersion", "started")),
    ("all jobs", "GET", "/jobs", {"params": {"paginate": "true", "offset": "0"}}, 200, is_page),
    ("running jobs", "GET", "/jobs", {"params": {"paginate": "true", "offset": "0", "status": LISTED}}, 200, is_page),
    ("failed jobs", "GET", "/jobs", {"params": {"paginate": "true", "offset": "25", "status": ["failed", "cancelled"]}}, 200, is_page),
    ("jobs of a function", "GET", "/functions/typed/jobs", {"params": {"paginate": "true", "offset": "0"}}, 200, is_page),
    ("jobs of no function", "GET", "/functions/none/jobs", {"params": {"paginate": "true"}}, 200, is_({"jobs": [], "total": 0})),
    ("jobs of a worker", "GET", "/workers/{worker}/jobs", {"params": {"paginate": "true", "offset": "0"}}, 200, is_page),
    ("functions", "GET", "/functions", {}, 200, lambda body: all({"execute", "lang", "tags", "path", "className"} <= set(f) for f in body)),
    ("contexts", "GET", "/contexts", {}, 200, lambda body: all(isinstance(c["sparkConf"], dict) for c in body)),
    ("add context", "POST", "/contexts", {"json": {"name": "ui", "workerMode": "shared", "sparkConf": {"a": "b"}, "runOptions": "",
     "precreated": False, "maxJobs": 1, "downtime": "1200s", "streamingDuration": "1s"}}, 200, lambda body: body["downtime"] == "1200s"),
    ("add function", "POST", "/functions", {"json": {"name": "ui", "path": "{functions}", "className": "typed", "defaultContext": "plain"}}, 200,
     keys("execute")),
    ("edit function", "PUT", "/functions", {"json": {"name": "ui", "path": "{functions}", "className": "whoami", "defaultContext": "plain",
     "lang": "python", "execute": {}, "tags": []}}, 200, lambda body: body["className"] == "whoami"),
    ("run", "POST", "/functions/typed/jobs", {"json": {"i": 1}}, 200, keys("id")),
    ("a job", "GET", "/jobs/{job}", {}, 200, keys("jobId", "function", "context", "status", "params", "createTime", "source")),
    ("its log", "GET", "/jobs/{job}/logs", {}, 200, None),
    ("kill", "DELETE", "/jobs/{job}", {}, 200, None),
    ("workers", "GET", "/workers", {}, 200, lambda body: {"name", "address", "initInfo"} <= set(body[0])),
    ("a worker", "GET", "/workers/{worker}", {}, 200, lambda body: {"sparkConf", "maxJobs", "downtime"} <= set(body["initInfo"])),
]


@pytest.fixture(scope="module", params=["", "mist-1.1"])
def gateway(request):
    from support import gateways

    made = gateways.plain(mist={"compatibility": request.param}, **{"context-defaults": {"runtime": "plain"}})
    yield made
    made.close()


def filled(value, names):
    """With {job}, {worker} and {functions} in its place."""
    if isinstance(value, str):
        return names.get(value, value)
    return {k: filled(v, names) for k, v in value.items()} if isinstance(value, dict) else value


def play(gateway, requests, headers=()):
    job_id = gateway.submit("typed", {"i": 7})
    worker = gateway.wait(job_id)["workerId"]
    names = {"{functions}": gateway.functions_path}
    for what, method, path, sent, status, check in requests:
        path = path.format(job=job_id, worker=worker)
        answer = gateway.request(method, "/v2/api" + path, headers=dict(headers), **filled(sent, names))
        assert answer.status_code == status, (what, answer.status_code, answer.text)
        if check:
            body = answer.json() if answer.headers["Content-Type"].startswith("application/json") else answer.text
            assert check(body), (what, body)


def test_the_requests_of_the_command_line(gateway):
    play(gateway, [row for row in COMMAND_LINE if row[0] not in ("list workers", "list jobs")])
    gateway.until(lambda: gateway.get("/v2/api/workers").json() == [])
    for what, method, path, sent, status, check in COMMAND_LINE[1:3]:
        assert check(gateway.request(method, "/v2/api" + path, **sent).json()), what


def test_the_requests_of_the_page(gateway):
    play(gateway, WEB_PAGE, PAGE.items())


@pytest.mark.parametrize("query", ["", "?withLogs=false", "?withLogs=true"])
def test_the_subscription_of_the_page(gateway, query):
    with WebSocket(gateway, "/v2/api/ws/all" + query) as all_jobs:
        job_id = gateway.submit("typed", {"i": 1})
        while True:
            event = all_jobs.event()
            if event.get("id") == job_id and event["event"] == "finished":
                break


def test_what_differs_from_mist_is_refused_by_default_and_taken_where_that_is_set(gateway):
    is_mist = gateway.sections["mist"]["compatibility"] == "mist-1.1"
    jobs = "/v2/api/functions/typed/jobs"
    made = {"name": "nowhere", "path": gateway.functions_path, "className": "whoami", "defaultContext": "nowhere"}
    gateway.post("/v2/api/artifacts", files={"file": ("used.py", CODE)}, params={"force": True})
    gateway.post("/v2/api/functions", json={**FUNCTION, "name": "user", "path": "used.py"})
    assert gateway.post("/v2/api/functions?force=true", json=made).status_code == 200
    for what, answer, by_default, by_mist in [
        ("a context that is not there", gateway.post(jobs + "?context=nowhere", json={"i": 1}), 400, 200),
        ("a function that names one", gateway.post("/v2/api/functions/nowhere/jobs", json={}), 400, 200),
        ("a function that does not load", gateway.get("/v2/api/functions/broken"), 200, 400),
        ("an artifact in use", gateway.delete("/v2/api/artifacts/used.py"), 409, 200),
    ]:
        assert answer.status_code == (by_mist if is_mist else by_default), (what, answer.text)
    names = {f["name"] for f in gateway.get("/v2/api/functions").json()}
    assert ("broken" in names) != is_mist
    for name in "user", "nowhere":
        gateway.delete(f"/v2/api/functions/{name}")
