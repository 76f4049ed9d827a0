# SPDX-License-Identifier: Apache-2.0
"""CloudEvents 1.0 over HTTP: requests that are events, and answers of the same kind."""
import base64
import json

import pytest

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def gateway(plain_mist):
    return plain_mist()


def event(id, **more):
    return {"specversion": "1.0", "id": id, "source": "/tests", "type": "test.request", **more}


def structured(gateway, path, body, **params):
    return gateway.post(path, data=json.dumps(body), params=params,
                        headers={"Content-Type": "application/cloudevents+json; charset=UTF-8"})


def test_a_structured_event_is_answered_with_one(gateway):
    r = structured(gateway, "/v2/api/functions/typed/jobs", event("1", data={"i": 7}), force="true")
    assert r.status_code == 200 and r.headers["Content-Type"].startswith("application/cloudevents+json")
    answer = r.json()
    job = r.headers["Location"].rsplit("/", 1)[1]
    assert answer["specversion"] == "1.0" and answer["type"] == "io.mist.job.finished" and answer["subject"] == job
    assert answer["data"]["result"]["i"] == 7 and answer["data"]["event"] == "finished" and answer["id"] == f"{job}:finished"


def test_the_data_of_an_event_may_be_in_base64(gateway):
    coded = base64.b64encode(b'{"i": 7}').decode()
    for id, more in ("1", {}), ("2", {"data": None}):
        r = structured(gateway, "/v2/api/functions/typed/jobs", event(id, data_base64=coded, **more), force="true")
        assert r.json()["data"]["result"]["i"] == 7


def test_a_binary_event_is_answered_with_headers(gateway):
    headers = {"ce-specversion": "1.0", "ce-id": "2", "ce-source": "/tests", "ce-type": "t", "Content-Type": "application/json"}
    r = gateway.post("/v2/api/functions/typed/jobs", data='{"i": 3}', headers=headers)
    assert r.status_code == 200 and r.headers["ce-type"] == "io.mist.job.initialized"
    job = r.json()["id"]
    assert r.headers["ce-subject"] == job and r.headers["ce-id"] == f"{job}:initialized" and r.json()["event"] == "initialized"
    assert gateway.wait(job)["jobResult"]["i"] == 3


def test_one_address_takes_events_for_every_function(gateway, tmp_path):
    ran = tmp_path / "ran"
    body = event("3", subject="record", data={"path": str(ran), "n": 5}, traceparent=TRACE)
    answers = [structured(gateway, "/v2/api/events", body, force="true").json() for _ in range(3)]
    assert [a["data"]["result"] for a in answers] == [5, 5, 5] and answers[0]["traceparent"] == TRACE
    assert len(ran.read_text().splitlines()) == 1, "an event that comes again, by source and id, runs once"
    answer = structured(gateway, "/v2/api/events", event("4", data={"functionId": "typed", "parameters": {"i": 1}}), force="true")
    assert answer.json()["data"]["result"]["i"] == 1


@pytest.mark.parametrize("body,words", [
    ({**event("5", subject="typed", data={"i": 1}), "specversion": "0.3"}, "specversion"),
    ({k: v for k, v in event("6", subject="typed", data={"i": 1}).items() if k != "source"}, "source: a CloudEvent must have"),
    ({k: v for k, v in event("6", subject="typed", data={"i": 1}).items() if k != "type"}, "type: a CloudEvent must have"),
    (event("7", subject="typed", data=[1]), "expected a JSON object"),
    (event("8", data={"i": 1}), "functionId"),
    (event("9", subject="typed", data={"i": "x"}), "Invalid field i"),
    (event("11", subject="typed", data={"i": 1}, data_base64="e30="), "data_base64: a CloudEvent has it or data, not both"),
    (event("12", subject="typed", data_base64="?"), "data_base64: expected JSON in base64"),
    (event("13", subject="typed", data_base64="eyJpIjo="), "data_base64 is no JSON"),
])
def test_what_is_wrong_with_an_event_is_said(gateway, body, words):
    r = structured(gateway, "/v2/api/events", body)
    assert r.status_code == 400 and words in r.json()["detail"]


@pytest.mark.parametrize("kind", ["application/cloudevents+jsonx", "application/cloudevents+json.x", "application/cloudevents-batch+json",
                                  "application/cloudevents"])
def test_another_type_of_content_is_no_event(gateway, kind):
    """As over MQTT and Kafka (tests/unit/test-message.c): the body is the arguments, and the answer is that of a call."""
    sent = {"headers": {"Content-Type": kind}, "params": {"force": "true"}}
    answer = gateway.post("/v2/api/functions/typed/jobs", data='{"i": 1}', **sent)
    assert answer.status_code == 200 and answer.json()["success"] and answer.headers["Content-Type"] == "application/json"
    answer = gateway.post("/v2/api/functions/typed/jobs", data=json.dumps(event("1", data={"i": 1})), **sent)
    assert answer.status_code == 400 and "specversion" in answer.json()["detail"]
    answer = gateway.post("/v2/api/events", data=json.dumps(event("1", subject="typed", data={"i": 1})), **sent)
    assert answer.status_code == 400 and "expected a CloudEvent" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/cloudevents+json", "Application/CloudEvents+JSON ; charset=utf-8"])
def test_the_type_of_an_event_may_have_parameters(gateway, kind):
    answer = gateway.post("/v2/api/events", data=json.dumps(event("1", subject="typed", data={"i": 1})), headers={"Content-Type": kind},
                          params={"force": "true"})
    assert answer.status_code == 200 and answer.json()["data"]["result"]["i"] == 1


def test_only_events_are_taken_at_the_events_address(gateway):
    r = gateway.post("/v2/api/events", json={"i": 1})
    assert r.status_code == 400 and "CloudEvent" in r.json()["detail"]
    assert structured(gateway, "/v2/api/events", event("10", subject="none", data={})).status_code == 404
