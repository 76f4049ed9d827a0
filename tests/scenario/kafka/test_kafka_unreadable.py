# SPDX-License-Identifier: Apache-2.0
"""Batches of records that cannot be read: one that is larger, when unpacked, than the consumer takes, and one whose bytes are damaged
on the broker's disk. Through a real broker."""
import json
import re

import confluent_kafka
import pytest

from support.kafka import Door
from support.mistd import PATIENCE, until
from support.subscribers import metric

BAD = 3  # records of the batch


def request(text):
    return json.dumps({"functionId": "echo", "parameters": {"text": text}, "externalId": text}).encode()


def send_bad(kafka, topic, codec, values):
    """In one batch, to partition 1."""
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap, "compression.codec": codec, "linger.ms": 60_000,
                                         "batch.size": 20_000_000, "message.max.bytes": 10_000_000, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=1)
    assert producer.flush(30 * PATIENCE) == 0


def pack(kafka, topic):
    send_bad(kafka, topic, "zstd", [request("a" * 700_000)] * BAD)


def damage(kafka, topic):
    send_bad(kafka, topic, "none", [request("harm me")] * BAD)
    write_over(kafka, topic, b"harm me", b"harmed!")


def write_over(kafka, topic, old, new):
    path = kafka.brokers[0].home / "data" / f"{topic}-1" / "00000000000000000000.log"
    at = path.read_bytes().index(old)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(new)


KINDS = {"packed": (pack, "a batch may be larger, when unpacked, than consumer.receive.message.max.bytes"),
         "damaged": (damage, "its bytes are damaged")}


def new_client(kafka, prefix):
    return Door(kafka, prefix, partitions=2, consumer={"receive.message.max.bytes": "1100000", "fetch.max.bytes": "1000000",
                                                       "fetch.error.backoff.ms": "100"})


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def client(kafka, prefix, request):
    """Its partition 1 has a record, a batch that cannot be read, and another record."""
    make, words = request.param
    client = new_client(kafka, prefix)
    client.words = words
    send(client, "before")
    make(kafka, client.requests)
    send(client, "behind")
    return client


def send(client, text, partition=1):
    client.kafka.produce(client.requests, request(text), headers={"reply-topic": client.replies}, partition=partition)


def answered(replies):
    return [record.headers["externalId"] for record in replies.records if record.headers["event"] == "finished"]


def test_it_stops_its_partition_only_and_is_named(c_mist, kafka, client):
    gateway = c_mist(transports=[client.settings])
    replies = kafka.read(client.replies)
    named = rf'mist_transport_stuck_offset\{{transport="main",topic="{re.escape(client.requests)}",partition="1"\}} 1\n'
    until(lambda: re.search(named, gateway.get("/metrics").text), what="the name of the place")
    send(client, "goes on", partition=0)
    until(lambda: sorted(answered(replies)) == ["before", "goes on"])
    assert gateway.connected().transports()["main"]["detail"].startswith(
        f"nothing can be taken of 1 partition, the first is topic {client.requests}, partition 1, from offset 1 on: ")
    assert f"nothing can be taken of topic {client.requests}, partition 1, from offset 1 on: " in gateway.stderr()
    assert client.words in gateway.stderr()
    assert metric(gateway, "mist_transport_errors_total", transport="main", kind="partition") > 0


def test_it_goes_on_once_it_can_be_read_and_says_so(c_mist, kafka, prefix):
    client = new_client(kafka, prefix)
    damage(kafka, client.requests)
    gateway = c_mist(transports=[client.settings])
    replies = kafka.read(client.replies)
    until(lambda: f"nothing can be taken of topic {client.requests}, partition 1, from offset 0 on: " in gateway.stderr())
    write_over(kafka, client.requests, b"harmed!", b"harm me")
    send(client, "behind")
    until(lambda: "behind" in answered(replies))
    until(lambda: f"topic {client.requests}, partition 1 can be read again\n" in gateway.stderr())
    until(lambda: metric(gateway, "mist_transport_stuck_partitions", transport="main") == 0)


def test_it_is_skipped_with_a_dead_letter_where_that_is_said(c_mist, kafka, client):
    gateway = c_mist(transports=[{**client.settings, "unreadable": "skip"}])
    replies, dead = kafka.read(client.replies), kafka.read(client.dead)
    record = dead.wait_one()
    assert record.value is None and record.headers["reason"].startswith("it cannot be read: ")
    place = {name: record.headers[f"source-{name}"] for name in ("topic", "partition", "offset", "last-offset")}
    assert place == {"topic": client.requests, "partition": "1", "offset": "1", "last-offset": str(BAD)}
    until(lambda: sorted(answered(replies)) == ["before", "behind"])
    until(lambda: kafka.committed(client.group, client.requests)[1] == BAD + 2)
    metrics = gateway.get("/metrics").text
    assert 'mist_transport_requests_total{transport="main",outcome="unreadable"} 1\n' in metrics
    assert 'mist_transport_stuck_partitions{transport="main"} 0\n' in metrics
    assert f"topic {client.requests}, partition 1, offsets 1 to {BAD} are skipped: it cannot be read: " in gateway.stderr()
    gateway.restart()
    send(client, "later")
    until(lambda: sorted(answered(replies)) == ["before", "behind", "later"])
    assert len(dead.records) == 1


def test_nothing_is_stuck_when_the_last_of_a_partition_was_skipped(c_mist, kafka, prefix):
    client = new_client(kafka, prefix)
    send(client, "before")
    damage(kafka, client.requests)
    gateway = c_mist(transports=[{**client.settings, "unreadable": "skip"}])
    kafka.read(client.dead).wait_one()
    until(lambda: kafka.committed(client.group, client.requests)[1] == BAD + 1)
    until(lambda: metric(gateway, "mist_transport_stuck_partitions", transport="main") == 0, what="an end of the complaint")
    assert "can be taken" not in gateway.transports()["main"].get("detail", "")
