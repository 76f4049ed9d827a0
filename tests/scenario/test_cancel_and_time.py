# SPDX-License-Identifier: Apache-2.0
"""Cancel in every state, start and perform timeouts, priority."""

import pytest


@pytest.fixture
def gateway(plain_mist):
    return plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}},
                      limits={"cancel-grace": "1s"}, workers={"kill-grace": "1s"})


def test_a_queued_job_is_cancelled_at_once(gateway, tmp_path):
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="one")
    queued = gateway.submit("typed", {"i": 1}, context="one")
    gateway.wait(running, ["started"])
    job = gateway.delete(f"/v2/api/jobs/{queued}").json()
    assert job["status"] == "cancelled" and "endTime" in job and "jobResult" not in job and "startTime" not in job
    assert "Job was cancelled: user request" in gateway.logs(queued)
    flag.write_text("")
    assert gateway.wait(running)["status"] == "finished"


def test_a_running_job_is_cancelled_and_its_worker_lives_on(gateway, tmp_path):
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")}, context="one")
    worker = gateway.wait(job_id, ["started"])["workerId"]
    r = gateway.delete(f"/v2/api/jobs/{job_id}")
    assert r.status_code == 200 and r.json()["status"] == "cancelled" and "jobResult" not in r.json()
    after = gateway.submit("typed", {"i": 1}, context="one")
    assert gateway.wait(after)["workerId"] == worker


def test_a_job_that_does_not_end_is_ended_with_its_worker(gateway, tmp_path):
    flag = tmp_path / "flag"
    job_id = gateway.submit("stubborn", {"path": str(flag)}, context="one")
    gateway.wait(job_id, ["started"])
    assert gateway.delete(f"/v2/api/jobs/{job_id}").json()["status"] == "cancelled"
    after = gateway.submit("typed", {"i": 1}, context="one")
    assert gateway.wait(after)["status"] == "finished"


def test_a_job_that_ended_is_answered_as_it_is(gateway):
    job_id = gateway.submit("typed", {"i": 1})
    done = gateway.wait(job_id)
    r = gateway.delete(f"/v2/api/jobs/{job_id}")
    assert r.status_code == 200 and r.json() == done


def test_a_start_timeout_cancels_what_waits(gateway, tmp_path):
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="one")
    gateway.wait(running, ["started"])
    late = gateway.run("typed", {"i": 1}, context="one", startTimeout="1s")
    assert late == {"success": False, "payload": {}, "errors": ["Job was cancelled: start timeout was exceeded: 1s"]}
    [job] = gateway.get("/v2/api/jobs?status=cancelled").json()
    assert job["params"]["arguments"] == {"i": 1}
    flag.write_text("")
    assert gateway.wait(running)["status"] == "finished"


def test_a_perform_timeout_cancels_what_runs(gateway, tmp_path):
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")}, performTimeout="500ms")
    assert gateway.wait(job_id)["status"] == "cancelled"
    assert "Job was cancelled: timeout" in gateway.logs(job_id)


def test_priority_then_age_decide_who_is_next(gateway, tmp_path):
    flag, order = tmp_path / "flag", tmp_path / "order"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="one")
    gateway.wait(running, ["started"])
    jobs = [gateway.submit("record", {"path": str(order), "n": n}, context="one", priority=p)
            for n, p in [(1, 0), (2, 0), (3, 10), (4, -5), (5, 10)]]
    flag.write_text("")
    for job_id in jobs:
        gateway.wait(job_id)
    assert [line.split()[1] for line in order.read_text().splitlines()] == ["3", "5", "1", "2", "4"]
