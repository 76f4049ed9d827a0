# SPDX-License-Identifier: Apache-2.0
"""Heads of requests: what is not one request to everybody who reads it is refused, and so is who is called by another name."""
import contextlib
import socket

import pytest

from support.mistd import PATIENCE, until
from support.raw_http import Answer, ask, connect, read_all

STATUS = "GET /v2/api/status HTTP/1.1"
SUBMIT = "POST /v2/api/functions/echo/jobs HTTP/1.1"
UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


@pytest.fixture(scope="module")
def gateway():
    from support import gateways

    gateway = gateways.c_workers(http={"hosts": "listed.example, *.below.example", "cors-origins": "https://friend.example"})
    yield gateway
    assert gateway.run("echo", {"text": "x"})["success"], "the gateway works after all of it"
    gateway.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:PORT", "[::1]:PORT", "10.1.2.3", "localhost", "LOCALHOST:1", "listed.example:443",
                                  "a.below.example", "a.b.below.example"])
def test_the_gateways_own_names_are_served(gateway, host):
    assert ask(gateway, STATUS, f"Host: {host.replace('PORT', str(gateway.port))}").status == 200


@pytest.mark.parametrize("name", [socket.gethostname, socket.getfqdn], ids=["short", "full"])
def test_the_names_of_the_machine_are_served(gateway, name):
    """The full one is asked for in the background: it is known a moment after the start."""
    until(lambda: ask(gateway, STATUS, f"Host: {name()}").status == 200, what=f"the name {name()} to be known")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:PORT", "127.0.0.1.evil.example", "localhost.evil.example:PORT",
                                  "below.example", "xlisted.example", "listed.example.evil.example"])
@pytest.mark.parametrize("line,more", [(STATUS, []), ("GET /ui/ HTTP/1.1", []), (SUBMIT, ["Content-Length: 0"]), ("GET /v2/api/ws/all HTTP/1.1", UPGRADE),
                                       ("GET /v2/workers/connect?worker=w HTTP/1.1", UPGRADE), ("OPTIONS /v2/api/status HTTP/1.1", []),
                                       ("GET /v2/api/status HTTP/1.0", [])])
def test_a_name_that_is_not_the_gateways_is_misdirected(gateway, host, line, more):
    host = host.replace("PORT", str(gateway.port))
    answer = ask(gateway, line, f"Host: {host}", f"Origin: http://{host}", *more, close=False)
    assert answer.status == 421 and answer.headers["connection"] == "close"
    assert host in answer.detail() and "http.hosts" in answer.detail()


@pytest.mark.parametrize("site,origin,mode,path,status", [
    ("cross-site", None, None, "/v2/api/status", 403), ("cross-site", None, "no-cors", "/v2/api/jobs", 403),
    ("cross-site", "http://GATEWAY", None, "/v2/api/status", 403), ("cross-site", None, "navigate", "/v2/api/status", 403),
    ("cross-site", None, "navigate", "/", 200), ("cross-site", "https://friend.example", "cors", "/v2/api/status", 200),
    ("same-origin", "http://GATEWAY", "cors", "/v2/api/status", 200), ("none", None, "navigate", "/v2/api/status", 200),
    (None, "http://GATEWAY.evil.example", None, "/v2/api/status", 403), (None, "http://GATEWAY0", None, "/v2/api/status", 403),
    (None, "http://evil.example/GATEWAY", None, "/v2/api/status", 403), (None, "http://localhost", None, "/v2/api/status", 403),
    (None, "null", None, "/v2/api/status", 403), (None, "http://GATEWAY", None, "/v2/api/status", 200)])
def test_pages_of_other_sites(gateway, site, origin, mode, path, status):
    own = f"{gateway.host}:{gateway.port}"
    fields = {"Host": own, "Sec-Fetch-Site": site, "Origin": origin and origin.replace("GATEWAY", own), "Sec-Fetch-Mode": mode,
              "Sec-Fetch-Dest": mode and ("document" if mode == "navigate" else "image")}
    answer = ask(gateway, f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value))
    assert answer.status == status, answer.data
    if status == 403:
        assert "http.cors-origins" in answer.detail()


def test_with_all_origins_open_no_site_is_foreign(c_mist):
    mist = c_mist(http={"cors-origins": "*"})
    assert ask(mist, STATUS, "Host: localhost", "Sec-Fetch-Site: cross-site").status == 200
    assert ask(mist, STATUS, "Host: evil.example", "Sec-Fetch-Site: cross-site").status == 421


BODY = b'{"text": "x"}'
SMUGGLED = b"GET /v2/api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("fields,words", [
    (["Content-Length: 13", "Content-Length: 5"], "Content-Length"), (["Content-Length: 13", "Content-Length: 13"], "Content-Length"),
    (["Content-Length : 13"], "colon"), (["Content-Length\t: 13"], "colon"), ([" Content-Length: 13"], "next line"),
    (["Content-Length: 13", "Transfer-Encoding: chunked"], "one of the two"), (["Transfer-Encoding: chunked", "Content-Length: 13"], "one of the two"),
    (["Transfer-Encoding: gzip"], "chunked"), (["Transfer-Encoding: chunked, chunked"], "chunked"), (["Transfer-Encoding: xchunked"], "chunked"),
    (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "Transfer-Encoding"), (["Transfer-Encoding:\tchunked\r\n , gzip"], "next line"),
    (["Host: localhost"], "Host"), (["X: a\r\n b"], "next line"), (["X: a\r\n\tb"], "next line"), (["Content-Length: 1\r\n 3"], "next line"),
    (["X: a\r\n ", "Y: b"], "next line"), (["X\x01: a"], "colon"), (["X: a\x01b"], "control"), (["X(: a"], "colon"),
], ids=str)
def test_a_head_that_can_be_read_in_two_ways_is_refused_and_ends_the_connection(gateway, fields, words):
    answer = ask(gateway, SUBMIT, "Host: localhost", *fields, body=BODY + SMUGGLED, close=False)
    assert answer.status == 400 and words in answer.detail(), answer.data
    assert answer.headers["connection"] == "close" and answer.data.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("line,fields,status", [
    (STATUS, [], 400), ("GET /v2/api/status HTTP/1.0", [], 200), (STATUS, ["Host:"], 400), (STATUS, ["Host: a b"], 400),
    (STATUS, ["Host: localhost/x"], 400), ("GET http://localhost/v2/api/status HTTP/1.1", ["Host: localhost"], 200),
    ("GET http://127.0.0.1:1/v2/api/status?x HTTP/1.1", ["Host: localhost"], None),
    ("GET HTTP://LOCALHOST HTTP/1.1", ["Host: localhost"], 200), ("GET http://evil.example/v2/api/status HTTP/1.1", ["Host: localhost"], 421),
    ("GET http://a@localhost/v2/api/status HTTP/1.1", ["Host: localhost"], 400), ("GET http:///v2/api/status HTTP/1.1", ["Host: localhost"], 400),
    ("GET http://localhost/v2/api/status HTTP/1.1", ["Host: evil.example"], 421), ("GET http://localhost/v2/api/status HTTP/1.1", [], 400),
    ("GET ftp://localhost/v2/api/status HTTP/1.1", ["Host: localhost"], 400), ("GET v2/api/status HTTP/1.1", ["Host: localhost"], 400),
    ("GET /v2/api/status#x HTTP/1.1", ["Host: localhost"], 400), ("GET /v2/api/sta tus HTTP/1.1", ["Host: localhost"], 400),
    ("CONNECT localhost:443 HTTP/1.1", ["Host: localhost"], 400), ("OPTIONS * HTTP/1.1", ["Host: localhost"], 200),
    ("GET /v2/api/jobs?" + "&".join(f"a{i}=1" for i in range(250)) + " HTTP/1.1", ["Host: localhost"], 400),
    ("GET /v2/api/jobs?" + "&" * 12_000 + " HTTP/1.1", ["Host: localhost"], 400),
    ("GET /v2/api/jobs?a=" + "x" * 12_400 + " HTTP/1.1", ["Host: localhost"], 414), ("GET /" + "x" * 60_000 + " HTTP/1.1", ["Host: localhost"], 414),
    (STATUS, ["Host: localhost", "X: " + "y" * 60_000], 431), (STATUS, ["Host: localhost", *["A: b"] * 3000], 431),
    ("GET /v2/api/ws/all HTTP/1.0", ["Host: localhost", *UPGRADE], 400), ("GET /v2/workers/connect?worker=x HTTP/1.0", ["Host: localhost", *UPGRADE], 400),
    (STATUS, ["Host: localhost", "Cookie: " + "a=b;" * 3000], 431), ("GET /v2/api/status HTTP/2.0", ["Host: localhost"], 505),
], ids=lambda value: str(value)[:60])
def test_whatever_the_first_lines_are_there_is_an_answer(gateway, line, fields, status):
    answer = ask(gateway, line, *fields)
    assert answer.status == status if status else answer.status, answer.data[:300]
    assert gateway.get("/health/live").status_code == 200


CHUNKED = f"{SUBMIT}\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@pytest.mark.parametrize("rest,status", [
    (b"0" * 20_000, 400), (b"5;" + b"x" * 20_000, 400), (b"5\r\nhello\r\n" + b"0" * 20_000, 400), (b"d\r\n" + BODY + b"\r\n5;" + b"y" * 20_000, 400),
    (b"f" * 40 + b"\r\n", 413), (b"8000000000000000\r\n" + BODY, None), (b"zz\r\n", 400), (b"\r\n", 400), (b"5\r\nhelloXY", 400),
    (b"0\r\nX: " + b"y" * 30_000, 431), (b"0\r\n" + b"X: y\r\n" * 10_000, 431), (b"0\r\nno colon\r\n\r\n", 400),
], ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("leaves", [False, True])
def test_a_chunked_body_without_an_end_is_refused_and_costs_nothing(gateway, rest, status, leaves):
    from support.raw_http import cpu_seconds

    before = cpu_seconds(gateway)
    with connect(gateway) as s:
        with contextlib.suppress(OSError):  # it may be refused, and its connection ended, while it is still being sent
            s.sendall(CHUNKED + rest)
            if leaves or not status:
                s.shutdown(socket.SHUT_WR)
        data = read_all(s)
    assert cpu_seconds(gateway) - before < 0.5 * PATIENCE
    if data and status:
        assert Answer(data).status == status, data
    assert data or leaves or not status, "silence"


def test_a_body_that_fills_the_buffer_exactly_does_not_hold_a_thread(c_mist):
    from support.raw_http import cpu_seconds

    mist = c_mist(http={"body-timeout": "1 second"})
    clients = []
    for n in range(16_150, 16_200):
        clients.append(connect(mist))
        clients[-1].sendall(CHUNKED + b"0" * n)
    before = cpu_seconds(mist)
    statuses = [Answer(read_all(s)).status for s in clients]
    assert set(statuses) <= {400, 408}, statuses
    assert cpu_seconds(mist) - before < PATIENCE


def test_a_head_that_leaves_no_room_for_that_of_an_answer_has_one_all_the_same(gateway):
    statuses = [ask(gateway, STATUS, "Host: localhost", "X: " + "y" * n).status for n in range(13_000, 17_000, 50)]
    assert set(statuses) == {200, 431} and statuses == sorted(statuses)


def test_workers_come_in_by_the_loopback_address(gateway):
    assert gateway.run("echo", {"text": "x"})["success"]
    assert gateway.get("/v2/api/workers").json()
