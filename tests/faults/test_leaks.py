# SPDX-License-Identifier: Apache-2.0
"""10,000 clients that go in the middle of something leave nothing: no descriptor, no file, no memory, no job that hangs."""
import re
import socket
import struct

from support.mistd import PATIENCE, until
from support.subscribers import Stream, WebSocket, descriptors, metric, run_many

GROWTH_MAX = 4 << 20
DESCRIPTORS_MAX = 64  # its own, ten workers, and the logs that the store keeps open
FIRST, MORE, BATCH = 2000, 10000, 100
KNOWN = 8000  # jobs that ended before: the store's cache is full
RESET = struct.pack("ii", 1, 0)
CONTEXTS = {"wide": {"runtime": "example", "worker-mode": "shared", "max-jobs": 8},
            "narrow": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1}}
FUNCTIONS = {"call": {"class-name": "sleep", "context": "wide"}, "wait": {"class-name": "sleep", "context": "narrow"}}


def half(mist, text):
    client = socket.create_connection((mist.host, mist.port), timeout=30 * PATIENCE)
    client.sendall(text.replace("HOST", f"Host: {mist.host}").encode())
    return client


def post(path, body, length, more=""):
    return f"POST {path} HTTP/1.1\r\nHOST\r\nContent-Length: {length}\r\n{more}\r\n{body}"


def call(function, ms):
    body = f'{{"ms": {ms}}}'
    return post(f"/v2/api/functions/{function}/jobs?force=true", body, len(body))


PART = '--boundary\r\nContent-Disposition: form-data; name="file"; filename="half.py"\r\n\r\n'
UPLOAD = post("/v2/api/artifacts", PART + "x" * 150000, 1000000, "Content-Type: multipart/form-data; boundary=boundary\r\n")
BODY = post("/v2/api/functions/call/jobs", '{"ms": 1', 100)
HEADS = ["GET /v2/api/jo", "GET /v2/api/jobs HTTP/1.1\r\nHO", "GET /v2/api/jobs?a=b HTTP/1.1\r\nHOST\r\nAccept: "]
HALVES = [UPLOAD, UPLOAD, BODY, *HEADS] * 7
FRAMES = [b"\x81", b"\x81\xfe\x01", b"\x81\x8a\1\2\3\4abc", b"\x89\x85\0\0\0\0ab"]
CALLS = 20


def leave(clients):
    for i, client in enumerate(clients):
        if i % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()


def batch(mist, running, is_hasty, n_called):
    """100 clients that go in the middle. Of the hasty ones the last bytes and the end arrive as one."""
    clients = [half(mist, call("call", 20)) for _ in range(CALLS // 2)]
    clients += [half(mist, call("wait", 2)) for _ in range(CALLS // 2)]
    for text in HALVES:
        clients.append(half(mist, text))
        if is_hasty:
            leave([clients.pop()])
    for i, path in enumerate(["/v2/api/ws/all?withLogs=true", f"/v2/api/ws/jobs/{running}"] * 10):
        clients.append(WebSocket(mist, path).socket)
        clients[-1].sendall(FRAMES[i % len(FRAMES)])
    clients += [Stream(mist, path).socket for path in ["/v2/api/events", f"/v2/api/jobs/{running}/events?withLogs=true"] * 9]
    assert len(clients) + (len(HALVES) if is_hasty else 0) == BATCH
    until(lambda: metric(mist, "mist_job_events_total", event="queued") >= n_called, what="the calls")  # what was not read is lost with a reset
    leave(clients)


def ended(mist):
    found = re.findall(r'^mist_job_events_total{event="(?:finished|failed|cancelled)"} (\d+)$', mist.get("/metrics").text, re.MULTILINE)
    return sum(map(int, found))


def test_10000_clients_that_go_in_the_middle_leave_nothing(c_mist):
    """The first 2,000 fill what is kept on purpose: caches, open logs, workers, what malloc has taken."""
    mist = c_mist(contexts=CONTEXTS, functions=FUNCTIONS, http={"ws-keepalive": "100ms"})
    mist.env["MALLOC_ARENA_MAX"] = "1"  # what is free in one arena another cannot use
    mist.restart()
    for _ in range(KNOWN // 500):
        run_many(mist, 500, "x")
    running = mist.submit("sleep", {"ms": 600000}, context="wide")
    mist.wait(running, "started")
    gone = 0

    def come_and_go(n):
        nonlocal gone
        for i in range(n // BATCH):
            gone += BATCH
            batch(mist, running, i % 2, KNOWN + 1 + gone * CALLS // BATCH)
            if i % 2:
                until(lambda: metric(mist, "mist_subscribers") == 0, what="the end of the subscribers")
                until(lambda: metric(mist, "mist_active_jobs") == 1, what="the end of the jobs")
        assert ended(mist) == KNOWN + gone * CALLS // BATCH
        mist.session.close()
        until(lambda: descriptors(mist) <= DESCRIPTORS_MAX, what="the descriptors of before")
        until(lambda: not list((mist.data / "artifacts").iterdir()), what="the end of the halves")
        return mist.resident_bytes()

    memory = come_and_go(FIRST)
    growth = come_and_go(MORE) - memory
    print(f"bytes that {MORE} more clients cost: {growth}")
    assert growth < GROWTH_MAX
    assert mist.run("wait", {"ms": 1})["success"] and mist.cancel(running)["status"] == "cancelled"


def test_an_upload_that_a_killed_gateway_was_in_the_middle_of_leaves_no_file(c_mist):
    mist = c_mist()
    artifacts = mist.data / "artifacts"
    with half(mist, UPLOAD):
        until(lambda: list(artifacts.iterdir()), what="the beginning of the file")
        mist.kill9()
    assert list(artifacts.iterdir())
    mist.start()
    assert not list(artifacts.iterdir())
