# SPDX-License-Identifier: Apache-2.0
"""kill -9 and other ends of workers."""

import json
import os
import signal
import subprocess
import time

import pytest

from support.subscribers import metric


def kill_worker_of(gateway, job_id, sig=signal.SIGKILL):
    worker = gateway.job(job_id)["workerId"]
    [pid] = [r["pid"] for r in gateway.worker_records() if r["worker"] == worker]
    os.kill(pid, sig)
    return worker


def test_a_job_on_a_killed_worker_fails_and_the_worker_is_replaced(plain_mist, tmp_path):
    gateway = plain_mist()
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
    gateway.wait(job_id, ["started"])
    old = kill_worker_of(gateway, job_id)
    job = gateway.wait(job_id)
    assert job["status"] == "failed" and job["jobResult"].startswith("Executor was terminated") and "ended from outside by signal 9" in job["jobResult"]
    after = gateway.wait(gateway.submit("typed", {"i": 1}))
    assert after["status"] == "finished" and after["workerId"] != old


def test_a_synchronous_caller_hears_of_it(plain_mist, tmp_path):
    gateway = plain_mist()
    answer = gateway.run("die", {"path": str(tmp_path / "d")})
    assert answer["success"] is False and "Executor was terminated" in answer["errors"][0]


def test_retries_give_the_job_to_another_worker(plain_mist, tmp_path):
    gateway = plain_mist(functions={"die-again": {"path": "@functions", "class-name": "die", "context": "plain", "retries": 3}})
    job_id = gateway.submit("die-again", {"path": str(tmp_path / "d"), "times": 2})
    job = gateway.wait(job_id)
    assert job["status"] == "finished" and job["jobResult"] == 3
    assert gateway.logs(job_id).count("signal 9") == 2
    job = gateway.wait(gateway.submit("die-again", {"path": str(tmp_path / "e")}))
    assert job["status"] == "failed" and os.path.getsize(tmp_path / "e") == 4


def test_a_worker_that_hangs_is_found_by_its_heartbeat(plain_mist, tmp_path):
    gateway = plain_mist(workers={"heartbeat": "300ms", "mute": "4s"})
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
    gateway.wait(job_id, ["started"])
    began = time.monotonic()
    kill_worker_of(gateway, job_id, signal.SIGSTOP)
    job = gateway.wait(job_id)
    assert job["status"] == "failed" and job["jobResult"] == (
        "Executor was terminated: the worker was given up as lost and ended by the gateway: it was not heard of for 4s "
        "(workers.mute)")
    assert job["jobResult"] in gateway.logs(job_id)
    gateway.until(lambda: job["jobResult"] in gateway.stderr())
    assert time.monotonic() - began < 60, "long before the limit that is usual"


TALKS = """
import os, time
import mist

@mist.function
def talks(ctx, path: str):
    while not os.path.exists(path):
        ctx.log.info("x" * 10000)
        time.sleep(0.01)
    return "said"
"""


def test_a_disk_that_takes_nothing_makes_no_worker_mute(plain_mist, tmp_path):
    (tmp_path / "talks.py").write_text(TALKS)
    gateway = plain_mist(workers={"heartbeat": "200ms", "mute": "2s"}, limits={"backlog-bytes": "64k"},
                         functions={"talks": {"path": str(tmp_path / "talks.py"), "class-name": "talks", "context": "plain"}})
    job_id = gateway.submit("talks", {"path": str(tmp_path / "enough")})
    gateway.wait(job_id, ["started"])
    (gateway.data / "mist.db").rename(gateway.data / "elsewhere")
    gateway.until(lambda: metric(gateway, "mist_store_backlog_bytes") > 64 << 10, what="what it says to wait for the disk")
    held_up = time.monotonic()
    gateway.until(lambda: time.monotonic() - held_up > 5)  # a mute one is ended after 2 s
    (gateway.data / "elsewhere").rename(gateway.data / "mist.db")
    (tmp_path / "enough").touch()
    job = gateway.wait(job_id)
    assert (job["status"], job["jobResult"]) == ("finished", "said")
    assert "workers.mute" not in gateway.stderr()


def test_who_ended_a_worker_from_outside_is_not_the_gateway(plain_mist, tmp_path):
    gateway = plain_mist()
    job_id = gateway.submit("stubborn", {"path": str(tmp_path / "never")})
    gateway.wait(job_id, ["started"])
    gateway.until(lambda: (tmp_path / "never.running").exists())
    kill_worker_of(gateway, job_id, signal.SIGTERM)
    job = gateway.wait(job_id)
    why = "Executor was terminated: the worker was ended from outside by signal 15 (Terminated), and left with exit code 143"
    assert job["status"] == "failed" and job["jobResult"] == why
    assert why in gateway.logs(job_id)
    gateway.until(lambda: why in gateway.stderr())


def test_a_crash_of_a_c_worker_is_no_crash_of_the_gateway(c_mist):
    gateway = c_mist()
    for _ in range(3):
        answer = gateway.run("crash", {})
        assert answer["success"] is False and "signal 6" in answer["errors"][0]
    assert gateway.run("echo", {"text": "still here"})["payload"] == "still here"


def test_nothing_is_left_of_workers_that_went(plain_mist):
    gateway = plain_mist(contexts={"ex": {"runtime": "plain", "worker-mode": "exclusive"}})
    for i in range(3):
        gateway.wait(gateway.submit("typed", {"i": i}, context="ex"))
    gateway.until(lambda: all("ex_" not in r["worker"] for r in gateway.worker_records()))


def test_a_gateway_that_was_stopped_itself_does_not_take_its_workers_for_dead(plain_mist, tmp_path):
    gateway = plain_mist(workers={"heartbeat": "200ms"})
    flag = tmp_path / "flag"
    job_id = gateway.submit("wait_for", {"path": str(flag)})
    worker = gateway.wait(job_id, ["started"])["workerId"]
    os.kill(gateway.pid, signal.SIGSTOP)
    time.sleep(2)  # the pause is the condition: ten heartbeats of silence that are the gateway's own
    os.kill(gateway.pid, signal.SIGCONT)
    flag.write_text("")
    job = gateway.wait(job_id)
    assert job["status"] == "finished" and job["workerId"] == worker


def test_a_worker_that_is_being_killed_gets_no_more_jobs(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"two": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 2, "jobs-per-worker": 2}},
                         limits={"cancel-grace": "300ms"}, workers={"kill-grace": "3s"})
    stubborn = gateway.submit("stubborn", {"path": str(tmp_path / "never")}, context="two")
    gateway.until(lambda: (tmp_path / "never.running").exists())
    gateway.cancel(stubborn)
    assert gateway.wait(stubborn)["status"] == "cancelled"
    assert gateway.wait(gateway.submit("typed", {"i": 1}, context="two"))["status"] == "finished"


def test_contexts_that_only_requests_name_do_not_pile_up_when_they_break(plain_mist):
    gateway = plain_mist(mist={"unknown-contexts": "default"}, **{"context-defaults": {"runtime": "broken", "max-conn-failures": 1}},
                         runtimes={"broken": {"kind": "program", "command": "/bin/false"}}, limits={"contexts": 3})
    for i in range(8):
        assert "broken" in gateway.run("typed", {"i": 1}, context=f"made-up-{i}")["errors"][0]
    assert gateway.run("typed", {"i": 1})["success"]
    gateway.until(lambda: list(gateway.data.glob("logs/worker-made-up-*.log")) == [])


def test_a_job_that_keeps_the_interpreter_to_itself_is_not_a_lost_worker(plain_mist):
    gateway = plain_mist(workers={"heartbeat": "200ms"})
    job_id = gateway.submit("hold", {"seconds": 6})
    gateway.until(lambda: "but its process lives" in gateway.stderr())
    job = gateway.wait(job_id)
    assert job["status"] == "finished" and job["jobResult"] == "held"
    # It may have missed the gateway, too, and come again.
    gateway.until(lambda: "is heard of again" in gateway.stderr() or gateway.stderr().count("is connected (context plain)") > 1)
    after = gateway.wait(gateway.submit("typed", {"i": 1}))
    assert after["status"] == "finished" and after["workerId"] == job["workerId"]


def test_a_mute_worker_gets_no_more_jobs(plain_mist, tmp_path):
    gateway = plain_mist(workers={"heartbeat": "200ms"})
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
    gateway.wait(job_id, ["started"])
    mute = kill_worker_of(gateway, job_id, signal.SIGSTOP)
    gateway.until(lambda: "but its process lives" in gateway.stderr())
    job = gateway.wait(gateway.submit("typed", {"i": 1}))
    assert job["status"] == "finished" and job["workerId"] != mute


def test_children_that_left_their_worker_end_with_it(plain_mist):
    gateway = plain_mist(contexts={"ex": {"runtime": "plain", "worker-mode": "exclusive"}})
    jobs = [gateway.submit("leave_children", {"n": 5}, context="ex") for _ in range(2)]
    pids = [pid for job in jobs for pid in gateway.wait(job)["jobResult"]]
    assert len(pids) == 10
    gateway.until(lambda: not any(gateway.is_alive(pid) for pid in pids))
    gateway.until(lambda: all("ex_" not in r["worker"] for r in gateway.worker_records()))


def test_children_that_left_their_worker_end_with_it_when_it_is_killed(plain_mist, tmp_path):
    gateway = plain_mist()
    [pid] = gateway.wait(gateway.submit("leave_children", {"n": 1}))["jobResult"]
    assert gateway.is_alive(pid)
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
    gateway.wait(job_id, ["started"])
    kill_worker_of(gateway, job_id)
    gateway.until(lambda: not gateway.is_alive(pid))


@pytest.mark.parametrize("end", ["by itself", "by a request", "by kill -9", "after a restart"])
def test_the_process_group_of_a_worker_ends_with_it(plain_mist, tmp_path, end):
    gateway = plain_mist(contexts={"ex": {"runtime": "plain", "worker-mode": "exclusive"}})
    job = gateway.wait(gateway.submit("leave_nameless_child", context="ex" if end == "by itself" else "plain"))
    if end == "by kill -9":
        job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
        gateway.wait(job_id, ["started"])
        assert kill_worker_of(gateway, job_id) == job["workerId"]
    elif end != "by itself":
        if end == "after a restart":
            gateway.kill9()
            gateway.restart()
            assert gateway.wait(gateway.submit("typed", {"i": 1}))["workerId"] == job["workerId"]
        assert gateway.delete(f"/v2/api/workers/{job['workerId']}").status_code == 200
    gateway.until(lambda: not gateway.is_alive(job["jobResult"]))


@pytest.fixture
def stranger():
    """A process that leads a group of its own, and that no gateway started."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def record_of(process, **more):
    with open(f"/proc/{process.pid}/stat") as f:
        born = int(f.read().rsplit(")", 1)[1].split()[19])
    return {"worker": "plain_1", "context": "plain", "pid": process.pid, "born": born, "describer": False, **more}


@pytest.mark.parametrize("change", [{"boot": "another"}, {}, {"born": 1}, {"boot": "another", "describer": True}])
def test_a_start_ends_no_stranger_whose_pid_stands_in_a_record(plain_mist, stranger, change):
    gateway = plain_mist()
    gateway.stop()
    folder = gateway.data / "workers" / "plain_1"
    folder.mkdir()
    (folder / "worker.json").write_text(json.dumps({**record_of(stranger), **change}))
    (folder / "connect.json").write_text(json.dumps({"url": "ws://x", "worker": "plain_1", "secret": "s"}))
    gateway.start()
    gateway.until(lambda: not folder.exists())
    assert gateway.run("typed", {"i": 1})["success"]
    assert stranger.poll() is None


def test_what_is_no_directory_of_a_worker_is_removed_and_not_followed(plain_mist, tmp_path):
    gateway = plain_mist()
    gateway.stop()
    workers, elsewhere = gateway.data / "workers", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("kept")
    (workers / "link").symlink_to(elsewhere)
    os.mkfifo(workers / "fifo")
    (workers / "file").write_text("")
    for name in ("fifo-inside", "link-inside", "folder-inside"):
        (workers / name).mkdir()
    os.mkfifo(workers / "fifo-inside" / "worker.json")
    (workers / "link-inside" / "worker.json").symlink_to(elsewhere / "precious")
    (workers / "link-inside" / "more").symlink_to(elsewhere)
    (workers / "folder-inside" / "worker.json" / "deep").mkdir(parents=True)
    gateway.start()
    gateway.until(lambda: not list(workers.iterdir()))
    assert (elsewhere / "precious").read_text() == "kept"
    assert gateway.run("typed", {"i": 1})["success"]


@pytest.mark.parametrize("name", [b"\xff\xfe", b"two words", b"a\nb"])
def test_a_directory_whose_name_no_worker_has_is_left_alone(plain_mist, stranger, name):
    gateway = plain_mist()
    gateway.stop()
    folder = os.fsencode(gateway.data / "workers") + b"/" + name
    os.mkdir(folder)
    with open(folder + b"/worker.json", "w") as f:
        json.dump(record_of(stranger), f)
    gateway.start()
    assert gateway.run("typed", {"i": 1})["success"]
    assert os.listdir(folder) == [b"worker.json"] and stranger.poll() is None
    assert "is no directory of a worker, and is left alone" in gateway.log()
    assert all(w["name"].startswith("plain_") for w in gateway.get("/v2/api/workers").json())


def test_a_record_with_a_number_that_is_no_process_is_nobody(plain_mist):
    gateway = plain_mist()
    gateway.stop()
    records = {"a_1": {"pid": (1 << 32) + 1}, "a_2": {"pid": 4194303, "born": -1}, "a_3": {"pid": -1, "born": 0}, "a_4": {"pid": 1.5}}
    for name, record in records.items():
        folder = gateway.data / "workers" / name
        folder.mkdir()
        (folder / "worker.json").write_text(json.dumps({"worker": name, "context": "plain", "describer": False, **record}))
    gateway.start()
    gateway.until(lambda: not [n for n in records if (gateway.data / "workers" / n).exists()])
    assert not [w for w in gateway.get("/v2/api/workers").json() if w["name"] in records]


def test_what_a_worker_prints_has_a_limit_and_the_newest_is_kept(plain_mist):
    gateway = plain_mist(workers={"output": "1m"})
    job = gateway.wait(gateway.submit("babble", {"megabytes": 5}), timeout=60)
    [output] = gateway.data.glob(f"logs/worker-{job['workerId']}.log")
    older = output.with_name(output.name + ".1")

    def is_bounded():
        try:
            return output.stat().st_size + (older.stat().st_size if older.exists() else 0) <= 1024 * 1024
        except FileNotFoundError:
            return False  # one becomes the other at this moment

    gateway.until(is_bounded)
    gateway.kill9()
    gateway.start()
    assert gateway.wait(gateway.submit("babble", {"megabytes": 3}))["workerId"] == job["workerId"]
    gateway.until(is_bounded)
    kept = (older.read_bytes() if older.exists() else b"") + output.read_bytes()
    assert b"line 3 of the last megabyte" in kept
    gateway.kill_workers()


@pytest.mark.parametrize("kept", [0, 2])
def test_the_outputs_of_workers_that_ended_badly_are_kept_of_the_newest_only(plain_mist, tmp_path, kept):
    gateway = plain_mist(workers={"outputs": kept})
    names = []
    for i in range(4):
        job = gateway.wait(gateway.submit("die", {"path": str(tmp_path / str(i))}))
        names.append(job["workerId"])
    left = [f"worker-{name}.log" for name in sorted(names[4 - kept:])]
    gateway.until(lambda: sorted(path.name for path in gateway.data.glob("logs/worker-plain_*")) == left)
