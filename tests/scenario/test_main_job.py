# SPDX-License-Identifier: Apache-2.0
"""The main line: a request over HTTP, a job, a worker, a result."""

import re

import pytest

UUID7 = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")


@pytest.fixture
def gateway(plain_mist):
    return plain_mist()


def test_a_synchronous_call_answers_with_the_result(gateway):
    assert gateway.run("typed", {"i": 3}) == {"success": True, "payload": {"i": 3, "s": "x", "l": None, "b": False}, "errors": []}


def test_force_is_a_boolean_in_any_case(gateway):
    for word in "true", "True", "YES", "on":
        assert gateway.post("/v2/api/functions/typed/jobs", params={"force": word}, json={"i": 1}).json()["success"]
    for word in "false", "No", "OFF":
        assert "id" in gateway.post("/v2/api/functions/typed/jobs", params={"force": word}, json={"i": 1}).json()


def test_a_failed_run_is_a_200_with_success_false(gateway):
    answer = gateway.run("unencodable", {})
    assert answer["success"] is False and answer["payload"] == {}
    assert "rows[0]" in answer["errors"][0]


def test_content_type_does_not_matter(gateway):
    r = gateway.post("/v2/api/functions/typed/jobs?force=true", data='{"i": 1}',
                     headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert r.status_code == 200 and r.json()["success"]


def test_an_asynchronous_job_goes_through_mists_states(gateway):
    job_id = gateway.submit("typed", {"i": 4}, externalId="mine")
    assert UUID7.match(job_id)
    job = gateway.wait(job_id)
    assert job["status"] == "finished"
    assert job["jobResult"] == {"i": 4, "s": "x", "l": None, "b": False}
    assert job["function"] == "typed" and job["context"] == "plain" and job["source"] == "Http" and job["externalId"] == "mine"
    assert job["params"]["arguments"] == {"i": 4} and job["params"]["action"] == "execute" and job["params"]["className"] == "typed"
    assert job["params"]["filePath"].endswith("functions.py")
    assert job["createTime"] <= job["startTime"] <= job["endTime"]
    assert job["workerId"].startswith("plain_")


def test_a_finished_job_may_have_no_result_to_speak_of(gateway):
    assert gateway.run("nothing", {}) == {"success": True, "payload": None, "errors": []}
    assert gateway.wait(gateway.submit("nothing", {}))["jobResult"] is None


def test_results_are_json_whatever_python_returns(gateway):
    assert gateway.run("odd_values", {})["payload"] == {
        "nan": None, "inf": None, "date": "2020-02-29", "decimal": 1.5, "set": [1], "tuple": [1, 2], "none": None}


def test_what_a_synchronous_call_was_told_is_in_history_at_once(gateway):
    for i in range(20):
        gateway.run("typed", {"i": i})
        newest = gateway.get("/v2/api/jobs?limit=1").json()[0]
        assert newest["params"]["arguments"] == {"i": i} and newest["status"] == "finished"


def test_jobs_are_listed_newest_first_and_filtered(gateway):
    good = [gateway.submit("typed", {"i": i}) for i in range(5)]
    bad = gateway.submit("unencodable", {})
    for job_id in good + [bad]:
        gateway.wait(job_id)
    page = gateway.get("/v2/api/jobs?paginate=true&limit=2&offset=1").json()
    assert page["total"] == 6 and [j["jobId"] for j in page["jobs"]] == [good[4], good[3]]
    assert [j["jobId"] for j in gateway.get("/v2/api/jobs?status=failed").json()] == [bad]
    assert len(gateway.get("/v2/api/jobs?status=failed&status=finished").json()) == 6
    assert [j["jobId"] for j in gateway.get("/v2/api/functions/unencodable/jobs").json()] == [bad]
    assert gateway.get("/v2/api/functions/no-such/jobs").json() == []
    worker = gateway.job(bad)["workerId"]
    assert bad in [j["jobId"] for j in gateway.get(f"/v2/api/workers/{worker}/jobs").json()]


def test_the_log_of_a_job_has_its_life_and_its_lines(gateway):
    job_id = gateway.submit("chatty", {"lines": 2})
    gateway.wait(job_id)
    lines = gateway.logs(job_id).splitlines()
    assert all(re.match(r"^(DEBUG|INFO|WARN|ERROR) \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} \[" + job_id + r"\] ", line) for line in lines)
    text = [line.split("] ", 1)[1] for line in lines]
    assert text[0] == "QueuedEvent" and text[1].startswith("WorkerAssigned(workerId=plain_") and text[2] == "StartedEvent"
    assert text[3:5] == ["line 0", "line 1"] and "that was all" in text[5] and lines[5].startswith("WARN ")
    assert text[-1] == "FinishedEvent" and len(text) == 7, "how far it is, is no line of the log"


def test_a_failure_is_in_the_log_with_its_trace(gateway):
    job_id = gateway.submit("unencodable", {})
    assert gateway.wait(job_id)["status"] == "failed"
    assert "FailedEvent with Error: " in gateway.logs(job_id)


def test_a_job_that_logged_nothing_has_its_life_in_the_log(gateway):
    job_id = gateway.submit("typed", {"i": 1})
    job = gateway.wait(job_id)
    r = gateway.get(f"/v2/api/jobs/{job_id}/logs")
    assert r.status_code == 200 and r.headers["Content-Type"] == "text/plain; charset=UTF-8"
    heads, said = zip(*(line.split(f" [{job_id}] ") for line in r.text.splitlines()))
    assert said == ("QueuedEvent", f"WorkerAssigned(workerId={job['workerId']})", "StartedEvent", "FinishedEvent")
    assert all(re.fullmatch(r"INFO \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", head) for head in heads)


def test_functions_show_mists_type_tree(gateway):
    functions = {f["name"]: f for f in gateway.get("/v2/api/functions").json()}
    f = functions["typed"]
    assert f["lang"] == "python" and f["defaultContext"] == "plain" and f["className"] == "typed" and f["tags"] == []
    assert f["execute"]["i"] == {"type": "MInt"}
    assert f["execute"]["s"] == {"type": "MOption", "args": [{"type": "MString"}]}
    assert f["execute"]["l"] == {"type": "MOption", "args": [{"type": "MList", "args": [{"type": "MDouble"}]}]}
    assert gateway.get("/v2/api/functions/typed").json() == f
    for name, why in ("missing", "cannot be read: No such file or directory"), ("broken", "cannot be loaded"), ("no-such-name", "no_such_name"):
        shown = functions[name]
        assert shown == gateway.get(f"/v2/api/functions/{name}").json() and why in shown["error"]
        assert (shown["lang"], shown["execute"], shown["tags"], shown["defaultContext"]) == ("python", {}, [], "plain")
    for _ in range(2):
        gateway.get("/v2/api/functions")
    assert gateway.stderr().count("function missing: its artifact /no/such/artifact.py cannot be read") == 1
    assert gateway.stderr().count("function broken cannot be loaded") == 1


def test_contexts_have_mists_members(gateway):
    contexts = {c["name"]: c for c in gateway.get("/v2/api/contexts").json()}
    default = contexts["default"]
    assert default["downtime"] == "3600s" and default["maxJobs"] == 1 and default["workerMode"] == "exclusive"
    assert default["streamingDuration"] == "1s" and default["maxConnFailures"] == 5 and default["precreated"] is False
    assert default["runOptions"] == "" and default["sparkConf"] == {}
    assert gateway.get("/v2/api/contexts/plain").json()["workerMode"] == "shared"
    assert gateway.get("/v2/api/contexts/none").status_code == 404


def test_workers_are_listed_and_stopped(gateway):
    gateway.run("typed", {"i": 1})
    [worker] = gateway.get("/v2/api/workers").json()
    assert worker["name"].startswith("plain_") and worker["initInfo"]["maxJobs"] == 4 and worker["initInfo"]["downtime"] == "3600s"
    assert gateway.get(f"/v2/api/workers/{worker['name']}").json() == worker
    assert gateway.delete(f"/v2/api/workers/{worker['name']}").status_code == 200
    gateway.until(lambda: gateway.get("/v2/api/workers").json() == [])
    assert gateway.delete(f"/v2/api/workers/{worker['name']}").status_code == 400
    assert gateway.get(f"/v2/api/workers/{worker['name']}").status_code == 404
    assert gateway.run("typed", {"i": 1})["success"], "the context starts another one"


def test_status_health_and_metrics(gateway):
    status = gateway.get("/v2/api/status").json()
    assert re.match(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}$", status["started"])
    assert set(status) >= {"mistVersion", "sparkVersion", "gc", "memory", "threads", "javaVersion"}
    assert "commited" in status["memory"]["heap"]
    assert gateway.get("/health/live").status_code == 200 and gateway.get("/health/ready").status_code == 200
    gateway.run("typed", {"i": 1})
    metrics = gateway.get("/metrics").text
    assert 'mist_job_events_total{event="finished"} 1\n' in metrics


def test_head_is_answered_wherever_get_is(gateway):
    r = gateway.session.head(gateway.url + "/v2/api/status")
    assert r.status_code == 200 and r.text == "" and int(r.headers["Content-Length"]) > 0


def test_an_edited_artifact_is_used_by_the_next_job(plain_mist, tmp_path):
    path = tmp_path / "edited.py"
    path.write_text("def f(ctx):\n    return 1\n")
    gateway = plain_mist(functions={"f": {"path": str(path), "class-name": "f", "context": "plain"}})
    assert gateway.run("f", {})["payload"] == 1
    path.write_text("def f(ctx, x: int):\n    return x + 1\n")
    gateway.until(lambda: gateway.post("/v2/api/functions/f/jobs?force=true", json={}).status_code == 400)
    assert gateway.run("f", {"x": 4})["payload"] == 5


def test_a_large_result_arrives_whole(gateway):
    assert gateway.run("big", {"n": 20_000_000})["payload"] == "x" * 20_000_000


def test_large_parameters_reach_the_worker_at_once(plain_mist):
    # Longer than any socket buffer: the rest must follow as the worker reads. With heartbeats this far apart nothing else would carry it on.
    gateway = plain_mist(workers={"heartbeat": "1h"})
    text = "y" * 7_000_000
    assert gateway.run("typed", {"i": 1, "s": text})["payload"]["s"] == text
