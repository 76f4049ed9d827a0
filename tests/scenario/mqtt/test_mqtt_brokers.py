# SPDX-License-Identifier: Apache-2.0
"""What brokers do to a connection, and what they cannot bear."""
import os
import time
import uuid

import pytest

from scenario.test_mqtt import Requester, event, transport, up
from support.mistd import PATIENCE, build_folder, until
from support.old_broker import Relay


def test_an_outcome_whose_first_write_fails_arrives_whole_and_alone(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory()
    text = uuid.uuid4().hex
    preload = {"LD_PRELOAD": str(build_folder() / "tests" / "support" / "broken-writev.so"), "MIST_BREAK_WRITEV": f'"result":"{text}"',
               "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"}
    gateway = c_mist(transports=[transport(broker, prefix)])
    gateway.stop()
    gateway.env.update(preload)
    up(gateway.start())
    seen, requester = broker.subscribe("#"), Requester(broker, prefix)
    before = [requester.ask("sleep", {"ms": 300}) for _ in range(4)]
    assert requester.call("echo", {"text": text}).json()["result"] == text
    assert gateway.stderr().count("the connection to the broker was lost") == 1, "the write failed"
    for mark in before:
        assert event(requester.answers(mark)[0]) == "finished"
    broker.pub(f"{prefix}/end")
    seen.wait_one(f"{prefix}/end")
    strange = [m.topic for m in seen.messages if not m.topic.startswith(prefix)]
    assert not strange and requester.client.connections == 1


def test_a_broker_that_says_good_bye_is_connected_to_again(c_mist, mosquitto, prefix):
    """In MQTT 5 it sends DISCONNECT, with its reason, before it ends the connection."""
    relay = Relay(mosquitto)
    gateway = up(c_mist(transports=[transport(relay, prefix)]))
    requester = Requester(mosquitto, prefix)
    before = requester.ask("sleep", {"ms": 500})
    relay.drop_all(bytes([0xE0, 1, 0x8B]))
    assert event(requester.answers(before)[0]) == "finished"
    assert event(requester.call("noop", {})) == "finished"
    assert "the broker ended the connection: Server shutting down (139)" in gateway.stderr()
    relay.close()


class PickyBroker(Relay):
    """Ends the connection of whoever publishes to a topic that it does not like."""

    def _pump(self, source, target):
        is_client = source not in [broker for _, broker in self.pairs]
        try:
            while data := source.recv(65536):
                if is_client and b"hated/" in data:
                    break
                target.sendall(data)
        except OSError:
            pass
        self.end(source, target)


@pytest.mark.parametrize("topic, many", [("a/" * 300 + "{}", 20), ("hated/{}", 4)], ids=["levels", "name"])
def test_an_event_that_the_broker_cannot_bear_holds_up_no_other(c_mist, mosquitto, prefix, topic, many):
    """A mosquitto ends the connection of whoever names a topic of more than 200 levels."""
    picky = PickyBroker(mosquitto)
    gateway = up(c_mist(transports=[transport(picky, prefix, **{"publish-topic": "", "events": "none"})]))
    other = Requester(mosquitto, prefix)
    usual = seconds(lambda: other.call("noop", {}))
    for i in range(many):
        mosquitto.pub(f"{prefix}/functions/noop/jobs", {}, response_topic=topic.format(i))
    waits = [seconds(lambda: other.call("noop", {})) for _ in range(20)]
    assert max(waits) < usual + 5 * PATIENCE, waits
    until(lambda: dropped(gateway) >= 3, what="the first events to be given up")
    assert "the broker ends the connection when it gets one for this topic" in gateway.stderr()
    until(lambda: all(job["status"] == "finished" for job in gateway.get("/v2/api/jobs", params={"limit": 100}).json()))
    picky.close()


def seconds(do):
    began = time.monotonic()
    do()
    return time.monotonic() - began


def dropped(gateway):
    lines = gateway.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if "dropped" in line and 'mqtt' in line and not line.startswith("#"))


def test_an_outcome_survives_the_end_of_all_connections(c_mist, mosquitto, prefix):
    """What flew when the broker went is not given up for that."""
    relay = Relay(mosquitto)
    gateway = up(c_mist(transports=[transport(relay, prefix)]))
    requester = Requester(mosquitto, prefix)
    marks = []
    for _ in range(3):
        marks += [requester.ask("noop", {}) for _ in range(20)]
        relay.drop_all(b"")
        up(gateway)
    for mark in marks:
        assert event(requester.answers(mark)[0]) == "finished"
    assert "is given up" not in gateway.stderr()
    relay.close()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_an_outcome_that_is_larger_than_the_broker_takes_says_so(c_mist, mosquitto_factory, prefix, version):
    """In 3.1.1 a broker cannot tell what it takes: it breaks the connection."""
    broker = mosquitto_factory(settings=["max_packet_size 100000"])
    gateway = up(c_mist(transports=[transport(broker, prefix, version=version)]))
    client = broker.subscribe(f"{prefix}/out")
    client.publish(f"{prefix}/in", {"functionId": "big", "parameters": {"bytes": 200_000}})
    answer = client.wait_one(lambda m: "error" in m.json(), 60)
    assert "bytes, more than the broker takes" in answer.json()["error"]
    client.publish(f"{prefix}/in", {"functionId": "big", "parameters": {"bytes": 90_000}})
    client.wait_one(lambda m: len(m.json().get("result", "")) == 90_000)
    assert len(gateway.job(answer.json()["id"])["jobResult"]) == 200_000
