# SPDX-License-Identifier: Apache-2.0
"""proto/asyncapi.yaml against what is really sent over MQTT and Kafka."""
import functools
import json

import jsonschema
import pytest
import yaml

from support import npm
from support.doors import three_doors
from support.mistd import ROOT


@functools.cache
def document():
    return yaml.safe_load((ROOT / "proto" / "asyncapi.yaml").read_text())


def at(reference):
    place = document()
    for word in reference.removeprefix("#/").split("/"):
        place = place[word]
    return place


def resolved(node):
    """The node without references."""
    if isinstance(node, dict):
        return resolved(at(node["$ref"])) if "$ref" in node else {k: resolved(v) for k, v in node.items()}
    return [resolved(v) for v in node] if isinstance(node, list) else node


def messages(channel):
    return resolved(document()["channels"][channel]["messages"])


def is_good(message, payload, properties):
    try:
        jsonschema.validate(payload, message["payload"])
        jsonschema.validate(properties, message.get("headers", {}))
    except jsonschema.ValidationError:
        return False
    return True


def expect_in(channel, payload, properties):
    """The names of the channel's messages that this is one of."""
    names = {name for name, message in messages(channel).items() if is_good(message, payload, properties)}
    assert names, (channel, payload, properties)
    return names


@pytest.mark.release
def test_the_document_holds_together():
    doc = document()
    assert doc["asyncapi"] == "3.1.0" and f"version: '{doc['info']['version']}'" in (ROOT / "meson.build").read_text()
    resolved(doc["channels"]), resolved(doc["components"])
    for operation in doc["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert "messages" in at(operation["channel"]["$ref"])
    used = {ref.rsplit("/", 1)[1] for channel in doc["channels"].values() for m in channel["messages"].values()
            for ref in [m.get("$ref", "")] if ref}
    assert used == set(doc["components"]["messages"])
    for message in resolved(doc["components"]["messages"]).values():
        jsonschema.Draft202012Validator.check_schema(message["payload"])


@pytest.mark.release
def test_the_parser_of_asyncapi_finds_nothing(tmp_path):
    folder = npm.project(tmp_path / "project", "asyncapi.mts")
    assert json.loads(npm.node(folder, "asyncapi.mts", ROOT / "proto" / "asyncapi.yaml")) == []


@pytest.fixture
def house(plain_mist, mosquitto, kafka, prefix):
    return three_doors(plain_mist, mosquitto, kafka, prefix, ("typed", "chatty", "none", "unencodable", "big"))


def run_everything(gateway, doors):
    """Jobs of every fate, by both brokers and in every form."""
    for door in doors["mqtt"], doors["kafka"]:
        door.call("typed", {"i": 1}, externalId="mine")
        door.call("typed", {"i": 1}, events="all")
        door.call("unencodable", {})
        door.call("none", {}, externalId="mine")
        door.call("chatty", {"lines": 2})
        event = {"specversion": "1.0", "id": "1", "source": f"/{door.source}", "type": "t", "data": {"i": 1}}
        jsonschema.validate(event, at("#/components/messages/cloudRequest/payload"))
    return event


def mqtt_channel(topic):
    if topic == "status":
        return "mqttStatus"
    if topic.startswith("status/"):
        return "mqttGatewayStatus"
    return {"events": "mqttEvents", "logs": "mqttLogs"}.get(topic.rsplit("/", 1)[1], "reply")


def test_what_is_sent_by_mqtt_is_in_the_document(house):
    gateway, doors = house
    door = doors["mqtt"]
    client = door.client.subscribe(f"{door.prefix}/jobs/+/logs", f"{door.prefix}/status", f"{door.prefix}/status/+")
    run_everything(gateway, doors)
    client.wait_one(lambda m: m.topic.endswith("/logs"))
    client.wait_one(lambda m: m.topic == f"{door.prefix}/status")
    client.wait_one(lambda m: m.topic.startswith(f"{door.prefix}/status/"))
    seen = set()
    for m in client.messages:
        channel = mqtt_channel(m.topic.removeprefix(door.prefix + "/"))
        seen |= {(channel, name) for name in expect_in(channel, m.text if channel == "mqttStatus" else m.json(), m.user)}
    assert {("mqttEvents", "event"), ("mqttLogs", "logs"), ("reply", "event"), ("reply", "refusal"), ("mqttStatus", "status"),
            ("mqttGatewayStatus", "gatewayStatus")} <= seen


def test_what_is_sent_by_kafka_is_in_the_document(house):
    gateway, doors = house
    door = doors["kafka"]
    dead = door.kafka.read(f"{door.prefix}.dead")
    run_everything(gateway, doors)
    door.all.wait_one(lambda r: r.headers["event"] == "logs")
    seen = set()
    for channel, records in ("reply", door.replies.records), ("everything", door.all.records):
        for r in records:
            seen |= {(channel, name) for name in expect_in(channel, json.loads(r.value), r.headers)}
    assert {("reply", "event"), ("reply", "refusal"), ("everything", "event"), ("everything", "logs")} <= seen
    refused = dead.wait_one()
    expect_in("deadLetters", json.loads(refused.value), refused.headers)


def test_an_event_that_is_too_large_is_told_as_the_document_says(house):
    gateway, doors = house
    doors["kafka"].begin("big", {"n": 3_000_000})
    answer = doors["kafka"].replies.wait_one()
    assert expect_in("reply", json.loads(answer.value), answer.headers) == {"tooLarge"}


def test_a_cloud_event_is_answered_as_the_document_says(house):
    gateway, doors = house
    door = doors["mqtt"]
    event = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "t", "data": {"i": 1}}
    for i, data in enumerate(({"i": 1}, {"i": "x"})):
        door.client.publish(f"{door.prefix}/functions/typed/jobs", {**event, "id": str(i), "data": data}, response_topic=door.topic,
                            content_type="application/cloudevents+json")
    for answer in door.client.wait(2, door.topic):
        assert expect_in("reply", answer.json(), answer.user) == {"cloudEvent"}
        assert answer.properties["content_type"].startswith("application/cloudevents+json")


def test_the_first_generation_is_answered_as_the_document_says(house):
    gateway, doors = house
    door = doors["kafka"]
    door.kafka.produce(f"{door.prefix}.in", json.dumps({"route": "typed", "parameters": {"i": 1}}).encode(), None,
                       {"reply-topic": f"{door.prefix}.replies"})
    answer = door.replies.wait_one()
    assert expect_in("reply", json.loads(answer.value), answer.headers) == {"answer"}
