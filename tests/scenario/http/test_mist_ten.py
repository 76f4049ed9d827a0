# SPDX-License-Identifier: Apache-2.0
"""What is most easily got wrong about Mist, where no other file tests it. Elsewhere: a failed run is a 200, content types and
booleans (test_main_job); pools of workers (test_workers); restarts and lost workers (tests/faults); the order of events
(test_events)."""
import json
import re

import pytest

from support.mistd import runtimes

FUNCTION = {"name": "f", "className": "typed", "defaultContext": "plain"}


@pytest.fixture
def gateway(plain_mist):
    return plain_mist()


def test_a_job_result_is_untagged_and_a_failure_is_a_bare_string(gateway):
    assert gateway.wait(gateway.submit("typed", {"i": 1}))["jobResult"] == {"i": 1, "s": "x", "l": None, "b": False}
    failed = gateway.wait(gateway.submit("unencodable"))
    assert isinstance(failed["jobResult"], str) and "rows[0]" in failed["jobResult"]
    r = gateway.post("/v2/api/functions/unencodable/jobs?force=true", json={})
    assert r.status_code == 200
    assert (r.json()["success"], r.json()["payload"], len(r.json()["errors"])) == (False, {}, 1)


def test_what_is_not_there_is_omitted_and_never_null(gateway, tmp_path):
    flag = tmp_path / "flag"
    started = gateway.wait(gateway.submit("wait_for", {"path": str(flag)}), "started")
    assert not {"endTime", "jobResult", "externalId"} & set(started)
    flag.write_text("")
    gateway.wait(started["jobId"])
    for path in "/v2/api/jobs", "/v2/api/workers", "/v2/api/contexts", "/v2/api/functions/typed", "/v2/api/status":
        assert "null" not in gateway.get(path).text, path


def test_times_are_milliseconds_and_durations_are_texts(gateway):
    job = gateway.wait(gateway.submit("typed", {"i": 1}))
    for member in "createTime", "startTime", "endTime":
        assert type(job[member]) is int and 1.6e12 < job[member] < 4e12
    for given, shown in ("90s", "90s"), ("2 minutes", "120s"), ("Inf", "Inf"):
        context = gateway.post("/v2/api/contexts", json={"name": "c", "downtime": given, "streamingDuration": given}).json()
        assert context["downtime"] == shown and context["streamingDuration"] == shown
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", gateway.get("/v2/api/status").json()["started"])


def test_what_exists_already_is_400_for_functions_overwritten_for_contexts_and_409_for_artifacts(gateway):
    function = {**FUNCTION, "path": gateway.functions_path}
    assert gateway.post("/v2/api/functions", json=function).status_code == 200
    assert gateway.post("/v2/api/functions", json=function).status_code == 400
    for i in 1, 2:
        assert gateway.post("/v2/api/contexts", json={"name": "c", "maxJobs": i}).json()["maxJobs"] == i
    assert gateway.get("/v2/api/contexts/c").json()["maxJobs"] == 2
    for status in 200, 409:
        assert gateway.post("/v2/api/artifacts", files={"file": ("a.py", b"x")}).status_code == status


def test_a_function_is_put_by_the_name_in_its_body(gateway):
    function = {**FUNCTION, "path": gateway.functions_path}
    gateway.post("/v2/api/functions", json=function)
    assert gateway.put("/v2/api/functions", json={**function, "className": "nothing"}).json()["className"] == "nothing"
    r = gateway.put("/v2/api/functions/f", json=function)
    assert r.status_code == 405 and r.headers["Allow"] == "GET, HEAD, DELETE"
    assert gateway.get("/v2/api/functions/f").json()["className"] == "nothing"


def test_a_context_is_put_with_all_nine_members(gateway):
    gateway.post("/v2/api/contexts", json={"name": "c"})
    context = {"name": "c", "sparkConf": {}, "downtime": "1s", "maxJobs": 2, "precreated": False, "runOptions": "",
               "workerMode": "exclusive", "streamingDuration": "1s", "maxConnFailures": 5}
    for member in context:
        r = gateway.put("/v2/api/contexts/c", json={k: v for k, v in context.items() if k != member})
        assert r.status_code == 400 and member in r.json()["detail"]
    shown = gateway.put("/v2/api/contexts/c", json=context).json()
    assert {k: shown[k] for k in context} == context


def test_worker_assigned_is_no_status(gateway, tmp_path):
    r = gateway.get("/v2/api/jobs?status=worker-assigned")
    assert r.status_code == 400 and "Unknown status worker-assigned" in r.json()["detail"]
    job_id, seen = gateway.submit("wait_for", {"path": str(tmp_path / "flag")}), set()

    def is_started():
        seen.add(gateway.job(job_id)["status"])
        return "started" in seen

    gateway.until(is_started)
    (tmp_path / "flag").write_text("")
    gateway.wait(job_id)
    assert seen <= {"initialized", "queued", "job-file-downloading", "started"}


def test_a_broken_context_takes_jobs_and_fails_them_until_it_is_updated(plain_mist):
    gateway = plain_mist(runtimes={**runtimes(), "bad": {"kind": "program", "command": "/bin/false"}}, limits={"broken-retry": "1h"})
    context = gateway.post("/v2/api/contexts", json={"name": "c", "runtime": "bad", "maxConnFailures": 1}).json()
    for _ in range(3):
        r = gateway.post("/v2/api/functions/typed/jobs?context=c", json={"i": 1})
        assert r.status_code == 200
        job = gateway.wait(r.json()["id"])
        assert job["status"] == "failed" and "Context c is broken" in job["jobResult"]
    assert gateway.put("/v2/api/contexts/c", json={**context, "runtime": "plain"}).status_code == 200
    assert gateway.run("typed", {"i": 1}, context="c")["success"]


def test_a_context_nobody_made_runs_jobs_and_is_not_made_by_it(plain_mist):
    gateway = plain_mist(mist={"compatibility": "mist-1.1"}, **{"context-defaults": {"runtime": "plain"}})
    job = gateway.wait(gateway.submit("typed", {"i": 1}, context="anything"))
    assert job["status"] == "finished" and job["context"] == "anything" and job["workerId"].startswith("anything_")
    assert "anything" not in json.dumps(gateway.get("/v2/api/contexts").json())
    assert gateway.get("/v2/api/contexts/anything").status_code == 404
