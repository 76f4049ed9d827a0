# SPDX-License-Identifier: Apache-2.0
"""Every fail point of the brokers' adapters and of the outbox, with each action: each request is answered, and runs once."""
import json
import uuid

import pytest

from fail_points.walk import Gateway, Walks, cases
from support.mistd import until

REQUESTS = 4
# The step that makes a point be passed, where ordinary work does not.
BEFORE = {"transport.kafka.consumer.renew": "transport.kafka.consumer:EIO@3",
          "transport.kafka.producer.renew": "transport.kafka.producer:EIO@3"}
# As in the walk over HTTP; of what goes on by itself, one under way.
PASSAGE = {"transport.kafka.consumer": 3, "transport.kafka.producer": 3}


class Mqtt:
    """Requests with an answer each, and one that asks again for the first one's outcome on a topic of its own."""

    def __init__(self, broker, record):
        self.prefix = f"walk-{uuid.uuid4().hex[:12]}"
        self.settings = {"type": "mqtt", "name": "main", "url": broker.url, "prefix": self.prefix}
        self.record = record
        self.client = broker.subscribe(f"{self.prefix}/answers/+")

    def send(self, n, topic=None):
        self.client.publish(f"{self.prefix}/functions/record/jobs", {"path": str(self.record), "n": n},
                            user={"idempotency-key": f"{self.prefix}-{n}"},
                            response_topic=f"{self.prefix}/answers/{topic or n}")

    def answers(self, topic):
        return [m.json() for m in self.client.messages if m.topic == f"{self.prefix}/answers/{topic}"]

    def send_again(self):
        self.send(1, "again")
        return "again"


class Kafka:
    """The same by records; the position in the log is the key."""

    def __init__(self, broker, record):
        self.kafka, self.prefix = broker, f"walk-{uuid.uuid4().hex[:12]}"
        broker.create_topic(f"{self.prefix}.f.record", f"{self.prefix}.replies")
        self.settings = {"type": "kafka", "name": "main", "brokers": broker.bootstrap, "group": self.prefix,
                         "functions-prefix": f"{self.prefix}.f."}
        self.record = record
        self.reader = broker.read(f"{self.prefix}.replies")

    def send(self, n, mark=None):
        self.kafka.produce(f"{self.prefix}.f.record", json.dumps({"path": str(self.record), "n": n}).encode(), None,
                           {"reply-topic": f"{self.prefix}.replies", "correlation-id": str(mark or n),
                            "idempotency-key": f"{self.prefix}-{n}"})

    def answers(self, mark):
        return [json.loads(r.value) for r in self.reader.records if r.headers.get("correlation-id") == str(mark)]

    def send_again(self):
        self.send(1, "again")
        return "again"


def outcome(transport, mark):
    told = [a for a in transport.answers(mark) if a.get("event") in ("finished", "failed", "cancelled") or "error" in a]
    return told and told[0]


def walk_with(transport_of, home, point, action):
    gateway = Gateway(home, point, action)
    transport = transport_of(gateway.record)
    gateway.set_transports([transport.settings])
    try:
        # What is sent before a gateway has ever subscribed is promised nothing.
        gateway.again()
        transport.send(0)
        until(lambda: outcome(transport, 0), what="the first answer")
        gateway.stop()

        plan = [BEFORE[point]] if point in BEFORE else []
        was_started = gateway.begin(",".join([*plan, f"{point}:{action}@{PASSAGE.get(point, 1)}"]))
        marks = list(range(1, REQUESTS))
        for n in marks:
            transport.send(n)
        marks.append(transport.send_again())
        if was_started:
            until(lambda: gateway.has_ended() or all(outcome(transport, m) for m in marks), what="the answers")
        if was_started and (point in PASSAGE or point in BEFORE):  # all may be over before it has gone on so long
            until(lambda: gateway.has_ended() or gateway.has_passed(), what="the point")
        gateway.finish(was_started)

        gateway.again()
        until(lambda: all(outcome(transport, m) for m in marks), 60, "every answer")
        for mark in marks:
            told = outcome(transport, mark)
            assert told["event"] == "finished" and told["result"] == (1 if mark == "again" else mark), told
            assert len({a["id"] for a in transport.answers(mark)}) == 1, transport.answers(mark)
        assert max(gateway.runs().values()) == 1, f"jobs ran twice: {gateway.runs()}"
    finally:
        gateway.close()


def walks_of(request, transport_of):
    walks = Walks(request, lambda home, point, action: walk_with(transport_of, home, point, action))
    yield walks
    walks.close()


@pytest.fixture(scope="module")
def mqtt_walks(request, shared_mosquitto):
    yield from walks_of(request, lambda record: Mqtt(shared_mosquitto, record))
    shared_mosquitto.drop_clients()


@pytest.fixture(scope="module")
def kafka_walks(request, shared_kafka):
    yield from walks_of(request, lambda record: Kafka(shared_kafka, record))
    shared_kafka.close_readers()


@pytest.mark.parametrize("point, action", cases(lambda name: name.startswith(("transport.mqtt.", "store.outbox."))))
def test_an_mqtt_request_is_answered_and_runs_once(mqtt_walks, point, action):
    mqtt_walks.result(point, action)


@pytest.mark.parametrize("point, action", cases(lambda name: name.startswith("transport.kafka.")))
def test_a_kafka_request_is_answered_and_runs_once(kafka_walks, point, action):
    kafka_walks.result(point, action)
