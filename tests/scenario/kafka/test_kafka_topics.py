# SPDX-License-Identifier: Apache-2.0
"""Topics that are deleted, and made anew, under a gateway that takes requests from them. Through a real broker."""
import json
import time

import confluent_kafka
import pytest

from support.kafka import Door
from support.mistd import PATIENCE, until
from support.subscribers import metric

STOP_S, MANY = 28, 6  # less than mist.stop-timeout


@pytest.fixture
def door(kafka, prefix):
    return Door(kafka, prefix, consumer={"session.timeout.ms": "6000"})


def delete_topic(kafka, *topics):
    """Returns when no broker knows them any more."""
    for future in kafka.admin.delete_topics(list(topics), operation_timeout=30).values():
        future.result(30 * PATIENCE)
    until(lambda: not set(topics) & set(kafka.admin.list_topics(timeout=30).topics), what="the topic's end")


def ask(door, text):
    door.send({"functionId": "echo", "parameters": {"text": text}, "externalId": text}, reply_topic=door.replies)


def answered(replies):
    return {record.headers["externalId"] for record in replies.records if record.headers["event"] == "finished"}


def stop_in_time(gateway):
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < STOP_S * PATIENCE


@pytest.mark.parametrize("is_made_anew", [False, True], ids=["gone", "anew"])
def test_a_gateway_whose_topic_was_deleted_ends_on_sigterm(c_mist, kafka, door, is_made_anew):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    ask(door, "before")
    replies.wait_one()
    delete_topic(kafka, door.requests)
    if is_made_anew:
        kafka.create_topic(door.requests)
        ask(door, "after")
        until(lambda: answered(replies) == {"before", "after"})
    else:
        until(lambda: not gateway.is_connected(), what="the gateway to miss its topic")
    stop_in_time(gateway)


def make_anew(kafka, door, count=MANY):
    """MANY are more records than the one before had, so that the offset where the gateway was is one of them."""
    delete_topic(kafka, door.requests)
    kafka.create_topic(door.requests)
    for n in range(count):
        request = {"functionId": "echo", "parameters": {"text": f"new {n}"}, "externalId": f"new {n}"}
        kafka.produce_soon(door.requests, json.dumps(request), headers={"reply-topic": door.replies})
    kafka.flush()
    return {f"new {n}" for n in range(count)}


def begin(door, replies):
    for text in ("old 0", "old 1"):
        ask(door, text)
    until(lambda: len(answered(replies)) == 2 and door.committed() == 2)
    return {"old 0", "old 1"}


def check(gateway, door, replies, expected, count=MANY):
    until(lambda: answered(replies) == expected, what="an answer to each record")
    until(lambda: door.committed() == count)
    assert len(gateway.get("/v2/api/jobs", params={"limit": 100}).json()) == len(expected), "no record is run twice"
    assert f"the log of {door.requests}/0 is another" in gateway.stderr()
    stop_in_time(gateway)


def committed(kafka, door):
    return kafka.with_consumer(door.group, lambda c: c.committed([confluent_kafka.TopicPartition(door.requests, 0)], timeout=30)[0])


def commit(kafka, door, place):
    try:
        kafka.with_consumer(door.group, lambda c: c.commit(offsets=[place], asynchronous=False))
    except confluent_kafka.KafkaException:
        return False
    return committed(kafka, door).offset == place.offset


def test_all_records_of_a_topic_that_was_made_anew_are_run(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    expected = begin(door, replies) | make_anew(kafka, door)
    check(gateway, door, replies, expected)


def test_a_gateway_that_is_killed_before_it_notices_runs_them_all(c_mist, kafka, door):
    """It has taken and committed records of the new log, from where it was in the old one on."""
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    expected = begin(door, replies) | make_anew(kafka, door)
    until(lambda: f"new {MANY - 1}" in answered(replies) and door.committed() == MANY, what="the last record")
    gateway.kill9()
    gateway.start()
    check(gateway, door, replies, expected)


@pytest.mark.parametrize("count", [1, MANY], ids=["fewer", "more"])
def test_a_topic_is_known_after_a_restart_as_another(c_mist, kafka, door, count):
    """The group's offset stays, as with brokers that do not forget it with the topic. With one record less than before, the new log ends
    where the last one of the old was."""
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    expected = begin(door, replies)
    gateway.stop()
    assert committed(kafka, door).offset == 2
    place = confluent_kafka.TopicPartition(door.requests, 0, 2, "mist:" + kafka.mark(door.requests, 1))
    expected |= make_anew(kafka, door, count)
    until(lambda: commit(kafka, door, place), what="an empty group")
    gateway.start()
    check(gateway, door, replies, expected, count)


class Kind:
    """How the records of a partition come: of times of their own, of one time, or of none, and how many of them are in the topic made anew."""

    def __init__(self, partition, kafka, door, timestamp, count):
        self.partition, self.topic, self.timestamp, self.count = partition, door.requests, timestamp, count
        version = {"api.version.request": False, "broker.version.fallback": "0.9.0.1"} if timestamp is ABSENT else {}
        self.client = {"bootstrap.servers": kafka.bootstrap, "log_level": 0, **version}

    def send(self, *names):
        texts, told = [f"{self.partition}: {name}" for name in names], []
        producer = confluent_kafka.Producer(self.client)  # one that knows nothing of a topic that was deleted
        for text in texts:
            producer.produce(self.topic, json.dumps({"functionId": "echo", "parameters": {"text": text}}), partition=self.partition,
                             timestamp=self.timestamp or 0, on_delivery=lambda error, message: told.append(error))
        assert producer.flush(30 * PATIENCE) == 0 and told == [None] * len(texts)
        return set(texts)


def finished(gateway):
    jobs = gateway.get("/v2/api/jobs", params={"limit": 100}).json()
    return sorted(job["params"]["arguments"]["text"] for job in jobs if job["status"] == "finished")


OWN, EQUAL, ABSENT = 0, 1_764_270_000_000, None
KINDS = [(OWN, 2), (OWN, 5), (EQUAL, 2), (EQUAL, 5), (ABSENT, 2), (ABSENT, 5)]


def test_logs_of_any_length_and_time_are_known_as_others(c_mist, kafka, prefix):
    """The gateway goes back to the third of four records in order to know the log, since it began behind that; a new log of two ends there."""
    door = Door(kafka, prefix, partitions=len(KINDS), consumer={"session.timeout.ms": "6000"})
    kinds = [Kind(n, kafka, door, *kind) for n, kind in enumerate(KINDS)]
    gateway = c_mist(transports=[door.settings])
    expected = set().union(*(kind.send("old 0", "old 1", "old 2") for kind in kinds))
    until(lambda: door.committed() == 3 * len(kinds), what="what it begins behind")
    gateway.stop()
    gateway.start()
    expected |= set().union(*(kind.send("old 3") for kind in kinds))
    until(lambda: door.committed() == 4 * len(kinds), what="one record more")
    delete_topic(kafka, door.requests)
    kafka.create_topic(door.requests, partitions=len(kinds))
    expected |= set().union(*(kind.send(*(f"new {n}" for n in range(kind.count))) for kind in kinds))
    until(lambda: finished(gateway) == sorted(expected), what="one job of each record")
    until(lambda: kafka.committed(door.group, door.requests) == {kind.partition: kind.count for kind in kinds})
    for kind in kinds:
        until(lambda n=kind.partition: metric(gateway, "mist_transport_lag_messages", topic=door.requests, partition=str(n)) == 0)
    until(gateway.is_connected)
    stop_in_time(gateway)


def test_a_fenced_consumer_of_a_deleted_topic_is_made_anew(c_mist, kafka, door):
    gateway = c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    begin(door, replies)
    delete_topic(kafka, door.requests)
    kafka.create_topic(door.requests)
    fence(kafka, door, gateway)
    ask(door, "after")
    until(lambda: "after" in answered(replies))
    assert gateway.stderr().count("a new consumer is made") <= 2, "not again and again"
    stop_in_time(gateway)


def fence(kafka, door, gateway):
    """Takes the gateway's place in the group until it has noticed."""
    members = until(lambda: kafka.admin.describe_consumer_groups([door.group])[door.group].result(30 * PATIENCE).members, what="a member")
    intruder = confluent_kafka.Consumer({
        "bootstrap.servers": kafka.bootstrap, "group.id": door.group, "log_level": 0, "session.timeout.ms": 6000,
        "group.instance.id": members[0].group_instance_id, "partition.assignment.strategy": "range,roundrobin"})
    intruder.subscribe([door.requests])
    until(lambda: intruder.poll(0.1) or "a new consumer is made" in gateway.stderr(), what="the gateway's notice")
    intruder.close()
