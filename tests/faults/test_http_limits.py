# SPDX-License-Identifier: Apache-2.0
"""What many clients, slow ones and those that leave may cost over HTTP: a bounded share, and nobody else an answer."""
import hashlib
import json
import select
import socket
import time

import pytest

from support.mistd import PATIENCE, until
from support.raw_http import Answer, ask, connect, read_all, read_answer
from support.subscribers import Stream, WebSocket, descriptors, metric

SUBMIT = "POST /v2/api/functions/echo/jobs HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
SLEEPERS = {"example": {"runtime": "example", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}}


def sleep_request(ms):
    body = json.dumps({"ms": ms})
    return f"POST /v2/api/functions/sleep/jobs?force=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def trickle(s, data):
    """Sends a byte every now and then, until there is an answer."""
    s.settimeout(0.1)
    for i in range(len(data)):
        s.sendall(data[i:i + 1])
        try:
            return Answer(s.recv(65536))
        except TimeoutError:
            continue
    raise AssertionError("no answer")


def test_idle_connections_make_place(c_mist):
    mist = c_mist(http={"connections": 100, "threads": 1})
    clients = [connect(mist) for _ in range(100)]
    for s in clients:
        s.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(s).status == 200
    assert mist.run("echo", {"text": "x"})["success"], "and a worker came in"
    clients += [connect(mist) for _ in range(110)]  # these say nothing
    until(lambda: ask(mist, "GET /v2/api/jobs HTTP/1.1", "Host: localhost").status == 200, what="a place for one more")
    for s in clients:
        s.close()


def test_who_idles_longest_makes_place_whichever_thread_has_it(c_mist):
    """libmicrohttpd's threads share the connections as it happens: any of them may have the new one, and another the oldest."""
    mist = c_mist(http={"connections": 40, "threads": 4})
    live = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def is_open(s):
        s.settimeout(0.01)
        try:
            return s.recv(1) != b""
        except TimeoutError:
            return True

    clients = []
    for i in range(40):
        if i == 20:
            time.sleep(3)  # what is tried is that some idle for longer than others
        clients.append(connect(mist))
        clients[-1].sendall(live)
        assert read_answer(clients[-1]).status == 200
    new = []
    for _ in range(20):
        new.append(connect(mist))
        new[-1].sendall(b"GET /v2/api/contexts HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(new[-1]).status == 200
    until(lambda: sum(map(is_open, clients)) <= 20, what="the places of 20")
    assert [is_open(s) for s in clients] == [False] * 20 + [True] * 20
    for s in clients + new:
        s.close()


def test_one_address_has_so_many_connections(c_mist):
    mist = c_mist(http={"connections-per-address": 3, "unlimited-addresses": "127.0.0.1"})

    def connect_from(address):
        return socket.create_connection((mist.host, mist.port), timeout=30 * PATIENCE, source_address=(address, 0))

    def status(s):
        s.sendall(b"GET /v2/api/contexts HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return read_answer(s)

    clients = [connect_from("127.0.0.2") for _ in range(3)]
    assert [status(s).status for s in clients] == [200] * 3
    with connect_from("127.0.0.2") as fourth:
        refused = status(fourth)
        assert refused.status == 429 and "http.connections-per-address" in refused.detail()
    others = [connect_from(address) for address in ["127.0.0.1"] * 6 + ["127.0.0.3"] * 3]
    assert [status(s).status for s in others] == [200] * 9
    clients.pop().close()

    def has_place():
        with connect_from("127.0.0.2") as s:
            return status(s).status == 200

    until(has_place, what="the place of the one that left")
    for s in clients + others:
        s.close()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_who_has_said_all_and_waits_gets_the_answer(c_mist, version):
    mist = c_mist()
    with connect(mist) as s:
        s.sendall(sleep_request(2500).replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        s.shutdown(socket.SHUT_WR)
        answer = read_all(s)
    assert b"HTTP/1.1 200 OK" in answer and b'"success":true' in answer, answer


def test_a_full_gateway_still_takes_workers_and_says_how_it_is(c_mist):
    mist = c_mist(contexts=SLEEPERS, http={"connections": 60, "threads": 1, "reserved-connections": 20})
    waiting = []
    while len(waiting) < 70:
        waiting.append(connect(mist))
        waiting[-1].sendall(sleep_request(600_000))
    until(lambda: ask(mist, "GET /v2/api/jobs HTTP/1.1", "Host: localhost").status == 503, what="all connections to be taken")
    refused = ask(mist, "GET /v2/api/jobs HTTP/1.1", "Host: localhost", close=False)
    assert refused.status == 503 and "http.connections" in refused.detail() and refused.headers["retry-after"] == "1"
    assert refused.headers["connection"] == "close"
    for path in ("/health/live", "/health/ready", "/metrics", "/v2/api/status"):
        assert ask(mist, f"GET {path} HTTP/1.1", "Host: localhost").status == 200
    # The one worker runs the first job: it came in while all were waiting.
    for s in waiting:
        s.close()
    until(lambda: ask(mist, "GET /v2/api/jobs HTTP/1.1", "Host: localhost").status == 200, what="the connections of before")


def test_the_bodies_of_all_requests_have_one_limit(c_mist):
    mist = c_mist(http={"bodies": "32m", "body-timeout": "10 minutes"})
    before, size = mist.resident_bytes(), 8_000_000
    clients = [connect(mist) for _ in range(40)]
    for s in clients:
        s.settimeout(60)
        s.sendall(SUBMIT.encode() + b"Content-Length: %d\r\n\r\n" % size + b"x" * (size - 1))
    assert mist.resident_bytes() - before < 100 << 20
    assert mist.get("/health/live").status_code == 200

    def refused():
        return select.select(clients, [], [], 0)[0]

    until(lambda: len(refused()) >= 34, what="the refusals")
    for s in refused():
        answer = read_answer(s)
        assert answer.status == 503 and answer.headers["retry-after"] == "1" and "http.bodies" in answer.detail()
    for s in clients:
        s.close()
    until(lambda: mist.post("/v2/api/functions/echo/jobs", json={"text": "x" * 4_000_000}).status_code == 200, what="room for a body")


def test_the_documents_of_deployments_are_bodies_too(c_mist):
    mist = c_mist(http={"bodies": "8m", "uploads": 20, "body-timeout": "10 minutes"})
    clients = [connect(mist) for _ in range(12)]
    head = b'--limit\r\nContent-Disposition: form-data; name="deployment"\r\n\r\n'
    for s in clients:
        s.settimeout(60)
        s.sendall(b"POST /v2/api/deployments HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=limit\r\n"
                  b"Content-Length: 3000000\r\n\r\n" + head + b"x" * 2_000_000)

    refused = until(lambda: select.select(clients, [], [], 0)[0], what="a refusal")
    answer = read_answer(refused[0])
    assert answer.status == 503 and answer.headers["retry-after"] == "1" and "http.bodies" in answer.detail()
    for s in clients:
        s.close()
    until(lambda: mist.post("/v2/api/functions/echo/jobs", json={"text": "x" * 6_000_000}).status_code == 200, what="room for another body")


def test_what_does_not_come_in_time_is_refused(c_mist):
    mist = c_mist(http={"head-timeout": "1500 ms", "body-timeout": "500 ms", "idle-timeout": "3 seconds"})
    begun = time.monotonic()
    for text, status in ((b"GET /v2/api/status HT", 408), (b"GET /v2/api/status HTTP/1.1\r\nHost: loc", 408), (b"", None),
                         (SUBMIT.encode() + b"Content-Length: 20\r\n\r\n{", 408), (SUBMIT.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", 408)):
        with connect(mist) as s:
            s.sendall(text)
            data = read_all(s)
        assert (Answer(data).status == status and "-timeout" in Answer(data).detail()) if status else data == b""
    with connect(mist) as s:  # the next head of a connection has the same time
        s.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(s).status == 200
        assert trickle(s, b"GET /health/live" + b"x" * 1000).status == 408
    with connect(mist) as s:  # and who says nothing more is told nothing
        s.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert Answer(read_all(s)).status == 200
    assert time.monotonic() - begun < 120


def test_a_body_that_trickles_is_refused(c_mist):
    mist = c_mist(http={"body-timeout": "300 ms"})
    with connect(mist) as s:
        s.sendall(SUBMIT.encode() + b"Content-Length: 100000\r\n\r\n")
        assert trickle(s, b"x" * 1000).status == 408


def test_callers_that_hang_up_free_their_descriptors_and_leave_their_jobs(c_mist):
    mist = c_mist(contexts=SLEEPERS)
    mist.run("echo", {"text": "x"})
    before = descriptors(mist)
    blocked = mist.submit("sleep", {"ms": 600_000})
    callers = [connect(mist) for _ in range(300)]
    for s in callers:
        s.sendall(sleep_request(5))
    for s in callers:
        s.close()
    until(lambda: descriptors(mist) <= before + 40, what="their descriptors")
    mist.cancel(blocked)
    until(lambda: len(mist.get("/v2/api/functions/sleep/jobs?status=finished&limit=1000").json()) == 300, what="their jobs")


def test_who_waits_and_hangs_up_is_forgotten_at_a_restart_too(c_mist):
    mist = c_mist(contexts=SLEEPERS)
    for _ in range(5):
        with connect(mist) as s:
            s.sendall(sleep_request(600_000))
            until(lambda: mist.get("/v2/api/functions/sleep/jobs").json() != [])
    mist.stop()


def test_a_reader_that_takes_nothing_is_cut_off(c_mist):
    mist = c_mist(http={"send-timeout": "500 ms"})
    job = mist.submit("big", {"bytes": 20_000_000})
    mist.wait(job, "finished", timeout=60)
    before = descriptors(mist)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((mist.host, mist.port))
        s.sendall(f"GET /v2/api/jobs/{job} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: descriptors(mist) <= before, what="the end of its connection")
    assert mist.get(f"/v2/api/jobs/{job}").status_code == 200


def part(name, data, filename="a.py"):
    return f'--bb\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'.encode() + data + b"\r\n"


def upload(mist, body, length=None, *fields, query=""):
    return ask(mist, f"POST /v2/api/artifacts{query} HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=bb",
               f"Content-Length: {len(body) if length is None else length}", *fields, body=body)


@pytest.mark.parametrize("parts", [
    [part("file", b"1"), part("file", b"2")], [part("file", b"1"), part("file", b"2", "b.py")], [part("file", b""), part("file", b"2", "b.py")],
    [part("file", b"1"), part("other", b"x"), part("file", b"2")], [part("file", b"1"), part("file", b"")]])
def test_an_upload_is_one_part(c_mist, parts):
    mist = c_mist()
    answer = upload(mist, b"".join(parts) + b"--bb--\r\n")
    assert answer.status == 400 and "twice" in answer.detail()
    assert mist.get("/v2/api/artifacts").json() == []
    until(lambda: list((mist.data / "artifacts").iterdir()) == [])
    good = upload(mist, part("other", b"x") + part("file", b"\r\n--x\r\n" * 1000) + b"--bb--\r\n")
    assert good.status == 200 and mist.get("/v2/api/artifacts/a.py").content == b"\r\n--x\r\n" * 1000


def test_an_artifact_that_is_announced_too_large_is_refused_at_once(c_mist):
    mist = c_mist(http={"artifact": "1m", "uploads": 2})
    for length in (1 << 40, 2_000_000):
        with connect(mist) as s:
            s.sendall(b"POST /v2/api/artifacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=bb\r\n"
                      b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % length)
            answer = Answer(read_all(s))
        assert answer.status == 413 and "http.artifact" in answer.detail()
    with connect(mist) as s:  # also to who does not wait for it, while it sends
        s.sendall(b"POST /v2/api/artifacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=bb\r\n"
                  b"Content-Length: 5000000\r\n\r\n")
        assert read_answer(s).status == 413
    assert upload(mist, part("file", b"x" * 1_200_000) + b"--bb--\r\n").status == 413
    held = [connect(mist) for _ in range(2)]
    for s in held:
        s.sendall(b"POST /v2/api/artifacts HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=bb\r\n"
                  b"Content-Length: 5000\r\n\r\n" + part("file", b"x"))
    until(lambda: (answer := upload(mist, part("file", b"x") + b"--bb--\r\n", query="?force=true")).status == 429 and "http.uploads" in answer.detail())
    for s in held:
        s.close()
    until(lambda: upload(mist, part("file", b"x") + b"--bb--\r\n", query="?force=true").status == 200, what="a place for an upload")
    until(lambda: [p.name for p in (mist.data / "artifacts").iterdir()] == ["a.py"])


LARGE = 8_000_000


def list_of_large_jobs(mist, n):
    """So many jobs with results of 8 MB."""
    for _ in range(n):
        assert mist.run("big", {"bytes": LARGE})["success"]
    return n


def slow_reader(mist, path):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(60)
    s.connect((mist.host, mist.port))
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return s


def test_long_lists_are_written_in_pieces(c_mist):
    mist = c_mist(http={"answers": "64m"})
    n = list_of_large_jobs(mist, 20)
    before = mist.resident_bytes()
    readers = [slow_reader(mist, "/v2/api/jobs?limit=60&paginate=true") for _ in range(4)]
    for s in readers:
        assert s.recv(20).startswith(b"HTTP/1.1 200")
    slowest = 0
    for _ in range(50):
        begun = time.monotonic()
        assert mist.get("/v2/api/jobs?limit=0").json() == []
        slowest = max(slowest, time.monotonic() - begun)
    grown = mist.resident_bytes() - before
    print(f"four who do not read: {grown} bytes, bystanders wait {slowest:.3f} s at most")
    assert grown < 150 << 20 and slowest < 10
    for s in readers:
        s.close()
    page = mist.get("/v2/api/jobs?limit=60&paginate=true")
    assert page.headers["Transfer-Encoding"] == "chunked" and page.json()["total"] == n
    jobs = page.json()["jobs"]
    assert len({job["jobId"] for job in jobs}) == n and all(len(job["jobResult"]) >= LARGE for job in jobs)
    assert [job["createTime"] for job in jobs] == sorted((job["createTime"] for job in jobs), reverse=True)
    assert [job["jobId"] for job in mist.get("/v2/api/jobs?limit=7&offset=3").json()] == [job["jobId"] for job in jobs[3:10]]


def test_answers_that_nobody_reads_have_one_limit(c_mist):
    mist = c_mist(http={"answers": "20m", "send-timeout": "10 minutes"})
    job = mist.submit("big", {"bytes": LARGE})
    mist.wait(job, "finished", timeout=60)
    before, readers = mist.resident_bytes(), []
    for _ in range(30):
        readers.append(slow_reader(mist, f"/v2/api/jobs/{job}"))
        readers[-1].recv(10, socket.MSG_PEEK)
    assert mist.resident_bytes() - before < 100 << 20
    refused = ask(mist, f"GET /v2/api/jobs/{job} HTTP/1.1", "Host: localhost")
    assert refused.status == 503 and "http.answers" in refused.detail() and refused.headers["retry-after"] == "1"
    assert mist.get("/v2/api/jobs?limit=0").status_code == 200
    made = []
    for headers in {}, {"Prefer": "wait=60"}, {"Idempotency-Key": "mine"}:  # it ran: nobody is asked to run it again
        query = "" if "Prefer" in headers else "?force=true"
        ran = mist.post(f"/v2/api/functions/big/jobs{query}", json={"bytes": 20_000}, headers=headers)
        assert ran.status_code == 503 and "Retry-After" not in ran.headers and "http.answers" in ran.json()["detail"]
        assert ran.headers["Location"] == f"/v2/api/jobs/{ran.json()['jobId']}"
        made.append(ran.json()["jobId"])
    for s in readers:
        s.close()
    until(lambda: mist.get(f"/v2/api/jobs/{job}").status_code == 200, what="room for an answer")
    assert {mist.job(job)["status"] for job in made} == {"finished"} and len(set(made)) == 3


def test_subscribers_are_counted(c_mist):
    mist = c_mist(http={"subscribers": 3})
    there = [Stream(mist, "/v2/api/events"), WebSocket(mist, "/v2/api/ws/all"), Stream(mist, "/v2/api/events")]
    until(lambda: metric(mist, "mist_subscribers") == 3)
    for path, more in (("/v2/api/events", []), ("/v2/api/ws/all", UPGRADE)):
        refused = ask(mist, f"GET {path} HTTP/1.1", "Host: localhost", *more)
        assert refused.status == 429 and "http.subscribers" in refused.detail() and refused.headers["retry-after"] == "1"
    for subscriber in there:
        subscriber.close()
    until(lambda: metric(mist, "mist_subscribers") == 0)
    until(lambda: ask(mist, "GET /v2/api/ws/all HTTP/1.1", "Host: localhost", *UPGRADE[:2]).status == 400)
    with Stream(mist, "/v2/api/events"):
        until(lambda: metric(mist, "mist_subscribers") == 1)


def first_status(s):
    data = b""
    while b"\r\n\r\n" not in data:
        block = s.recv(65536)
        assert block
        data += block
    return Answer(data).status


def test_no_burst_of_subscribers_passes_their_limit(c_mist):
    mist = c_mist(http={"subscribers": 3})
    worker = mist.wait(mist.submit("print", {"text": "something"}))["workerId"]
    until(lambda: "printed something" in mist.get(f"/v2/api/workers/{worker}/output").text)
    busy = []
    for n in range(8):  # the threads that would open what is followed have something to do before
        with open(mist.data / "artifacts" / f"large-{n}.jar", "wb") as f:
            f.truncate(200 << 20)
        busy.append(connect(mist))
        busy[-1].sendall(f"GET /v2/api/artifacts/large-{n}.jar/sha HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    upgrade = "".join(f"{line}\r\n" for line in UPGRADE)
    for path, more, welcome in ((f"/v2/api/workers/{worker}/output?follow=true&offset=0", "", 200), ("/v2/api/events", "", 200),
                                ("/v2/api/ws/all", upgrade, 101)):
        clients = [connect(mist) for _ in range(40)]
        for s in clients:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
        statuses = [first_status(s) for s in clients]
        assert sorted(statuses) == 3 * [welcome] + 37 * [429], statuses
        assert metric(mist, "mist_http_subscribers") == 3
        for s in clients:
            s.close()
        until(lambda: metric(mist, "mist_http_subscribers") == 0)
    for s in busy:
        assert read_answer(s).status == 200
        s.close()
    for path in ("/v2/api/workers/nope/output?follow=true", f"/v2/api/workers/{worker}/output?follow=maybe"):
        for _ in range(4):  # what is refused for another reason keeps no place
            assert ask(mist, f"GET {path} HTTP/1.1", "Host: localhost").status in (400, 404)
    until(lambda: metric(mist, "mist_http_subscribers") == 0)


def test_hashing_a_large_file_holds_nobody_up(c_mist):
    mist = c_mist()
    with open(mist.data / "artifacts" / "large.jar", "wb") as f:
        f.truncate(250 << 20)
    digest = hashlib.sha1(bytes(250 << 20)).hexdigest().encode()

    def answered_beside():
        """How many others have their answer before one of two has the hash."""
        clients, n = [connect(mist) for _ in range(2)], 0
        for s in clients:
            s.sendall(b"GET /v2/api/artifacts/large.jar/sha HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not select.select(clients, [], [], 0)[0]:
            assert ask(mist, "GET /v2/api/status HTTP/1.1", "Host: localhost").status == 200
            n += 1
        for s in clients:
            assert digest in read_answer(s).body
            s.close()
        return n

    until(lambda: answered_beside() > 10, what="answers to others")
