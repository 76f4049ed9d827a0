# SPDX-License-Identifier: Apache-2.0
"""Workers that break the protocol: refused, logged once, and no harm to the gateway."""

import json
import sys
import time

import pytest

from support.gateways import PLAIN
from support.mistd import PATIENCE, ROOT, TERMINAL

MODES = [
    ("no-hello-first", 1002, "first frame must be hello"),
    ("not-json", 1002, "JSON"),
    ("not-an-object", 1002, "object"),
    ("binary", None, None),
    ("unknown-type", 1002, "surprise"),
    ("wrong-direction", 1002, "welcome"),
    ("missing-member", 1002, "capacity"),
    ("wrong-kind", 1002, "capacity"),
    ("wrong-version", 4001, "version 1"),
    ("too-deep", 1002, "deep"),
    ("oversized", 1009, None),
    ("hello-twice", 1002, "twice"),
    ("finished-before-started", 1002, "not its turn"),
    ("started-twice", 1002, "not its turn"),
    ("bad-level", 1002, "value"),
    ("bad-progress", 1002, "value"),
    ("bad-progress-of-a-long-name", 1002, "frame progress of job aé"),
    ("too-many-entries", 1002, "value"),
]


@pytest.mark.parametrize("mode,code,words", MODES, ids=[m[0] for m in MODES])
def test_a_worker_that_breaks_the_protocol_is_refused_and_may_come_back(plain_mist, tmp_path, mode, code, words):
    note = tmp_path / "note"
    gateway = plain_mist(
        runtimes={"rogue": {"kind": "program", "command": f"{sys.executable} {ROOT}/tests/support/rogue_worker.py {mode} {note}"}},
        contexts={"rogue": {"runtime": "rogue", "worker-mode": "shared"}},
        functions={"f": {"class-name": "f", "context": "rogue"}}, workers={"frame": "1m"})
    assert gateway.run("f", {}) == {"success": True, "payload": "well behaved", "errors": []}
    told = json.loads(note.read_text())
    if code:
        assert told["code"] == code, told
    if words:
        assert words in told["reason"], told
    assert gateway.stderr().count("broke the protocol") == 1
    assert gateway.get("/health/ready").status_code == 200


def test_no_member_of_any_frame_ends_the_gateway(plain_mist, tmp_path):
    note = tmp_path / "note"
    command = f"{sys.executable} {ROOT}/tests/support/rogue_worker.py every {note}"
    gateway = plain_mist(
        runtimes={"rogue": {"kind": "program", "command": command, "environment": {"MIST_PROTO": str(ROOT / "proto")}}},
        contexts={"rogue": {"runtime": "rogue", "worker-mode": "shared"}},
        functions={"f": {"class-name": "f", "context": "rogue"}}, limits={"queue": 1000}, workers={"protocol-errors": 1000000})
    pid = gateway.pid
    jobs = [gateway.submit("f") for _ in range(60)]
    for job in jobs:
        gateway.wait(job, timeout=60)
    assert gateway.run("f", {})["payload"] == "well behaved"
    assert gateway.pid == pid and gateway.process.poll() is None
    gateway.until(lambda: note.exists() and note.read_text().endswith('"the end"\n'), timeout=60)
    answers = [json.loads(line) for line in note.read_text().splitlines()[:-1]]
    assert len(answers) > 500
    for frame, code, reason in answers:
        assert code in (1002, 4001) and "\ufffd" not in (reason or ""), (frame, code, reason)
    for job in jobs:  # whatever the worker said of them can be read
        assert gateway.get(f"/v2/api/jobs/{job}").json()["status"] in ("finished", "failed")
        gateway.logs(job)


def rogue(plain_mist, mode, **changes):
    return plain_mist(
        runtimes={"rogue": {"kind": "program", "command": f"{sys.executable} {ROOT}/tests/support/rogue_worker.py {mode}"}},
        contexts={"rogue": {"runtime": "rogue", "worker-mode": "shared"}, "plain": PLAIN},
        functions={"f": {"class-name": "f", "context": "rogue"}}, **changes)


def test_a_worker_that_only_breaks_the_protocol_is_ended_and_does_not_fill_the_log(plain_mist):
    gateway = rogue(plain_mist, "always")
    gateway.submit("f")
    gateway.until(lambda: gateway.stderr().count("10 times in a row (workers.protocol-errors)") >= 3)
    assert gateway.stderr().count(" broke the protocol: ") <= 20, "of thirty; ten lines in a minute, of which two may have begun"
    assert gateway.run("typed", {"i": 1})["success"]


def test_a_worker_that_floods_pings_and_reads_nothing_is_not_kept_in_memory(plain_mist, tmp_path):
    note = tmp_path / "note"
    gateway = rogue(plain_mist, f"flood {note}")
    gateway.run("typed", {"i": 1})
    before = gateway.resident_bytes()
    job = gateway.submit("f")
    gateway.until(note.exists)
    assert gateway.resident_bytes() - before < 50 * 1024 * 1024
    gateway.until(lambda: "nothing but pings" in gateway.stderr())
    assert gateway.wait(job)["jobResult"] == "well behaved"


def test_a_large_result_takes_its_bytes_and_holds_up_nobody(plain_mist):
    gateway = rogue(plain_mist, f"large [] {20_000_000}")
    gateway.run("typed", {"i": 1})
    before = gateway.resident_bytes()
    job = gateway.submit("f")
    times, most = [], 0
    while gateway.job(job)["status"] not in TERMINAL:
        began = time.monotonic()
        assert gateway.run("typed", {"i": 1})["success"]
        times.append(time.monotonic() - began)
        most = max(most, gateway.resident_bytes())
    times.sort()
    worst, middle = times[-1], times[len(times) // 2]
    print(f"{len(times)} calls beside it: middle {middle * 1000:.1f} ms, worst {worst * 1000:.1f} ms; {(most - before) >> 20} MB")
    assert most - before < 400 * 1024 * 1024
    assert worst < 3 * PATIENCE
    result = gateway.get(f"/v2/api/jobs/{job}").content
    assert result.count(b"[]") == 20_000_001


def test_a_large_result_that_is_not_json_is_refused(plain_mist):
    gateway = rogue(plain_mist, f"large [01] {100_000}")
    job = gateway.submit("f")
    gateway.until(lambda: "broke the protocol: frame: not JSON: expected a number" in gateway.stderr())
    gateway.cancel(job)
