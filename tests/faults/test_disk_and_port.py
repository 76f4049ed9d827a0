# SPDX-License-Identifier: Apache-2.0
"""Full disks, read-only directories, ports and directories that are taken: one clear sentence each, and nothing lost."""

import os
import re
import resource
import shutil
import socket
import subprocess

import pytest

from support import gateways

MISTD = os.path.join(os.environ["MIST_BUILD"], "src/mistd/mistd")


def refusal(*args):
    r = subprocess.run([MISTD, "--set", "http.port=0", *args], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and r.stdout == ""
    [line] = r.stderr.splitlines()
    return line


def test_a_port_in_use(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        line = refusal("--set", f"http.port={port}", "--set", f"mist.data-directory={tmp_path}/data")
    assert line == f"mistd: cannot listen on 127.0.0.1:{port}: the port is in use by another program"


def test_two_gateways_on_one_data_directory(plain_mist):
    gateway = plain_mist()
    for is_removed in False, True:
        if is_removed:  # by somebody who took it for what a crash left
            (gateway.data / "lock").unlink()
        line = refusal("--set", f"mist.data-directory={gateway.data}")
        assert "is in use by another mistd" in line and str(gateway.data) in line
    assert gateway.run("typed", {"i": 1})["success"]


def test_a_data_directory_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be made" in refusal("--set", f"mist.data-directory={tmp_path}/file/data")
    assert "Not a directory" in refusal("--set", f"mist.data-directory={tmp_path}/file")


def test_a_read_only_data_directory():
    # Root writes through mode bits; no one writes to /proc.
    assert "data directory /proc/1/mist cannot be made" in refusal("--set", "mist.data-directory=/proc/1/mist")
    assert "cannot be written" in refusal("--set", "mist.data-directory=/proc/1")


@pytest.mark.parametrize("make, why", [(lambda lock: lock.mkdir(), "Is a directory"),
                                       (lambda lock: lock.symlink_to("nowhere/lock"), "No such file or directory")])
def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path, make, why):
    lock = tmp_path / "data" / "lock"
    lock.parent.mkdir()
    make(lock)
    assert refusal("--set", f"mist.data-directory={lock.parent}") == f"mistd: the lock file {lock} cannot be written: {why}"


def test_a_store_that_is_no_store(tmp_path):
    (tmp_path / "mist.db").write_text("this is no database at all, whatever its name says" * 100)
    assert "mist.db" in refusal("--set", f"mist.data-directory={tmp_path}")


def test_an_unreadable_artifact(plain_mist, tmp_path):
    gateway = plain_mist(functions={"gone": {"path": str(tmp_path / "gone.py"), "class-name": "f", "context": "plain"}})
    r = gateway.post("/v2/api/functions/gone/jobs", json={})
    assert r.status_code == 404 and "gone.py cannot be read: No such file or directory" in r.json()["detail"]


def test_a_worker_whose_output_cannot_be_had_names_it(c_mist):
    gateway = c_mist()
    logs = gateway.data / "logs"
    shutil.rmtree(logs)
    logs.write_text("")
    detail = gateway.post("/v2/api/functions/echo/jobs?force=true", json={"text": "x"}).json()["detail"]
    assert re.search(rf"{logs}/\S+ cannot be written: Not a directory", detail), detail


def fill_disk(gateway):
    """No file grows beyond the size of the largest one of the database."""
    size = max(os.path.getsize(os.path.join(gateway.data, f)) for f in os.listdir(gateway.data) if f.startswith("mist.db"))
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_an_outcome_that_the_disk_refused_is_brought_again_by_its_worker(plain_mist, tmp_path):
    gateway = plain_mist()
    job = gateway.submit("wait_for", {"path": str(tmp_path / "flag")})
    gateway.wait(job, "started")
    fill_disk(gateway)
    while gateway.post("/v2/api/functions/wait_for/jobs", json={"path": "x" * 2000}).status_code == 200:
        pass
    (tmp_path / "flag").touch()
    finished = 'mist_job_events_total{event="finished"} 1\n'
    gateway.until(lambda: finished in gateway.get("/metrics").text, what="the gateway to hear of the end")
    assert gateway.job(job)["status"] == "started", "it is not on the disk"
    gateway.kill9()
    gateway.restart()
    assert gateway.wait(job)["status"] == "finished"
    gateway.kill_workers()


def test_a_full_disk_refuses_new_jobs_and_loses_none(plain_mist):
    gateway = plain_mist()
    kept = [gateway.submit("typed", {"i": i}) for i in range(20)]
    for j in kept:
        gateway.wait(j)
    fill_disk(gateway)
    accepted, refused = [], None
    for i in range(2000):
        r = gateway.post("/v2/api/functions/typed/jobs", json={"i": i, "s": "x" * 2000})
        if r.status_code != 200:
            refused = r
            break
        accepted.append(r.json()["id"])
    assert refused is not None and refused.status_code == 503, refused
    assert "cannot write" in refused.json()["detail"] and refused.headers["Retry-After"]
    gateway.until(lambda: gateway.get("/health/ready").status_code == 503)
    assert gateway.get("/health/live").status_code == 200
    assert gateway.job(kept[0])["status"] == "finished", "history can be read"

    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    gateway.until(lambda: gateway.get("/health/ready").status_code == 200)
    assert gateway.run("typed", {"i": 1})["success"]
    for j in kept + accepted:
        assert gateway.wait(j)["status"] == "finished"
    gateway.kill9()
    gateway.restart()
    assert all(gateway.job(j)["status"] == "finished" for j in kept + accepted)


def test_jobs_wait_while_the_gateway_has_no_descriptor_for_a_worker(plain_mist, tmp_path):
    flag = tmp_path / "flag"
    exclusive = {"runtime": "plain", "worker-mode": "exclusive", "max-jobs": 1, "max-conn-failures": 1}
    gateway = plain_mist(contexts={"plain": gateways.PLAIN, "alone": exclusive})
    jobs = [gateway.submit("wait_for", {"path": str(flag)}, context="alone") for _ in range(3)]
    gateway.wait(jobs[0], "started")
    before = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (8, before[1]))
    flag.touch()
    gateway.until(lambda: "the gateway's own machine lets no worker of context alone start" in gateway.stderr())
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, before)
    assert [gateway.wait(job)["status"] for job in jobs] == ["finished"] * 3
    assert "workers of context alone can be started again" in gateway.stderr()
    assert "is broken" not in gateway.stderr()
