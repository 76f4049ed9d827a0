# SPDX-License-Identifier: Apache-2.0
"""What functions print, and where it arrives: the job's log, the worker's output."""

import os
import subprocess
import sys
import time

import pytest

from mist import printed

CODE = """
import asyncio, contextlib, ctypes, io, logging, os, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(2)
early = logging.StreamHandler(sys.stderr)

def say(ctx, word: str):
    print(word); print("two\\nlines", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes \\xff \\xc3\\xa4\\n")
def mute(ctx): pass
def ends(ctx): sys.stdout.write("no end")
def open_line(ctx, until: str):
    sys.stdout.write("half a line")
    while not os.path.exists(until): time.sleep(0.01)
def bar(ctx):
    sys.stderr.write("".join(f"\\r{i} %" for i in range(101)) + "\\ndone\\r\\n")
def much(ctx, lines: int):
    line = "l" * 99
    for i in range(lines // 1000): print("\\n".join([line] * 1000))
def one_line(n: int): print("p" * n)
def order(ctx):
    print("1"); subprocess.run(["echo", "2"]); ctx.log.info("3")
    os.write(1, b"4\\n"); print("5"); os.system("echo 6 >&2")
def native(ctx):
    ctypes.CDLL(None).printf(b"from C\\n")
    os.write(2, b"descriptor 2, no end")
def leaves_a_child(ctx, until: str):
    subprocess.Popen(["sh", "-c", 'n=0; while [ ! -e "$0" ] && [ $n -lt 3000 ]; do sleep 0.02; n=$((n + 1)); done; echo later', until])
def wrecks(ctx, how: str):
    if how == "replaces": sys.stdout = open(os.devnull, "w"); sys.stderr = None
    if how == "closes": sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2)
    if how == "detaches": sys.stdout = io.TextIOWrapper(sys.stdout.detach(), "latin-1"); sys.stdout.close()
    if how == "wraps": sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8"); sys.stdout.write("kept back")
    if how == "configures": sys.stdout.reconfigure(encoding="ascii", errors="strict", line_buffering=False)
    if how == "redirects": null = os.open(os.devnull, os.O_WRONLY); os.dup2(null, 1); os.dup2(null, 2)
    print("käse")
def handles(ctx):
    log = logging.getLogger("own"); log.propagate = False; log.addHandler(early); log.warning("to stderr")
def forks(ctx):
    pid = os.fork()
    if pid == 0:
        for i in range(15000): print("child", i)
        ctx.log.info("child's log"); os._exit(0)
    os.waitpid(pid, 0)
def raises(ctx):
    t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()
def everywhere(ctx, word: str, until: str):
    while not os.path.exists(until): time.sleep(0.005)
    def by(how):
        for i in range(20): print(f"{word} {how} {i}"); time.sleep(0.001)
    def thread(how):
        t = threading.Thread(target=by, args=(how,)); t.start(); return t
    nested = threading.Thread(target=lambda: thread("nested").join()); nested.start()
    t, f = thread("thread"), pool.submit(by, "pool")
    async def both(): await asyncio.gather(asyncio.to_thread(by, "async"), asyncio.get_running_loop().run_in_executor(None, by, "loop"))
    asyncio.run(both()); t.join(); f.result(); nested.join()
def redirected(ctx, word: str, until: str):
    kept = io.StringIO()
    with contextlib.redirect_stdout(kept):
        ctx.log.info("redirecting")
        while not os.path.exists(until): time.sleep(0.005)
        print(word)
    return kept.getvalue()
def crash(ctx): os.write(2, b"last words\\n"); os.kill(os.getpid(), 11)
"""


@pytest.fixture
def code(user_file):
    return user_file(CODE)


@pytest.fixture
def worker(gateway):
    def start(**changes):
        start.process = gateway.start_worker(**changes)
        peer = gateway.peer()
        peer.welcome()
        return peer
    return start


def entries(peer, job):
    return [(e["level"], e["message"]) for e in peer.log(job)]


def messages(peer, job):
    return [message for _, message in entries(peer, job)]


def eventually(probe, wait_s=30):
    until = time.monotonic() + wait_s
    while not probe():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("capacity", [1, 2])
def test_what_a_function_prints_is_in_its_jobs_log_and_in_the_output(worker, gateway, code, capacity):
    peer = worker(capacity=capacity)
    peer.run("j", code, "say", word="hello")
    assert entries(peer, "j") == [("INFO", "hello"), ("WARN", "two"), ("WARN", "lines"), ("INFO", "bytes \ufffd ä")]
    peer.run("k", code, "mute")
    assert peer.log("k") == []
    assert "hello\ntwo\nlines\nbytes \udcff ä\n" in gateway.output.read_text(errors="surrogateescape")


def test_a_line_without_an_end_is_told_with_the_job_or_after_a_moment(worker, code, tmp_path):
    peer = worker()
    peer.run("j", code, "ends")
    assert entries(peer, "j") == [("INFO", "no end")]
    peer.start("k", code, "open_line", until=str(tmp_path / "go"))
    assert peer.expect("log")["entries"][0]["message"] == "half a line"
    (tmp_path / "go").touch()
    peer.outcome()
    assert messages(peer, "k") == ["half a line"]


class Entries:
    """A job, as far as Lines needs one."""

    def __init__(self):
        self.said = []

    def log(self, level, message, may_wait):
        self.said.append(message)


def test_the_end_of_a_line_that_was_told_already_is_no_line():
    job = Entries()
    lines = printed.Lines(job, "INFO")
    for text in ("\n", "half", "\n", "half", " more\n", "\n"):
        lines.add(text)
        lines.tell_old(time.monotonic() + printed.REWRITTEN_S)
    lines.end()
    assert job.said == ["", "half", "half", " more", ""]


def test_of_a_line_that_is_written_again_and_again_the_last_state_stays(worker, code):
    peer = worker()
    peer.run("j", code, "bar")
    assert entries(peer, "j") == [("WARN", "100 %"), ("WARN", "done")]


def test_a_long_line_is_cut_and_many_come_whole(worker, gateway, code):
    peer = worker()
    peer.run("j", code, "one_line", n=5_000_000)
    [line] = messages(peer, "j")
    assert line == "p" * printed.LINE_CHARS_MAX + f" … {5_000_000 - printed.LINE_CHARS_MAX} characters left out"
    assert "p" * 5_000_000 in gateway.said()
    peer.run("k", code, "much", lines=15_000)
    assert messages(peer, "k") == ["l" * 99] * 15_000


def test_what_does_not_go_through_python_belongs_to_the_one_job(worker, gateway, code, tmp_path):
    peer = worker()
    peer.run("j", code, "order")
    assert messages(peer, "j") == ["1", "2", "3", "4", "5", "6"]
    peer.run("k", code, "native")
    assert sorted(messages(peer, "k")) == ["descriptor 2, no end", "from C"] or \
        messages(peer, "k") == ["descriptor 2, no endfrom C"]
    peer.run("l", code, "leaves_a_child", until=str(tmp_path / "go"))
    (tmp_path / "go").touch()
    eventually(lambda: "later" in gateway.said())
    peer.run("m", code, "mute")
    assert peer.log("l") == peer.log("m") == []


def test_beside_other_jobs_it_is_in_the_output_only(worker, gateway, code):
    peer = worker(capacity=2)
    peer.run("j", code, "order")
    assert messages(peer, "j") == ["1", "3", "5"]
    assert all(f"{n}\n" in gateway.said() for n in (1, 2, 4, 5, 6)) and not (gateway.folder / "printed").exists()


def test_what_is_passed_on_takes_no_room(worker, gateway, code):
    peer = worker()
    for n in range(3):
        peer.run(f"j{n}", code, "order")
    peer.drain()
    worker.process.wait(30)
    left = (gateway.folder / "printed").stat()
    assert left.st_blocks * 512 <= 8192 and (gateway.folder / "printed").read_bytes().strip(b"\0") == b""


@pytest.mark.parametrize("capacity", [1, 2])
@pytest.mark.parametrize("how", ["replaces", "closes", "detaches", "wraps", "configures", "redirects"])
def test_a_function_that_spoils_its_streams_spoils_no_other_jobs(worker, code, how, capacity):
    peer = worker(capacity=capacity)
    peer.run("j", code, "wrecks", how=how)
    assert how != "wraps" or messages(peer, "j") == ["kept backkäse"]
    peer.run("k", code, "say", word="käse")
    assert messages(peer, "k") == ["käse", "two", "lines", "bytes \ufffd ä"]
    if capacity == 1:
        peer.run("l", code, "order")
        assert messages(peer, "l") == ["1", "2", "3", "4", "5", "6"]


def test_a_handler_that_was_made_before_writes_to_the_job_that_logs(worker, code):
    peer = worker(capacity=2)
    peer.run("j", code, "handles")
    assert entries(peer, "j") == [("WARN", "to stderr")]
    peer.run("k", code, "raises")
    assert ("WARN", "ZeroDivisionError: division by zero") in entries(peer, "k")


def test_a_forked_child_sends_nothing_and_waits_for_nobody(worker, gateway, code):
    peer = worker()
    peer.run("j", code, "forks")
    assert messages(peer, "j") == [f"child {n}" for n in range(15000)]
    assert "child's log" in gateway.said()


def test_threads_of_several_jobs_are_told_apart(worker, code, tmp_path):
    peer = worker(capacity=3)
    for word in ("a", "b", "c"):
        peer.start(word, code, "everywhere", word=word, until=str(tmp_path / "go"))
    (tmp_path / "go").touch()
    assert {peer.outcome()["type"] for _ in range(3)} == {"finished"}
    for word in ("a", "b", "c"):
        assert sorted(messages(peer, word)) == sorted(
            f"{word} {how} {n}" for how in ("nested", "thread", "pool", "async", "loop") for n in range(20))


def test_what_is_printed_for_a_description_is_no_jobs(worker, gateway, code, user_file, tmp_path):
    peer = worker()
    peer.start("j", code, "open_line", until=str(tmp_path / "go"))
    peer.expect("log")
    described = user_file("import logging, threading\nprint('a banner')\nlogging.warning('a warning')\n"
                          "t = threading.Thread(target=print, args=('a thread',)); t.start(); t.join()\ndef f(): pass\n", "banner.py")
    peer.send("describe", id="d", path=str(described), className="f")
    assert "signature" in peer.expect("described")
    (tmp_path / "go").touch()
    peer.outcome()
    assert messages(peer, "j") == ["half a line"]
    assert all(text in gateway.said() for text in ("a banner", "a warning", "a thread"))


def test_a_redirection_of_one_job_outlives_the_start_of_another(worker, code, tmp_path):
    peer = worker(capacity=2)
    peer.start("j", code, "redirected", word="kept", until=str(tmp_path / "go"))
    peer.expect("log")
    peer.run("k", code, "mute")
    (tmp_path / "go").touch()
    assert peer.outcome()["result"] == "kept\n"


def test_streams_that_one_replaced_for_good_come_back_though_others_run(worker, code, tmp_path):
    peer = worker(capacity=3)
    peer.run("j", code, "wrecks", how="replaces")
    peer.start("long", code, "open_line", until=str(tmp_path / "go"))
    peer.run("k", code, "wrecks", how="replaces")
    peer.run("l", code, "wrecks", how="replaces")
    (tmp_path / "go").touch()
    peer.outcome()
    peer.run("m", code, "say", word="heard")
    assert messages(peer, "m")[0] == "heard"


def test_what_a_crash_leaves_behind_is_in_the_file(worker, gateway, code):
    peer = worker()
    peer.start("j", code, "crash")
    worker.process.wait(30)
    peer.is_over.wait(30)
    said = messages(peer, "j") + [gateway.said(), (gateway.folder / "printed").read_text()]
    assert "last words" in "".join(said)


def test_a_hole_that_the_gateway_made_is_passed_over(tmp_path):
    script = """
import os, sys
from mist import printed
out = os.dup(1)
capture = printed.Capture(sys.argv[1], out)
os.write(1, b"x" * 100000 + b"kept")
printed._c.fallocate(capture.fd, 3, 0, 100000 // 4096 * 4096)
capture.drain()
os.write(2, b" and more")
capture.drain()
"""
    said = subprocess.run([sys.executable, "-c", script, str(tmp_path / "printed")], capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(printed.__file__))})
    assert said.stdout.strip(b"\0") == b"x" * (100000 % 4096) + b"kept and more", said.stderr
