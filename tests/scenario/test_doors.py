# SPDX-License-Identifier: Apache-2.0
"""The same stories over HTTP, MQTT and Kafka; and jobs that came by one door, followed and cancelled by the others."""
import json

import pytest

from support.doors import NAMES, three_doors

FUNCTIONS = ("typed", "wait_for", "record", "unencodable", "die", "whoami", "none", "broken", "nothing")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def house(plain_mist, mosquitto, kafka, prefix):
    return three_doors(plain_mist, mosquitto, kafka, prefix, FUNCTIONS, contexts={"one": {"runtime": "plain"}})


@pytest.fixture(params=NAMES)
def door(house, request):
    return house[1][request.param]


@pytest.fixture
def gateway(house):
    return house[0]


def test_a_call_ends_with_its_result(gateway, door):
    outcome = door.call("typed", {"i": 7, "s": "ÄÖ", "l": [1.5]})
    assert outcome.event == "finished" and outcome.result == {"i": 7, "s": "ÄÖ", "l": [1.5], "b": False}
    assert gateway.job(outcome.job)["source"] == door.source


def test_a_call_that_fails_says_why(door):
    outcome = door.call("unencodable", {})
    assert outcome.event == "failed" and "rows[0]" in outcome.error


@pytest.mark.parametrize("function,params,words", [
    ("typed", {"i": "x"}, "Invalid field i: Invalid type: expected Int"),
    ("typed", {}, "Invalid field i"),
    ("none", {}, "there is no function none"),
    ("typed", [1], "expected a JSON object with the arguments of the function, got an array"),
    ("typed", b"{", "the arguments of the function, is no JSON object"),
    ("broken", {}, "broken"),
    ("typed", {"i": 1, "context": "palin"}, "context: there is no context palin; did you mean plain? There are: default, one, plain"),
])
def test_every_door_refuses_with_the_same_sentence(house, function, params, words):
    context = {"context": params.pop("context")} if isinstance(params, dict) and "context" in params else {}
    said = [house[1][name].call(function, params, **context) for name in NAMES]
    assert {outcome.event for outcome in said} == {"refused"}
    assert len({outcome.error for outcome in said}) == 1 and words in said[0].error, said


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b'{"i": 1, "i": 2}', b"[" * 200])
def test_what_is_no_json_is_refused_and_the_next_is_served(door, payload):
    assert door.call("typed", payload).event == "refused"
    assert door.call("typed", {"i": 1}).event == "finished"


def test_what_goes_with_a_call_reaches_the_job(gateway, door):
    outcome = door.call("typed", {"i": 1}, externalId="mine", context="plain", priority=5, startTimeout="1m", traceparent=TRACE)
    job = gateway.job(outcome.job)
    assert job["externalId"] == "mine" and job["context"] == "plain"


@pytest.mark.parametrize("name,value", [("priority", "high"), ("startTimeout", "soon"), ("context", "../x")])
def test_what_is_wrong_with_it_is_said(door, name, value):
    outcome = door.call("typed", {"i": 1}, **{name: value})
    assert outcome.event == "refused" and name in outcome.error


def test_the_same_key_is_the_same_job(door, tmp_path):
    ran = tmp_path / "ran"
    outcomes = [door.call("record", {"path": str(ran), "n": 3}, idempotency_key="k") for _ in range(3)]
    assert [o.result for o in outcomes] == [3, 3, 3] and len({o.job for o in outcomes}) == 1
    assert len(ran.read_text().splitlines()) == 1
    other = door.call("record", {"path": str(ran), "n": 4}, idempotency_key="k")
    assert other.event == "refused" and "another request" in other.error


def test_a_key_of_one_door_is_known_at_the_others(house, tmp_path):
    ran = tmp_path / "ran"
    outcomes = [house[1][name].call("record", {"path": str(ran), "n": 3}, idempotency_key="k") for name in NAMES]
    assert len({o.job for o in outcomes}) == 1 and len(ran.read_text().splitlines()) == 1


def test_a_start_timeout_ends_a_job_that_waits(gateway, door, tmp_path):
    blockers = [door.submit("wait_for", {"path": str(tmp_path / "flag")}, context="one") for _ in range(2)]
    outcome = door.call("typed", {"i": 1}, context="one", startTimeout="200ms")
    assert outcome.event == "cancelled"
    for job_id in blockers:
        gateway.cancel(job_id)


def test_a_lost_worker_fails_its_job(door, tmp_path):
    outcome = door.call("die", {"path": str(tmp_path / "died")})
    assert outcome.event == "failed" and "Executor was terminated" in outcome.error


@pytest.mark.parametrize("other", NAMES)
def test_a_job_is_followed_by_any_door(gateway, door, house, other, tmp_path):
    flag = tmp_path / "flag"
    job_id = door.submit("wait_for", {"path": str(flag)})
    flag.write_text("")
    names = house[1][other].events(job_id)
    assert names[0] == "initialized" and names[-1] == "finished"
    assert [n for n in names if n in ("initialized", "queued", "worker-assigned", "started", "finished")] == \
        ["initialized", "queued", "worker-assigned", "started", "finished"]


@pytest.mark.parametrize("other", NAMES)
def test_a_job_is_cancelled_by_any_door(gateway, door, house, other, tmp_path):
    job_id = door.submit("wait_for", {"path": str(tmp_path / "never")})
    gateway.until(lambda: gateway.job(job_id)["status"] == "started")
    house[1][other].cancel(job_id)
    assert gateway.wait(job_id)["status"] == "cancelled"


def test_a_restart_loses_nothing(gateway, door, tmp_path):
    flag = tmp_path / "flag"
    job_id = door.submit("wait_for", {"path": str(flag)})
    gateway.until(lambda: gateway.job(job_id)["status"] == "started")
    gateway.kill9()
    gateway.restart()
    flag.write_text("")
    assert gateway.wait(job_id)["status"] == "finished"
    if door.source != "Http":
        assert door.events(job_id)[-1] == "finished"


def test_big_results_come_whole(gateway, door):
    outcome = door.call("typed", {"i": 1, "s": "x" * 500_000})
    assert outcome.event == "finished" and len(json.dumps(outcome.result)) > 500_000
