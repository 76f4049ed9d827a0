# SPDX-License-Identifier: Apache-2.0
"""Requests with a known idempotency key and an address of their own, and kill -9 of the gateway: each address gets the outcome."""
import collections
import contextlib
import random
import sqlite3
import threading

import pytest

from support.doors import NAMES, HttpDoor, KafkaDoor, MqttDoor
from support.mistd import PATIENCE, until

FUNCTIONS = ("wait_for", "record")
KEYS, KILLS = 200, 6


@pytest.fixture
def house(plain_mist, mosquitto, kafka, prefix):
    """(gateway, {name: how to make a requester of that door})"""
    # One connection for requests: the broker has heard that one is taken when the next is answered.
    gateway = plain_mist(transports=[{**MqttDoor.settings(mosquitto, prefix), "receivers": 1},
                                     KafkaDoor.settings(kafka, prefix, FUNCTIONS)])
    gateway.connected()
    return gateway, {"http": lambda: HttpDoor(gateway), "mqtt": lambda: MqttDoor(gateway, mosquitto, prefix),
                     "kafka": lambda: KafkaDoor(gateway, kafka, prefix)}


def wait_until_taken(name, door, function, count, tmp_path):
    """The broker will not send again any of the `count` requests that it was given for this function."""
    if name == "mqtt":
        assert door.call("record", {"path": str(tmp_path / "behind"), "n": 1}).event == "finished"
    elif name == "kafka":
        until(lambda: sum(filter(None, door.kafka.committed(door.prefix, f"{door.prefix}.f.{function}").values())) == count,
              what="the committed offset")


@pytest.mark.parametrize("second", ["mqtt", "kafka"])
@pytest.mark.parametrize("first", NAMES)
def test_who_asks_again_is_told_by_the_next_gateway(house, first, second, tmp_path):
    gateway, requesters = house
    call = "wait_for", {"path": str(tmp_path / "flag")}
    doors = requesters[first](), requesters[second]()
    outcomes = [doors[0].begin(*call, idempotency_key="k")]
    job = gateway.until(lambda: gateway.get("/v2/api/jobs", params={"status": "started"}).json())[0]["jobId"]
    outcomes.append(doors[1].begin(*call, idempotency_key="k"))
    wait_until_taken(second, doors[1], "wait_for", [first, second].count("kafka"), tmp_path)
    gateway.kill9()
    gateway.restart()
    (tmp_path / "flag").write_text("")
    told = [outcome() for outcome in outcomes]
    assert [(o.event, o.result, o.job) for o in told] == [("finished", "seen", job)] * 2


def test_many_ask_again_while_the_gateway_is_killed(house, tmp_path):
    """By two addresses of each broker, at any time: before the job, while it runs, and when its outcome was told."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    gateway, requesters = house
    doors = [requesters[name]() for name in ("mqtt", "mqtt", "kafka", "kafka")]
    ran = tmp_path / "ran"
    asked = [(key, door) for key in range(KEYS) for door in doors]
    rng.shuffle(asked)
    outcomes, is_sent = [], threading.Event()

    def ask_all():
        for key, door in asked:
            outcomes.append((key, door.begin("record", {"path": str(ran), "n": key}, idempotency_key=str(key))))
        is_sent.set()

    sender = threading.Thread(target=ask_all)
    sender.start()
    for kill in range(KILLS):
        moment = rng.randrange(len(asked) // KILLS * kill, len(asked) // KILLS * (kill + 1))
        until(lambda: len(outcomes) > moment, 60, "the moment")
        gateway.kill9()
        gateway.start()
    assert is_sent.wait(60 * PATIENCE)
    told = [(key, outcome()) for key, outcome in outcomes]
    assert {(o.event, o.result == key) for key, o in told} == {("finished", True)}
    jobs = collections.defaultdict(set)
    for key, outcome in told:
        jobs[key].add(outcome.job)
    assert {len(ids) for ids in jobs.values()} == {1}
    runs = collections.Counter(int(line.split()[1]) for line in ran.read_text().splitlines())
    assert runs == collections.Counter(range(KEYS))
    until(lambda: not listeners(gateway), what="nobody to be told")


def listeners(gateway):
    with contextlib.closing(sqlite3.connect(f"file:{gateway.data / 'mist.db'}?mode=ro", uri=True)) as db:
        return db.execute("SELECT door, reply_to FROM listener").fetchall()


def test_a_database_of_an_earlier_version_is_brought_up_to_date(plain_mist, tmp_path):
    gateway = plain_mist()
    job = gateway.submit("record", {"path": str(tmp_path / "ran"), "n": 1})
    gateway.wait(job)
    gateway.stop()
    with contextlib.closing(sqlite3.connect(gateway.data / "mist.db")) as db:
        db.execute("DROP TABLE listener")
        db.execute("DROP TABLE unreadable")
        db.execute("DROP TABLE deployment")
        db.execute("DROP INDEX job_external")
        db.execute("DROP INDEX job_context")
        db.execute("PRAGMA user_version = 1")
    gateway.restart()
    assert gateway.job(job)["status"] == "finished" and listeners(gateway) == []
