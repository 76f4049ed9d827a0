# SPDX-License-Identifier: Apache-2.0
"""Cancel in every state, start and perform timeouts, priority."""

from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def gateway(plain_mist):
    return plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}},
                      limits={"cancel-grace": "1s"}, workers={"kill-grace": "1s"})


@pytest.fixture
def patient(plain_mist):
    """A gateway that gives jobs all the time they need to heed a cancel."""
    return plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}}, limits={"cancel-grace": "10 minutes"})


def test_a_queued_job_is_cancelled_at_once(gateway, tmp_path):
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="one")
    queued = gateway.submit("typed", {"i": 1}, context="one")
    gateway.wait(running, ["started"])
    job = gateway.delete(f"/v2/api/jobs/{queued}").json()
    assert job["status"] == "cancelled" and "endTime" in job and "jobResult" not in job and "startTime" not in job
    assert gateway.job(queued)["cancelReason"] == "Job was cancelled: user request"
    assert "Job was cancelled: user request" in gateway.logs(queued)
    flag.write_text("")
    assert gateway.wait(running)["status"] == "finished"


def test_a_running_job_is_cancelled_and_its_worker_lives_on(patient, tmp_path):
    gateway = patient
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")}, context="one")
    worker = gateway.wait(job_id, ["started"])["workerId"]
    r = gateway.delete(f"/v2/api/jobs/{job_id}")
    assert r.status_code == 200 and r.json()["status"] == "cancelled" and "jobResult" not in r.json()
    after = gateway.submit("typed", {"i": 1}, context="one")
    assert gateway.wait(after)["workerId"] == worker


def test_a_job_that_does_not_end_is_ended_with_its_worker(gateway, tmp_path):
    flag = tmp_path / "flag"
    job_id = gateway.submit("stubborn", {"path": str(flag)}, context="one")
    gateway.until(lambda: (tmp_path / "flag.running").exists())
    assert gateway.delete(f"/v2/api/jobs/{job_id}").status_code == 200
    assert gateway.wait(job_id)["status"] == "cancelled"
    after = gateway.submit("typed", {"i": 1}, context="one")
    assert gateway.wait(after)["status"] == "finished"


def test_a_cancel_that_is_not_heeded_costs_the_neighbours_nothing(plain_mist, tmp_path):
    """One Spark context, many jobs: whoever cancels one of them does not end those of others."""
    gateway = plain_mist(contexts={"many": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 3, "jobs-per-worker": 3}},
                         limits={"cancel-grace": "200ms", "neighbour-grace": "10 minutes"}, workers={"kill-grace": "1s"})
    stubborn = gateway.submit("stubborn", {"path": str(tmp_path / "never")}, context="many")
    worker = gateway.wait(stubborn, ["started"])["workerId"]
    flag = tmp_path / "flag"
    neighbour = gateway.submit("wait_for", {"path": str(flag)}, context="many")
    assert gateway.wait(neighbour, ["started"])["workerId"] == worker
    gateway.until(lambda: (tmp_path / "never.running").exists())
    with ThreadPoolExecutor(1) as pool:
        cancel = pool.submit(gateway.delete, f"/v2/api/jobs/{stubborn}")
        gateway.until(lambda: f"worker {worker} takes no more jobs" in gateway.stderr())
        after = gateway.wait(gateway.submit("whoami", {}, context="many"))
        assert after["status"] == "finished" and after["workerId"] != worker
        flag.write_text("")
        job = gateway.wait(neighbour)
        assert job["status"] == "finished" and job["workerId"] == worker
        assert cancel.result().status_code == 200 and gateway.wait(stubborn)["status"] == "cancelled"
    why = f"because job {stubborn} did not end within 200ms (limits.cancel-grace) of its cancel (Job was cancelled: user request)"
    assert why in gateway.logs(stubborn)
    gateway.until(lambda: why in gateway.stderr())


def test_neighbours_that_take_too_long_are_run_again(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"many": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 2, "jobs-per-worker": 2}},
                         limits={"cancel-grace": "100ms", "neighbour-grace": "100ms"}, workers={"kill-grace": "1s"})
    flag = tmp_path / "flag"
    neighbour = gateway.submit("wait_for", {"path": str(flag)}, context="many")
    worker = gateway.wait(neighbour, ["started"])["workerId"]
    stubborn = gateway.submit("stubborn", {"path": str(tmp_path / "never")}, context="many", performTimeout="2s")
    assert gateway.wait(stubborn)["status"] == "cancelled"
    gateway.until(lambda: (job := gateway.job(neighbour))["status"] == "started" and job["workerId"] != worker)
    flag.write_text("")
    job = gateway.wait(neighbour)
    assert job["status"] == "finished", "its function has no retries, and it needed none"
    why = f"because job {stubborn} did not end within 100ms (limits.cancel-grace) of its cancel (Job was cancelled: timeout)"
    assert why in gateway.logs(neighbour) and "has lost none of its attempts" in gateway.logs(neighbour)
    assert f"{why}; this job runs again" in gateway.stderr() and f"job {stubborn} of function stubborn: Job was cancelled: timeout" in gateway.stderr()


def test_a_function_that_swallows_its_timeout_ends_with_a_warning(patient, tmp_path):
    gateway = patient
    flag = tmp_path / "flag"
    gateway.wait(gateway.submit("typed", {"i": 1}))  # the worker has loaded the file
    job_id = gateway.submit("stubborn", {"path": str(flag)}, performTimeout="2s")
    gateway.wait(job_id, ["cancelling"])
    flag.write_text("")
    job = gateway.wait(job_id)
    assert job["status"] == "finished" and job["jobResult"] == "ended by itself"
    [line] = [line for line in gateway.logs(job_id).splitlines() if "WARN" in line and "returned" in line]
    assert line.endswith("The function returned after its performTimeout of 2s was over, although it was told to stop")


def test_a_cancel_of_a_job_that_ends_meanwhile_shows_it(patient, tmp_path):
    """Whether it ended before the cancel or because it did not mind it, the answer is the same: the job as it is."""
    gateway, flag = patient, tmp_path / "flag"
    job_id = gateway.submit("stubborn", {"path": str(flag)})
    gateway.until(lambda: (tmp_path / "flag.running").exists())
    with ThreadPoolExecutor(1) as pool:
        cancel = pool.submit(gateway.delete, f"/v2/api/jobs/{job_id}")
        gateway.wait(job_id, ["cancelling"])
        flag.write_text("")
        answer = cancel.result()
    job = gateway.wait(job_id)
    assert answer.status_code == 200 and job["status"] == "finished"
    assert answer.json() == job or answer.json()["status"] == "cancelling", "it waits for some seconds only"
    again = gateway.delete(f"/v2/api/jobs/{job_id}")
    assert (again.status_code, again.json()) == (200, job)


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
