# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the gateway and of the broker while requests come by MQTT: none is lost, none becomes two jobs."""
import json
import random
import re
import resource
import threading
import time
import uuid
from collections import Counter, defaultdict

import pytest

from support.mistd import PATIENCE, until

REQUESTS = 2000
KILLS = 6
RANKS = ["initialized", "queued", "worker-assigned", "job-file-downloading", "started", "cancelling", "finished"]


def up(gateway):
    return gateway.connected()


class Requester:
    """Publishes requests with a key each, and keeps what comes back."""

    def __init__(self, broker, prefix):
        self.prefix, self.topic = prefix, f"{prefix}/answers"
        self.client = broker.subscribe(self.topic, name=f"{prefix}-requester", session=600)
        self.keys = [uuid.uuid4().hex for _ in range(REQUESTS)]

    def send(self, keys, pause=0.0):
        """What it hands over is sent, and sent again after a lost connection, until the broker has acknowledged it."""
        sent = []
        for key in keys:
            sent.append(self.client.publish_soon(
                f"{self.prefix}/functions/echo/jobs", {"text": key}, response_topic=self.topic, correlation_data=key.encode(),
                user={"idempotency-key": key, "externalId": key, "events": "all"}))
            time.sleep(pause)
        return sent

    def answers(self):
        """Key → its events, as they came."""
        found = defaultdict(list)
        for m in self.client.messages:
            found[m.properties["correlation_data"].decode()].append(m)
        return found

    def missing(self):
        found = self.answers()
        return [key for key in self.keys if not any(m.user["event"] == "finished" for m in found.get(key, ()))]

    def check(self, gateway):
        jobs = Counter()
        for offset in range(0, 2 * REQUESTS, 500):
            rows = gateway.get("/v2/api/jobs", params={"limit": 500, "offset": offset}).json()
            jobs.update(row["externalId"] for row in rows if "externalId" in row)
        assert jobs == Counter(self.keys), "each request is one job"
        # A request that came again is told "initialized" again, and the outcome.
        until(lambda: all(events[-1].user["event"] == "finished" for events in self.answers().values()), 60, "the outcomes that are told again")
        for key, events in self.answers().items():
            assert len({m.user["job-id"] for m in events}) == 1 and events[-1].json().get("result") == key
            ranks = [RANKS.index(name) for name in dict.fromkeys(m.user["event"] for m in events) if name != "initialized"]
            assert ranks == sorted(ranks), f"the events of one job in order: {[m.user['event'] for m in events]}"


def kill_at_random(victim, seed, is_over):
    """Until it is over; the seed is shown when the test fails."""
    chance = random.Random(seed)
    for _ in range(KILLS):
        if is_over():
            return
        until(lambda end=time.monotonic() + chance.uniform(0.1, 1.2): time.monotonic() > end, what="the moment")
        victim.kill9()
        victim.start()


@pytest.fixture
def seed():
    value = random.randrange(2**32)
    print(f"seed {value}")
    return value


@pytest.mark.timeout(300 * PATIENCE)
def test_requests_outlive_a_gateway_that_is_killed(c_mist, mosquitto_factory, prefix, seed):
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[{"type": "mqtt", "url": broker.url, "prefix": prefix}]))
    requester = Requester(broker, prefix)
    sender = threading.Thread(target=requester.send, args=(requester.keys, 0.002))
    sender.start()
    kill_at_random(gateway, seed, lambda: False)
    sender.join()
    until(lambda: not requester.missing(), 120, "all outcomes")
    requester.check(gateway)


@pytest.mark.timeout(300 * PATIENCE)
def test_requests_outlive_a_broker_that_is_killed(c_mist, mosquitto_factory, prefix, seed):
    """A mosquitto acknowledges before it writes, so what it lost in its fall is asked for again, as any requester would."""
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[{"type": "mqtt", "url": broker.url, "prefix": prefix}]))
    requester = Requester(broker, prefix)
    sender = threading.Thread(target=requester.send, args=(requester.keys, 0.002))
    sender.start()
    kill_at_random(broker, seed, lambda: False)
    sender.join()

    def all_there():
        left = requester.missing()
        if left:
            for sent in requester.send(left):
                sent.wait_for_publish(60 * PATIENCE)
            until(lambda: not set(left) & set(requester.missing()) or up(gateway), 5)
        return not left

    until(all_there, 120, "all outcomes")
    requester.check(gateway)


def test_requests_wait_while_the_disk_is_full(c_mist, mosquitto, prefix):
    gateway = up(c_mist(transports=[{"type": "mqtt", "url": mosquitto.url, "prefix": prefix}]))
    requester = Requester(mosquitto, prefix)
    assert gateway.run("echo", {"text": "the worker is there"})["success"]
    size = max(path.stat().st_size for path in gateway.data.glob("mist.db*"))
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    requester.keys = requester.keys[:300]
    requester.send(requester.keys)
    until(lambda: "store cannot write" in gateway.get("/health/ready").text, what="the full disk")
    assert not any(m.user["event"] == "failed" for m in requester.client.messages)
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: not requester.missing(), 60, "all outcomes")
    requester.check(gateway)


def waiting(gateway):
    found = re.search(r'^mist_transport_deliveries_waiting\{transport="mqtt"\} (\d+)$', gateway.get("/metrics").text, re.M)
    return int(found[1])


def test_a_mute_broker_does_not_hold_up_the_end(c_mist, mosquitto_factory, prefix):
    """It stops answering while requests are taken and refused, so that receivers wait for it. What it has was not lost."""
    broker = mosquitto_factory()
    gateway = up(c_mist(transports=[{"type": "mqtt", "url": broker.url, "prefix": prefix}]))
    requester = Requester(broker, prefix)
    requester.keys = requester.keys[:300]
    bad = [uuid.uuid4().hex for _ in requester.keys]
    for key, refused in zip(requester.keys, bad):
        requester.send([key])
        requester.client.publish_soon(f"{prefix}/functions/nobody/jobs", {}, response_topic=requester.topic, correlation_data=refused.encode())
    requester.client.wait(10)
    broker.pause()
    until(lambda: waiting(gateway), what="something that waits for the broker")
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 28 * PATIENCE, "before mist.stop-timeout"
    broker.resume()
    up(gateway.start())
    until(lambda: not requester.missing() and set(bad) <= requester.answers().keys(), 60, "all answers")


def outbox_bytes(gateway):
    return int(re.search(r'^mist_transport_outbox_bytes\{transport="mqtt"\} (\d+)$', gateway.get("/metrics").text, re.M)[1])


def test_outcomes_that_wait_for_a_broker_cost_no_memory_each(c_mist, mosquitto_factory, prefix):
    """They are in the store, also for the next gateway; each arrives once, in the order in which the jobs ended."""
    broker = mosquitto_factory()
    gateway = up(c_mist(
        contexts={"example": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}},
        transports=[{"type": "mqtt", "url": broker.url, "prefix": prefix, "events": "none", "receivers": 1, "outbox-bytes": "64k"}]))
    client = broker.subscribe(f"{prefix}/mine", name=f"{prefix}-mine", session=600)
    busy = gateway.submit("sleep", {"ms": 600_000})  # the others end when the broker is away
    gateway.wait(busy, "started")
    for n in range(REQUESTS):
        client.publish_soon(f"{prefix}/functions/noop/jobs", {}, response_topic=f"{prefix}/mine", correlation_data=str(n).encode(),
                            user={"idempotency-key": str(n), "externalId": str(n)})
    until(lambda: f'mist_transport_requests_total{{transport="mqtt",outcome="accepted"}} {REQUESTS}\n' in gateway.get("/metrics").text,
          60, "the requests")
    broker.stop()
    gateway.cancel(busy)
    until(lambda: waiting(gateway) >= REQUESTS, 60, "all outcomes")
    assert 0 < outbox_bytes(gateway) < 128 * 1024
    gateway.kill9()
    gateway.start()
    until(lambda: waiting(gateway) >= REQUESTS, 60, "all outcomes, again")
    assert 0 < outbox_bytes(gateway) < 128 * 1024
    broker.start()

    def numbers():
        return list(dict.fromkeys(int(m.properties["correlation_data"]) for m in client.messages))

    until(lambda: len(numbers()) >= REQUESTS, 60, "the outcomes")
    until(lambda: outbox_bytes(gateway) == 0, 60, "nothing that waits")
    assert numbers() == list(range(REQUESTS))


def test_a_gateway_that_died_with_its_broker_keeps_nobody_from_taking_over(c_mist, mosquitto, prefix):
    """The broker of after it still says that it is online, and it would be the one to take over. It is not the only one of the kind: most
    statuses are of gateways that will never come back."""
    settings = [{"type": "mqtt", "url": mosquitto.url, "prefix": prefix, "take-over": "1s", "receivers": 2}]
    gone, stays = (up(c_mist(transports=settings)) for _ in range(2))
    own = f"{prefix}/status/{(gone.data / 'gateway-id').read_text()}"
    status = mosquitto.subscribe(own).wait_one().json()
    stays.stop()
    for i in range(80):
        ghost, is_online = f"00{i:06}{str(uuid.uuid4())[8:]}", i % 40 == 0
        words = {**status, "status": "online" if is_online else "offline", "gateway": ghost, "client": f"mist-{ghost[-12:]}-mqtt"}
        mosquitto.pub(f"{prefix}/status/{ghost}", json.dumps(words), retain=True)
    up(stays.start())
    answers = mosquitto.subscribe(f"{prefix}/answers")
    gone.kill9()
    for _ in range(40):
        mosquitto.pub(f"{prefix}/functions/noop/jobs", "{}", response_topic=f"{prefix}/answers")
    until(lambda: len(answers.messages) == 40, 60, "all answers")
    assert f"gateway {status['gateway']} is away for" in stays.stderr()
