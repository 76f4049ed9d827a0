# SPDX-License-Identifier: Apache-2.0
"""What brokers do to a connection, and what they cannot bear."""
import os
import uuid

import pytest

from scenario.test_mqtt import Requester, event, transport, up
from support.mistd import build_folder, until
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


def test_an_event_that_the_broker_cannot_bear_holds_up_no_other(c_mist, mosquitto_factory, prefix):
    """A mosquitto ends the connection of whoever names a topic of more than 200 levels."""
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[transport(broker, prefix)]))
    requester, other = Requester(broker, prefix), Requester(broker, prefix)
    requester.client.publish(f"{prefix}/functions/echo/jobs", {"text": "x"}, response_topic="a/" * 205 + "b", correlation_data=b"1")
    until(lambda: "the broker ends the connection when it gets an event" in gateway.stderr(), 60, "the event to be put off")
    for i in range(20):
        assert other.call("echo", {"text": str(i)}).json()["result"] == str(i)


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
