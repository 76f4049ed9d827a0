# SPDX-License-Identifier: Apache-2.0
"""The document of the HTTP API says what there is: every route of the table, and what a gateway really answers."""
import json
import re

import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator
from websockets.sync.client import connect

from support.http import openapi
from support.http.openapi import check, check_event, events_in, operations
from support.mistd import PATIENCE, ROOT

ROW = re.compile(r'^\t\{ METHOD_(\w+), "([^"]+)", \w+', re.MULTILINE)
OTHER_PROTOCOL = ("GET", "/v2/workers/connect")
DOCUMENT = openapi.document()


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    return plain_mist_for_module


@pytest.mark.release
def test_the_document_is_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(DOCUMENT).validate()


@pytest.mark.release
def test_the_document_has_every_route_and_no_other():
    rows = set(ROW.findall((ROOT / "src" / "transport" / "http" / "routes.c").read_text()))
    assert len(rows) > 30 and OTHER_PROTOCOL in rows
    assert {(method, path) for method, path, _ in operations()} == rows - {OTHER_PROTOCOL}


@pytest.mark.release
def test_what_any_request_may_get_is_said_of_every_operation():
    for method, path, operation in operations():
        missing = {"400", "403", "408", "413", "414", "421", "429", "431", "503"} - set(operation["responses"])
        assert not missing, f"{method} {path} may be refused with {missing}"


@pytest.mark.release
def test_every_refusal_has_the_id_of_its_request():
    for method, path, operation in operations():
        for status, response in operation["responses"].items():
            response = openapi.resolved(response)
            assert "application/problem+json" not in response.get("content", {}) or "X-Request-Id" in response["headers"], (method, path, status)


@pytest.mark.release
def test_every_component_is_used_and_every_operation_named():
    text = json.dumps(DOCUMENT)
    named = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(named)) == len(named)
    unused = {f"{kind}/{name}" for kind, components in DOCUMENT["components"].items() for name in components
              if f'"#/components/{kind}/{name}"' not in text}
    assert not unused


def test_the_gateway_serves_the_document(gateway):
    answer = check(gateway.get("/v2/api/openapi.json"))
    assert answer.status_code == 200 and answer.json() == DOCUMENT
    assert answer.json()["info"]["version"] == gateway.get("/v2/api/status").json()["mistVersion"]
    again = check(gateway.get("/v2/api/openapi.json", headers={"If-None-Match": answer.headers["ETag"]}))
    assert again.status_code == 304 and again.content == b""


@pytest.mark.parametrize("path", ["/", "/ui", "/ui/", "/ui/a/b", "/health/live", "/health/ready", "/metrics", "/v2/api/status",
                                  "/v2/api/functions", "/v2/api/contexts", "/v2/api/contexts/plain", "/v2/api/contexts/none",
                                  "/v2/api/workers", "/v2/api/workers/none", "/v2/api/artifacts", "/v2/api/artifacts/none",
                                  "/v2/api/artifacts_internal/mist-worker.jar", "/v2/api/functions/typed", "/v2/api/functions/none",
                                  "/v2/api/functions/broken", "/v2/api/functions/missing", "/v2/api/jobs/none", "/v2/api/jobs?limit=x",
                                  "/v2/api/jobs?status=odd", "/v2/api/ws/all", "/v2/api/ws/jobs/none", "/v2/api/events?withLogs=odd"])
def test_what_is_asked_is_answered_as_written(gateway, path):
    check(gateway.get(path, allow_redirects=False))
    foreign = check(gateway.get(path, headers={"Origin": "https://elsewhere.example"}))
    assert foreign.status_code == 403


def test_a_job_is_answered_as_written(gateway):
    jobs = "/v2/api/functions/typed/jobs"
    id = check(gateway.post(jobs, json={"i": 1}, params={"externalId": "mine"})).json()["id"]
    assert check(gateway.post(jobs, json={"i": 1}, headers={"Prefer": "respond-async"})).status_code == 202
    assert check(gateway.post(jobs, json={"i": 1}, headers={"Prefer": "wait=60"})).json()["success"] is True
    assert check(gateway.post(jobs, json={"i": 1}, params={"force": "true"})).json()["success"] is True
    assert check(gateway.post(jobs, json={})).status_code == 400
    assert check(gateway.post("/v2/api/functions/none/jobs", json={})).status_code == 404
    for body, status in ({"i": 1}, 200), ({"i": 1}, 200), ({"i": 2}, 422):
        assert check(gateway.post(jobs, json=body, headers={"Idempotency-Key": "k"})).status_code == status
    gateway.wait(id)
    assert check(gateway.get(f"/v2/api/jobs/{id}")).json()["externalId"] == "mine"
    assert check(gateway.delete(f"/v2/api/jobs/{id}")).status_code == 200
    for query in {}, {"paginate": "true"}, {"status": ["finished", "failed"], "limit": 2}:
        assert check(gateway.get("/v2/api/jobs", params=query)).status_code == 200
        assert check(gateway.get(jobs, params=query)).status_code == 200
    worker = check(gateway.get("/v2/api/workers")).json()[0]["name"]
    assert check(gateway.get(f"/v2/api/workers/{worker}")).status_code == 200
    assert check(gateway.get(f"/v2/api/workers/{worker}/jobs")).json()
    assert check(gateway.delete("/v2/api/workers/none")).status_code == 400


def test_a_failed_job_is_answered_as_written(gateway):
    answer = check(gateway.post("/v2/api/functions/unencodable/jobs", json={}, params={"force": "true"})).json()
    assert answer["success"] is False and answer["errors"]
    assert check(gateway.get("/v2/api/jobs?status=failed&limit=1")).json()[0]["status"] == "failed"


def test_a_cancelled_job_is_answered_as_written(gateway):
    id = gateway.submit("wait_for", {"path": str(gateway.home / "never")})
    gateway.wait(id, "started")
    assert check(gateway.delete(f"/v2/api/jobs/{id}")).json()["status"] == "cancelled"
    assert check(gateway.get(f"/v2/api/jobs/{id}")).json()["status"] == "cancelled"


def test_the_first_generation_is_answered_as_written(gateway):
    answer = check(gateway.post("/api/typed", json={"i": 1})).json()
    assert answer["request"] == {"route": "typed", "parameters": {"i": 1}}
    run = {"path": gateway.functions_path, "className": "typed", "namespace": "plain", "parameters": {"i": 1}}
    assert check(gateway.post("/jobs", json=run)).json()["success"] is True
    devrun = {"fakeName": "x", "path": gateway.functions_path, "className": "typed", "context": "plain", "parameters": {"i": 1}}
    assert check(gateway.post("/v2/hidden/devrun", json=devrun, params={"force": "true"})).json()["success"] is True
    assert check(gateway.post("/v2/hidden/devrun", json=devrun)).json()["id"]
    for path in "/api/typed", "/jobs", "/v2/hidden/devrun":
        assert check(gateway.post(path, data="[")).status_code == 400


def test_a_cloud_event_is_answered_as_written(gateway):
    event = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "t", "subject": "typed", "data": {"i": 1}}
    structured = {"Content-Type": "application/cloudevents+json"}
    binary = {"ce-specversion": "1.0", "ce-source": "/tests", "ce-type": "t", "ce-subject": "typed"}
    for path in "/v2/api/events", "/v2/api/functions/typed/jobs":
        for query, prefer in ({}, {}), ({"force": "true"}, {}), ({}, {"Prefer": "respond-async"}):
            answer = check(gateway.post(path, data=json.dumps(event), headers={**structured, **prefer}, params=query))
            assert check_event(json.dumps(answer.json()["data"])) in ("initialized", "finished")
            answer = check(gateway.post(path, json={"i": 1}, headers={**binary, **prefer, "ce-id": "2"}, params=query))
            assert answer.json()["event"] in ("initialized", "finished")
    assert check(gateway.post("/v2/api/events", json={})).status_code == 400


def test_a_log_is_answered_as_written(gateway):
    id = gateway.submit("chatty", {"lines": 3})
    gateway.wait(id)
    path = f"/v2/api/jobs/{id}/logs"
    whole = check(gateway.get(path))
    assert b"line 2" in whole.content
    assert check(gateway.get(path, headers={"Range": "bytes=0-9"})).status_code == 206
    assert check(gateway.get(path, headers={"Range": "bytes=1000000-"})).status_code == 416
    assert check(gateway.get(path, headers={"If-None-Match": whole.headers["ETag"]})).status_code == 304
    assert check(gateway.get(path, params={"follow": "true"})).content == whole.content
    assert check(gateway.get(path, params={"level": "WARN"})).text.count("\n") == 1
    assert check(gateway.get(path, params={"level": "odd"})).status_code == 400


def test_deployments_are_answered_as_written(gateway):
    code = "import mist\n\n@mist.function\ndef three(n: int):\n    return 3 * n\n"
    three = {"name": "three", "path": "three.py", "className": "three", "defaultContext": "three"}

    def deploy(text, context, **query):
        document = json.dumps({"contexts": [context], "functions": [three]})
        parts = [("file", ("three.py", text)), ("deployment", (None, document, "application/json"))]
        return check(gateway.post("/v2/api/deployments", files=parts, params=query))

    for context in {"name": "three", "runtime": "plain"}, {"name": "three", "runtime": "plain", "maxJobs": 3}:
        assert deploy(code, context, dryRun="true").status_code == deploy(code, context).status_code == 200
    assert deploy(code.replace("n: int", "n: float"), context).json()["functions"][0]["action"] == "updated"
    refused = deploy("three(", context)
    assert refused.status_code == 400 and refused.json()["errors"][0]["name"] == "three"
    assert deploy(code, {"name": "plain", "runtime": "plain", "maxJobs": 99}).status_code == 409
    assert check(gateway.post("/v2/api/deployments", json={})).status_code == 400


def test_functions_contexts_and_artifacts_are_answered_as_written(gateway):
    code = b"import mist\n\n@mist.function\ndef twice(n: int):\n    return 2 * n\n"
    for force, status in ("false", 200), ("false", 409), ("true", 200):
        upload = gateway.post("/v2/api/artifacts", files={"file": ("two.py", code)}, params={"force": force})
        assert check(upload).status_code == status
    assert check(gateway.post("/v2/api/artifacts", data=b"")).status_code == 400
    for query in "", "?algorithm=sha256", "?algorithm=odd":
        check(gateway.get("/v2/api/artifacts/two.py/sha" + query))
    tag = check(gateway.get("/v2/api/artifacts/two.py")).headers["ETag"]
    assert check(gateway.get("/v2/api/artifacts/two.py", headers={"If-None-Match": tag})).status_code == 304
    assert check(gateway.get("/v2/api/artifacts/two.py", headers={"Range": "bytes=1-2"})).content == code[1:3]

    context = check(gateway.post("/v2/api/contexts", json={"name": "two", "runtime": "plain", "sparkConf": {"a": 1}}))
    stale = {"If-Match": '"another"'}
    assert check(gateway.put("/v2/api/contexts/two", json=context.json(), headers=stale)).status_code == 412
    now = {"If-Match": context.headers["ETag"]}
    assert check(gateway.put("/v2/api/contexts/two", json=context.json(), headers=now)).status_code == 200
    assert check(gateway.put("/v2/api/contexts/two", json={"name": "two"})).status_code == 400
    assert check(gateway.put("/v2/api/contexts/no", json={**context.json(), "name": "no"})).status_code == 404
    assert check(gateway.post("/v2/api/contexts", json={"name": "plain"})).status_code == 409

    two = {"name": "two", "path": "two.py", "className": "twice", "defaultContext": "two"}
    made = check(gateway.post("/v2/api/functions", json=two))
    assert made.json()["execute"] == {"n": {"type": "MInt"}}
    assert check(gateway.post("/v2/api/functions", json=two)).status_code == 400
    assert check(gateway.post("/v2/api/functions", json=two, params={"force": "true"})).json() == two
    assert check(gateway.put("/v2/api/functions", json={**two, "retries": 3})).json()["retries"] == 3
    assert check(gateway.put("/v2/api/functions", json=two, headers=stale)).status_code == 412
    assert check(gateway.post("/v2/api/functions", json={**two, "name": "typed"}, params={"force": "true"})).status_code == 409
    tag = check(gateway.get("/v2/api/functions/two")).headers["ETag"]
    assert check(gateway.get("/v2/api/functions/two", headers={"If-None-Match": tag})).status_code == 304
    for path in "functions/two", "contexts/two", "artifacts/two.py":
        assert check(gateway.delete("/v2/api/" + path)).status_code == 200
        assert check(gateway.delete("/v2/api/" + path)).status_code == 404


def test_a_part_of_an_upload_may_have_no_name(gateway):
    border = "0123456789abcdef"
    parts = (f'--{border}\r\nContent-Disposition: form-data{name}\r\n\r\nx\r\n' for name in ("", '; name="file"; filename="part.py"'))
    answer = check(gateway.post("/v2/api/artifacts", data="".join(parts) + f"--{border}--\r\n",
                                headers={"Content-Type": f"multipart/form-data; boundary={border}"}))
    assert answer.status_code == 200 and gateway.get("/v2/api/artifacts/part.py").text == "x"


def test_a_body_over_the_limit_is_answered_as_written(plain_mist):
    gateway = plain_mist(http={"body": 1024})
    body = {"name": "x" * 2000}
    for path in ("/api/typed", "/jobs", "/v2/api/contexts", "/v2/api/functions", "/v2/api/functions/typed/jobs", "/v2/hidden/devrun"):
        assert check(gateway.post(path, json=body)).status_code == 413
    for path in "/v2/api/contexts/x", "/v2/api/functions":
        assert check(gateway.put(path, json=body)).status_code == 413


def test_events_are_told_as_written(gateway):
    url = gateway.url.replace("http", "ws", 1) + "/v2/api/ws/all?withLogs=true"
    with connect(url, proxy=None, open_timeout=30 * PATIENCE) as ws:
        id = gateway.submit("chatty")
        kinds = set()
        while not kinds & {"finished", "failed"}:
            event = ws.recv(30 * PATIENCE)
            kind = check_event(event)
            if json.loads(event).get("id") == id:
                kinds.add(kind)
    assert {"initialized", "queued", "started", "logs", "finished"} <= kinds
    told = events_in(check(gateway.get(f"/v2/api/jobs/{id}/events?withLogs=true")).text)
    assert [told[0]["event"], told[-1]["event"]] == ["initialized", "finished"] and "logs" in {event["event"] for event in told}
    seen = check(gateway.get(f"/v2/api/jobs/{id}/events?withLogs=true", headers={"Last-Event-ID": told[-1]["id"]}))
    assert seen.status_code == 204
    assert check(gateway.get(f"/v2/api/jobs/{id}/events", headers={"Last-Event-ID": "odd"})).status_code == 400
    with requests.get(gateway.url + "/v2/api/events", stream=True, timeout=60 * PATIENCE) as everything:
        assert everything.status_code == 200 and everything.headers["Content-Type"] == "text/event-stream"
