# SPDX-License-Identifier: Apache-2.0
"""A partition goes from one gateway of a group to another while some of its messages are held back and others behind them are jobs
already: each message makes one job, on one of them. Through a real broker."""
import json

import pytest

from support.kafka import Door
from support.mistd import PATIENCE, until

ONE_AT_A_TIME = {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}
CONTEXTS = {"example": ONE_AT_A_TIME, "free": {**ONE_AT_A_TIME, "max-jobs": 8, "jobs-per-worker": 8}}
MESSAGES = 12


@pytest.fixture
def door(kafka, prefix):
    return Door(kafka, prefix, consumer={"session.timeout.ms": str(int(6000 * min(PATIENCE, 2)))})  # of two gateways both must be heard of


def names(gateway):
    return {job["externalId"] for job in gateway.get("/v2/api/jobs?limit=100").json() if job.get("externalId")}


@pytest.fixture
def first(c_mist, kafka, door):
    """A gateway that holds back every second of the messages, with what is behind them done."""
    gateway = c_mist(transports=[door.settings], contexts=CONTEXTS, limits={"queue": 1})
    busy = gateway.submit("sleep", {"ms": 600_000})
    gateway.wait(busy, "started")
    gateway.submit("sleep", {"ms": 600_000})
    for i in range(MESSAGES):
        request = {"functionId": "echo", "parameters": {"text": str(i)}, "externalId": str(i)}
        kafka.produce_soon(door.requests, json.dumps(request), headers={"context": "free" if i % 2 else "example", "reply-topic": door.replies})
    kafka.flush()
    until(lambda: len(names(gateway)) > 1)
    return gateway


def each_is_run_once(kafka, door, gateways):
    """And answered: an outcome may come twice where a gateway stopped before it heard that the first had arrived."""
    kafka.read(door.replies).wait_until(lambda records: len({r.headers["job-id"] for r in records}) == MESSAGES)
    until(lambda: door.committed() == MESSAGES)
    made = [name for gateway in gateways for name in names(gateway)]
    assert sorted(made, key=int) == [str(i) for i in range(MESSAGES)]


def test_a_gateway_that_stops_says_what_it_has_taken_behind_what_it_held(c_mist, kafka, door, first):
    second = c_mist(transports=[door.settings], contexts=CONTEXTS)
    first.stop()
    until(lambda: len(names(second)) >= MESSAGES / 2)
    until(lambda: door.committed() == MESSAGES)
    first.start()
    each_is_run_once(kafka, door, [first, second])


def test_what_a_gateway_was_told_it_tells_the_next(c_mist, kafka, door, first):
    first.stop()
    second = c_mist(transports=[door.settings], contexts=CONTEXTS, limits={"queue": 1})
    second.wait(second.submit("sleep", {"ms": 600_000}), "started")
    second.submit("sleep", {"ms": 600_000})
    until(lambda: f"nothing is taken of {door.requests}/0" in second.stderr())
    second.stop()
    third = c_mist(transports=[door.settings], contexts=CONTEXTS)
    until(lambda: door.committed() == MESSAGES)
    first.start()
    second.start()
    each_is_run_once(kafka, door, [first, second, third])


def test_a_broker_that_takes_no_such_long_metadata_gets_commits_without(c_mist, kafka_factory, prefix):
    kafka = kafka_factory(offset_metadata_max_bytes=5)
    door = Door(kafka, prefix)
    gateway = c_mist(transports=[door.settings], contexts=CONTEXTS, limits={"queue": 1})
    busy = [gateway.submit("sleep", {"ms": 600_000})]
    gateway.wait(busy[0], "started")
    busy.append(gateway.submit("sleep", {"ms": 600_000}))
    for i in range(MESSAGES):
        door.send({"functionId": "echo", "parameters": {"text": str(i)}, "externalId": str(i)}, context="free" if i % 2 else "example")
    until(lambda: kafka.committed(door.group, door.requests) == {0: 0})
    for job in busy:
        gateway.cancel(job)
    until(lambda: door.committed() == MESSAGES)
