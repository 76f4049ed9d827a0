# SPDX-License-Identifier: Apache-2.0
"""What a person writes to the gateway that it does not know is refused with the name that was probably meant; what clients of
Mist are known to send is taken, and named in the answer."""
import pytest


@pytest.fixture(scope="module")
def gateway():
    from support import gateways

    made = gateways.c_workers(mist={"log-level": "debug"})
    yield made
    made.close()


def ignored(answer):
    assert answer.status_code < 300, answer.text
    return answer.headers.get("Mist-Ignored")


def function(**more):
    return {"name": "f", "path": "", "className": "echo", "defaultContext": "example", **more}


def test_members_of_a_function_without_effect_are_named(gateway):
    path = "/v2/api/functions"
    assert ignored(gateway.post(path, json=function())) is None
    assert ignored(gateway.put(path, json=function(retries=1))) is None
    shown = gateway.get(f"{path}/f").json()
    assert ignored(gateway.put(path, json=shown)) == "lang, execute, tags"
    assert ignored(gateway.post(path, params={"force": "true"}, json=function(owner="me", **{"ü": 1}))) == "owner, %C3%BC"
    assert ignored(gateway.delete(f"{path}/f")) is None
    assert " to /v2/api/functions said without effect: owner, %C3%BC" in gateway.stderr()


def test_members_of_a_context_without_effect_are_named(gateway):
    path = "/v2/api/contexts"
    assert ignored(gateway.post(path, json={"name": "c", "maxParallelJobs": 3})) is None
    whole = gateway.get(f"{path}/c").json()
    assert whole["maxJobs"] == 3
    assert ignored(gateway.put(f"{path}/c", json=whole)) is None
    assert ignored(gateway.put(f"{path}/c", json={**whole, "maxParallelJobs": 9, "maxJob": 1})) == "maxParallelJobs, maxJob"
    assert gateway.get(f"{path}/c").json()["maxJobs"] == 3
    assert ignored(gateway.post(path, json={"name": "c", "maxJobs": None, "maxParallelJobs": 4})) is None
    assert gateway.get(f"{path}/c").json()["maxJobs"] == 4
    gateway.delete(f"{path}/c")


def test_members_of_runs_without_effect_are_named(gateway):
    run = {"fakeName": "f", "path": "", "className": "echo", "context": "example", "parameters": {"text": "hi"}}
    for force in "false", "true":
        answer = gateway.post("/v2/hidden/devrun", params={"force": force}, json={**run, "workerId": "w", "runSettings": {}})
        assert ignored(answer) == "workerId, runSettings"
    first = gateway.post("/jobs", json={"path": "", "className": "echo", "namespace": "example", "parameters": {"text": ""}, "context": "x"})
    assert ignored(first) == "context"


def test_what_was_ignored_is_named_with_a_refusal_too(gateway):
    run = {"fakeName": "f", "path": "", "className": "none", "context": "example", "workerId": "w"}
    answer = gateway.post("/v2/hidden/devrun", json=run)
    assert answer.status_code == 400 and answer.headers["Mist-Ignored"] == "workerId"


KNOWN = "There are: default, example, other"


@pytest.fixture(scope="module")
def strict():
    """A function that names a context which does not exist, beside good ones."""
    from support import gateways

    functions = {**gateways.c_functions(), "lost": {"class-name": "noop", "context": "exmaple"}}
    made = gateways.c_workers(functions=functions, contexts={"other": {"runtime": "example"}}, **{"context-defaults": {"runtime": "example"}})
    yield made
    made.close()


def refusal(answer):
    assert answer.status_code == 400, (answer.status_code, answer.text)
    return answer.json()["detail"]


def test_a_request_for_an_unknown_context_is_refused_with_those_there_are(strict):
    answer = strict.post("/v2/api/functions/noop/jobs?context=exampel", json={})
    assert refusal(answer) == f"context: there is no context exampel; did you mean example? {KNOWN}"
    assert refusal(strict.post("/v2/api/functions/noop/jobs?context=zzz", json={})) == f"context: there is no context zzz. {KNOWN}"
    run = {"fakeName": "f", "path": "", "className": "noop", "context": "otter"}
    assert "did you mean other?" in refusal(strict.post("/v2/hidden/devrun", json=run))
    assert strict.get("/v2/api/jobs").json() == []
    assert strict.run("noop", {}, context="other")["success"]


def test_a_function_must_name_a_context_that_exists(strict):
    path, body = "/v2/api/functions", {"name": "f", "path": "", "className": "noop", "defaultContext": "exampl"}
    for method in strict.post, strict.put:
        if method == strict.put:
            assert strict.post(path, json={**body, "defaultContext": "example"}).status_code == 200
        assert refusal(method(path, json=body)) == f"defaultContext: there is no context exampl; did you mean example? {KNOWN}"
    strict.delete(f"{path}/f")
    assert strict.post(path, params={"force": True}, json=body).status_code == 200  # which checks nothing
    said = refusal(strict.post(f"{path}/f/jobs", json={}))
    assert said == f"function f: its context: there is no context exampl; did you mean example? {KNOWN}"
    assert strict.delete(f"{path}/f").status_code == 200
    assert "its context: there is no context exmaple" in refusal(strict.post(f"{path}/lost/jobs?context=example", json={}))


def test_routes_of_the_first_generation_make_contexts_on_the_spot(strict):
    body = {"path": "", "className": "noop", "namespace": "made-up", "parameters": {}}
    assert strict.post("/jobs", json=body).json()["success"]
    assert strict.post("/api/noop?context=made-up-too", json={}).json()["success"]
    assert strict.post("/api/lost", json={}).json()["success"]
    names = {job["context"] for job in strict.get("/v2/api/jobs").json()}
    assert {"made-up", "made-up-too", "exmaple"} <= names
    assert strict.get("/v2/api/contexts/made-up").status_code == 404


def test_unknown_contexts_run_with_the_defaults_where_that_is_set(c_mist):
    defaults = {"context-defaults": {"runtime": "example"}}
    gateway = c_mist(mist={"compatibility": "mist-1.1"}, **defaults)
    job = gateway.wait(gateway.submit("noop", {}, context="anything"))
    assert job["status"] == "finished" and job["context"] == "anything"
    body = {"name": "f", "path": "", "className": "noop", "defaultContext": "nowhere"}
    assert gateway.post("/v2/api/functions", json=body).status_code == 200 and gateway.run("f")["success"]
    gateway.reconfigure(mist={"unknown-contexts": "refuse"})  # what is written wins
    gateway.until(lambda: gateway.post("/v2/api/functions/noop/jobs?context=anything", json={}).status_code == 400)
    assert "its context: there is no context nowhere" in refusal(gateway.post("/v2/api/functions/f/jobs", json={}))


def test_the_jobs_of_a_context_that_was_deleted_go_on(c_mist):
    """And after a restart, where its settings are not known any more, with those of context-defaults; new ones are refused."""
    gateway = c_mist(**{"context-defaults": {"runtime": "example"}})
    context = {"name": "short", "runtime": "example", "workerMode": "shared", "maxJobs": 1}
    assert gateway.post("/v2/api/contexts", json=context).status_code == 200
    function = {"name": "f", "path": "", "className": "sleep", "defaultContext": "short"}
    assert gateway.post("/v2/api/functions", json=function).status_code == 200
    running = gateway.submit("f", {"ms": 600_000})
    gateway.wait(running, "started")
    queued = [gateway.submit("f", {"ms": 0}) for _ in range(2)]
    assert gateway.delete("/v2/api/contexts/short").status_code == 200
    assert "its context: there is no context short" in refusal(gateway.post("/v2/api/functions/f/jobs", json={"ms": 0}))
    gateway.restart()
    gateway.cancel(running)
    for job_id in queued:
        assert gateway.wait(job_id)["status"] == "finished"
        assert "WARN" in gateway.logs(job_id) and "the context short does not exist any more" in gateway.logs(job_id)
