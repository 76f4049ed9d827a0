# SPDX-License-Identifier: Apache-2.0
"""What a broker says that it can do, and what it does not have."""
import re
import time
import uuid

import pytest

from scenario.test_mqtt import Requester, event, transport, up
from support.mistd import until
from support.old_broker import OldBroker


class Wiretap(OldBroker):
    """Notes the keep-alive of every CONNECT."""

    def join(self, client):
        first = self.first_packet(client)
        at = self.LEVEL + (first[1] >> 7) + 2 if first else 0
        self.seen.append(int.from_bytes(first[at:at + 2], "big"))
        self.connect(client, first)


def test_a_shorter_keep_alive_of_the_broker_is_kept(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory(settings=["max_keepalive 10"])
    wire = Wiretap(broker)
    up(c_mist(transports=[transport(wire, prefix, receivers=2)]))
    assert wire.seen[0] > 10 and max(wire.seen[1:]) <= 10, wire.seen
    assert event(Requester(broker, prefix).call("noop", {})) == "finished"
    wire.close()


def test_a_broker_without_retained_messages_serves(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory(settings=["retain_available false"])
    gateway = up(c_mist(transports=[transport(broker, prefix)]))
    assert event(Requester(broker, prefix).call("noop", {})) == "finished"
    assert gateway.stderr().count("the broker keeps no retained messages: whether gateways are online") == 1


def test_a_broker_that_takes_qos_0_only_is_named_with_the_remedy(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory(settings=["max_qos 0"])
    gateway = c_mist(transports=[transport(broker, prefix)])
    until(lambda: "it has to allow QoS 1" in gateway.trouble(), what="the reason")


def test_a_broker_is_tested_so_often_that_a_mute_one_is_missed_after_one_and_a_half_times(c_mist, mosquitto_factory, prefix):
    """paho misses an answer after 2.7 times what it tells the broker: 10 s for the setting of 18 s."""
    broker = mosquitto_factory()
    wire = Wiretap(broker)
    up(c_mist(transports=[transport(wire, prefix, receivers=2, **{"keep-alive": "18s"})]))
    assert set(wire.seen) == {10}
    wire.close()


def test_a_mute_broker_is_missed_soon(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[transport(broker, prefix, **{"keep-alive": "2s"})]))
    broker.pause()
    began = time.monotonic()
    until(lambda: not gateway.is_connected(), what="the loss")
    assert time.monotonic() - began < 25, "not as late as by the keep-alive that is usual"
    broker.resume()
    up(gateway)


def test_events_that_nobody_is_owed_are_dropped_by_their_bytes(c_mist, mosquitto_factory, prefix):
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[transport(broker, prefix, **{"buffer-bytes": "128k", "receivers": 1})]))
    broker.stop()
    for _ in range(10):
        assert len(gateway.run("big", {"bytes": 50_000})["payload"]) == 50_000
    until(lambda: metric(gateway, "deliveries_total", "dropped") > 0)
    broker.start()
    up(gateway)
    assert event(Requester(broker, prefix).call("noop", {})) == "finished"


def test_a_cancel_under_another_prefix_that_waited_ends_nothing(c_mist, mosquitto, prefix):
    """The session of the connection for cancels outlives a change of the prefix, and with it what was subscribed to."""
    gateway = up(c_mist(transports=[transport(mosquitto, f"{prefix}-a", **{"client-id": prefix})]))
    gateway.stop()
    for topic in (f"{prefix}-a/jobs/{uuid.uuid4()}/cancel", f"{prefix}-a/jobs//cancel"):
        mosquitto.pub(topic, b"", response_topic=f"{prefix}/mine")
    gateway.sections["transports"] = [transport(mosquitto, f"{prefix}-{'b' * 100}", **{"client-id": prefix})]
    gateway.configure(gateway.rendered())
    up(gateway.start())
    assert gateway.run("echo", {"text": "alive"})["success"]


def metric(gateway, name, outcome=""):
    labels = 'transport="mqtt"' + (f',outcome="{outcome}"' if outcome else "")
    return int(re.search(rf"^mist_transport_{name}\{{{labels}\}} (\d+)$", gateway.get("/metrics").text, re.M)[1])


@pytest.mark.parametrize("correlation_bytes", [2, 3000], ids=["short-address", "long-address"])
def test_outcomes_beyond_the_limit_wait_in_the_store(c_mist, mosquitto_factory, prefix, correlation_bytes):
    """Of a broker that is away: each arrives once, whole, under the id that the event has anywhere."""
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[transport(broker, prefix, events="none", **{"outbox-bytes": "128k", "publish-topic": ""})],
                        contexts={"example": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}}))
    client = broker.subscribe(f"{prefix}/mine", name=f"{prefix}-mine", session=600)
    busy = gateway.submit("sleep", {"ms": 600_000})  # the others end when the broker is away
    gateway.wait(busy, "started")
    for n in range(20):
        client.publish(f"{prefix}/functions/big/jobs", {"bytes": 50_000}, response_topic=f"{prefix}/mine",
                       correlation_data=str(n).encode().ljust(correlation_bytes))
    until(lambda: metric(gateway, "requests_total", "accepted") == 20, what="the requests")
    broker.stop()
    gateway.cancel(busy)
    until(lambda: metric(gateway, "deliveries_waiting") >= 20, what="all outcomes")
    assert 0 < metric(gateway, "outbox_bytes") < 400_000
    until(lambda: "further ones wait in the store" in gateway.stderr())
    broker.start()
    found = client.wait(20)
    assert sorted(int(m.properties["correlation_data"]) for m in found) == list(range(20))
    assert all(len(m.json()["result"]) == 50_000 and m.user["event-id"] == f"{m.json()['id']}:finished" for m in found)
    until(lambda: metric(gateway, "outbox_bytes") == 0, what="nothing that waits")
    assert metric(gateway, "deliveries_total", "dropped") == 0
