# SPDX-License-Identifier: Apache-2.0
"""Live events by WebSocket and as Server-Sent Events."""
import re
import selectors
import socket
import threading

import pytest
from websockets.sync.client import connect

from support.mistd import PATIENCE, until
from support.subscribers import Closed, Stream, WebSocket, descriptors, metric

ALL = "/v2/api/ws/all"
FINAL = ("finished", "failed", "cancelled")
NOBODY = "0190c0de-0000-7000-8000-000000000000"


ASIDE = {"aside": {"runtime": "example", "worker-mode": "shared", "max-jobs": 8}}  # for jobs that others do not wait for


@pytest.fixture
def mist(c_mist):
    return c_mist(contexts=ASIDE)


def to_the_end(subscriber, job_id=None):
    """Its events up to the end of the job."""
    events = []
    while not events or events[-1]["event"] not in FINAL or (job_id and events[-1]["id"] != job_id):
        events.append(subscriber.event())
    return events


def names(events):
    return [e["event"] for e in events]


def entries(events):
    return [entry for e in events if e["event"] == "logs" for entry in e["events"]]


def subscribers(mist, n):
    return lambda: metric(mist, "mist_subscribers") == n


# WebSocket

def test_events_have_mists_bytes_in_mists_order(mist):
    with WebSocket(mist, f"{ALL}?withLogs=TRUE") as ws:
        until(subscribers(mist, 1))
        job_id = mist.submit("log", {"lines": 1}, externalId='my "own" id')
        texts = [ws.text()]
        while '"event":"finished"' not in texts[-1]:
            texts.append(ws.text())
    job = mist.job(job_id)
    lifecycle = [t for t in texts if '"event":"logs"' not in t and "keep-alive" not in t]
    assert lifecycle == [
        f'{{"id":"{job_id}","params":{{"filePath":"","className":"log","arguments":{{"lines":1}},"action":"execute"}},'
        '"externalId":"my \\"own\\" id","function":"log","context":"example","event":"initialized"}',
        f'{{"id":"{job_id}","event":"queued"}}',
        f'{{"id":"{job_id}","workerId":"{job["workerId"]}","event":"worker-assigned"}}',
        f'{{"id":"{job_id}","time":{job["startTime"]},"event":"started"}}',
        f'{{"id":"{job_id}","time":{job["endTime"]},"result":1,"event":"finished"}}']
    logs = [t for t in texts if '"event":"logs"' in t]
    entry = rf'{{"from":"{job_id}","message":"[^"]*","timeStamp":\d+,"level":2}}'
    assert all(re.fullmatch(rf'{{"id":"{job_id}","events":\[{entry}(,{entry})*\],"fileOffset":\d+,"event":"logs"}}', t) for t in logs)
    assert f'"fileOffset":{len(mist.logs(job_id).encode())},' in logs[-1]


def test_a_failure_and_a_cancel_are_told(mist):
    with WebSocket(mist, ALL) as ws:
        until(subscribers(mist, 1))
        job_id = mist.submit("fail", {"message": "as agreed"})
        failed = to_the_end(ws)[-1]
        assert failed == {"id": job_id, "time": mist.job(job_id)["endTime"], "error": "as agreed", "event": "failed"}
        job_id = mist.submit("sleep", {"ms": 60000})
        mist.wait(job_id, "started")
        mist.cancel(job_id)
        events = to_the_end(ws)
        assert names(events) == ["initialized", "queued", "worker-assigned", "started", "cancelling", "cancelled"]
        assert set(events[-1]) == set(events[-2]) == {"id", "time", "event"}


def test_logs_come_only_where_they_are_wanted_and_jobs_only_to_their_own(mist):
    job_id = mist.submit("sleep", {"ms": 60000}, context="aside")
    mist.wait(job_id, "started")
    path = f"/v2/api/ws/jobs/{job_id}"
    with WebSocket(mist, path) as quiet, WebSocket(mist, path + "?withLogs=yes") as chatty, WebSocket(mist, f"/v2/api/ws/jobs/{NOBODY}") as other:
        until(subscribers(mist, 3))
        assert mist.run("echo", {"text": "x"})["success"]
        mist.cancel(job_id)
        told, told_with_logs = to_the_end(quiet), to_the_end(chatty)
        assert names(told) == ["cancelling", "cancelled"] and {e["id"] for e in told_with_logs} == {job_id}
        assert [e for e in told_with_logs if e["event"] != "logs"] == told
        assert "Job was cancelled: user request" in [e["message"] for e in entries(told_with_logs)]
        other.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.event()


def test_a_websocket_library_gets_along_and_what_it_sends_is_ignored(mist):
    with connect(mist.url.replace("http", "ws") + ALL) as ws:
        until(subscribers(mist, 1))
        ws.send("ignored")
        ws.send(b"\0\xff" * 1000)
        ws.send("x" * 60000)
        assert ws.ping().wait(30 * PATIENCE)
        job_id = mist.submit("echo", {"text": "line\nbreak ü"})
        assert f'"id":"{job_id}"' in ws.recv(timeout=30 * PATIENCE)
    until(subscribers(mist, 0))


def test_a_sign_of_life_comes_without_other_output_only(c_mist):
    mist = c_mist(contexts=ASIDE, http={"ws-keepalive": "500ms"})
    with WebSocket(mist, ALL) as ws, Stream(mist, "/v2/api/events") as stream:
        assert b"Cache-Control: no-cache, no-transform" in stream.head and b"X-Accel-Buffering: no" in stream.head
        assert ws.text() == '{"event":"keep-alive"}'
        assert ws.text() == '{"event":"keep-alive"}'
        assert stream.block() == {"": "keep-alive"}


@pytest.mark.parametrize("path", [ALL, f"/v2/api/ws/jobs/{NOBODY}"])
def test_only_an_upgrade_is_taken(mist, path):
    assert mist.get(path).status_code == 400
    assert mist.request("HEAD", path).status_code == 400
    assert mist.post(path).status_code == 405
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "A" * 22 + "=="}
    assert mist.request("HEAD", path, headers=upgrade).status_code == 400
    assert mist.get(path, headers={**upgrade, "Sec-WebSocket-Version": "8"}).status_code == 400
    assert mist.get(path, headers={**upgrade, "Sec-WebSocket-Key": "short"}).status_code == 400
    refused = mist.get(path + "?withLogs=maybe", headers=upgrade)
    assert refused.status_code == 400 and "withLogs" in refused.json()["detail"]
    assert mist.get(path, headers={**upgrade, "Origin": "http://elsewhere.example"}).status_code == 403
    assert mist.get("/v2/api/ws/jobs/nonsense", headers=upgrade).status_code == 404


def test_who_does_not_read_is_told_how_much_was_dropped(c_mist):
    mist = c_mist(contexts=ASIDE, http={"subscriber-buffer": "4k"})
    with WebSocket(mist, ALL, receive_buffer=4096) as ws:
        until(subscribers(mist, 1))
        jobs = 0
        while metric(mist, "mist_subscriber_events_dropped_total") < 20:
            mist.run("big", {"bytes": 1 << 20})
            jobs += 1
        dropped = metric(mist, "mist_subscriber_events_dropped_total")
        events = [ws.event()]
        while events[-1]["event"] != "dropped":
            events.append(ws.event())
        assert events[-1] == {"count": dropped, "event": "dropped"} and list(events[-1]) == ["count", "event"]
        assert len(events) - 1 + dropped == 5 * jobs
        mist.run("echo", {"text": "again"})
        assert names(to_the_end(ws)) == ["initialized", "queued", "worker-assigned", "started", "finished"]
        assert metric(mist, "mist_subscriber_events_dropped_total") == dropped


# Server-Sent Events

def job_stream(mist, job_id, last_id=None, logs=True, **options):
    return Stream(mist, f"/v2/api/jobs/{job_id}/events?withLogs={'true' if logs else 'false'}", last_id, **options)


def test_the_stream_of_a_job_begins_at_its_beginning_and_ends_at_its_end(mist):
    job_id = mist.submit("sleep", {"ms": 1500})
    mist.wait(job_id, "started")
    with job_stream(mist, job_id, logs=False) as early:
        events = early.rest()
    job = mist.job(job_id)
    assert names(events) == ["initialized", "queued", "worker-assigned", "started", "finished"]
    assert events[2]["workerId"] == job["workerId"] and events[3]["time"] == job["startTime"] and events[4]["time"] == job["endTime"]
    with job_stream(mist, job_id, logs=False) as late:
        assert late.rest() == events
        assert late.id == "7-0"


def test_the_past_is_told_as_it_was_told_live(plain_mist):
    mist = plain_mist()
    mist.run("nothing")
    for function, params in [("chatty", {"lines": 20}), ("typed", {"i": 1}), ("unencodable", {})]:
        with WebSocket(mist, f"{ALL}?withLogs=true") as ws:
            until(subscribers(mist, 1))
            job_id = mist.submit(function, params)
            live = to_the_end(ws)
        with job_stream(mist, job_id) as stream:
            past = stream.rest()
        assert [e for e in past if e["event"] != "logs"] == [e for e in live if e["event"] != "logs"]
        assert entries(past) == entries(live)
        until(subscribers(mist, 0))


def test_every_id_resumes_where_it_was(mist):
    job_id = mist.submit("log", {"lines": 3000})
    mist.wait(job_id)
    with job_stream(mist, job_id) as stream:
        whole, ids = [], []
        while not whole or whole[-1]["event"] != "finished":
            whole.append(stream.event())
            ids.append(stream.id)
    assert names(whole)[:4] == ["initialized", "queued", "worker-assigned", "started"] and names(whole).count("logs") > 2
    assert len(entries(whole)) == 3004 and ids[:4] == ["1-0", "2-0", "3-0", "5-0"] and ids[-1].startswith("7-")
    for i, last_id in enumerate(ids[:-1]):
        with job_stream(mist, job_id, last_id) as stream:
            rest = stream.rest()
        assert [e for e in rest if e["event"] != "logs"] == [e for e in whole[i + 1:] if e["event"] != "logs"]
        assert entries(rest) == entries(whole[i + 1:])
    with job_stream(mist, job_id, ids[-1]) as over:
        assert over.status == 204


def test_a_running_job_is_followed_by_pieces_without_a_gap(mist):
    job_id = mist.submit("sleep", {"ms": 1000})
    followed, last_id = [], None
    while not followed or followed[-1]["event"] != "finished":
        with job_stream(mist, job_id, last_id) as stream:
            followed.append(stream.event())
            last_id = stream.id
    assert [n for n in names(followed) if n != "logs"] == ["initialized", "queued", "worker-assigned", "started", "finished"]
    lines = [f"[{e['from']}] {e['message']}" for e in entries(followed)]
    assert lines == [line.split(" ", 2)[2] for line in mist.logs(job_id).splitlines()]


def messages(mist, job_id):
    return [line.split("] ", 1)[1] for line in mist.logs(job_id).splitlines()]


def test_the_past_and_the_present_meet_without_a_gap(mist):
    """Many begin while lines come."""
    job_id = mist.submit("log", {"lines": 4000})
    streams = [job_stream(mist, job_id)]
    while mist.job(job_id)["status"] != "finished" and len(streams) < 30:
        streams.append(job_stream(mist, job_id))
    for stream in streams:
        events = stream.rest()
        assert [n for n in names(events) if n != "logs"] == ["initialized", "queued", "worker-assigned", "started", "finished"]
        assert [e["message"] for e in entries(events)] == messages(mist, job_id)
        stream.close()


def test_segments_are_short_on_one_machine_too(mist):
    """Else they are as long as half of a window, and who reads on after its window was closed may get nothing for two minutes."""
    with Stream(mist, "/v2/api/events") as stream:
        assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 4096


def test_a_follower_that_does_not_read_comes_back_for_the_rest(c_mist):
    mist = c_mist(contexts=ASIDE, http={"subscriber-buffer": "4k"})
    lines = 40000
    job_id = mist.submit("log", {"lines": lines})
    with job_stream(mist, job_id, receive_buffer=4096) as stream, Stream(mist, "/v2/api/events?withLogs=true", receive_buffer=4096) as every:
        mist.wait(job_id, timeout=60)
        dropped = metric(mist, "mist_subscriber_events_dropped_total")
        assert dropped > 100
        events = stream.rest()
        assert events[-1]["event"] == "dropped" and 0 < events[-1]["count"] <= dropped
        last_id = stream.id
        left = dropped - events[-1]["count"]
        while left > 0:
            left -= every.event().get("count", 0)
        assert left == 0
        mist.run("echo", {"text": "again"})
        assert "finished" in names(to_the_end(every))
    with job_stream(mist, job_id, last_id) as again:
        events += again.rest()
    assert [n for n in names(events) if n != "logs"] == ["initialized", "queued", "worker-assigned", "started", "dropped", "finished"]
    assert [e["message"] for e in entries(events)] == messages(mist, job_id) and len(entries(events)) == lines + 4


def test_a_job_that_is_tried_again_is_told_again(plain_mist, tmp_path):
    mist = plain_mist(functions={"die": {"path": "@functions", "class-name": "die", "context": "plain", "retries": 1}})
    with WebSocket(mist, ALL) as ws:
        until(subscribers(mist, 1))
        job_id = mist.submit("die", {"path": str(tmp_path / "deaths"), "times": 1})
        live = names(to_the_end(ws))
    once = ["queued", "worker-assigned", "started"]
    first = once if live.count("started") == 2 else once[:2]  # its worker may be gone before it is heard
    assert live == ["initialized", *first, *once, "finished"]
    with job_stream(mist, job_id) as stream:
        events = stream.rest()
    assert [n for n in names(events) if n != "logs"] == ["initialized", *once, "finished"]


def test_the_stream_of_all_jobs_counts(mist):
    with Stream(mist, "/v2/api/events") as stream:
        until(subscribers(mist, 1))
        assert b"text/event-stream" in stream.head
        jobs = [mist.submit("echo", {"text": "x"}) for _ in range(3)]
        events = [stream.event() for _ in range(15)]
        assert stream.id == "15" and {e["id"] for e in events} == set(jobs) and "logs" not in names(events)


def test_bad_streams_are_refused_in_words(mist):
    for path, headers, status, word in [(f"/v2/api/jobs/{NOBODY}/events", {}, 404, NOBODY), ("/v2/api/jobs/x/events", {}, 404, "x"),
                                        ("/v2/api/events?withLogs=2", {}, 400, "withLogs"),
                                        (f"/v2/api/jobs/{NOBODY}/events", {"Last-Event-ID": "8-0"}, 400, "Last-Event-ID"),
                                        (f"/v2/api/jobs/{NOBODY}/events", {"Last-Event-ID": "5-99999999999999999999"}, 400, "Last-Event-ID"),
                                        (f"/v2/api/jobs/{NOBODY}/events", {"Last-Event-ID": "5"}, 400, "Last-Event-ID"),
                                        ("/v2/api/events", {"Origin": "http://elsewhere.example"}, 403, "elsewhere")]:
        answer = mist.get(path, headers=headers)
        assert answer.status_code == status and word in answer.json()["detail"]
    job_id = mist.submit("log", {"lines": 5})
    mist.wait(job_id)
    for _ in range(20):  # on one connection: nothing of a body may follow
        for path in ("/v2/api/events", f"/v2/api/jobs/{job_id}/events"):
            head = mist.request("HEAD", path)
            assert head.status_code == 200 and head.headers["Content-Type"] == "text/event-stream"
    with job_stream(mist, job_id, "5-99999999") as stream:
        assert names(stream.rest()) == ["finished"]
    with job_stream(mist, job_id, "5-30") as stream:
        assert names(stream.rest()) == ["logs", "finished"]
    until(subscribers(mist, 0))


# Many

def test_clients_that_leave_in_whatever_way_leave_nothing(c_mist):
    mist = c_mist(contexts=ASIDE, http={"ws-keepalive": "500ms"})
    running = mist.submit("sleep", {"ms": 120000}, context="aside")
    mist.wait(running, "started")

    def come_and_go(n):
        paths = ["/v2/api/events", f"/v2/api/jobs/{running}/events?withLogs=true", ALL, f"/v2/api/ws/jobs/{running}?withLogs=true"]
        clients = [(WebSocket if "/ws/" in path else Stream)(mist, path) for path in paths for _ in range(n)]
        mist.run("echo", {"text": "x"})
        for i, client in enumerate(clients):
            if i % 3 == 0:  # a reset instead of a farewell
                client.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
            elif i % 3 == 1 and isinstance(client, WebSocket):
                client.socket.sendall(b"\x81")  # in the middle of a frame
            client.close()
        until(subscribers(mist, 0), what="the end of the subscribers")

    come_and_go(5)
    mist.session.close()
    before = descriptors(mist) + 20  # the store reads by a connection more when two ask at a time
    for _ in range(3):
        come_and_go(50)
    mist.session.close()
    until(lambda: descriptors(mist) <= before, what="the descriptors of before")
    mist.cancel(running)
    assert mist.wait(running)["status"] == "cancelled"


def test_500_subscribers_get_every_event(c_mist):
    mist = c_mist()
    n_jobs = 10
    clients = [(WebSocket if i % 2 else Stream)(mist, ALL if i % 2 else "/v2/api/events") for i in range(500)]
    until(subscribers(mist, 500))
    received, ready = [[] for _ in clients], selectors.DefaultSelector()
    for i, client in enumerate(clients):
        ready.register(client.socket, selectors.EVENT_READ, i)
    work = threading.Thread(target=lambda: [mist.submit("echo", {"text": "x"}) for _ in range(n_jobs)])
    work.start()
    while any(len(events) < 5 * n_jobs for events in received):
        chosen = ready.select(60 * PATIENCE)
        assert chosen
        for key, _ in chosen:
            received[key.data].append(clients[key.data].event())
            while clients[key.data].data and len(received[key.data]) < 5 * n_jobs:
                received[key.data].append(clients[key.data].event())
            while getattr(clients[key.data], "body", b"") and len(received[key.data]) < 5 * n_jobs:
                received[key.data].append(clients[key.data].event())
    work.join()
    assert all(events == received[0] for events in received)
    for client in clients:
        client.close()


def test_subscribers_are_let_go_when_the_gateway_stops(mist):
    ws = [WebSocket(mist, ALL) for _ in range(3)]
    streams = [Stream(mist, "/v2/api/events") for _ in range(3)]
    until(subscribers(mist, 6))
    mist.wait(mist.submit("sleep", {"ms": 100}))
    mist.stop()
    for client in ws:
        to_the_end(client)
        with pytest.raises(Closed) as closed:
            client.text()
        assert closed.value.code == 1001
    for stream in streams:
        assert names(stream.rest())[-1] == "finished"
