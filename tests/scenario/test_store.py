# SPDX-License-Identifier: Apache-2.0
"""What is in the data directory: whatever it is, the gateway starts, and says what it could not read."""
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.cli import cli, said
from support.mistd import PATIENCE, ROOT, gateway_binary, until

GOLDEN = ROOT / "tests" / "golden" / "data" / "data-directory-1.tar.gz"


def files(folder):
    """What is there, and would be another if anybody had written to it; but what workers print that are there still."""
    return {str(p): (s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns) for p in [folder, *folder.rglob("*")] for s in [p.lstat()]
            if not p.name.startswith("worker-")}


def check_data(gateway, code=0):
    """What --check-data prints, line by line; the last one sums it up. It writes nothing."""
    before = files(gateway.data)
    r = subprocess.run([gateway_binary(), "--check-data", gateway.data], capture_output=True, text=True, timeout=60 * PATIENCE)
    assert r.returncode == code and not r.stderr, r
    assert files(gateway.data) == before
    return r.stdout.splitlines()


def spoil(gateway, *statements):
    """On the database of a gateway that is stopped."""
    with sqlite3.connect(gateway.data / "mist.db", timeout=60 * PATIENCE) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def unreadable(gateway, **page):
    return gateway.get("/v2/api/store/unreadable", params=page).json()


def why_not_ready(gateway):
    until(lambda: gateway.get("/health/ready").status_code == 503, what="the gateway to notice")
    return gateway.get("/health/ready").json()["detail"]


def metric(gateway, name):
    [line] = [line for line in gateway.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return int(line.split()[1])


def test_a_data_directory_of_the_first_version_opens(plain_mist):
    gateway = plain_mist()
    gateway.stop()
    shutil.rmtree(gateway.data)
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(gateway.home)
    assert check_data(gateway)[-1].startswith(f"{gateway.data}: 12 jobs, 0 reply targets, 3 definitions, 2 logs, 1 artifact, ")
    gateway.start()
    jobs = gateway.get("/v2/api/jobs", params={"limit": 100}).json()
    assert len(jobs) == 12
    by_id = {job["externalId"]: job for job in jobs if "externalId" in job}
    for i in 1, 2, 3:
        job = by_id[f"ext-{i}"]
        assert job["status"] == "finished" and job["jobResult"] == {"late": f"g{i}"}
        again = gateway.post("/v2/api/functions/gold-late/jobs", json={"name": f"g{i}"}, headers={"Idempotency-Key": f"key-{i}"})
        assert again.json()["id"] == job["jobId"], "the keys are known"
    for job in jobs:
        if job["status"] not in ("finished", "failed", "cancelled"):
            gateway.delete(f"/v2/api/jobs/{job['jobId']}")
    for job in jobs:
        gateway.wait(job["jobId"])
    assert gateway.get("/v2/api/contexts/slow").json()["downtime"] == "60s"
    assert gateway.run("gold-late", {"name": "x"})["payload"] == {"late": "x"}
    assert unreadable(gateway) == {"unreadable": [], "total": 0}
    gateway.stop()
    assert check_data(gateway)[-1].endswith("all is well")


def test_a_check_reads_what_stands_in_the_log_of_the_database_only(c_mist):
    gateway = c_mist()
    job = gateway.submit("echo", {"text": "x"})
    gateway.wait(job)
    gateway.kill9()
    (gateway.data / "lock").unlink()
    assert (gateway.data / "mist.db-wal").stat().st_size > 0
    shutil.copytree(gateway.data, gateway.home / "a #100%?")
    for folder in gateway.data, gateway.home / "a #100%?":
        r = subprocess.run([gateway_binary(), "--check-data", folder], capture_output=True, text=True, timeout=60 * PATIENCE)
        assert r.returncode == 0 and r.stdout.splitlines()[-1].startswith(f"{folder}: 1 job, "), r
    assert check_data(gateway)[-1].endswith("all is well")
    os.unlink(gateway.data / "mist.db-shm")
    assert check_data(gateway)[-1].startswith(f"{gateway.data}: 1 job, ")
    gateway.restart()
    assert gateway.job(job)["jobResult"] == "x"


def test_whatever_is_in_a_row_the_gateway_starts_and_shows_it(plain_mist, tmp_path):
    gateway = plain_mist()
    ended, spoilt = (gateway.submit("typed", {"i": i}) for i in (1, 2))
    for job in ended, spoilt:
        gateway.wait(job)
    open_job = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
    gateway.wait(open_job, "started")
    gateway.post("/v2/api/functions", json={"name": "bad", "path": gateway.functions_path, "className": "typed", "defaultContext": "plain"})
    deep = "[" * 2000 + "]" * 2000
    gateway.kill9()
    spoil(gateway, f"UPDATE job SET result = '{{\"a\":' WHERE id = x'{spoilt.replace('-', '')}'",
          f"UPDATE job SET parameters = '{deep}', context = '../x' WHERE id = x'{open_job.replace('-', '')}'",
          f"UPDATE noun SET settings = '{deep}' WHERE name = 'bad'",
          "INSERT INTO noun VALUES (1, 'odd', 'null'), (1, '../up', '{}')",
          "INSERT INTO listener VALUES (x'01', 'mqtt', 'R{}')")
    found = check_data(gateway, 1)
    assert f"job {spoilt} cannot be read: result: expected JSON" in found
    assert any(line.startswith(f"job {open_job} cannot be read: ") for line in found) and found[-1].endswith("something is wrong")
    assert any(line.startswith("function bad cannot be read: nested deeper") for line in found)
    assert "context odd cannot be read: settings: expected an object, got null" in found and len(found) == 7

    gateway.start()
    assert gateway.get("/health/ready").status_code == 200
    assert gateway.run("typed", {"i": 3})["success"]
    jobs = {job["jobId"] for job in gateway.get("/v2/api/jobs").json()}
    assert ended in jobs and spoilt not in jobs, "the list leaves out what it cannot read"
    until(lambda: metric(gateway, "mist_store_unreadable_rows") == 6)
    rows = unreadable(gateway)
    assert rows["total"] == 6 and {row["kind"] for row in rows["unreadable"]} == {"job", "definition", "reply-target"}
    assert unreadable(gateway, limit=2, offset=5)["unreadable"] == rows["unreadable"][5:]
    [row] = [row for row in rows["unreadable"] if row["key"] == spoilt]
    assert row["reason"] == "result: expected JSON"
    shown = gateway.get(f"/v2/api/store/unreadable/{row['id']}").json()
    assert shown["content"]["result"] == '{"a":' and shown["content"]["function"] == "typed"
    assert "cannot be read" in gateway.stderr()

    assert len(json.loads(cli(gateway, "store", "check", code=5)[0])) == 6
    assert json.loads(cli(gateway, "store", "show", str(row["id"]))) == shown
    cli(gateway, "store", "drop", str(row["id"]), "--yes")
    assert gateway.get(f"/v2/api/store/unreadable/{row['id']}").status_code == 404
    assert "no unreadable row" in said(gateway, "store", "drop", str(row["id"]), "--yes", code=3)
    assert unreadable(gateway)["total"] == 5
    gateway.restart()
    assert unreadable(gateway)["total"] == 5 and metric(gateway, "mist_store_unreadable_rows") == 5
    assert gateway.delete("/v2/api/store/unreadable").status_code == 200
    assert json.loads(cli(gateway, "store", "check")) == []
    gateway.stop()
    assert check_data(gateway)[-1].endswith("all is well")


@pytest.mark.parametrize("moved", ["", "mist.db", "mist.db-wal"])
def test_nothing_is_accepted_while_the_data_is_elsewhere(c_mist, moved):
    gateway = c_mist()
    before = gateway.submit("echo", {"text": "before"})
    gateway.wait(before)
    os.rename(gateway.data / moved, gateway.home / "elsewhere")
    until(lambda: "moved away" in why_not_ready(gateway), what="the store to notice")
    refused = gateway.post("/v2/api/functions/echo/jobs", json={"text": "x"})
    assert refused.status_code == 503 and "moved away" in refused.json()["detail"]
    os.rename(gateway.home / "elsewhere", gateway.data / moved)
    until(lambda: gateway.get("/health/ready").status_code == 200)
    after = gateway.submit("echo", {"text": "after"})
    gateway.wait(after)
    gateway.kill9()
    gateway.restart()
    assert gateway.job(before)["jobResult"] == "before" and gateway.job(after)["jobResult"] == "after"


def test_another_database_in_its_place_is_not_taken(c_mist):
    gateway = c_mist()
    job = gateway.submit("echo", {"text": "x"})
    gateway.wait(job)
    os.rename(gateway.data / "mist.db", gateway.home / "elsewhere")
    (gateway.data / "mist.db").write_bytes(b"")
    assert "restart" in why_not_ready(gateway)
    assert gateway.post("/v2/api/functions/echo/jobs", json={"text": "x"}).status_code == 503
    gateway.kill9()
    os.rename(gateway.home / "elsewhere", gateway.data / "mist.db")
    gateway.restart()
    assert gateway.job(job)["status"] == "finished"


def test_a_damaged_page_makes_no_answer_that_is_none(c_mist):
    gateway = c_mist()
    jobs = [gateway.submit("echo", {"text": "x" * 1500}) for _ in range(120)]
    for job in jobs:
        gateway.wait(job)
    gateway.stop()
    path = gateway.data / "mist.db"
    size = path.stat().st_size
    with open(path, "r+b") as f:
        for page in range(size // 4096 // 3, size // 4096 * 2 // 3):
            f.seek(page * 4096)
            f.write(b"\xa5" * 4096)
    assert any("damaged" in line for line in check_data(gateway, 1))
    gateway.start()
    codes = set()
    for offset in range(0, 120, 10):
        r = gateway.get("/v2/api/jobs", params={"limit": 10, "offset": offset})
        codes.add(r.status_code)
        assert r.status_code in (200, 503) and isinstance(r.json(), list if r.status_code == 200 else dict)
    assert 503 in codes
    assert "damaged" in why_not_ready(gateway)
    assert gateway.get("/health/live").status_code == 200
    assert "damaged" in cli(gateway, "store", "check", code=5)[1]


def test_a_database_that_is_damaged_where_the_start_reads_is_refused_with_the_way_on(c_mist):
    gateway = c_mist()
    for _ in range(30):
        gateway.wait(gateway.submit("echo", {"text": "x" * 500}))
    gateway.stop()
    path = gateway.data / "mist.db"
    with open(path, "r+b") as f:
        for page in range(1, path.stat().st_size // 4096):
            f.seek(page * 4096)
            f.write(b"\xa5" * 4096)
    r = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=60 * PATIENCE)
    assert r.returncode == 1 and "mistd --check-data tells more" in r.stderr and str(gateway.data) in r.stderr + str(check_data(gateway, 1))


def test_what_is_no_file_holds_up_nobody(c_mist):
    gateway = c_mist()
    for make in os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path):
        job = gateway.submit("echo", {"text": "x"})
        gateway.wait(job)
        make(gateway.data / "logs" / f"job-{job}.log")
        r = gateway.get(f"/v2/api/jobs/{job}/logs", timeout=60 * PATIENCE)
        assert r.status_code == 503 and "no file" in r.json()["detail"], r.text
        make(gateway.data / "artifacts" / "odd.py")
        assert gateway.get("/v2/api/artifacts/odd.py", timeout=60 * PATIENCE).status_code == 404
        assert gateway.get("/v2/api/artifacts/odd.py/sha", timeout=60 * PATIENCE).status_code == 404
        assert "odd.py" not in gateway.get("/v2/api/artifacts").json()
        (os.rmdir if make is os.mkdir else os.unlink)(gateway.data / "artifacts" / "odd.py")
    os.mkfifo(gateway.data / "artifacts" / "pipe.py")
    r = gateway.post("/v2/hidden/devrun", json={"fakeName": "f", "path": "pipe.py", "className": "f", "context": "default", "parameters": {}},
                     timeout=60 * PATIENCE)
    assert "pipe.py cannot be read: it is no file" in r.text
    os.unlink(gateway.data / "artifacts" / "pipe.py")
    gateway.stop()
    assert sum(line.endswith("is no file") for line in check_data(gateway, 1)) == 3


def test_a_running_gateway_is_not_checked(c_mist):
    gateway = c_mist()
    r = subprocess.run([gateway_binary(), "--check-data", gateway.data], capture_output=True, text=True, timeout=60 * PATIENCE)
    assert r.returncode == 1 and "is in use by another mistd" in r.stderr


@pytest.mark.parametrize("version, words", [(-1, "none of this program"), (99, "newer version")])
def test_a_schema_that_is_not_known_is_refused(c_mist, version, words):
    gateway = c_mist()
    gateway.stop()
    spoil(gateway, f"PRAGMA user_version = {version}")
    assert f"is {version}, expected" in check_data(gateway, 1)[0]
    r = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=60 * PATIENCE)
    assert r.returncode == 1 and words in r.stderr


def test_an_upgrade_that_fails_half_way_changes_nothing(c_mist):
    gateway = c_mist()
    job = gateway.submit("echo", {"text": "x"})
    gateway.wait(job)
    gateway.stop()
    # As version 3 was, and with something in the way of the step from 4 to 5.
    spoil(gateway, "DROP INDEX job_external", "DROP INDEX job_context", "DROP TABLE deployment", "CREATE TABLE job_copy (x)", "PRAGMA user_version = 3")
    r = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=60 * PATIENCE)
    assert r.returncode == 1 and "job_copy" in r.stderr
    with contextlib.closing(sqlite3.connect(gateway.data / "mist.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        assert db.execute("SELECT name FROM sqlite_master WHERE name = 'job_context'").fetchall() == []
    spoil(gateway, "DROP TABLE job_copy")
    gateway.restart()
    assert gateway.job(job)["status"] == "finished"


def test_a_row_that_cannot_be_read_is_the_same_answer_wherever_it_is_met(plain_mist, tmp_path):
    """By who waits for it, shows it, follows it, or reads its log; and who asks for it with its key is told so too."""
    gateway = plain_mist()
    url, headers = "/v2/api/functions/typed/jobs", {"Idempotency-Key": "k"}
    jobs = [gateway.post(url, json={"i": 2}, headers=headers).json()["id"], *(gateway.submit("typed", {"i": 2}) for _ in range(3))]
    for job in jobs:
        gateway.wait(job)
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(gateway.post, "/v2/api/functions/wait_for/jobs", json={"path": str(tmp_path / "go")}, headers={"Prefer": "wait=60"})
        [waited] = until(lambda: [job["jobId"] for job in gateway.get("/v2/api/jobs?status=started").json()])
        spoil(gateway, "UPDATE job SET parameters = '{\"a\":'")
        (tmp_path / "go").touch()
        answers = [waits.result()]
    answers += [gateway.get(f"/v2/api/jobs/{job}{what}") for job, what in zip(jobs[1:], ("", "/events", "/logs?follow=true"))]
    for job, answer in zip([waited, *jobs[1:]], answers):
        assert answer.status_code == 404, answer.text
        assert answer.json()["detail"] == f"Job {job} cannot be read, and was set aside: see /v2/api/store/unreadable"
    again = gateway.post(url, json={"i": 2}, headers=headers)
    assert again.status_code == 409
    assert again.json()["detail"] == "the job of this idempotency key cannot be read, and was set aside: see /v2/api/store/unreadable"
