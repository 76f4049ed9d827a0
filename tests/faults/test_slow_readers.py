# SPDX-License-Identifier: Apache-2.0
"""Subscribers that read slowly, or never: they cost a buffer, and nobody else an event."""
import select
import threading

import pytest

from support.mistd import PATIENCE, until
from support.subscribers import Stream, WebSocket, metric, run_many

ALL = "/v2/api/ws/all"


def subscribers(mist, n):
    return lambda: metric(mist, "mist_subscribers") == n


def account(subscriber, total):
    """How many of so many events it still got, and how many it is told that it did not."""
    told = dropped = 0
    while told + dropped < total:
        event = subscriber.event()
        told += event["event"] != "dropped"
        dropped += event.get("count", 0)
    return told, dropped


def test_who_never_reads_costs_its_buffer_and_nobody_else_an_event(c_mist):
    mist = c_mist(http={"subscriber-buffer": "256k"})
    batches, jobs = 160, 25  # the events of a batch fit in the buffer of who reads
    total = batches * jobs * 5
    mist.run("echo", {"text": "x"})
    idle = [WebSocket(mist, ALL, receive_buffer=4096), Stream(mist, "/v2/api/events", receive_buffer=4096)]
    readers = [WebSocket(mist, ALL), Stream(mist, "/v2/api/events")]
    until(subscribers(mist, 4))
    heard, before = [0, 0], mist.resident_bytes()

    def listen(i):
        while heard[i] < total:
            assert readers[i].event()["event"] != "dropped"
            heard[i] += 1

    threads = [threading.Thread(target=listen, args=(i,), daemon=True) for i in range(len(readers))]
    for thread in threads:
        thread.start()
    for batch in range(1, batches + 1):
        run_many(mist, jobs, "x" * 2000)
        until(lambda: heard == [batch * jobs * 5] * len(readers), what="all events")
    dropped = metric(mist, "mist_subscriber_events_dropped_total")
    assert dropped > total / 4 and mist.resident_bytes() - before < 16 << 20
    (told, missed), (told_too, missed_too) = (account(subscriber, total) for subscriber in idle)
    assert told + missed == told_too + missed_too == total and missed + missed_too == dropped


@pytest.mark.parametrize("kind,path", [(WebSocket, ALL), (Stream, "/v2/api/events")])
def test_who_is_always_behind_costs_what_waits_and_not_all_it_was_told(c_mist, kind, path):
    mist = c_mist(http={"subscriber-buffer": "32m"})
    with kind(mist, path) as behind:
        until(subscribers(mist, 1))
        for _ in range(24):
            mist.run("big", {"bytes": 1 << 20})
        before = mist.resident_bytes()
        for _ in range(64):
            mist.run("big", {"bytes": 1 << 20})
            while behind.event()["event"] != "finished":
                pass
        print(f"bytes that 64 MB more cost: {mist.resident_bytes() - before}")
        assert mist.resident_bytes() - before < 32 << 20 and metric(mist, "mist_subscriber_events_dropped_total") == 0


def test_long_events_for_who_does_not_read_have_one_limit(c_mist):
    """One that is longer than the buffer is kept for who has nothing else waiting, but not for all of them."""
    mist = c_mist(http={"subscriber-buffer": "64k", "answers": "40m"})
    mist.run("echo", {"text": "x"})
    before = mist.resident_bytes()
    idle = [kind(mist, path, receive_buffer=4096) for kind, path in 8 * [(WebSocket, ALL), (Stream, "/v2/api/events")]]
    until(subscribers(mist, len(idle)))
    job = mist.submit("big", {"bytes": 16 << 20})
    until(lambda: mist.job(job)["status"] == "finished", what="its end")
    until(lambda: metric(mist, "mist_subscriber_events_dropped_total") >= len(idle) - 4, what="dropped events")
    assert 0 < metric(mist, "mist_http_subscriber_waiting_bytes") <= 40 << 20
    with WebSocket(mist, ALL) as reader:
        mist.run("echo", {"text": "x"})
        while reader.event()["event"] != "finished":
            pass
    late = [Stream(mist, f"/v2/api/jobs/{job}/events", receive_buffer=4096) for _ in range(8)]
    assert 503 in {s.status for s in late}
    until(lambda: mist.resident_bytes() - before < 150 << 20, what="memory")
    for s in [*idle, *late]:
        s.close()
    until(lambda: metric(mist, "mist_http_subscriber_waiting_bytes") == 0, what="their bytes")


def test_who_takes_nothing_of_a_long_event_has_to_go(c_mist):
    mist = c_mist(http={"subscriber-buffer": "64k", "send-timeout": "1s", "ws-keepalive": "1s"})
    with WebSocket(mist, ALL, receive_buffer=4096), WebSocket(mist, ALL) as reader:
        until(subscribers(mist, 2))
        mist.submit("big", {"bytes": 16 << 20})
        while reader.event()["event"] != "finished":
            pass
        until(subscribers(mist, 1), what="the end of the other one")
        mist.run("echo", {"text": "x"})
        while reader.event()["event"] != "finished":
            pass


def test_answers_to_pings_that_nobody_reads_have_an_end(c_mist):
    mist = c_mist(http={"subscriber-buffer": "64k"})
    with WebSocket(mist, ALL, receive_buffer=4096) as ws:
        until(subscribers(mist, 1))
        before, left = mist.resident_bytes(), (b"\x89\xfd" + bytes(4 + 125)) * (1 << 19)
        ws.socket.setblocking(False)
        while left and select.select([], [ws.socket], [], 2 * PATIENCE)[1]:
            left = left[ws.socket.send(left[:1 << 20]):]
        assert left and mist.resident_bytes() - before < 8 << 20
        assert mist.run("echo", {"text": "x"})["success"]
    until(subscribers(mist, 0))
