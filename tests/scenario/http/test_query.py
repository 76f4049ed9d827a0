# SPDX-License-Identifier: Apache-2.0
"""Parameters of queries: one rule for all routes, and the names of former times."""
import contextlib
import sqlite3

import pytest

from support.raw_http import ask

SUBMIT = "/v2/api/functions/typed/jobs"


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    return plain_mist_for_module


@pytest.mark.parametrize("method,target,words", [
    ("GET", "/v2/api/jobs?external=x", "externalId"), ("GET", "/v2/api/jobs?Limit=1", "did you mean limit"),
    ("GET", "/v2/api/jobs?state=failed", "did you mean status"), ("GET", "/v2/api/jobs?limit=1&limit=1", "limit: expected once"),
    ("GET", "/v2/api/jobs?limit=1&limit=2", "limit: expected once"), ("GET", "/v2/api/jobs?limit", "limit: expected a value"),
    ("GET", "/v2/api/functions/typed/jobs?function=x", "query parameter function"), ("GET", "/v2/api/workers?limit=1", "this resource has none"),
    ("GET", "/v2/api/status?x=1", "this resource has none"), ("GET", "/health/live?x", "none"), ("GET", "/v2/api/jobs?=1", "query parameter"),
    ("POST", SUBMIT + "?force", "force: expected a value"), ("POST", SUBMIT + "?force=true&force=false", "force: expected once"),
    ("POST", SUBMIT + "?starttimeout=1s", "did you mean startTimeout"), ("POST", SUBMIT + "?timeout=1s", "timeout"),
    ("POST", SUBMIT + "?contxt=plain", "did you mean context"), ("POST", "/v2/api/artifacts?froce=true", "did you mean force"),
    ("GET", "/v2/api/events?level=info&withlogs=true", "did you mean withLogs"), ("DELETE", "/v2/api/functions/typed?force=true", "none"),
], ids=str)
def test_what_is_in_doubt_is_refused(gateway, method, target, words):
    answer = ask(gateway, f"{method} {target} HTTP/1.1", "Host: localhost", "Content-Length: 8", body=b'{"i": 1}')
    assert answer.status == 400 and words in answer.detail(), answer.data


@pytest.mark.parametrize("target", ["/v2/api/jobs?", "/v2/api/jobs?&", "/v2/api/jobs?limit=1&", "/v2/api/jobs?status=failed&status=finished",
                                    "/v2/api/jobs?function=typed", "/?any=1", "/v2/api/jobs?%6Cimit=1"])
def test_what_is_known_is_taken(gateway, target):
    assert ask(gateway, f"GET {target} HTTP/1.1", "Host: localhost").status == 200


def test_the_list_of_all_jobs_is_filtered_by_function(gateway):
    gateway.run("typed", {"i": 1})
    gateway.run("nothing")
    assert {job["function"] for job in gateway.get("/v2/api/jobs?function=typed").json()} == {"typed"}
    assert gateway.get("/v2/api/jobs?function=none").json() == []


@pytest.mark.parametrize("column", ["function", "context", "external_id"])
def test_filters_of_lists_have_an_index(gateway, column):
    with contextlib.closing(sqlite3.connect(f"file:{gateway.data / 'mist.db'}?mode=ro", uri=True)) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT * FROM job WHERE 1 AND {column} = ?1 AND id < ?2 ORDER BY id DESC LIMIT 25",
                          ("x", b"")).fetchall()
    assert f"({column}=? AND id<?)" in plan[0][3] and len(plan) == 1, plan


def test_lists_of_jobs_are_filtered_by_context_and_external_id(gateway):
    ids = [gateway.submit("typed", {"i": i}, externalId=f"order {i % 2}") for i in range(4)]
    for job_id in ids:
        gateway.wait(job_id)

    def found(path="/v2/api/jobs", **query):
        return [job["jobId"] for job in gateway.get(path, params=query).json()]

    assert found(externalId="order 1") == [ids[3], ids[1]]
    assert found("/v2/api/functions/typed/jobs", externalId="order 0", limit=1) == [ids[2]]
    assert found(externalId="order 1", status="failed") == found(externalId="order") == found(externalId="") == []
    assert found(context="plain", externalId="order 0") == [ids[2], ids[0]] and found(context="other", externalId="order 0") == []
    assert gateway.get("/v2/api/jobs", params={"externalId": "order 1", "paginate": "true", "limit": 1}).json()["total"] == 2


@pytest.mark.parametrize("query,names", [
    ("?mode=shared&workerId=w", {"mode", "workerId"}), ("?serve", {"serve"}), ("?train=1&force=true", {"train"}),
    ("?action=serve&action=train", {"action"}), ("?force=true", set())])
def test_what_older_clients_send_without_effect_is_named(gateway, query, names):
    answer = gateway.post(SUBMIT + query, json={"i": 1})
    assert answer.status_code == 200
    assert set(filter(None, answer.headers.get("Mist-Ignored", "").split(", "))) == names


def test_force_does_nothing_when_something_is_changed(gateway):
    function = {**gateway.get("/v2/api/functions/typed").json(), "name": "again"}
    body = {key: function[key] for key in ("name", "path", "className", "defaultContext")}
    assert gateway.post("/v2/api/functions", json=body).status_code == 200
    answer = gateway.session.put(gateway.url + "/v2/api/functions?force=True", json=body)
    assert answer.status_code == 200 and answer.headers["Mist-Ignored"] == "force"
    context = gateway.get("/v2/api/contexts/plain").json()
    answer = gateway.post("/v2/api/contexts?force=true", json={**context, "name": "again"})
    assert answer.status_code == 200 and answer.headers["Mist-Ignored"] == "force"
