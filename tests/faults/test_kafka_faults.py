# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the gateway and of the Kafka broker, and partitions that change hands: nothing is lost, and nothing runs twice."""
import collections
import json
import os
import random
import re
import threading

import confluent_kafka
import pytest

from support.kafka import Door
from support.mistd import PATIENCE, until

REQUESTS = 2000
RANKS = {"initialized": 1, "queued": 2, "worker-assigned": 3, "started": 5, "finished": 7}


class Traffic:
    """Sends `record` requests from a thread, a few at a time, and reads the answers."""

    def __init__(self, kafka, prefix, path, partitions=4, pause=0.01):
        self.kafka, self.group, self.path, self.pause = kafka, prefix, path, pause
        self.requests, self.replies, self.dead = (f"{prefix}.{name}" for name in ("in", "replies", "dead"))
        kafka.create_topic(self.requests, partitions=partitions)
        kafka.create_topic(self.replies, self.dead)
        self.settings = {"type": "kafka", "brokers": kafka.bootstrap, "group": prefix, "subscribe-topic": self.requests,
                         "dead-letter-topic": self.dead, "consumer": {"session.timeout.ms": "6000"}}
        self.answers, self.letters = kafka.read(self.replies), kafka.read(self.dead)
        self.thread = threading.Thread(target=self.send_all)

    def start(self):
        self.thread.start()

    def send_all(self):
        for n in range(REQUESTS):
            request = {"functionId": "record", "parameters": {"path": str(self.path), "n": n}}
            self.kafka.produce_soon(self.requests, json.dumps(request), headers={
                "reply-topic": self.replies, "correlation-id": str(n), "events": "all"}, partition=n % 4)
            if n % 10 == 9:
                threading.Event().wait(self.pause)

    def answered(self):
        return {r.headers["correlation-id"] for r in self.answers.records if r.headers["event"] == "finished"}

    def wait_for(self, count):
        until(lambda: len(self.answered()) >= count, timeout=60, what=f"{count} answers")

    def is_taken(self):
        return sum(filter(None, self.kafka.committed(self.group, self.requests).values())) == REQUESTS

    def check(self):
        self.thread.join()
        self.kafka.flush(60)
        self.wait_for(REQUESTS)
        assert not self.letters.records
        runs = collections.Counter(int(line.split()[1]) for line in self.path.read_text().splitlines())
        assert set(runs) == set(range(REQUESTS)) and {n for n, count in runs.items() if count > 1} == set()
        self.check_order()

    def check_order(self):
        """What is told again has the id that it had; the rest comes in order."""
        jobs = collections.defaultdict(dict)
        # A reader that lost its broker begins anew.
        read = {(r.partition, r.offset): r for r in self.answers.records}
        for _, record in sorted(read.items(), key=lambda item: item[0]):
            jobs[record.headers["job-id"]].setdefault(record.headers["event-id"], RANKS[record.headers["event"]])
        assert len(jobs) == REQUESTS
        for ranks in jobs.values():
            ranks = list(ranks.values())
            assert ranks == sorted(set(ranks)) and ranks[-1] == RANKS["finished"], ranks


def seeded():
    seed = random.randrange(1 << 30)
    print("seed", seed)
    return random.Random(seed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("killed, kills", [(("gateway",), 12), (("broker",), 4), (("broker", "gateway"), 3)], ids=["gateway", "broker", "both"])
def test_kills_lose_no_request_and_run_none_twice(plain_mist, kafka_factory, prefix, tmp_path, killed, kills):
    rng, kafka = seeded(), kafka_factory()
    traffic = Traffic(kafka, prefix, tmp_path / "ran")
    there = {"broker": kafka, "gateway": plain_mist(transports=[traffic.settings])}
    traffic.start()
    for _ in range(kills):
        traffic.wait_for(min(len(traffic.answered()) + rng.randrange(1, REQUESTS // kills), REQUESTS))
        for name in killed:
            there[name].kill9()
        for name in reversed(killed):
            there[name].start()
    traffic.check()


@pytest.mark.timeout(600)
def test_partitions_change_hands_without_loss_and_without_a_second_run(plain_mist, kafka, prefix, tmp_path):
    traffic = Traffic(kafka, prefix, tmp_path / "ran", pause=0.05)
    first = plain_mist(transports=[traffic.settings])
    traffic.start()
    traffic.wait_for(100)
    second = plain_mist(transports=[traffic.settings])

    def accepted(gateway):
        return gateway.get("/v2/api/jobs", params={"paginate": "true", "limit": 1}).json()["total"]

    until(lambda: accepted(second), what="a partition for the second gateway")
    before = accepted(first)
    first.stop()
    until(traffic.is_taken, timeout=60)
    first.start()
    assert before <= accepted(first) < REQUESTS
    traffic.check()
    assert accepted(first) + accepted(second) == REQUESTS


@pytest.mark.timeout(600)
def test_a_gateway_that_dies_leaves_its_partitions_to_the_other(plain_mist, kafka, prefix, tmp_path):
    traffic = Traffic(kafka, prefix, tmp_path / "ran")
    first, _ = plain_mist(transports=[traffic.settings]), plain_mist(transports=[traffic.settings])
    traffic.start()
    traffic.wait_for(200)
    first.kill9()
    until(traffic.is_taken, timeout=60, what="everything taken, by the other what the dead one had not accepted")
    first.start()
    traffic.wait_for(REQUESTS)
    assert not traffic.letters.records


def metric(gateway, name, outcome=""):
    labels = 'transport="main"' + (f',outcome="{outcome}"' if outcome else "")
    return int(re.search(rf"^mist_transport_{name}\{{{labels}\}} (\d+)$", gateway.get("/metrics").text, re.M)[1])


@pytest.mark.timeout(600)
def test_outcomes_that_wait_for_a_broker_cost_no_memory_each(c_mist, kafka_factory, prefix):
    """They are in the store, also for the next gateway; each arrives once, in the order in which the jobs ended."""
    kafka = kafka_factory()
    requests, replies, dead = f"{prefix}.f.noop", f"{prefix}.replies", f"{prefix}.dead"
    kafka.create_topic(requests, replies, dead)
    gateway = c_mist(
        contexts={"example": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}},
        transports=[{"type": "kafka", "name": "main", "brokers": kafka.bootstrap, "group": prefix, "functions-prefix": f"{prefix}.f.",
                     "dead-letter-topic": dead, "outbox-bytes": "64k"}])
    busy = gateway.submit("sleep", {"ms": 600_000})  # the others end when the broker is away
    gateway.wait(busy, "started")
    for n in range(REQUESTS):
        kafka.produce_soon(requests, "{}", headers={"reply-topic": replies, "correlation-id": str(n)}, partition=0)
    kafka.flush(60)
    until(lambda: metric(gateway, "requests_total", "accepted") == REQUESTS, timeout=60, what="the requests")
    kafka.kill9()
    gateway.cancel(busy)
    until(lambda: metric(gateway, "deliveries_waiting") >= REQUESTS, timeout=60, what="all outcomes")
    assert 0 < metric(gateway, "outbox_bytes") < 128 * 1024
    gateway.kill9()
    gateway.start()
    until(lambda: metric(gateway, "deliveries_waiting") >= REQUESTS, timeout=60, what="all outcomes, again")
    assert 0 < metric(gateway, "outbox_bytes") < 128 * 1024
    kafka.start()
    answers = kafka.read(replies)

    def numbers():
        # A reader that lost its broker begins anew.
        read = {(r.partition, r.offset): r.headers["correlation-id"] for r in answers.records}
        return [int(number) for _, number in sorted(read.items())]

    until(lambda: len(numbers()) >= REQUESTS, timeout=60, what="the outcomes")
    until(lambda: metric(gateway, "deliveries_waiting") == 0, timeout=60, what="nothing that waits")
    assert numbers() == list(range(REQUESTS))
    assert metric(gateway, "outbox_bytes") == 0 and metric(gateway, "deliveries_total", "dropped") == 0


def cut_log(kafka, topic, offset):
    """The broker, which is stopped, has lost all records of partition 0 from that offset on, as a new leader may that had not got them.
    Each was a batch of its own."""
    folder = kafka.brokers[0].home / "data" / f"{topic}-0"
    path = folder / "00000000000000000000.log"
    data, at = path.read_bytes(), 0
    while int.from_bytes(data[at:at + 8], "big") < offset:
        at += 12 + int.from_bytes(data[at + 8:at + 12], "big")
    os.truncate(path, at)
    for index in folder.glob("*.*index"):
        index.unlink()


def test_a_log_that_was_cut_short_goes_on(c_mist, kafka_factory, prefix):
    """Three of five records are lost. The gateway had compared the second, as is committed with the fifth, and finds it: nothing is run
    again, and what is written in place of those that were lost is run."""
    kafka = kafka_factory()
    door = Door(kafka, prefix, consumer={"session.timeout.ms": "6000"})
    gateway = c_mist(transports=[door.settings])

    def ask(*texts):
        producer = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})  # one that counts no records
        for text in texts:
            producer.produce(door.requests, json.dumps({"functionId": "echo", "parameters": {"text": text}}))
            assert producer.flush(30 * PATIENCE) == 0

    def with_group(ask):
        """None: the broker is not ready for that, or the group is not empty."""
        try:
            return kafka.with_consumer(door.group, ask)
        except confluent_kafka.KafkaException:
            return None

    def place(offset):
        asked = [confluent_kafka.TopicPartition(door.requests, 0)]
        found = with_group(lambda c: c.committed(asked, timeout=30)[0])
        return found if found and found.offset == offset else None

    def commit(offset, metadata):
        at = confluent_kafka.TopicPartition(door.requests, 0, offset, metadata)
        done = with_group(lambda c: c.commit(offsets=[at], asynchronous=False))
        return done and not done[0].error

    ask("0", "1", "2", "3", "4")
    until(lambda: place(5), what="what is lost later")
    gateway.stop()
    marks = "~3".join(kafka.mark(door.requests, offset) for offset in (4, 1))
    until(lambda: commit(5, f"mist:{marks}"), what="an empty group")
    kafka.stop()
    cut_log(kafka, door.requests, 2)
    kafka.start()
    gateway.start()
    until(lambda: "has lost at least 3 records, its end is offset 2 now" in gateway.stderr(), what="the gateway to notice")
    until(lambda: place(2), what="where it goes on")
    ask("new")
    until(lambda: place(3), what="the new record to be done")
    jobs = gateway.get("/v2/api/jobs", params={"limit": 100}).json()
    assert sorted(job["params"]["arguments"]["text"] for job in jobs) == ["0", "1", "2", "3", "4", "new"]
    assert f"the log of {door.requests}/0 is another" not in gateway.stderr()
