# SPDX-License-Identifier: Apache-2.0
"""Every function of jobs/, as configs/mist.conf ships it."""

import collections

import pytest

from support.mistd import Mistd

GPL = "/usr/share/common-licenses/GPL-3"


@pytest.fixture(scope="module")
def shipped():
    gateway = Mistd()
    yield gateway
    print(gateway.log())
    gateway.close()


def test_hello(shipped):
    assert shipped.run("hello", {"name": "Ada"})["payload"] == {"greeting": "Hello, Ada!"}


def test_fails_on_purpose(shipped):
    job = shipped.wait(shipped.submit("fails-on-purpose", {"message": "as agreed"}))
    assert job["status"] == "failed" and "as agreed" in job["jobResult"] and "fails_on_purpose.py" in job["jobResult"]


@pytest.mark.spark
def test_wordcount_in_a_resident_spark_context(shipped):
    with open(GPL) as f:
        words = collections.Counter(f.read().lower().split())
    expected = [{"word": w, "count": n} for w, n in sorted(words.items(), key=lambda x: (-x[1], x[0]))]
    first = shipped.wait(shipped.submit("wordcount", {"path": GPL}), timeout=120)
    assert first["status"] == "finished" and first["jobResult"] == expected[:10]
    second = shipped.wait(shipped.submit("wordcount", {"path": GPL, "top": 3}), timeout=120)
    assert second["jobResult"] == expected[:3] and second["workerId"] == first["workerId"]
    [worker] = [w for w in shipped.get("/v2/api/workers").json() if w["name"] == first["workerId"]]
    assert worker["initInfo"]["sparkConf"] == {}  # and so Spark took this machine
    assert shipped.get("/v2/api/status").json()["sparkVersion"].startswith(("3.", "4."))


@pytest.mark.spark
def test_log_search(shipped, tmp_path):
    log = tmp_path / "log"
    log.write_text("ERROR disk full\nINFO all well\nERROR network down\nERROR disk slow\n")
    payload = shipped.run("log-search", {"filePath": str(log), "filters": ["ERROR", "disk"]})["payload"]
    assert payload == {"count": 2, "result": ["ERROR disk full", "ERROR disk slow"]}


@pytest.mark.spark
def test_pi(shipped):
    assert abs(shipped.run("pi", {"samples": 200000})["payload"] - 3.14159) < 0.05


@pytest.mark.spark
def test_what_sparks_driver_logs_reaches_the_jobs_log(shipped, tmp_path):
    job_id = shipped.submit("wordcount", {"path": str(tmp_path / "no-such-file")})
    job = shipped.wait(job_id, timeout=120)
    assert job["status"] == "failed" and "no-such-file" in job["jobResult"]
    assert "FailedEvent with Error" in shipped.logs(job_id)


@pytest.mark.spark
def test_a_spark_job_is_cancelled_in_the_middle(shipped):
    job_id = shipped.submit("pi", {"samples": 2_000_000_000})
    shipped.wait(job_id, "started", timeout=120)
    shipped.cancel(job_id)
    assert shipped.wait(job_id, timeout=120)["status"] == "cancelled"
    assert shipped.run("pi", {"samples": 1000})["success"]
