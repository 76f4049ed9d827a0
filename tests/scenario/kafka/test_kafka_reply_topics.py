# SPDX-License-Identifier: Apache-2.0
"""Where answers may be asked for by Kafka: not where requests come in, not among the dead letters, not in the brokers' own topics; and
what is refused because a header stands twice, or a file is named in place of a function."""
import json

import pytest

from support.kafka import Door
from support.mistd import until


@pytest.fixture
def door(kafka, prefix):
    return Door(kafka, prefix, functions=("echo", "noop"))


def reason(letter):
    return letter.headers["reason"]


def test_no_answer_goes_where_requests_come_in(c_mist, kafka, door, prefix):
    other = Door(kafka, f"{prefix}-2")
    gateway = c_mist(transports=[door.settings, {**other.settings, "name": "other"}])
    dead = kafka.read(door.dead)
    bad = [door.requests, door.functions_prefix + "echo", door.functions_prefix + "nobody", door.dead, other.requests, other.dead,
           other.functions_prefix + "echo", "__consumer_offsets", "__x"]
    for topic in bad:
        door.call("echo", {"text": "x"}, reply_topic=topic)
    letters = dead.wait(len(bad))
    assert all(reason(letter).startswith("the header reply-topic: ") and topic in reason(letter) for letter, topic in zip(letters, bad))
    assert gateway.get("/v2/api/jobs").json() == []
    for topic in (door.events, other.events, door.replies):
        reader = kafka.read(topic)
        door.call("echo", {"text": "x"}, reply_topic=topic, externalId="mine")
        reader.wait_one(lambda r: r.headers["event"] == "finished" and r.headers.get("externalId") == "mine")


@pytest.mark.parametrize("name", ["priority", "ce_id", "content-type", "correlation-id", "reply-topic"])
def test_a_header_that_is_read_stands_once(c_mist, kafka, door, name):
    c_mist(transports=[door.settings])
    dead = kafka.read(door.dead)
    kafka.produce(door.functions_prefix + "echo", json.dumps({"text": "x"}), None, [(name, "1"), (name, "1")])
    assert reason(dead.wait_one()) == f"the header {name}: expected once, it stands twice"


def test_other_headers_are_anybodys(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    headers = [("reply-topic", door.replies), ("colour", "red"), ("colour", "blue"), ("odd", b"\xff\x00")]
    kafka.produce(door.functions_prefix + "echo", json.dumps({"text": "x"}), None, headers)
    assert replies.wait_one().headers["event"] == "finished"


def test_a_file_is_not_run_in_place_of_a_function_unless_it_is_allowed(c_mist, kafka, door):
    body = {"fakeName": "f", "path": "x.py", "className": "x", "context": "example"}
    gateway = c_mist(transports=[door.settings])
    dead = kafka.read(door.dead)
    door.send(body)
    assert "unless transports.main.devrun is true" in reason(dead.wait_one())
    gateway.stop()
    gateway.sections["transports"][0]["devrun"] = True
    gateway.configure(gateway.rendered())
    gateway.start()
    door.send(body)
    assert "devrun" not in reason(dead.wait(2)[1])


def test_what_is_like_an_event_of_mist_is_no_noise(c_mist, kafka, door):
    c_mist(transports=[door.settings])
    replies = kafka.read(door.replies)
    door.send({"event": "click", "user": 1}, reply_topic=door.replies)
    assert json.loads(replies.wait_one().value)["error"].startswith("functionId: must be given")
