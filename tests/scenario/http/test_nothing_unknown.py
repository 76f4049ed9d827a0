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
    assert "the request to /v2/api/functions said without effect: owner, %C3%BC" in gateway.stderr()


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
