# SPDX-License-Identifier: Apache-2.0
"""A job's log over HTTP: whole, by ranges, from a level on, and as it grows."""
import json
import os
import re
import subprocess

import pytest

from support.cli import MIST, cli, environment, said
from support.mistd import PATIENCE, until
from support.subscribers import Closed, Stream, WebSocket

NOBODY = "0190c0de-0000-7000-8000-000000000000"
LEVELS = ("debug", "info", "warn", "error")
SAYS = """
import json, time
import mist

@mist.function
def says(ctx, path: str):
    '''Logs what the file says, as it grows, until it says null.'''
    said = at = 0
    while True:
        with open(path, "rb") as f:
            f.seek(at)
            new = f.read()
        whole = new[:new.rfind(b"\\n") + 1]
        at += len(whole)
        for entry in map(json.loads, whole.splitlines()):
            if entry is None:
                return said
            getattr(ctx.log, entry[0])("%s", entry[1])
            said += 1
        time.sleep(0.01)
"""
ENTRIES = [("info", "one"), ("warning", "two\n  goes on\n\nand on"), ("debug", "three"), ("error", "four\nTraceback"), ("info", "five"),
           ("warning", "six")]


class Follower(Stream):
    """The log of a job as it comes."""

    def __init__(self, mist, job_id, query="", **options):
        super().__init__(mist, f"/v2/api/jobs/{job_id}/logs?follow=true{query}", **options)
        self.is_whole, self.body = False, bytearray()  # it may become long

    def until(self, text):
        text, seen = text.encode(), 0
        while self.body.find(text, seen) < 0:
            seen = max(0, len(self.body) - len(text))
            self._chunk()
        return self.body.decode()

    def _chunk(self):
        n = int(self._line(), 16)
        self.body += self._take(n + 2)[:-2]
        self.is_whole = n == 0
        if n == 0:
            raise Closed

    def rest(self):
        try:
            while True:
                self._chunk()
        except Closed:
            return self.body.decode()


class Talker:
    """A job that logs what it is told to."""

    def __init__(self, mist, path):
        self.mist, self.file = mist, path.open("a", buffering=1)
        self.id = mist.submit("says", {"path": str(path)})

    def say(self, *entries):
        self.file.write("".join(json.dumps(e) + "\n" for e in entries))

    def tail(self):
        return self.mist.get(f"/v2/api/jobs/{self.id}/logs", headers={"Range": "bytes=-200"}).text

    def end(self):
        self.say(None)
        assert self.mist.wait(self.id)["status"] == "finished"
        return self.mist.logs(self.id)


@pytest.fixture
def talk(plain_mist, tmp_path):
    (tmp_path / "says.py").write_text(SAYS)

    def start(**sections):
        start.mist = plain_mist(functions={"says": {"path": str(tmp_path / "says.py"), "class-name": "says", "context": "plain"}}, **sections)
        return Talker(start.mist, tmp_path / "entries")

    return start


def subscribers(mist):
    return int(re.search(r"^mist_subscribers (\d+)$", mist.get("/metrics").text, re.MULTILINE)[1])


def entries(log):
    """(level, message) of each entry."""
    parts = re.split(r"^(DEBUG|INFO|WARN|ERROR) \S+ \[[^]]*\] ", log, flags=re.MULTILINE)[1:]
    return list(zip([level.lower() for level in parts[::2]], parts[1::2]))


def at_least(log, level):
    return [entry for entry in entries(log) if LEVELS.index(entry[0]) >= LEVELS.index(level)]


# By level

def test_a_level_keeps_whole_entries_and_nothing_below_it(talk):
    talker = talk()
    talker.say(*ENTRIES)
    log = talker.end()
    url = f"/v2/api/jobs/{talker.id}/logs"
    assert ("error", "four\nTraceback\n") in entries(log) and ("warn", "two\n  goes on\n\nand on\n") in entries(log)
    for level in LEVELS:
        answer = talker.mist.get(url, params={"level": level})
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
        assert "Accept-Ranges" not in answer.headers
        assert entries(answer.text) == at_least(log, level)
    assert talker.mist.get(url + "?level=debug").text == talker.mist.get(url + "?level=DEBUG").text == log
    ranged = talker.mist.get(url + "?level=warn", headers={"Range": "bytes=3-9"})
    assert ranged.status_code == 200 and entries(ranged.text) == at_least(log, "warn")
    head = talker.mist.request("HEAD", url + "?level=warn")
    assert head.status_code == 200 and not head.content
    assert talker.mist.get(url).text == log


def test_ranges_and_conditions_are_those_of_the_file_without_a_level(talk):
    talker = talk()
    talker.say(*ENTRIES)
    log = talker.end().encode()
    for query in ("", "?follow=false"):
        url = f"/v2/api/jobs/{talker.id}/logs{query}"
        whole = talker.mist.get(url)
        assert whole.content == log and whole.headers["Accept-Ranges"] == "bytes"
        part = talker.mist.get(url, headers={"Range": "bytes=5-14"})
        assert part.status_code == 206 and part.content == log[5:15] and part.headers["Content-Range"] == f"bytes 5-14/{len(log)}"
        assert talker.mist.get(url, headers={"Range": "bytes=-7"}).content == log[-7:]
        assert talker.mist.get(url, headers={"Range": f"bytes={len(log)}-"}).status_code == 416
        assert talker.mist.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


def test_a_long_log_is_filtered_by_pieces(c_mist):
    mist = c_mist()
    job_id = mist.submit("log", {"lines": 20000})
    mist.wait(job_id)
    log = mist.logs(job_id)
    assert len(log) > 1 << 20
    assert mist.get(f"/v2/api/jobs/{job_id}/logs?level=info").text == log
    assert mist.get(f"/v2/api/jobs/{job_id}/logs?level=warn").text == ""


def test_bad_questions_are_refused_in_words(c_mist):
    mist = c_mist()
    job_id = mist.submit("log", {"lines": 1})
    mist.wait(job_id)
    for path in (f"/v2/api/jobs/{job_id}/logs?level=loud", f"/v2/api/jobs/{job_id}/logs?level=", f"/v2/api/jobs/{job_id}/logs?follow=true&level=4",
                 f"/v2/api/jobs/{job_id}/events?withLogs=true&level=loud", "/v2/api/events?level=warning", f"/v2/api/ws/jobs/{job_id}?level=loud",
                 "/v2/api/ws/all?withLogs=true&level=loud"):
        answer = mist.get(path)
        assert answer.status_code == 400 and "level" in answer.json()["detail"] and "debug, info, warn or error" in answer.json()["detail"]
    refused = mist.get(f"/v2/api/jobs/{job_id}/logs?follow=perhaps")
    assert refused.status_code == 400 and "follow" in refused.json()["detail"]
    for query in ("follow=true", "level=warn", "follow=true&level=warn"):
        for unknown in (NOBODY, "nonsense"):
            answer = mist.get(f"/v2/api/jobs/{unknown}/logs?{query}")
            assert answer.status_code == 404 and unknown in answer.json()["detail"]
    until(lambda: subscribers(mist) == 0)


def test_events_have_only_entries_of_their_level(talk):
    talker = talk()
    mist = talker.mist
    talker.say(["info", "before"], ["error", "before"])
    until(lambda: "ERROR" in mist.logs(talker.id))
    paths = [f"/v2/api/ws/jobs/{talker.id}", "/v2/api/ws/all", f"/v2/api/jobs/{talker.id}/events", "/v2/api/events"]
    listeners = [(WebSocket if "/ws/" in path else Stream)(mist, f"{path}?withLogs=true&level={level}") for path in paths for level in ("warn", "info")]
    until(lambda: subscribers(mist) == 8)
    talker.say(*ENTRIES)
    log = talker.end()
    live = entries(log)[len(entries(log)) - len(ENTRIES) - 1:]
    assert ("error", "before\n") not in live and live[0] == ("info", "one\n")
    for i, listener in enumerate(listeners):
        level, has_past = ("warn", "info")[i % 2], i in (4, 5)
        events = [listener.event()]
        while events[-1]["event"] != "finished":
            events.append(listener.event())
        told = [(LEVELS[e["level"] - 1], e["message"] + "\n") for event in events if event["event"] == "logs" for e in event["events"]]
        assert told == [e for e in (entries(log) if has_past else live) if LEVELS.index(e[0]) >= LEVELS.index(level)]
        assert all(event["events"] for event in events if event["event"] == "logs")
        if has_past:
            assert listener.id == f"7-{len(log.encode())}"
    with Stream(mist, f"/v2/api/jobs/{talker.id}/events?withLogs=true&level=warn", f"7-{len(log.encode())}") as over:
        assert over.status == 204


# As it grows

def test_a_follower_sees_the_log_from_its_beginning_as_it_grows_until_the_job_ends(talk):
    talker = talk()
    talker.say(*ENTRIES[:3])
    with Follower(talker.mist, talker.id) as early:
        assert early.status == 200 and b"text/plain" in early.head and early.is_chunked
        early.until("on\n")
        with Follower(talker.mist, talker.id) as late, Follower(talker.mist, talker.id, "&level=warn") as warned:
            talker.say(ENTRIES[3])
            assert late.until("Traceback") == early.until("Traceback") == talker.mist.logs(talker.id)
            talker.say(*ENTRIES[4:])
            log = talker.end()
            assert early.rest() == late.rest() == log and early.is_whole and late.is_whole
            assert entries(warned.rest()) == at_least(log, "warn") and warned.is_whole


def test_an_ended_job_is_followed_to_its_end_at_once(talk):
    talker = talk()
    talker.say(*ENTRIES)
    log = talker.end()
    silent = talker.mist.submit("nothing")
    talker.mist.wait(silent)
    own = entries(talker.mist.logs(silent))
    assert [message.split("(")[0].strip() for _, message in own] == ["QueuedEvent", "WorkerAssigned", "StartedEvent", "FinishedEvent"]
    for job_id, query, expected in [(talker.id, "", entries(log)), (talker.id, "&level=error", at_least(log, "error")), (silent, "", own),
                                    (silent, "&level=info", own), (silent, "&level=warn", [])]:
        with Follower(talker.mist, job_id, query) as follower:
            assert entries(follower.rest()) == expected and follower.is_whole
    assert talker.mist.get(f"/v2/api/jobs/{talker.id}/logs?follow=yes").text == log
    head = talker.mist.request("HEAD", f"/v2/api/jobs/{talker.id}/logs?follow=true")
    assert head.status_code == 200 and not head.content
    until(lambda: subscribers(talker.mist) == 0)


def test_a_job_that_waits_is_followed_too(talk):
    talker = talk(contexts={"plain": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1, "jobs-per-worker": 1}})
    waiting = Talker(talker.mist, talker.mist.home / "later")
    with Follower(talker.mist, waiting.id) as follower:
        until(lambda: subscribers(talker.mist) == 1)
        assert follower.until("QueuedEvent") == waiting.mist.logs(waiting.id)
        talker.end()
        follower.until("StartedEvent")
        waiting.say(["info", "at last"])
        follower.until("at last")
        log = waiting.end()
        assert follower.rest() == log and follower.is_whole


def test_a_level_has_the_gateways_own_lines_before_the_job_logs(talk):
    talker = talk()
    talker.mist.wait(talker.id, "started")
    assert [message.split("(")[0].strip() for _, message in entries(talker.mist.get(f"/v2/api/jobs/{talker.id}/logs?level=info").text)] == [
        "QueuedEvent", "WorkerAssigned", "StartedEvent"]
    assert talker.mist.get(f"/v2/api/jobs/{talker.id}/logs?level=warn").text == ""
    assert entries(talker.end())[-1] == ("info", "FinishedEvent\n")


SSE = ("Accept: text/html;q=0.1, text/event-stream",)


def test_a_log_is_followed_as_events_by_who_accepts_them_with_signs_of_life(talk):
    talker = talk(http={"ws-keepalive": "300ms"})
    url = f"/v2/api/jobs/{talker.id}/logs?follow=true"
    with Stream(talker.mist, url, headers=SSE) as stream, Follower(talker.mist, talker.id) as text:
        assert b"Content-Type: text/event-stream" in stream.head and b"Content-Type: text/plain" in text.head
        for head in (stream.head, text.head):
            assert b"Cache-Control: no-cache, no-transform" in head and b"X-Accel-Buffering: no" in head and b"\r\nVary: Accept" in head
        block = stream.block()
        while block != {"": "keep-alive"}:
            assert block["event"] == "logs"
            block = stream.block()
        talker.say(*ENTRIES)
        log = talker.end()
        events = stream.rest()
        assert {e["event"] for e in events} == {"logs", "finished"} and events[-1]["event"] == "finished" and events[-1]["result"] == 6
        told = [(LEVELS[e["level"] - 1], e["message"] + "\n") for event in events[:-1] for e in event["events"]]
        assert told == entries(log)[-len(told):] and len(told) >= len(ENTRIES)
        assert text.rest() == log, "a sign of life would be a false byte of the log"
    with Stream(talker.mist, url, stream.id, headers=SSE) as over:
        assert over.status == 204
    with Stream(talker.mist, url + "&level=error", headers=SSE) as past:
        events = past.rest()
        assert [e["event"] for e in events] == ["logs", "finished"]
        assert [(LEVELS[e["level"] - 1], e["message"] + "\n") for e in events[0]["events"]] == at_least(log, "error")
    with Stream(talker.mist, url, "4", headers=SSE) as bad:
        assert bad.status == 400
    silent = talker.mist.submit("nothing")
    talker.mist.wait(silent)
    with Stream(talker.mist, f"/v2/api/jobs/{silent}/logs?follow=true", headers=SSE) as stream:
        logs, end = stream.rest()
        assert [e["message"].split("(")[0] for e in logs["events"]] == ["QueuedEvent", "WorkerAssigned", "StartedEvent", "FinishedEvent"]
        assert end["event"] == "finished" and logs["fileOffset"] == len(talker.mist.logs(silent))


def test_many_begin_to_follow_while_lines_come(c_mist):
    mist = c_mist()
    job_id = mist.submit("log", {"lines": 8000})
    followers = [Follower(mist, job_id)]
    while mist.job(job_id)["status"] != "finished" and len(followers) < 30:
        followers.append(Follower(mist, job_id, ("", "&level=info")[len(followers) % 2]))
    mist.wait(job_id, timeout=60)
    log = mist.logs(job_id)
    for follower in followers:
        assert follower.rest() == log and follower.is_whole
        follower.close()


def test_a_follower_that_does_not_read_is_told_the_rest_from_the_file(c_mist):
    """Nothing is lost and nothing waits in memory: its buffer has room for some forty lines."""
    mist = c_mist(http={"subscriber-buffer": "4k"})
    before = mist.resident_bytes()
    job_id = mist.submit("log", {"lines": 60000})
    followers = [Follower(mist, job_id, query, receive_buffer=4096) for query in ("", "&level=info") for _ in range(10)]
    mist.wait(job_id, timeout=60)
    if "MIST_PATIENCE" not in os.environ:  # sanitizers keep what was freed
        assert mist.resident_bytes() - before < 100 << 20
    log = mist.logs(job_id)
    assert len(log) > 4 << 20
    for follower in followers:
        assert follower.rest() == log and follower.is_whole
        follower.close()
    dropped = re.search(r"^mist_subscriber_events_dropped_total (\d+)$", mist.get("/metrics").text, re.MULTILINE)[1]
    assert dropped == "0"


def test_a_slow_follower_of_a_job_that_goes_on_catches_up(talk):
    talker = talk(http={"subscriber-buffer": "4k"})
    with Follower(talker.mist, talker.id, receive_buffer=4096) as follower:
        for round_ in range(3):  # each more than sockets hold
            talker.say(*([("info", f"{round_} {i} {'x' * 10000}") for i in range(800)] + [("warning", f"round {round_}")]))
            until(lambda: f"round {round_}" in talker.tail())
            assert follower.until(f"round {round_}\n") == talker.mist.logs(talker.id)
        log = talker.end()
        assert follower.rest() == log and follower.is_whole


def test_followers_that_leave_leave_nothing(talk):
    talker = talk(http={"ws-keepalive": "500ms"})
    mist = talker.mist
    talker.say(["info", "here"])
    until(lambda: "here" in mist.logs(talker.id))

    def come_and_go(n):
        followers = [Follower(mist, talker.id, query) for query in ("", "&level=error") for _ in range(n)]
        for i, follower in enumerate(followers):
            if i % 2:
                follower.socket.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # a reset instead of a farewell
            follower.close()
        until(lambda: subscribers(mist) == 0, what="the end of the followers")

    come_and_go(5)
    mist.session.close()
    descriptors = len(os.listdir(f"/proc/{mist.pid}/fd")) + 20  # the store reads by a connection more when two ask at a time
    for _ in range(2):
        come_and_go(50)
    mist.session.close()
    until(lambda: len(os.listdir(f"/proc/{mist.pid}/fd")) <= descriptors, what="the descriptors of before")
    talker.end()


def test_a_gateway_that_stops_cuts_the_log_of_a_job_that_goes_on(talk):
    """The end of an answer in order says that the job has ended."""
    talker = talk()
    talker.say(["info", "here"])
    with Follower(talker.mist, talker.id) as follower:
        follower.until("here")
        talker.mist.stop()
        follower.rest()
        assert not follower.is_whole


# The command line

def test_mist_logs_takes_a_level_and_follows(talk):
    talker = talk()
    talker.say(*ENTRIES)
    with subprocess.Popen([MIST, "logs", "-f", "--level", "warn", talker.id], stdout=subprocess.PIPE, text=True, env=environment(talker.mist)) as p:
        shown = ""
        while "six" not in shown:
            shown += p.stdout.readline()
        log = talker.end()
        assert entries(shown + p.stdout.read()) == at_least(log, "warn")
        assert p.wait(30 * PATIENCE) == 0
    assert entries(cli(talker.mist, "logs", "-L", "error", talker.id)) == at_least(log, "error")
    assert cli(talker.mist, "logs", talker.id) == cli(talker.mist, "logs", "--follow", talker.id) == log
    assert "level" in said(talker.mist, "logs", "--level", "loud", talker.id, code=3)
    assert NOBODY in said(talker.mist, "logs", "-f", NOBODY, code=3)
