# SPDX-License-Identifier: Apache-2.0
"""What is too large or too many for Kafka or for the gateway, through a real broker: it is refused or given up, and blocks nothing."""
import json
import re
from functools import partial

import confluent_kafka
import pytest

from support.kafka import Door
from support.mistd import PATIENCE, until
from support.subscribers import metric

PRODUCER_MAX = 1_000_000  # the client library's message.max.bytes


@pytest.fixture
def door(kafka, prefix):
    return Door(kafka, prefix)


def body(record):
    return json.loads(record.value)


def request(text="x", **more):
    return {"functionId": "echo", "parameters": {"text": text}, **more}


def goes_on(gateway, door, replies):
    """The gateway answers by HTTP and by Kafka."""
    assert gateway.run("echo", {"text": "by http"})["payload"] == "by http"
    door.call("echo", {"text": "goes on"}, key=b"next")
    answer = replies.wait_one(lambda record: record.key == b"next")
    assert body(answer)["result"] == "goes on"


LARGE = {"key": {"key": b"k" * (PRODUCER_MAX + 100)}, "correlation id": {"correlation_id": "c" * (PRODUCER_MAX + 100)}}


@pytest.mark.parametrize("large", LARGE.values(), ids=LARGE)
def test_a_key_or_a_header_that_no_answer_can_carry_is_a_refusal(c_mist, kafka, door, large):
    gateway = c_mist(transports=[door.settings])
    replies, dead = kafka.read(door.replies), kafka.read(door.dead)
    _, offset = door.send(request(externalId="big"), reply_topic=door.replies, other="kept", **large)
    letter, answer = dead.wait_one(), replies.wait_one()
    assert "with its key and headers, more than options.message.max.bytes, 1000000" in letter.headers["reason"]
    assert letter.headers["other"] == "kept" and letter.headers["source-offset"] == str(offset) and body(letter) == request(externalId="big")
    assert body(answer)["error"] == letter.headers["reason"] and not answer.key and "correlation-id" not in answer.headers
    goes_on(gateway, door, replies)
    until(lambda: door.committed() == offset + 1)
    assert len(dead.records) == 1


# The request is within the limit, its answer is not.
NEARLY = {"key": {"key": b"k" * (PRODUCER_MAX - 300)}, "correlation id": {"correlation_id": "c" * (PRODUCER_MAX - 300)}}


@pytest.mark.parametrize("function", ["echo", "nobody"])
@pytest.mark.parametrize("large", NEARLY.values(), ids=NEARLY)
def test_an_answer_goes_without_what_makes_it_too_large(c_mist, kafka, door, function, large):
    gateway = c_mist(transports=[door.settings])
    narrow = kafka.create_topic(f"{door.group}.narrow", max_message_bytes=PRODUCER_MAX - 1000)
    dead = kafka.read(door.dead)
    door.send(request(functionId=function), reply_topic=narrow, **large)
    answer = kafka.read(narrow).wait_one()
    assert "correlation-id" not in answer.headers
    if function == "echo":
        assert body(answer)["result"] == "x" and answer.key == answer.headers["job-id"].encode()
    else:
        assert body(answer)["error"] == dead.wait_one().headers["reason"] == "there is no function nobody"
    goes_on(gateway, door, kafka.read(door.replies))


def test_an_outcome_that_its_topic_does_not_take_is_a_dead_letter_once(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    dead = kafka.read(door.dead)
    tiny = kafka.create_topic(f"{door.group}.tiny", max_message_bytes=70)
    door.call("echo", {"text": "too large"}, key=b"k", reply_topic=tiny)
    letter = dead.wait_one()
    assert letter.headers["event"] == "finished" and f"the topic {tiny} cannot be written" in letter.headers["reason"]
    goes_on(gateway, door, kafka.read(door.replies))
    assert len(dead.records) == 1


def test_an_outcome_that_no_topic_takes_is_given_up_for_good(c_mist, kafka, door):
    tiny, dead = (kafka.create_topic(f"{door.group}.{name}", max_message_bytes=70) for name in ("tiny", "tiny-dead"))
    gateway = c_mist(transports=[{**door.settings, "publish-topic": "", "dead-letter-topic": dead}])
    replies = kafka.read(door.replies)
    door.call("echo", {"text": "too large"}, reply_topic=tiny)
    until(lambda: 'mist_transport_deliveries_total{transport="main",outcome="dropped"} 1' in gateway.get("/metrics").text)
    goes_on(gateway, door, replies)
    until(lambda: 'mist_transport_deliveries_waiting{transport="main"} 0' in gateway.get("/metrics").text)
    gateway.restart()
    door.call("echo", {"text": "after"}, key=b"after")
    replies.wait_one(lambda record: record.key == b"after")
    assert gateway.stderr().count("a record is given up") == 1
    assert kafka.ends(tiny) == kafka.ends(dead) == {0: 0}


def test_as_many_idempotency_keys_as_are_remembered_hold_nothing_back(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings], limits={"idempotency-keys": 2})
    replies = kafka.read(door.replies)
    for i in range(5):
        door.call("echo", {"text": str(i)}, idempotency_key=f"key-{i}")
    replies.wait(5)
    door.call("echo", {"text": "4"}, idempotency_key="key-4")
    assert replies.wait(6)[5].headers["job-id"] in {r.headers["job-id"] for r in replies.records[:5]}
    goes_on(gateway, door, replies)


def test_one_context_too_many_is_a_refusal_as_over_http(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings], limits={"contexts": 1}, mist={"unknown-contexts": "default"})
    replies, dead = kafka.read(door.replies), kafka.read(door.dead)
    answer = gateway.post("/v2/api/functions/echo/jobs", params={"context": "other"}, json={"text": "x"})
    assert answer.status_code == 429 and "limits.contexts is 1" in answer.json()["detail"] and answer.headers["Retry-After"]
    door.call("echo", {"text": "x"}, context="other")
    assert dead.wait_one().headers["reason"] == body(replies.wait_one())["error"] == answer.json()["detail"]
    goes_on(gateway, door, replies)


def test_a_partition_that_stands_still_is_named_with_the_reason(c_mist, kafka, door):
    one_at_a_time = {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}
    gateway = c_mist(transports=[door.settings], limits={"queue": 1}, contexts={"example": one_at_a_time})
    busy = gateway.submit("sleep", {"ms": 600_000})
    gateway.wait(busy, "started")
    for i in range(2):
        door.send(request(str(i)))
    words = f"nothing is taken of {door.requests}/0 for "
    until(lambda: words in gateway.stderr())
    said = [line for line in gateway.stderr().splitlines() if words in line]
    assert len(said) == 1 and " WARN " in said[0] and said[0].endswith("limits.queue is 1")
    gateway.cancel(busy)
    until(lambda: door.committed() == 2)


def test_messages_that_wait_are_counted_and_a_standstill_is_told(c_mist, kafka, door):
    """Also those that come while the partition is paused, and none of them makes the transport one that is down."""
    one_at_a_time = {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}
    gateway = c_mist(transports=[{**door.settings, "stalled-after": "1s"}], limits={"queue": 1}, contexts={"example": one_at_a_time})
    lag = partial(metric, gateway, "mist_transport_lag_messages", transport="main", topic=door.requests, partition="0")
    stalled = partial(metric, gateway, "mist_transport_stalled_partitions", transport="main")
    until(lambda: lag() == 0, what="a partition without messages")
    busy = gateway.submit("sleep", {"ms": 600_000})
    gateway.wait(busy, "started")
    for i in range(4):
        door.send(request(str(i)))
    until(lambda: lag() == 3, what="the messages that do not fit into the queue")
    until(lambda: stalled() == 1, what="no progress")
    for i in range(10):
        door.send(request(str(i)))
    until(lambda: lag() == 13, what="those that came to a partition that is paused")
    assert metric(gateway, "mist_transport_up", transport="main") == 1
    ready = gateway.get("/health/ready")
    [told] = [transport for transport in ready.json()["transports"] if transport["name"] == "main"]
    assert ready.status_code == 200 and told["up"]
    assert re.fullmatch(rf"no message of topic {door.requests}, partition 0 was taken for \d+ s, though 1[0-3] wait there: .*limits.queue is 1",
                        told["detail"])
    assert metric(gateway, "mist_transport_requests_in_flight", transport="main") >= 1
    gateway.cancel(busy)
    until(lambda: (lag(), stalled()) == (0, 0), what="all of them taken")
    assert metric(gateway, "mist_jobs_ended_total", function="echo", transport="main", outcome="finished") is not None


def test_offsets_that_are_no_messages_are_not_waited_for(c_mist, kafka, door):
    """A transaction ends with a mark that has an offset."""
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": door.requests})
    producer.init_transactions(30 * PATIENCE)
    producer.begin_transaction()
    producer.produce(door.requests, json.dumps(request("in a transaction")).encode())
    producer.commit_transaction(30 * PATIENCE)
    until(lambda: kafka.ends(door.requests) == {0: 2}, what="the mark behind the message")
    gateway = c_mist(transports=[door.settings])
    until(lambda: metric(gateway, "mist_jobs_ended_total", function="echo", transport="main", outcome="finished") == 1)
    until(lambda: metric(gateway, "mist_transport_lag_messages", topic=door.requests) == 0)


def test_outcomes_beyond_the_limit_wait_in_the_store(c_mist, kafka, prefix):
    """Of brokers that take their time: each arrives once, whole, under the id that the event has anywhere."""
    door = Door(kafka, prefix, functions=("big",), **{"outbox-bytes": "64k", "producer": {"linger.ms": "2000"}})
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    for n in range(8):
        door.call("big", {"bytes": 50_000}, key=str(n).encode())
    found = replies.wait(8)
    assert sorted(int(record.key) for record in found) == list(range(8))
    assert all(len(body(r)["result"]) == 50_000 and r.headers["event-id"] == f"{body(r)['id']}:finished" for r in found)
    assert "further ones wait in the store" in gateway.stderr()
    until(lambda: 'mist_transport_outbox_bytes{transport="main"} 0\n' in gateway.get("/metrics").text, what="nothing that waits")
