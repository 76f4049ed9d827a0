# SPDX-License-Identifier: Apache-2.0
"""The worker as a process against a scripted gateway: connections, jobs, cancel, ends."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import mist
from mist.jobs import STOP_AGAIN_S
from scripted_gateway import WAIT_S

CODE = """
import logging, os, sys, threading, time, warnings
import mist

def echo(ctx, value=None): return value
def who(ctx): return [ctx.job_id, ctx.external_id, ctx.attempt, ctx.cancelled]
def raises(): raise ValueError("no luck")
def exits(): sys.exit(7)
def base(): raise KeyboardInterrupt("stop it")
def opaque(): return {"rows": [object()]}
def int_key(): return {1: 2}
def big(n: int): return "x" * n
def bad_text():
    raise ValueError("nul \\0 and \\ud83d")
def loops(ctx):
    ctx.log.info("looping")
    while True:
        try: time.sleep(0.01)
        except Exception: pass
def stubborn(ctx):
    ctx.log.info("looping")
    n = 0
    while n < 3:
        try:
            while True: time.sleep(0.01)
        except BaseException: n += 1
    raise RuntimeError("gave in")
def polite(ctx):
    ctx.log.info("looping")
    while not ctx.cancelled: time.sleep(0.01)
    for i in range(100): time.sleep(0.01)
    return "tidied up"
def waits(ctx, until: str):
    ctx.log.info("waiting")
    import os
    while not os.path.exists(until): time.sleep(0.005)
    return "waited"
def naps(ms: int):
    until = time.monotonic() + ms / 1000
    while time.monotonic() < until: pass
def sleeps(ctx):
    ctx.log.info("sleeping")
    time.sleep(1000)
def logs(ctx, n: int):
    for i in range(n): ctx.log.info("line %d", i)
def talks(ctx, word: str, n: int = 50):
    log = logging.getLogger("users.own")
    for i in range(n):
        log.warning("%s %d", word, i); time.sleep(0)
    return word
def levels(ctx):
    ctx.log.debug("d"); ctx.log.info("i"); ctx.log.warning("w"); ctx.log.error("e")
    logging.info("root"); logging.getLogger("x").debug("unseen")
    try: 1 / 0
    except ZeroDivisionError: ctx.log.exception("caught")
    t = threading.Thread(target=lambda: logging.warning("from a thread")); t.start(); t.join()
    ctx.log.info("x" * 1000000)
def configures(ctx):
    import logging.config
    logging.config.dictConfig({"version": 1, "root": {"handlers": []}})
    ctx.log.info("still heard")
def says(ctx): logging.warning("heard again")
def notes(ctx, note):
    ctx.progress(note=note)
def half(ctx, until):
    ctx.progress(0.5); ctx.progress(note="half")
    while not os.path.exists(until): time.sleep(0.01)
def progresses(ctx):
    ctx.progress(-1)
    for i in range(10001): ctx.progress(i / 9999, f"{i} done")
"""


@pytest.fixture
def code(user_file):
    return user_file(CODE)


@pytest.fixture
def worker(gateway):
    """worker(**worker_file) starts one and gives its welcomed connection; .process is the last one's."""
    def start(max_frame=1 << 20, heartbeat=10, **changes):
        start.process = gateway.start_worker(**changes)
        peer = gateway.peer()
        start.hello = peer.welcome(heartbeat=heartbeat, max_frame=max_frame)
        return peer
    return start


def test_hello_says_what_the_worker_is(worker):
    worker(capacity=3)
    assert worker.hello["protocol"] == 1 and worker.hello["capacity"] == 3 and worker.hello["resumes"] == []
    assert worker.hello["lang"] == "python" and worker.hello["pid"] == worker.process.pid
    assert "sparkVersion" not in worker.hello


def test_a_job_is_started_logged_and_finished_in_this_order(worker, code):
    peer = worker()
    frame = peer.run("j", code, "levels")
    assert frame["type"] == "finished" and frame["result"] is None
    assert [f["type"] for f in peer.seen if f.get("job") == "j"][0] == "started"
    assert peer.seen[-1] is frame
    entries = peer.log("j")
    assert [(e["level"], e["message"]) for e in entries[:5]] == [
        ("DEBUG", "d"), ("INFO", "i"), ("WARN", "w"), ("ERROR", "e"), ("INFO", "root: root")]
    assert entries[5]["level"] == "ERROR" and "ZeroDivisionError" in entries[5]["message"]
    assert entries[6]["message"] == "root: from a thread"
    assert len(entries[7]["message"]) < 70000 and "left out" in entries[7]["message"]
    assert all(abs(e["at"] / 1000 - time.time()) < 60 for e in entries)


def test_a_job_knows_itself(worker, code):
    peer = worker()
    peer.send("start", job="j", function="f", path=str(code), className="who", parameters={}, attempt=3,
              externalId="order 66")
    assert peer.outcome()["result"] == ["j", "order 66", 3, False]


@pytest.mark.parametrize("name, parameters, expected", [
    ("raises", {}, "ValueError: no luck"), ("exits", {}, "SystemExit: 7\nThe function called sys.exit()"),
    ("base", {}, "KeyboardInterrupt: stop it"), ("opaque", {}, "result.rows[0] is object"),
    ("int_key", {}, "the key 1 is int"), ("bad_text", {}, "nul \ufffd and \ufffd"),
    ("nothing", {}, 'no function "nothing"'), ("big", {"n": "x"}, "Invalid field n: expected an integer"),
    ("big", {"n": 2 << 20}, "the result is too large: 2097")])
def test_a_function_that_goes_wrong_fails_and_the_worker_lives_on(worker, code, name, parameters, expected):
    peer = worker()
    frame = peer.run("j", code, name, **parameters)
    assert frame["type"] == "failed" and expected in frame["error"]
    assert "runner/python/mist/" not in frame["error"]
    assert peer.run("k", code, "echo", value=[1])["result"] == [1]


def test_a_missing_file_fails_the_job(worker, tmp_path):
    assert worker().run("j", tmp_path / "none.py", "f")["error"].startswith("no such file")


def test_a_result_that_is_too_large_is_told_with_both_sizes(worker, code):
    frame = worker(max_frame=50_000).run("j", code, "big", n=60_000)
    assert "the result is too large: 600" in frame["error"] and "takes 50000 (workers.frame)" in frame["error"]


def test_an_edited_file_is_used_by_the_next_job(worker, user_file):
    peer = worker()
    assert peer.run("j", user_file("def f(): return 'old'\n"), "f")["result"] == "old"
    assert peer.run("k", user_file("def f(): return 'newer'\n"), "f")["result"] == "newer"


def test_ten_jobs_run_at_once_and_their_logs_are_told_apart(worker, code, tmp_path):
    peer = worker(capacity=10)
    for i in range(10):
        peer.start(f"j{i}", code, "waits", until=str(tmp_path / "go"))
    while {f["job"] for f in peer.seen if f["type"] == "started"} != {f"j{i}" for i in range(10)}:
        peer.expect("started")
    (tmp_path / "go").touch()
    assert {peer.outcome()["job"] for _ in range(10)} == {f"j{i}" for i in range(10)}
    for i in range(10):
        peer.start(f"k{i}", code, "talks", word=f"word{i}")
    for _ in range(10):
        peer.outcome()
    for i in range(10):
        assert [e["message"] for e in peer.log(f"k{i}")] == [f"users.own: word{i} {n}" for n in range(50)]


def test_a_long_log_comes_whole_in_order_and_in_batches(worker, code):
    peer = worker()
    peer.run("j", code, "logs", n=30_000)
    assert [e["message"] for e in peer.log("j")] == [f"line {i}" for i in range(30_000)]
    batches = [len(f["entries"]) for f in peer.seen if f["type"] == "log"]
    assert max(batches) <= 1000 and len(batches) < 300


def test_a_log_line_does_not_wait_for_the_end_of_the_job(worker, code):
    peer = worker()
    peer.start("j", code, "sleeps")
    assert peer.expect("log")["entries"][0]["message"] == "sleeping"


def test_of_many_progresses_the_newest_is_told(worker, code):
    peer = worker()
    peer.run("j", code, "progresses")
    told = [f for f in peer.seen if f["type"] == "progress"]
    assert told[-1]["value"] == 1 and told[-1]["note"] == "10000 done" and len(told) < 100
    assert all(0 <= f["value"] <= 1 for f in told)


@pytest.mark.parametrize("note,told", [("x" * 4096, "x" * 4096), ("x" * 5000, "x" * 4096), ("€" * 2000, "€" * 1365)])
def test_a_note_has_4096_bytes_at_most(worker, code, note, told):
    peer = worker()
    peer.run("j", code, "notes", note=note)
    assert [f["note"] for f in peer.seen if f["type"] == "progress"] == [told]


def test_how_far_a_job_is_is_told_again_to_a_gateway_that_is_found_anew(worker, gateway, code, tmp_path):
    peer = worker()
    peer.start("j", code, "half", until=str(tmp_path / "go"))
    while "note" not in (told := peer.expect("progress")):  # they usually come as one
        pass
    assert told["note"] == "half" and "value" not in told
    peer.connection.close()
    peer = gateway.peer()
    peer.welcome()
    assert peer.expect("progress") == told
    (tmp_path / "go").touch()
    peer.expect("finished")
    assert [f["type"] for f in peer.seen if f.get("job") == "j"] == ["started", "progress", "finished"]


def test_a_function_that_configures_logging_takes_nobodys_log_away(worker, code):
    peer = worker()
    peer.run("j", code, "configures")
    assert [e["message"] for e in peer.log("j")] == ["still heard"]
    peer.run("k", code, "says")
    assert [e["message"] for e in peer.log("k")] == ["root: heard again"]


def cancelled(peer, job, code, name):
    peer.start(job, code, name)
    peer.expect("log")
    peer.send("cancel", job=job, reason="a test")
    return peer.outcome()


@pytest.mark.parametrize("name, outcome", [("loops", "cancelled"), ("stubborn", "cancelled"), ("polite", "finished")])
def test_cancel_stops_what_python_can_stop(worker, code, name, outcome):
    peer = worker()
    # One that is not let run for STOP_AGAIN_S cannot see that it is to end.
    frame = next((f for f in (cancelled(peer, f"j{n}", code, name) for n in range(5)) if f["type"] == outcome), None)
    assert frame and frame.get("result") in (None, "tidied up")
    for i in range(20):
        assert peer.run(f"k{i}", code, "echo", value=1)["type"] == "finished"


def test_cancel_of_what_is_not_held_is_ignored(worker, code):
    peer = worker()
    peer.send("cancel", job="nothing", reason="a test")
    peer.run("j", code, "echo")
    peer.send("cancel", job="j", reason="too late")
    assert peer.run("k", code, "echo", value=2)["result"] == 2


def test_a_cancel_that_meets_the_end_of_the_job_never_harms_the_next(worker, code):
    """The first interruption comes STOP_AGAIN_S after the cancel: jobs of about that length end all around it."""
    peer = worker(capacity=8)
    seen = set()
    for turn in range(8):
        for i in range(8):
            peer.start(f"j{turn}.{i}", code, "naps", ms=int(1000 * STOP_AGAIN_S) + turn * 4 + i - 12)
            peer.send("cancel", job=f"j{turn}.{i}", reason="a race")
        seen.update(peer.outcome()["type"] for _ in range(8))
    assert seen <= {"finished", "cancelled"}
    for i in range(50):
        assert peer.run(f"k{i}", code, "echo", value=i)["result"] == i


def test_pings_are_answered_while_a_job_works(worker, user_file):
    peer = worker()
    peer.start("j", user_file("def f():\n    while True: pass\n"), "f")
    for _ in range(5):
        peer.send("ping")
        peer.expect("pong")


def test_a_job_goes_on_without_a_connection_and_its_outcome_is_told_until_acknowledged(worker, gateway, code, tmp_path):
    peer = worker()
    peer.start("j", code, "waits", until=str(tmp_path / "go"))
    peer.expect("log")
    peer.connection.close()
    peer = gateway.peer()
    (tmp_path / "go").touch()
    assert peer.welcome()["resumes"] == ["j"]
    assert peer.expect("finished")["result"] == "waited"
    peer.connection.close()
    peer = gateway.peer()
    assert peer.welcome()["resumes"] == ["j"]
    first = peer.outcome()
    assert first["result"] == "waited" and [f["type"] for f in peer.seen if f.get("job") == "j"][0] == "started"
    peer.run("k", code, "echo")
    peer.connection.close()
    assert gateway.peer().welcome()["resumes"] == []


def test_what_is_logged_without_a_connection_arrives_later(worker, gateway, code):
    peer = worker()
    gateway.refuse_with = 503
    peer.start("j", code, "loops")
    peer.expect("log")
    peer.connection.close()
    gateway.refuse_with = None
    peer = gateway.peer()
    assert peer.welcome()["resumes"] == ["j"]
    peer.send("cancel", job="j", reason="enough")
    assert peer.outcome()["type"] == "cancelled"


def test_forgotten_jobs_are_stopped_and_never_spoken_of(worker, gateway, code):
    peer = worker()
    peer.start("j", code, "loops")
    peer.expect("log")
    peer.connection.close()
    peer = gateway.peer()
    assert peer.welcome(forget=["j"])["resumes"] == ["j"]
    assert peer.run("k", code, "echo", value=1)["result"] == 1
    peer.run("l", code, "naps", ms=int(3000 * STOP_AGAIN_S))  # it has ended by then
    assert not [f for f in peer.seen if f.get("job") == "j"]
    peer.drain()
    assert worker.process.wait(WAIT_S) == 0


def test_the_worker_file_is_read_before_each_connection(worker, gateway, code):
    peer = worker()
    gateway.stop_listening()
    gateway.listen()
    gateway.write_worker_file()
    peer.connection.close()
    peer = gateway.peer()
    peer.welcome()
    assert peer.run("j", code, "echo", value=1)["result"] == 1


def test_a_silent_gateway_is_left_after_three_heartbeats(worker, gateway):
    worker(heartbeat=0.2)
    assert gateway.peer().welcome()["resumes"] == []
    assert "nothing heard" in gateway.said()


def test_drain_waits_for_the_job_and_its_acknowledgement(worker, gateway, code, tmp_path):
    peer = worker()
    peer.start("j", code, "waits", until=str(tmp_path / "go"))
    peer.expect("log")
    peer.send("drain")
    (tmp_path / "go").touch()
    peer.expect("finished")
    for _ in range(2):  # at each frame it looks whether it is done
        peer.send("ping")
        peer.expect("pong")
    assert worker.process.poll() is None and "bye" not in [f["type"] for f in peer.seen]
    peer.send("ack", jobs=["j"])
    peer.expect("bye")
    assert peer.is_over.wait(WAIT_S) and peer.connection.protocol.close_code == 1000
    assert worker.process.wait(WAIT_S) == 0


def test_a_drain_is_forgotten_with_its_connection(worker, gateway, code):
    peer = worker()
    peer.start("j", code, "echo", value=1)
    peer.expect("finished")
    peer.send("drain")
    peer.connection.close()
    peer = gateway.peer()
    assert peer.welcome(forget=["j"])["resumes"] == ["j"]
    assert peer.run("k", code, "echo", value=2)["result"] == 2
    peer.drain()
    assert worker.process.wait(WAIT_S) == 0


def test_drain_of_an_idle_worker_ends_it(worker):
    worker().drain()
    assert worker.process.wait(WAIT_S) == 0


@pytest.mark.parametrize("send, sentence", [
    (lambda p, c: p.connection.send("nonsense"), "not JSON"),
    (lambda p, c: p.connection.send(b"{}"), "binary"),
    (lambda p, c: p.send("accepted"), "unknown frame type"),
    (lambda p, c: p.send("pong"), "may not send"),
    (lambda p, c: p.send("start", job="j"), "member function"),
    (lambda p, c: p.send("welcome", protocol=1, heartbeat=1, maxFrame=1, forget=[]), "second welcome"),
    (lambda p, c: (p.start("j", c, "sleeps"), p.start("k", c, "sleeps")), "capacity of 1"),
    (lambda p, c: (p.start("j", c, "sleeps"), p.start("j", c, "sleeps")), "started before"),
    (lambda p, c: (p.start("j", c, "sleeps"), p.send("drain"), p.start("k", c, "echo")), "start after drain"),
    (lambda p, c: p.send("cancel", job="j", reason="x" * (1 << 20)), "a frame of 1048"),
])
def test_a_wrong_frame_ends_the_connection_only(worker, gateway, code, send, sentence):
    peer = worker()
    send(peer, code)
    assert sentence in peer.expect("error")["reason"]
    assert peer.is_over.wait(WAIT_S) and peer.connection.protocol.close_code in (1002, 1009)
    gateway.peer().welcome()


@pytest.mark.parametrize("frame", [{"type": "drain"}, {"type": "ping"}, {"type": "welcome", "protocol": 1}])
def test_only_welcome_answers_hello(gateway, frame):
    gateway.start_worker()
    peer = gateway.peer()
    peer.expect("hello")
    peer.connection.send(json.dumps(frame))
    peer.expect("error")
    gateway.peer().welcome()


def test_an_outcome_that_is_refused_twice_becomes_a_failure(worker, gateway, code):
    peer = worker()
    peer.start("j", code, "echo", value=1)
    for _ in range(2):
        peer.expect("finished")
        peer.send("error", reason="too strange")
        peer.connection.close(1002)
        peer = gateway.peer()
        peer.welcome()
    frame = peer.outcome()
    assert frame["type"] == "failed" and frame["error"] == "the gateway did not take the result: too strange"


def test_describe_answers_with_the_signature_or_the_reason(worker, user_file, code):
    peer = worker()
    peer.start("j", code, "sleeps")
    path = user_file("import mist\n@mist.function(tags=['sql'])\ndef f(ctx, a: str, b: int = 1): pass\n", "told.py")
    peer.send("describe", id="1", path=str(path), className="f")
    answer = peer.expect("described")
    assert answer["id"] == "1" and answer["signature"] == {
        "lang": "python", "tags": ["sql"],
        "execute": {"a": {"type": "MString"}, "b": {"type": "MOption", "args": [{"type": "MInt"}]}}}
    peer.send("describe", id="2", path=str(user_file("import nowhere_at_all\n", "broken.py")), className="f")
    error = peer.expect("described")["error"]
    assert "No module named 'nowhere_at_all'" in error and "load.py" not in error
    peer.send("describe", id="3", path=str(user_file("while True: pass\n", "hangs.py")), className="f")
    peer.send("describe", id="4", path=str(path), className="g")
    assert "the functions there are: f" in peer.expect("described")["error"]


def test_401_ends_the_worker_at_once(gateway):
    assert gateway.start_worker(secret="wrong").wait(WAIT_S) == 4


def test_401_after_a_connection_ends_the_worker_too(worker, gateway):
    peer = worker()
    gateway.refuse_with = 401
    peer.connection.close()
    assert worker.process.wait(WAIT_S) == 4


@pytest.mark.parametrize("answer", [
    lambda p: p.send("welcome", protocol=2, heartbeat=1, maxFrame=1, forget=[]),
    lambda p: (p.send("error", reason="another version"), p.connection.close(4001, "another version"))])
def test_another_version_of_the_protocol_ends_the_worker(gateway, answer):
    process = gateway.start_worker()
    peer = gateway.peer()
    peer.expect("hello")
    answer(peer)
    assert process.wait(WAIT_S) == 4


def test_without_a_gateway_the_worker_ends_after_the_grace(worker, gateway, code):
    peer = worker()
    peer.start("j", code, "sleeps")
    peer.expect("log")
    gateway.refuse_with = 503
    gateway.write_worker_file(grace=1)  # which it reads before each attempt
    at = time.monotonic()
    peer.connection.close()
    assert worker.process.wait(WAIT_S) == 5 and time.monotonic() - at > 0.9


def test_a_gateway_that_never_was_is_given_the_same_grace(gateway):
    gateway.stop_listening()
    assert gateway.start_worker(grace=0.5).wait(WAIT_S) == 5


@pytest.mark.parametrize("content", [None, "no json", "[]", "{}", '{"url": "ws://127.0.0.1:1/"}'])
def test_no_usable_worker_file_is_said(gateway, tmp_path, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    assert gateway.start_worker({"MIST_WORKER_FILE": str(path)}).wait(WAIT_S) == 2
    assert "mist worker: " in gateway.said() and "Traceback" not in gateway.said()


def test_sigterm_cancels_tells_and_ends(worker, code):
    peer = worker(capacity=2)
    peer.start("j", code, "loops")
    peer.expect("log")
    worker.process.send_signal(signal.SIGTERM)
    assert peer.expect("cancelled")["job"] == "j"
    assert worker.process.wait(WAIT_S) == 143


def test_a_thread_that_hangs_cannot_keep_the_process(worker, code):
    peer = worker()
    peer.start("j", code, "sleeps")
    peer.expect("log")
    worker.process.terminate()
    assert worker.process.wait(WAIT_S) == 143


def test_a_thousand_small_jobs_leave_no_threads_behind(worker, user_file):
    path = user_file("import threading\ndef f(): return threading.active_count()\n")
    peer = worker(capacity=8)
    running, n, most = 0, 0, 0
    while n < 1000 or running:
        while n < 1000 and running < 8:
            peer.start(f"j{n}", path, "f")
            n, running = n + 1, running + 1
        most = max(most, peer.outcome()["result"])
        running -= 1
    assert most <= 8 + 5


def test_the_workers_of_a_context_without_spark_never_import_it(worker, user_file):
    path = user_file("import sys\ndef f(): return [m for m in ('pyspark', 'numpy', 'pandas') if m in sys.modules]\n")
    assert worker().run("j", path, "f")["result"] == []


def test_a_describer_needs_no_spark_even_when_the_context_has_one(gateway, user_file):
    gateway.start_worker({"MIST_SPARK": "1"}, describer=True)
    peer = gateway.peer()
    assert "sparkVersion" not in peer.welcome()
    peer.send("describe", id="1", path=str(user_file("import sys\ndef f(a: int): pass\n")), className="f")
    assert "signature" in peer.expect("described")


FOUL = """
import logging
class Silent(Exception):
    def __str__(self): raise RuntimeError("no text")
class Foul(Exception):
    def __str__(self): return "nul \\0 and \\ud83d" + "x" * 10 ** 7
def raises_silent(): raise Silent
def raises_foul(): raise Foul
def logs(ctx):
    ctx.log.info("log \\0 \\ud83d"); logging.getLogger("\\ud83d").warning("%s", "\\0")
    logging.getLogger("x").warning("%d", "no number"); ctx.log.error("with", exc_info=Silent())
    class Odd:
        def __str__(self): raise Silent
    ctx.log.info("%s", Odd()); ctx.log.info(Odd()); ctx.progress(0.5, "\\0\\ud83d")
    logging.getLogger().handle(logging.makeLogRecord({"msg": "odd time", "levelno": 20, "created": float("nan")}))
    return {"\\0": "\\ud83d", "back": "\\\\u0000"}
def exits_foul(): raise SystemExit("\\ud83d")
def groups(): raise ValueError("outer") from Silent()
"""


def test_no_text_of_outside_silences_the_worker(worker, user_file):
    """Whatever is described, raised or logged, it is told in a form the gateway takes, and the worker goes on."""
    peer = worker(capacity=4)
    code = user_file(FOUL)
    foul = {"silent": "class Silent(Exception):\n    def __str__(self): raise RuntimeError\nraise Silent",
            "foul": "raise ValueError('nul \\0 and \\ud83d')", "huge": "raise ValueError('\\ud83d' * 10 ** 7)",
            "name": "import typing\ndef f(a: typing.TypedDict('T', {'\\ud83d\\0': int})): pass",
            "default": "import typing, enum\ndef f(a: typing.Literal['\\ud83d', 2 ** 70], b: enum.Enum('E', {'x': 1e999})): pass"}
    for name, text in foul.items():
        peer.send("describe", id=name, path=str(user_file(text, f"{name}.py")), className="f" if name != "foul" else "\\ud83d")
        answer = peer.expect("described")
        assert answer["id"] == name and len(str(answer)) < 200_000
        assert "error" in answer if name in ("silent", "foul", "huge") else "signature" in answer, answer
    for name, kind in (("raises_silent", "failed"), ("raises_foul", "failed"), ("logs", "finished"), ("exits_foul", "failed"),
                       ("groups", "failed")):
        outcome = peer.run(name, code, name)
        assert outcome["type"] == kind, outcome
        assert not set("\0\ud83d") & set(json.dumps(outcome, ensure_ascii=False)) and len(str(outcome)) < 200_000
    assert outcome["error"].endswith("ValueError: outer")
    assert [f["result"] for f in peer.seen if f.get("job") == "logs" and "result" in f] == [{"\ufffd": "\ufffd", "back": "\\u0000"}]
    assert len(peer.log("logs")) == 7
    assert peer.run("after", code, "raises_silent")["type"] == "failed"


def test_what_has_one_rule_for_decimals_must_know_it(gateway):
    process = gateway.start_worker(sparkConf={"spark.mist.decimals": "roman"})
    assert process.wait(WAIT_S) == 3
    assert "spark.mist.decimals" in gateway.peer().expect("error")["reason"]


def test_spark_that_cannot_start_is_told_and_ends_the_worker(gateway):
    process = gateway.start_worker({"MIST_SPARK": "1", "JAVA_HOME": "/nonexistent"})
    peer = gateway.peer()
    assert peer.expect("error")["reason"].startswith("Spark could not start: ")
    assert process.wait(WAIT_S) == 3


def test_interruptions_never_reach_the_socket(worker, code):
    """Cancels of one job while others finish by the hundred on the same connection."""
    peer = worker(capacity=4)
    for i in range(10):
        peer.start(f"loop{i}", code, "loops")
        for k in range(10):
            peer.start(f"j{i}.{k}", code, "talks", word="w", n=3)
            peer.expect("finished")
            peer.send("ack", jobs=[f"j{i}.{k}"])
        peer.send("cancel", job=f"loop{i}", reason="a test")
        assert peer.outcome()["job"] == f"loop{i}"
    assert "over" not in [f["type"] for f in peer.seen]


def test_a_python_without_websockets_says_what_it_needs():
    """-S: without the packages that were installed."""
    runner = os.path.dirname(os.path.dirname(mist.__file__))
    done = subprocess.run([sys.executable, "-S", "-m", "mist.worker"], env={"PYTHONPATH": runner}, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"{sys.executable} has no package websockets" in done.stderr and "-m pip install websockets" in done.stderr
