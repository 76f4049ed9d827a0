# SPDX-License-Identifier: Apache-2.0
"""What messages say over MQTT: CloudEvents, topics that are used both ways, and refusals."""
import base64
import json
import sqlite3
import uuid

import pytest

from scenario.test_mqtt import Requester, event, transport, up
from support.mistd import until

STRUCTURED = "application/cloudevents+json"


@pytest.fixture
def mist(c_mist, mosquitto, prefix):
    return lambda **settings: up(c_mist(transports=[transport(mosquitto, prefix, receivers=1, **settings)]))


@pytest.fixture
def requester(mosquitto, prefix):
    return Requester(mosquitto, prefix)


def cloud_event(**more):
    return {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/test", "type": "run", **more}


def ask_in_one_object(client, topic, function):
    client.publish(topic, cloud_event(subject=function, data={"text": "x"}), content_type=STRUCTURED)
    return client.wait_one(lambda m: m.json().get("type") == "io.mist.job.finished").json()["data"]


def ask_in_properties(client, topic, function):
    client.publish(topic, {"text": "x"}, user=cloud_event(subject=function), content_type="application/json")
    return client.wait_one(lambda m: m.user.get("type") == "io.mist.job.finished").json()


@pytest.mark.parametrize("ask", [ask_in_one_object, ask_in_properties])
def test_one_topic_may_serve_cloud_events_both_ways(mist, mosquitto, prefix, ask):
    gateway = mist(**{"publish-topic": f"{prefix}/in"})
    client = mosquitto.subscribe(f"{prefix}/in")
    for count in 1, 2:  # what was told of the first comes back before the second request comes
        assert ask(client, f"{prefix}/in", "echo")["result"] == "x"
        client.clear()
        assert len(gateway.get("/v2/api/jobs").json()) == count
    assert 'mist_transport_requests_total{transport="mqtt",outcome="refused"} 0' in gateway.get("/metrics").text


def test_data_in_base64_is_data(mist, requester):
    mist()
    coded = base64.b64encode(json.dumps({"text": "ä"}).encode()).decode()
    assert requester.call("echo", cloud_event(data_base64=coded), content_type=STRUCTURED).json()["data"]["result"] == "ä"
    both = requester.call("echo", cloud_event(data_base64=coded, data={"text": "ä"}), content_type=STRUCTURED)
    assert both.json()["data"]["error"] == "data_base64: a CloudEvent has it or data, not both"


def test_a_request_with_a_member_that_events_have_is_one(mist, requester, prefix):
    mist()
    mark = requester.send(f"{prefix}/in", {"functionId": "echo", "parameters": {"text": "x"}, "event": "hello"})
    assert requester.answers(mark)[0].json()["result"] == "x"


def test_each_refusal_has_an_id_of_its_own(mist, requester):
    mist()
    for _ in range(60):
        requester.client.publish_soon(f"{requester.prefix}/functions/nobody/jobs", b"{}", response_topic=requester.topic)
    refusals = requester.client.wait(60)
    assert {event(m) for m in refusals} == {"failed"} and len({m.user["event-id"] for m in refusals}) == 60


def nested(depth):
    """A value of that many arrays, one inside the other."""
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize("parameters, says", [({"text": "x"}, {"success": True, "payload": "x", "errors": []}),
                                              ({"text": nested(62)}, {"success": False})])
def test_a_request_as_deep_as_any_may_be_is_answered_with_itself(mist, mosquitto, prefix, parameters, says):
    """The answer of the first generation wraps the request, so what is kept is deeper than what came."""
    gateway = mist()
    client = mosquitto.subscribe(f"{prefix}/mine")
    request = {"route": "echo", "parameters": parameters, "more": nested(63)}
    client.publish(f"{prefix}/in", request, response_topic=f"{prefix}/mine", correlation_data=b"deep")
    answer = client.wait_one().json()
    assert answer["request"] == request and answer.items() >= says.items()
    gateway.kill9()
    gateway.restart()
    up(gateway)
    assert Requester(mosquitto, prefix).call("echo", {"text": "after"}).json()["result"] == "after"


def test_a_reply_target_that_cannot_be_read_costs_its_answer_only(mist, mosquitto, prefix):
    """Of a job that is open, and of one that has ended and is owed."""
    gateway = mist()
    client = mosquitto.subscribe(f"{prefix}/mine")
    for n in 1, 2, 3:
        client.publish(f"{prefix}/functions/sleep/jobs", {"ms": 600_000}, response_topic=f"{prefix}/mine", user={"externalId": str(n)})
    until(lambda: len(gateway.get("/v2/api/jobs").json()) == 3)
    jobs = {job["externalId"]: job["jobId"] for job in gateway.get("/v2/api/jobs").json()}
    gateway.kill9()
    with sqlite3.connect(gateway.data / "mist.db") as db:
        db.execute("UPDATE job SET reply_to = 'R{\"topic\":' WHERE external_id = '1'")
        db.execute("UPDATE job SET reply_to = 'Q{}', state = 5, owed = 1, ended_ms = created_ms WHERE external_id = '2'")
    db.close()
    gateway.start()
    up(gateway)
    for n in "1", "3":
        gateway.cancel(jobs[n])
        gateway.wait(jobs[n], "cancelled")
    assert client.wait_one(lambda m: m.user["externalId"] == "3").user["event"] == "cancelled"
    assert gateway.job(jobs["2"])["status"] == "finished"
    rows = until(lambda: len(found := gateway.get("/v2/api/store/unreadable").json()["unreadable"]) == 2 and found)
    assert {(row["kind"], row["key"]) for row in rows} == {("reply-target", f"{jobs[n]} mqtt") for n in "12"}
    assert not [m for m in client.messages if m.user["externalId"] != "3"]
    gateway.restart()
    up(gateway)
    assert gateway.get("/v2/api/store/unreadable").json()["total"] == 2, "they are found once"
