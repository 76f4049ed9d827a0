# SPDX-License-Identifier: Apache-2.0
"""The end of the gateway, by kill -9 or in order: what was promised is kept, and nothing runs twice."""

import collections
import random
import threading

import pytest
import requests

SUBMISSIONS, CLIENTS, KILLS = 1000, 16, 20
STOPS, BETWEEN_STOPS = 20, 100


class Clients:
    """Threads that submit so many jobs, each again after a refused connection, and note every id that was answered. `is_counted`: each job
    has its number as its argument n."""

    def __init__(self, gateway, function, parameters, count=SUBMISSIONS, is_counted=True):
        self.gateway, self.function, self.parameters, self.is_counted = gateway, function, parameters, is_counted
        self.numbers = iter(range(count))
        self.lock = threading.Lock()
        self.answered = {}
        self.threads = [threading.Thread(target=self.submit_all) for _ in range(CLIENTS)]
        for t in self.threads:
            t.start()

    def submit_all(self):
        session = requests.Session()
        while True:
            with self.lock:
                n = next(self.numbers, None)
            if n is None:
                return
            self.submit(session, n)

    def submit(self, session, n):
        while True:
            try:
                r = session.post(self.gateway.url + f"/v2/api/functions/{self.function}/jobs", timeout=30,
                                 json={**self.parameters, **({"n": n} if self.is_counted else {})})
                if r.status_code == 200:
                    with self.lock:
                        self.answered[r.json()["id"]] = n
                    return
                assert r.status_code in (429, 503), r.text
            except requests.RequestException:
                self.gateway.is_up.wait(30)

    def are_done(self):
        return not any(t.is_alive() for t in self.threads)


def test_every_answered_job_survives_kills_at_random_moments_and_runs_once(plain_mist, tmp_path):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    path = tmp_path / "ran"
    path.write_text("")
    gateway = plain_mist()
    gateway.is_up = threading.Event()
    gateway.is_up.set()
    clients = Clients(gateway, "record", {"path": str(path)})
    kills = 0
    while kills < KILLS:
        # A moment is a number of answers: the kill comes while the next ones are under way.
        moment = len(clients.answered) + rng.randrange(1, SUBMISSIONS // KILLS)
        gateway.until(lambda: len(clients.answered) >= min(moment, SUBMISSIONS) or clients.are_done())
        gateway.is_up.clear()
        gateway.kill9()
        gateway.restart()
        gateway.is_up.set()
        kills += 1
    gateway.until(clients.are_done, timeout=120)
    assert len(clients.answered) == SUBMISSIONS

    gateway.until(lambda: gateway.get("/v2/api/jobs", params={"status": ["queued", "started", "initialized"]}).json() == [], timeout=120)
    for job_id, n in clients.answered.items():
        job = gateway.job(job_id)
        assert job["status"] == "finished" and job["jobResult"] == n, job
    runs = collections.Counter(line.split()[0] for line in path.read_text().splitlines())
    assert {j for j, count in runs.items() if count > 1} == set()
    assert set(clients.answered) <= set(runs)


def test_a_running_job_outlives_the_gateway_and_its_result_is_kept(plain_mist, tmp_path):
    gateway = plain_mist()
    flag = tmp_path / "flag"
    before = gateway.submit("wait_for", {"path": str(flag)})
    worker = gateway.wait(before, ["started"])["workerId"]
    gateway.kill9()
    flag.write_text("")  # it ends while nobody is there to hear it
    gateway.restart()
    job = gateway.wait(before)
    assert job["status"] == "finished" and job["jobResult"] == "seen" and job["workerId"] == worker
    assert gateway.wait(gateway.submit("whoami", {}))["workerId"] == worker, "the worker is used again"


def test_a_stop_leaves_running_jobs_to_the_next_gateway(plain_mist, tmp_path):
    gateway = plain_mist()
    flag = tmp_path / "flag"
    job_id = gateway.submit("wait_for", {"path": str(flag)})
    gateway.wait(job_id, ["started"])
    queued = [gateway.submit("wait_for", {"path": str(flag)}) for _ in range(6)]
    gateway.stop()
    gateway.restart()
    assert gateway.job(job_id)["status"] == "started"
    flag.write_text("")
    for j in [job_id] + queued:
        assert gateway.wait(j)["status"] == "finished"


@pytest.mark.parametrize("workers, function, parameters", [("c_mist", "noop", {}), ("c_mist", "sleep", {"ms": 1}), ("plain_mist", "nothing", {})])
def test_a_stop_under_load_fails_no_job(request, workers, function, parameters):
    """At each stop there are jobs on their way to the worker, in its hands, and ended but not acknowledged."""
    gateway = request.getfixturevalue(workers)()
    gateway.is_up = threading.Event()
    gateway.is_up.set()
    clients = Clients(gateway, function, parameters, STOPS * BETWEEN_STOPS, is_counted=False)
    for _ in range(STOPS):
        moment = len(clients.answered) + BETWEEN_STOPS // 2
        gateway.until(lambda: len(clients.answered) >= moment or clients.are_done())
        gateway.is_up.clear()
        gateway.stop()
        gateway.restart()
        gateway.is_up.set()
    gateway.until(clients.are_done, timeout=120)
    assert len(clients.answered) == STOPS * BETWEEN_STOPS
    for job_id in clients.answered:
        gateway.wait(job_id, ["finished"], timeout=120)


@pytest.mark.parametrize("workers, function", [("c_mist", "noop"), ("plain_mist", "nothing")])
def test_a_stop_that_is_cut_short_fails_no_job(request, workers, function):
    """The worker was told to end when it has nothing left, and has an outcome that nobody acknowledged."""
    gateway = request.getfixturevalue(workers)()
    for n in range(5):
        gateway.run(function)
        gateway.process.terminate()
        gateway.until(lambda n=n: gateway.stderr().count("stopping on") > n)
        gateway.kill9()
        gateway.start()
        jobs = [gateway.submit(function) for _ in range(4)]
        for job_id in jobs:
            gateway.wait(job_id, ["finished"])


def test_a_job_whose_worker_died_with_the_gateway_fails_and_says_so(plain_mist, tmp_path):
    gateway = plain_mist()
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
    gateway.wait(job_id, ["started"])
    gateway.kill9()
    gateway.kill_workers()
    gateway.restart()
    job = gateway.wait(job_id)
    assert job["status"] == "failed" and "Executor was terminated" in job["jobResult"]


def test_a_queued_job_survives(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared"}})
    flag = tmp_path / "flag"
    first = gateway.submit("wait_for", {"path": str(flag)}, context="one")
    gateway.wait(first, ["started"])
    waiting = [gateway.submit("typed", {"i": i}, context="one", externalId=str(i)) for i in range(10)]
    gateway.kill9()
    gateway.restart()
    assert {gateway.job(j)["status"] for j in waiting} == {"queued"}
    flag.write_text("")
    for i, j in enumerate(waiting):
        job = gateway.wait(j)
        assert job["jobResult"]["i"] == i and job["externalId"] == str(i)


def test_a_cancel_is_not_forgotten(plain_mist, tmp_path):
    gateway = plain_mist(limits={"cancel-grace": "10 minutes"}, workers={"kill-grace": "1s"})
    job_id = gateway.submit("stubborn", {"path": str(tmp_path / "never")})
    gateway.until(lambda: (tmp_path / "never.running").exists())
    canceller = threading.Thread(target=lambda: pytest.raises(requests.RequestException, gateway.delete, f"/v2/api/jobs/{job_id}"))
    canceller.start()
    gateway.wait(job_id, ["cancelling"])
    gateway.kill9()
    canceller.join()
    gateway.sections["limits"]["cancel-grace"] = "1s"
    gateway.configure(gateway.rendered())
    gateway.start()
    assert gateway.wait(job_id)["status"] == "cancelled"


def test_workers_end_by_themselves_when_the_gateway_stays_away(plain_mist, tmp_path):
    gateway = plain_mist(workers={"gateway-grace": "1s"})
    gateway.wait(gateway.submit("wait_for", {"path": str(tmp_path / "never")}), ["started"])
    pids = gateway.worker_pids()
    assert pids
    gateway.kill9()
    gateway.until(lambda: not any(gateway.is_alive(pid) for pid in pids), timeout=30)
