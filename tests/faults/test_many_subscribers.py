# SPDX-License-Identifier: Apache-2.0
"""5,000 subscribers at once: each hears what it listens to, costs the gateway little, and leaves nothing."""
import resource
import selectors
import time

import pytest

from support.mistd import PATIENCE, until
from support.subscribers import Stream, WebSocket, descriptors, metric

EACH = 1250
COST_MAX = 30 * 1024
DESCRIPTORS = 4 * EACH + 500
RUNNING = {"running": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1}}


@pytest.fixture
def many_descriptors():
    """The gateway raises its own limit to the hard one that it inherits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= DESCRIPTORS, f"{DESCRIPTORS} descriptors are needed, ulimit -Hn says {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def hear(clients, is_enough):
    """Reads whatever comes to whom until each has heard enough: is_enough(events)."""
    heard = {client: [] for client in clients}
    with selectors.DefaultSelector() as ready:
        for client in clients:
            ready.register(client.socket, selectors.EVENT_READ, client)
        while ready.get_map():
            chosen = ready.select(60 * PATIENCE)
            assert chosen, f"{len(ready.get_map())} heard too little"
            for key, _ in chosen:
                client = key.data
                while True:
                    heard[client].append(client.event())
                    if is_enough(heard[client]) or not (client.data or getattr(client, "body", b"")):
                        break
                if is_enough(heard[client]):
                    ready.unregister(client.socket)
    return heard


def ended(*jobs):
    return lambda events: sum(e["event"] in ("finished", "cancelled") and e["id"] in jobs for e in events) == len(jobs)


def open_all(mist, kind, paths):
    """They, and what each costs the gateway in bytes."""
    before, there = mist.resident_bytes(), metric(mist, "mist_subscribers")
    clients = [kind(mist, path) for path in paths]
    until(lambda: metric(mist, "mist_subscribers") == there + len(clients), what="the subscribers")
    return clients, (mist.resident_bytes() - before) / len(clients)


def test_5000_subscribers_hear_everything_and_cost_little(c_mist, many_descriptors):
    mist = c_mist(contexts=RUNNING, http={"connections": DESCRIPTORS})
    mist.run("echo", {"text": "x"})
    running = mist.submit("sleep", {"ms": 600000}, context="running")
    mist.wait(running, "started")
    before, memory, began = descriptors(mist), mist.resident_bytes(), time.monotonic()

    sockets, cost = open_all(mist, WebSocket, ["/v2/api/ws/all", f"/v2/api/ws/jobs/{running}"] * EACH)
    print(f"bytes per WebSocket: {cost:.0f}")
    streams, cost = open_all(mist, Stream, ["/v2/api/events", f"/v2/api/jobs/{running}/events"] * EACH)
    print(f"bytes per stream: {cost:.0f}")
    clients = sockets + streams
    print(f"seconds to open them: {time.monotonic() - began:.2f}")

    jobs = [mist.submit("echo", {"text": "x"}) for _ in range(5)]
    of_all = hear(clients[::2], ended(*jobs))
    assert all(sum(e.get("id") in jobs for e in events) == 5 * len(jobs) for events in of_all.values())
    mist.cancel(running)
    of_one = hear(clients[1::2], ended(running))
    assert all({e["id"] for e in events} == {running} for events in of_one.values())
    assert metric(mist, "mist_subscriber_events_dropped_total") == 0

    cost = (mist.resident_bytes() - memory) / len(clients)
    print(f"bytes per subscriber that has heard something: {cost:.0f}")
    assert cost < COST_MAX
    for client in clients:
        client.close()
    until(lambda: metric(mist, "mist_subscribers") == 0, what="the end of the subscribers")
    mist.session.close()
    # The store reads by some connections more when several ask at a time.
    until(lambda: descriptors(mist) <= before + 20, what="the descriptors of before")
