# SPDX-License-Identifier: Apache-2.0
"""Requests and answers by MQTT, against a real mosquitto."""
import json
import time
import uuid

import pytest

from support.mistd import PATIENCE, until
from support.old_broker import OldBroker

FINAL = ("finished", "failed", "cancelled")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def transport(broker, prefix, **settings):
    """Its entry in `transports`, with Mist's two topics."""
    return {"type": "mqtt", "url": broker.url, "prefix": prefix, "subscribe-topic": f"{prefix}/in", "publish-topic": f"{prefix}/out",
            **settings}


def up(gateway):
    return gateway.connected()


@pytest.fixture
def mist(c_mist, mosquitto, prefix):
    """Makes a gateway that is connected to the shared broker; its settings are those of the transport."""
    return lambda sections=(), **settings: up(c_mist(transports=[transport(mosquitto, prefix, **settings)], **dict(sections)))


class Requester:
    """Asks for functions with its own response topic, and tells answers apart by the correlation data."""

    def __init__(self, broker, prefix):
        self.prefix, self.topic = prefix, f"{prefix}/answers/{uuid.uuid4().hex}"
        self.client = broker.subscribe(self.topic)

    def ask(self, function, arguments, user=(), **properties):
        return self.send(f"{self.prefix}/functions/{function}/jobs", arguments, user, **properties)

    def send(self, topic, payload, user=(), **properties):
        """The correlation data, by which `answers` finds what belongs to it."""
        mark = uuid.uuid4().bytes + b"\0\xff"
        self.client.publish(topic, payload, user=user, response_topic=self.topic, correlation_data=mark, **properties)
        return mark

    def answers(self, mark, count=1, timeout=30):
        return self.client.wait(count, lambda m: m.properties.get("correlation_data") == mark, timeout)

    def call(self, function, arguments, user=(), **properties):
        return self.answers(self.ask(function, arguments, user, **properties))[0]

    def number_of_answers(self, mark):
        return sum(m.properties.get("correlation_data") == mark for m in self.client.messages)


@pytest.fixture
def requester(mosquitto, prefix):
    return Requester(mosquitto, prefix)


def event(message):
    return message.json()["event"]


def of_job(job_id, *names):
    return lambda m: m.payload.startswith(b"{") and m.json().get("id") == job_id and m.json().get("event") in names


# A topic for each function


def test_a_request_is_answered_on_its_response_topic(mist, requester):
    gateway = mist()
    user = {"externalId": "order 7", "traceparent": TRACE}
    answer = requester.call("echo", {"text": "ü"}, user, content_type="application/json")
    told = answer.json()
    assert (told["event"], told["result"]) == ("finished", "ü")
    assert answer.properties["content_type"] == "application/json" and answer.qos == 1 and not answer.retain
    assert answer.user == {"job-id": told["id"], "event": "finished", "event-id": f"{told['id']}:finished", "externalId": "order 7",
                           "traceparent": TRACE}
    job = gateway.job(told["id"])
    assert (job["status"], job["source"], job["externalId"]) == ("finished", "Async Mqtt", "order 7")


def test_the_outcome_is_the_only_answer_unless_all_events_are_asked_for(mist, requester):
    mist()
    mark = requester.ask("noop", {}, {"events": "all"})
    told = [event(m) for m in requester.answers(mark, 5)]
    assert told[0] == "initialized" and told[-1] == "finished" and "started" in told
    mark = requester.ask("noop", {})
    assert event(requester.answers(mark)[0]) == "finished"
    requester.call("noop", {})
    assert requester.number_of_answers(mark) == 1


def test_a_failure_is_told_as_one(mist, requester):
    mist()
    answer = requester.call("fail", {"message": "no such file"})
    assert event(answer) == "failed" and "no such file" in answer.json()["error"]


def test_a_requester_without_a_response_topic_follows_the_topics_of_the_job(mist, mosquitto, prefix):
    mist()
    old = mosquitto.subscribe(f"{prefix}/jobs/+/events", version=3)
    old.publish(f"{prefix}/functions/echo/jobs", {"text": "hello"})
    job_id = old.wait_one(lambda m: event(m) == "initialized").json()["id"]
    assert old.wait_one(of_job(job_id, *FINAL)).json()["result"] == "hello"
    told = [event(m) for m in old.messages]
    assert told == sorted(set(told), key=told.index) and told[-1] == "finished", "one event of each kind, the outcome last"


def test_the_outcome_is_told_on_the_topic_of_the_job_even_if_no_events_are(mist, mosquitto, prefix):
    mist(events="none")
    old = mosquitto.subscribe(f"{prefix}/jobs/+/events", version=3)
    old.publish(f"{prefix}/functions/echo/jobs", {"text": "hello"})
    assert event(old.wait_one()) == "finished"


def test_a_message_that_expires_does_not_start(mist, requester, prefix):
    gateway = mist({"contexts": {"example": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1}}})
    held = requester.ask("sleep", {"ms": 600_000}, {"events": "all"})
    job_id = requester.answers(held, 1)[0].json()["id"]
    gateway.wait(job_id, "started")
    late = requester.call("noop", {}, message_expiry=1)
    assert event(late) == "cancelled" and "startTime" not in gateway.job(late.json()["id"])
    waiting = requester.ask("noop", {}, {"startTimeout": "1h"}, message_expiry=1)
    gateway.cancel(job_id)
    assert event(requester.answers(waiting)[0]) == "finished", "a start timeout that is given is what counts"


def test_user_properties_say_how_a_job_is_run(mist, requester):
    gateway = mist()
    answer = requester.call("sleep", {"ms": 600_000}, {"performTimeout": "100 ms"})
    assert event(answer) == "cancelled"
    answer = requester.call("noop", {}, {"context": "example", "priority": "7"})
    assert gateway.job(answer.user["job-id"])["context"] == "example"
    answer = requester.call("noop", {}, {"priority": "high"})
    assert event(answer) == "failed" and answer.json()["error"].startswith("priority: ")


def test_a_request_with_a_known_idempotency_key_makes_no_second_job(mist, requester):
    mist()
    key = {"idempotency-key": uuid.uuid4().hex}
    first, second = requester.call("echo", {"text": "a"}, key), requester.call("echo", {"text": "a"}, key)
    assert first.json() == second.json() and first.user["event-id"] == second.user["event-id"]
    other = requester.call("echo", {"text": "b"}, key)
    assert event(other) == "failed" and "job-id" not in other.user


# Mist's two topics


@pytest.mark.parametrize("version", [5, 3])
def test_mists_messages_are_answered_on_its_topic(mist, mosquitto, prefix, version):
    mist()
    client = mosquitto.subscribe(f"{prefix}/out", version=version)
    client.publish(f"{prefix}/in", {"functionId": "echo", "parameters": {"text": "x"}, "externalId": "mine"})
    job_id = client.wait_one(lambda m: m.json().get("externalId") == "mine").json()["id"]
    assert client.wait_one(of_job(job_id, *FINAL)).json()["result"] == "x"
    told = [event(m) for m in client.messages if event(m) != "logs"]
    assert told == ["initialized", "queued", "worker-assigned", "started", "finished"]


def test_older_messages_are_answered_in_their_form(mist, mosquitto, prefix):
    mist()
    client = mosquitto.subscribe(f"{prefix}/out")
    client.publish(f"{prefix}/in", {"endpointId": "echo", "parameters": {"text": "x"}})
    assert client.wait_one(lambda m: event(m) == "finished").json()["result"] == "x"
    client.clear()
    request = {"route": "echo?serve", "parameters": {"text": "y"}, "externalId": "e"}
    client.publish(f"{prefix}/in", request)
    answer = client.wait_one(lambda m: "success" in m.json()).json()
    assert answer == {"success": True, "payload": "y", "errors": [], "request": request}


def test_one_topic_may_serve_both_ways(mist, mosquitto, prefix):
    gateway = mist(**{"publish-topic": f"{prefix}/in"})
    client = mosquitto.subscribe(f"{prefix}/in")
    client.publish(f"{prefix}/in", {"functionId": "noop"})
    client.wait_one(lambda m: m.json().get("event") == "finished")
    assert len(gateway.get("/v2/api/jobs").json()) == 1 and not any("error" in m.json() for m in client.messages)


def test_a_request_there_may_have_its_own_response_topic(mist, requester, prefix):
    mist()
    answer = requester.answers(requester.send(f"{prefix}/in", {"functionId": "echo", "parameters": {"text": "x"}}))[0]
    assert answer.json()["result"] == "x"


# Refusals


@pytest.mark.parametrize("function, arguments", [("echo", {}), ("echo", {"text": 1}), ("sleep", {"ms": "x"}), ("nobody", {})])
def test_a_refusal_says_what_http_says(mist, requester, mosquitto, prefix, function, arguments):
    gateway = mist()
    sentence = gateway.post(f"/v2/api/functions/{function}/jobs", json=arguments).json()["detail"]
    answer = requester.call(function, arguments, {"externalId": "e"})
    told = answer.json()
    assert (told["event"], told["error"], told["externalId"]) == ("failed", sentence, "e")
    client = mosquitto.subscribe(f"{prefix}/out")
    client.publish(f"{prefix}/in", {"functionId": function, "parameters": arguments, "externalId": "f"})
    told = client.wait_one(lambda m: m.json().get("externalId") == "f").json()
    assert (told["event"], told["error"]) == ("failed", sentence)


def test_a_full_queue_is_a_refusal(mist, requester):
    mist({"contexts": {"example": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1}}, "limits": {"queue": 1}})
    requester.ask("sleep", {"ms": 600_000}, {"events": "all"})
    requester.client.wait_one(lambda m: event(m) == "started")
    for _ in range(2):
        requester.ask("noop", {})
    assert "limits.queue" in requester.client.wait_one(lambda m: event(m) == "failed").json()["error"]


def test_a_function_whose_worker_does_not_start_is_a_refusal(mist, requester):
    lame = {"functions": {"lame": {"class-name": "f", "context": "lame"}, "noop": {"class-name": "noop", "context": "example"}},
            "contexts": {"lame": {"runtime": "lame"}, "example": {"runtime": "example", "worker-mode": "shared"}}}
    gateway = mist({**lame, "runtimes": {"lame": {"kind": "program", "command": "/no/such/program"}}})
    sentence = gateway.post("/v2/api/functions/lame/jobs", json={})
    assert sentence.status_code == 503
    assert requester.call("lame", {}).json()["error"] == sentence.json()["detail"]
    assert event(requester.call("noop", {})) == "finished"


POISON = {"empty": b"", "no-utf-8": b'{"text": "\xff"}', "no-json": b"{", "no-object": b"[]", "null": b"null", "a-nul": b"\0", "deep": b"[" * 5000,
          "twice": b'{"text": "a", "text": "b"}', "large": b'{"text": "' + b"x" * 10_000_000 + b'"}'}


@pytest.mark.parametrize("payload", POISON.values(), ids=POISON)
def test_a_bad_payload_is_answered_and_holds_up_nothing(mist, requester, mosquitto, prefix, payload):
    mist()
    common = mosquitto.subscribe(f"{prefix}/out")
    bad = requester.ask("echo", payload)
    common.publish(f"{prefix}/in", payload)
    assert requester.call("echo", {"text": "good"}).json()["result"] == "good"
    assert event(requester.answers(bad)[0]) == "failed"
    assert event(common.wait_one(lambda m: "error" in m.json())) == "failed"


def test_unknown_members_are_ignored_and_named(mist, mosquitto, prefix):
    gateway = mist({"mist": {"log-level": "debug"}})
    client = mosquitto.subscribe(f"{prefix}/out")
    client.publish(f"{prefix}/in", {"functionId": "noop", "runSettings": {"mode": "x", "contextId": None}, "more": None})
    end = client.wait_one(lambda m: event(m) == "finished")
    assert end.user["mist-ignored"] == "more, runSettings.mode"
    assert f"job {end.json()['id']} of function noop: its request said without effect: more, runSettings.mode" in gateway.stderr()


def test_a_response_topic_that_cannot_be_published_to_is_refused_elsewhere(mist, requester, mosquitto, prefix):
    mist()
    common = mosquitto.subscribe(f"{prefix}/out")
    mosquitto.pub(f"{prefix}/functions/noop/jobs", b"{}", response_topic=f"{prefix}/$x")
    mosquitto.pub(f"{prefix}/functions/noop/other", b"{}")
    assert event(common.wait_one(lambda m: event(m) in FINAL)) == "finished"
    assert event(requester.call("noop", {})) == "finished"


# Any job, any door


def test_a_running_job_is_cancelled_by_a_message(mist, requester, mosquitto, prefix):
    mist()
    mark = requester.ask("sleep", {"ms": 600_000}, {"events": "all"})
    job_id = requester.client.wait_one(lambda m: event(m) == "started").json()["id"]
    mosquitto.pub(f"{prefix}/jobs/{job_id}/cancel", b"any payload")
    assert requester.client.wait_one(of_job(job_id, *FINAL)).json()["event"] == "cancelled"
    assert requester.number_of_answers(mark) == len(requester.client.messages)


def test_a_job_is_cancelled_by_a_message_on_mists_topic(mist, mosquitto, prefix):
    gateway = mist()
    job_id = gateway.submit("sleep", {"ms": 600_000})
    gateway.wait(job_id, "started")
    mosquitto.pub(f"{prefix}/in", {"cancel": job_id})
    gateway.wait(job_id, "cancelled")


def test_cancelling_what_is_not_there_is_refused(mist, requester, prefix):
    mist()
    mark = requester.send(f"{prefix}/jobs/{uuid.uuid4()}/cancel", b"")
    answer = requester.answers(mark)[0]
    assert event(answer) == "failed" and answer.json()["error"].startswith("there is no job ")


def test_cancelling_what_has_ended_is_no_refusal(mist, requester, prefix):
    mist()
    job_id = requester.call("noop", {}).json()["id"]
    ended = requester.send(f"{prefix}/jobs/{job_id}/cancel", b"")
    nonsense = requester.send(f"{prefix}/jobs/nonsense/cancel", b"")
    assert requester.answers(nonsense)[0].json()["error"] == "there is no job nonsense"
    assert requester.number_of_answers(ended) == 0


def test_a_job_of_http_is_followed_by_mqtt(mist, mosquitto, prefix):
    gateway = mist()
    every, common = mosquitto.subscribe(f"{prefix}/jobs/#"), mosquitto.subscribe(f"{prefix}/out")
    job_id = gateway.submit("log", {"lines": 3})
    every.wait_one(of_job(job_id, "finished"))
    every.wait_one(lambda m: m.topic == f"{prefix}/jobs/{job_id}/logs" and b"line 1 of 3" in m.payload)
    assert {m.topic for m in every.messages} == {f"{prefix}/jobs/{job_id}/events", f"{prefix}/jobs/{job_id}/logs"}
    common.wait_one(of_job(job_id, "finished"))
    common.wait_one(of_job(job_id, "logs"))


def test_events_final_tells_how_jobs_ended_and_nothing_else(mist, mosquitto, prefix):
    gateway = mist(events="final")
    every = mosquitto.subscribe(f"{prefix}/jobs/#")
    for _ in range(2):
        gateway.submit("log", {"lines": 3})
    assert [event(m) for m in every.wait(2)] == ["finished"] * 2
    gateway.sections["transports"][0]["events"] = "none"
    gateway.reconfigure()
    until(lambda: gateway.run("noop")["success"] and not every.clear() and gateway.run("noop")["success"] and not every.messages)


def test_a_request_of_mqtt_is_followed_by_http(mist, requester):
    gateway = mist()
    requester.ask("sleep", {"ms": 600_000}, {"events": "all"})
    job_id = requester.client.wait_one(lambda m: event(m) == "started").json()["id"]
    assert gateway.job(job_id)["status"] == "started"
    gateway.cancel(job_id)
    requester.client.wait_one(of_job(job_id, "cancelled"))


# CloudEvents


def test_a_cloud_event_in_one_object_is_answered_by_one(mist, requester):
    mist()
    cloud = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/test", "type": "run", "data": {"text": "x"}}
    kind = "application/cloudevents+json; charset=utf-8"
    answer = requester.call("echo", cloud, content_type=kind)
    told = answer.json()
    assert answer.properties["content_type"].startswith("application/cloudevents+json")
    assert (told["specversion"], told["type"], told["data"]["result"]) == ("1.0", "io.mist.job.finished", "x")
    again = requester.call("echo", cloud, content_type=kind).json()
    assert (again["subject"], again["id"]) == (told["subject"], told["id"]), "source and id are its idempotency key"


def test_a_cloud_event_in_properties_is_answered_by_one(mist, requester, prefix):
    mist()
    user = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "/test", "type": "run", "subject": "echo"}
    mark = requester.send(f"{prefix}/in", {"text": "x"}, user, content_type="application/json")
    answer = requester.answers(mark)[0]
    assert answer.json()["result"] == "x"
    assert (answer.user["specversion"], answer.user["type"], answer.user["source"]) == ("1.0", "io.mist.job.finished", "/mist")
    mark = requester.send(f"{prefix}/in", {"text": "x"}, {**user, "specversion": "0.3"})
    assert requester.answers(mark)[0].json()["error"].startswith("specversion: ")


# Its life and the broker's


def test_who_is_online_is_told(c_mist, mosquitto, prefix):
    gateways = [up(c_mist(transports=[transport(mosquitto, prefix)])) for _ in range(2)]
    seen = mosquitto.subscribe(f"{prefix}/status", f"{prefix}/status/+")
    own = {m.topic: m.json()["status"] for m in seen.wait(2, lambda m: m.topic != f"{prefix}/status")}
    assert list(own.values()) == ["online"] * 2
    assert seen.wait_one(f"{prefix}/status").text == "online"
    gateways[0].kill9()
    dead = seen.wait_one(lambda m: m.topic != f"{prefix}/status" and m.json()["status"] == "offline")
    assert dead.topic in own

    def is_corrected(messages):
        told = [m.text for m in messages if m.topic == f"{prefix}/status"]
        return "offline" in told and "online" in told[told.index("offline"):]

    seen.wait_until(is_corrected)  # the other one is
    gateways[1].stop()
    until(lambda: mosquitto.subscribe(f"{prefix}/status").wait_one().text == "offline", what="nobody online")
    late = mosquitto.subscribe(f"{prefix}/status/+")
    assert [m.json()["status"] for m in late.wait(2)] == ["offline"] * 2
    for gateway in gateways:
        gateway.start()


def test_tls_with_a_password_and_a_certificate(c_mist, mosquitto_factory, prefix, tmp_path):
    broker = mosquitto_factory(tls=True, client_certificates=True, user="mist", password="geheim ü")
    (tmp_path / "password").write_text("geheim ü\n")
    certificates = broker.certificates
    settings = {"user": "mist", "password-file": str(tmp_path / "password"), "tls-ca": str(certificates.ca),
                "tls-certificate": str(certificates.client), "tls-key": str(certificates.client_key)}
    up(c_mist(transports=[transport(broker, prefix, **settings)]))
    assert Requester(broker, prefix).call("echo", {"text": "x"}).json()["result"] == "x"


@pytest.mark.parametrize("wrong, says", [({"password": "wrong"}, "refuses the connection"), ({"tls-ca": ""}, "certificate")])
def test_a_broker_that_is_not_to_be_had_is_named(c_mist, mosquitto_factory, prefix, wrong, says):
    broker = mosquitto_factory(tls=True, user="mist", password="right")
    settings = {"user": "mist", "password": "right", "tls-ca": str(broker.certificates.ca), **wrong}
    gateway = c_mist(transports=[transport(broker, prefix, **settings)])
    until(lambda: says in gateway.trouble(), what=says)
    assert not gateway.is_connected()


def test_a_broker_that_is_down_at_start_is_waited_for(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory(start=False)
    gateway = c_mist(transports=[transport(broker, prefix, name="floor")])
    until(lambda: "transport floor: " in gateway.trouble() and "cannot be reached" in gateway.trouble())
    assert gateway.get("/health/ready").status_code == 200
    assert 'mist_transport_up{transport="floor"} 0' in gateway.get("/metrics").text
    assert gateway.run("noop")["success"]
    broker.start()
    up(gateway)
    assert Requester(broker, prefix).call("noop", {}, timeout=60).json()["event"] == "finished"


def test_a_broker_that_comes_back_is_subscribed_to_again(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory(settings=["persistence false"])
    gateway = up(c_mist(transports=[transport(broker, prefix)]))
    for end in (broker.kill9, broker.stop):
        end()
        until(lambda: not gateway.is_connected())
        broker.start()
        up(gateway)
        broker.drop_clients()
        assert event(Requester(broker, prefix).call("noop", {})) == "finished"


def test_outcomes_wait_for_a_broker_that_is_away(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[transport(broker, prefix)]))
    client = broker.subscribe(f"{prefix}/mine", name="requester", session=600)
    client.publish(f"{prefix}/functions/sleep/jobs", {"ms": 500}, response_topic=f"{prefix}/mine")
    until(lambda: gateway.get("/v2/api/jobs").json())
    broker.saved()
    broker.kill9()
    job_id = gateway.get("/v2/api/jobs").json()[0]["jobId"]
    gateway.wait(job_id)
    broker.start()
    assert event(client.wait_one()) == "finished"


def test_an_external_id_of_any_text_is_answered(mist, mosquitto, prefix):
    """A broker may take control characters in a property for malformed."""
    mist()
    client = mosquitto.subscribe(f"{prefix}/mine")
    for text in "a\nb", "\x85", "\ufffe", "\ufdd0", "ok \u00e4 \U0001f600":
        client.publish(f"{prefix}/in", {"functionId": "echo", "parameters": {"text": "x"}, "externalId": text}, response_topic=f"{prefix}/mine")
        answer = client.wait_one(lambda m, text=text: m.json().get("externalId", text) == text)
        assert event(answer) == "finished" and answer.user.get("externalId", text) == text
        client.clear()


def test_correlation_data_may_be_empty(mist, mosquitto, prefix):
    mist()
    client = mosquitto.subscribe(f"{prefix}/mine")
    client.publish(f"{prefix}/functions/noop/jobs", {}, response_topic=f"{prefix}/mine", correlation_data=b"")
    assert client.wait_one().properties["correlation_data"] == b""


def test_a_response_topic_that_is_the_common_one_is_told_once(mist, mosquitto, prefix):
    mist()
    client = mosquitto.subscribe(f"{prefix}/out")
    client.publish(f"{prefix}/functions/echo/jobs", {"text": "x"}, response_topic=f"{prefix}/out", correlation_data=b"1")
    client.wait_one(lambda m: event(m) == "finished")
    mosquitto.pub(f"{prefix}/out", json.dumps({"event": "end"}))
    client.wait_one(lambda m: event(m) == "end")
    assert [event(m) for m in client.messages] == ["initialized", "queued", "worker-assigned", "started", "finished", "end"]


def test_requests_that_come_while_mistd_is_away_are_run(c_mist, mosquitto, prefix, requester):
    gateway = up(c_mist(transports=[transport(mosquitto, prefix)]))
    for end in (gateway.stop, gateway.kill9):
        end()
        marks = [requester.ask("echo", {"text": str(i)}) for i in range(20)]
        gateway.start()
        assert [requester.answers(m)[0].json()["result"] for m in marks] == [str(i) for i in range(20)]


def test_nothing_is_lost_when_mistd_stops_under_load(c_mist, mosquitto, prefix, requester):
    gateway = up(c_mist(transports=[transport(mosquitto, prefix)]))
    for _ in range(3):
        marks = [requester.ask("noop", {}) for _ in range(60)]
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 28 * PATIENCE, "before mist.stop-timeout"
        marks += [requester.ask("noop", {}) for _ in range(10)]
        gateway.start()
        for mark in marks:
            answer = requester.answers(mark)[0]
            assert event(answer) == "finished", answer.text


def test_a_broker_that_knows_only_3_1_1_is_spoken_to_in_that(c_mist, mosquitto, prefix):
    old = OldBroker(mosquitto)
    gateway = up(c_mist(transports=[transport(old, prefix)]))
    assert old.seen[0] == 5 and set(old.seen[1:]) == {4}
    client = mosquitto.subscribe(f"{prefix}/out", f"{prefix}/status", version=3)
    client.publish(f"{prefix}/in", {"functionId": "echo", "parameters": {"text": "x"}})
    assert client.wait_one(lambda m: m.text != "online" and event(m) in FINAL).json()["result"] == "x"
    gateway.stop()
    assert client.wait_one(lambda m: m.text == "offline")
    client.publish(f"{prefix}/in", {"functionId": "echo", "parameters": {"text": "while away"}})
    gateway.start()
    client.wait_one(lambda m: b"while away" in m.payload and b"finished" in m.payload)
    old.close()


def test_3_1_1_is_spoken_where_it_is_set(mist, mosquitto, prefix):
    mist(version="3.1.1")
    client = mosquitto.subscribe(f"{prefix}/out")
    client.publish(f"{prefix}/in", {"functionId": "echo", "parameters": {"text": "x"}})
    assert client.wait_one(lambda m: event(m) in FINAL).json()["result"] == "x"
    client.publish(f"{prefix}/in", {"functionId": "nobody"})
    assert client.wait_one(lambda m: "error" in m.json()).json()["error"] == "there is no function nobody"


def test_gateways_share_the_requests(c_mist, mosquitto, prefix, requester):
    gateways = [up(c_mist(transports=[transport(mosquitto, prefix)])) for _ in range(2)]
    marks = [requester.ask("noop", {}) for _ in range(40)]
    ids = {requester.answers(mark)[0].json()["id"] for mark in marks}
    ran = [{job["jobId"] for job in g.get("/v2/api/jobs", params={"limit": 100}).json()} for g in gateways]
    assert all(ran) and not ran[0] & ran[1] and ran[0] | ran[1] == ids and len(ids) == 40


def test_gateways_that_do_not_share_get_all(c_mist, mosquitto, prefix, requester):
    for _ in range(2):
        up(c_mist(transports=[transport(mosquitto, prefix, share="")]))
    assert {event(m) for m in requester.answers(requester.ask("noop", {}), 2)} == {"finished"}


@pytest.mark.parametrize("before, after", [({"receivers": 8}, {"receivers": 1}), ({}, {"share": ""}), ({"share": ""}, {})])
def test_requests_that_wait_where_nobody_subscribes_any_more_are_run(c_mist, mosquitto, prefix, requester, before, after):
    """The broker spread them over the connections that the gateway had under other settings."""
    gateway = up(c_mist(transports=[transport(mosquitto, prefix, **before)]))
    gateway.stop()
    marks = [requester.ask("noop", {}) for _ in range(16)]
    gateway.sections["transports"][0] = transport(mosquitto, prefix, **after)
    gateway.configure(gateway.rendered())
    up(gateway.start())
    assert [event(requester.answers(mark)[0]) for mark in marks] == ["finished"] * 16
    marks = [requester.ask("noop", {}) for _ in range(16)]
    assert [event(requester.answers(mark)[0]) for mark in marks] == ["finished"] * 16


@pytest.mark.parametrize("second", ["down", "frozen"])
def test_a_dead_second_broker_holds_up_nothing(c_mist, mosquitto, mosquitto_factory, prefix, requester, second):
    other = mosquitto_factory(start=second == "frozen")
    gateway = c_mist(transports=[transport(mosquitto, prefix, name="one"), transport(other, prefix, name="two")])
    until(lambda: 'mist_transport_up{transport="one"} 1' in gateway.get("/metrics").text)
    if second == "frozen":
        up(gateway)
        other.pause()
    times = []
    for _ in range(20):
        began = time.monotonic()
        assert event(requester.call("noop", {})) == "finished"
        times.append(time.monotonic() - began)
    assert sorted(times)[10] < 2 * PATIENCE
    if second == "frozen":
        other.resume()


def test_each_broker_gets_the_answers_to_its_requests(c_mist, mosquitto, mosquitto_factory, prefix):
    brokers = [mosquitto, mosquitto_factory()]
    up(c_mist(transports=[transport(b, prefix, name=f"b{i}") for i, b in enumerate(brokers)]))
    requesters = [Requester(b, prefix) for b in brokers]
    marks = [(r, r.ask("echo", {"text": str(i)}), i) for i, r in enumerate(requesters * 5)]
    for r, mark, i in marks:
        assert r.answers(mark)[0].json()["result"] == str(i)


@pytest.mark.parametrize("settings, says", [
    ({"url": "localhost:1883"}, "transports.mqtt: url: "), ({"prefix": "a/#"}, "transports.mqtt: prefix: "), ({"prefix": ""}, "prefix: "),
    ({"subscribe-topic": "a/+"}, "subscribe-topic: "), ({"share": "a/b"}, "share: "),
    ({"password": "a", "password-file": "/b"}, "password-file: "), ({"password-file": "/no/such/file"}, "password-file: "),
    *[({name: "/dev/zero"}, f"{name}: /dev/zero cannot be read: it is not a file") for name in ("password-file", "tls-ca", "tls-certificate", "tls-key")]])
def test_a_setting_that_cannot_be_is_named(c_mist, mosquitto, settings, says):
    from support.mistd import DidNotStart

    with pytest.raises(DidNotStart) as failure:
        c_mist(transports=[{"type": "mqtt", "url": mosquitto.url, **settings}])
    assert says in failure.value.stderr and failure.value.code == 1


def test_what_goes_through_is_counted(mist, requester):
    gateway = mist()
    requester.call("noop", {})
    requester.call("nobody", {})
    for outcome in "accepted", "refused":
        until(lambda: f'mist_transport_requests_total{{transport="mqtt",outcome="{outcome}"}} 1\n' in gateway.get("/metrics").text)


def test_many_requests_at_once_are_all_answered(mist, requester, prefix):
    mist()
    marks = [uuid.uuid4().bytes for _ in range(500)]
    for i, mark in enumerate(marks):
        requester.client.publish_soon(f"{prefix}/functions/echo/jobs", json.dumps({"text": str(i)}), response_topic=requester.topic,
                                      correlation_data=mark)
    got = {m.properties["correlation_data"]: m.json()["result"] for m in requester.client.wait(500, timeout=60)}
    assert [got[mark] for mark in marks] == [str(i) for i in range(500)]
