# SPDX-License-Identifier: Apache-2.0
"""Worker modes, limits, failures to start, the broken state."""

import os
import signal
import sys

import pytest

from support.mistd import PATIENCE, ROOT, runtimes


def pids(gateway, jobs):
    return [gateway.wait(j)["jobResult"] for j in jobs]


def test_an_exclusive_worker_takes_one_job(plain_mist):
    gateway = plain_mist(contexts={"ex": {"runtime": "plain", "worker-mode": "exclusive", "max-jobs": 2}})
    used = pids(gateway, [gateway.submit("whoami", {}, context="ex") for _ in range(4)])
    assert len(set(used)) == 4
    gateway.until(lambda: gateway.get("/v2/api/workers").json() == [])


def test_a_shared_worker_is_used_again_one_job_at_a_time(plain_mist):
    gateway = plain_mist(contexts={"sh": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}})
    assert len(set(pids(gateway, [gateway.submit("whoami", {}, context="sh") for _ in range(5)]))) == 1


def test_max_jobs_counts_workers_of_one_job_each(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"sh": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 3}})
    flag = tmp_path / "flag"
    jobs = [gateway.submit("wait_for", {"path": str(flag)}, context="sh") for _ in range(5)]
    gateway.until(lambda: len(gateway.get("/v2/api/jobs?status=started").json()) == 3)
    assert len(gateway.get("/v2/api/jobs?status=queued").json()) == 2
    assert len(gateway.get("/v2/api/workers").json()) == 3
    flag.write_text("")
    assert all(gateway.wait(j)["status"] == "finished" for j in jobs)


def test_jobs_per_worker_runs_several_in_one(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"sh": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 4, "jobs-per-worker": 4}})
    flag = tmp_path / "flag"
    jobs = [gateway.submit("wait_for", {"path": str(flag)}, context="sh") for _ in range(4)]
    gateway.until(lambda: len(gateway.get("/v2/api/jobs?status=started").json()) == 4)
    [worker] = gateway.get("/v2/api/workers").json()
    assert worker["jobs"] == 4
    flag.write_text("")
    assert all(gateway.wait(j)["status"] == "finished" for j in jobs)


def test_precreated_workers_are_there_before_the_first_job(plain_mist):
    gateway = plain_mist(contexts={"pre": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 2, "precreated": True}})
    gateway.until(lambda: len(gateway.get("/v2/api/workers").json()) == 2)
    before = {w["name"] for w in gateway.get("/v2/api/workers").json()}
    name = sorted(before)[0]
    gateway.delete(f"/v2/api/workers/{name}")
    gateway.until(lambda: len({w["name"] for w in gateway.get("/v2/api/workers").json()} - {name}) == 2)


def test_downtime_ends_idle_workers(plain_mist):
    gateway = plain_mist(contexts={"short": {"runtime": "plain", "worker-mode": "shared", "downtime": "300ms"}})
    [first] = pids(gateway, [gateway.submit("whoami", {}, context="short")])
    gateway.until(lambda: gateway.get("/v2/api/workers").json() == [])
    [second] = pids(gateway, [gateway.submit("whoami", {}, context="short")])
    assert first != second


def test_workers_that_an_exclusive_context_started_for_nothing_end(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"ex": {"runtime": "plain", "worker-mode": "exclusive", "max-jobs": 5}})
    gateway.wait(gateway.submit("typed", {"i": 1}, context="ex"))
    jobs = [gateway.submit("typed", {"i": i}, context="ex", startTimeout="1ms") for i in range(5)]
    for job_id in jobs:
        gateway.wait(job_id)
    gateway.until(lambda: [r for r in gateway.worker_records() if r["context"] == "ex"] == [])


def test_contexts_share_the_worker_processes_there_may_be_and_jobs_say_what_they_wait_for(plain_mist, tmp_path):
    shared = {"runtime": "plain", "worker-mode": "shared"}
    gateway = plain_mist(contexts={"a": shared, "b": {**shared, "worker-mode": "exclusive"}}, limits={"workers": 1})
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="a")
    gateway.wait(running, ["started"])
    behind, other = gateway.submit("whoami", {}, context="a"), gateway.submit("whoami", {}, context="b")

    def waiting(job_id):
        return gateway.get(f"/v2/api/jobs/{job_id}").json().get("waiting", {"reason": None, "detail": ""})

    assert waiting(running)["reason"] is None
    assert waiting(behind)["reason"] == "max-jobs"
    assert waiting(other)["reason"] == "workers"
    assert "limits.workers is 1" in waiting(other)["detail"]
    flag.write_text("")
    [first, second] = pids(gateway, [behind, other])
    assert first != second
    assert gateway.wait(running)["status"] == "finished" and waiting(other)["reason"] is None


def put_context(gateway, **settings):
    context = {"name": "c", "runtime": "plain", "workerMode": "shared", **settings}
    answer = gateway.post("/v2/api/contexts", json=context)
    assert answer.status_code == 200, answer.text


def test_a_context_that_is_made_again_has_workers_of_its_own(plain_mist, tmp_path):
    gateway = plain_mist()
    put_context(gateway)
    [old] = pids(gateway, [gateway.submit("whoami", {}, context="c")])
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="c")
    gateway.wait(running, ["started"])
    waiting = gateway.submit("whoami", {}, context="c")
    assert gateway.delete("/v2/api/contexts/c").status_code == 200
    put_context(gateway)
    [new] = pids(gateway, [gateway.submit("whoami", {}, context="c")])
    assert new != old
    flag.write_text("")
    assert gateway.wait(running)["status"] == "finished"
    assert gateway.wait(waiting)["jobResult"] == old, "what was accepted for the old one runs as it was accepted"
    gateway.until(lambda: not gateway.is_alive(old))
    assert gateway.is_alive(new)


@pytest.mark.parametrize("change", ["context", "runtime", "deleted", "nothing"])
def test_workers_that_were_changed_for_while_no_gateway_ran_finish_and_end(plain_mist, tmp_path, change):
    shared = {"runtime": "plain", "worker-mode": "shared"}
    gateway = plain_mist(contexts={"c": shared})
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="c")
    worker = gateway.wait(running, ["started"])["workerId"]
    [pid] = [r["pid"] for r in gateway.worker_records() if r["worker"] == worker]
    gateway.kill9()
    if change == "context":
        gateway.sections["contexts"]["c"] = {**shared, "streaming-duration": "7s"}
    elif change == "runtime":
        gateway.sections["runtimes"]["plain"]["environment"] = {"NEW": "1"}
    elif change == "deleted":
        del gateway.sections["contexts"]["c"]
    gateway.configure(gateway.rendered())
    gateway.start()
    flag.write_text("")
    job = gateway.wait(running)
    assert job["status"] == "finished" and job["workerId"] == worker
    if change == "nothing":
        assert gateway.wait(gateway.submit("whoami", {}, context="c"))["workerId"] == worker
        return
    gateway.until(lambda: not gateway.is_alive(pid))
    if change != "deleted":
        assert gateway.wait(gateway.submit("whoami", {}, context="c"))["workerId"] != worker


def test_a_deleted_context_that_was_precreated_keeps_no_workers(plain_mist):
    gateway = plain_mist()
    put_context(gateway, precreated=True, maxJobs=2)
    gateway.until(lambda: len(gateway.get("/v2/api/workers").json()) == 2)
    assert gateway.delete("/v2/api/contexts/c").status_code == 200
    gateway.until(lambda: gateway.worker_processes() == [])


def test_a_worker_that_is_stopped_tells_its_job_by_whom(plain_mist, tmp_path):
    gateway = plain_mist()
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "never")})
    worker = gateway.wait(job_id, ["started"])["workerId"]
    assert gateway.delete(f"/v2/api/workers/{worker}").status_code == 200
    job = gateway.wait(job_id)
    why = "Executor was terminated: the worker was stopped by a request for that (DELETE of the worker by http)"
    assert job["status"] == "failed" and job["jobResult"] == why
    assert f"FailedEvent with Error: {why}" in gateway.logs(job_id)
    gateway.until(lambda: f"job {job_id} of function wait_for: {why}" in gateway.stderr())


def test_a_context_that_is_configured_nowhere_has_the_defaults(plain_mist):
    gateway = plain_mist(mist={"unknown-contexts": "default"}, **{"context-defaults": {"runtime": "plain", "worker-mode": "shared"}})
    job = gateway.wait(gateway.submit("typed", {"i": 1}, context="anything"))
    assert job["context"] == "anything" and job["workerId"].startswith("anything_")


def test_the_queue_has_a_limit_and_says_so(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared"}}, limits={"queue": 2})
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="one")
    gateway.wait(running, ["started"])
    jobs = [gateway.submit("typed", {"i": i}, context="one") for i in range(2)]
    r = gateway.post("/v2/api/functions/typed/jobs?context=one", json={"i": 3})
    assert r.status_code == 429 and "limits.queue is 2" in r.json()["detail"] and r.headers["Retry-After"]
    flag.write_text("")
    for j in [running] + jobs:
        gateway.wait(j)


def test_a_worker_that_does_not_start_breaks_its_context_and_says_why(plain_mist, tmp_path):
    script = tmp_path / "worker.sh"
    script.write_text("#!/bin/sh\nfor i in $(seq 1 30); do echo line $i; done\nexit 7\n")
    script.chmod(0o755)
    gateway = plain_mist(runtimes={"plain": {"kind": "python", "python": sys.executable},
                                   "bad": {"kind": "program", "command": str(script)}},
                         contexts={"bad": {"runtime": "bad", "max-conn-failures": 2}}, limits={"broken-retry": "500ms"})
    answer = gateway.run("typed", {"i": 1}, context="bad")
    assert answer["success"] is False
    [error] = answer["errors"]
    assert "Context bad is broken" in error and "exit code 7" in error
    assert error.endswith("\n".join(f"line {i}" for i in range(6, 31)))
    again = gateway.submit("typed", {"i": 1}, context="bad")
    job = gateway.wait(again)
    assert job["status"] == "failed" and "broken" in job["jobResult"]
    assert "exit code 7" in gateway.get("/v2/api/contexts/bad").json()["broken"]["reason"]

    # It is tried again by itself: mend the program and it works without anybody's doing.
    script.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT}/src/runner/python exec {sys.executable} -m mist.worker\n")
    gateway.until(lambda: "broken" not in gateway.get("/v2/api/contexts/bad").json(), timeout=20)
    assert gateway.run("typed", {"i": 1}, context="bad")["success"]


def test_an_updated_context_works_at_once(plain_mist):
    gateway = plain_mist(runtimes={"bad": {"kind": "program", "command": "/bin/false"}},
                         contexts={"c": {"runtime": "bad", "max-conn-failures": 1}}, limits={"broken-retry": "1h"})
    assert "broken" in gateway.run("typed", {"i": 1}, context="c")["errors"][0]
    gateway.reconfigure(contexts={"c": {"runtime": "plain"}})
    gateway.until(lambda: "broken" not in gateway.get("/v2/api/contexts/c").json())
    assert gateway.run("typed", {"i": 1}, context="c")["success"]


def test_a_reload_brings_functions_and_lets_running_jobs_end_on_old_workers(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"c": {"runtime": "plain", "worker-mode": "shared"}})
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="c")
    old = gateway.wait(running, ["started"])["workerId"]
    gateway.reconfigure(contexts={"c": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 2}},
                        functions={"again": {"path": gateway.functions_path, "class-name": "whoami", "context": "c"}})
    gateway.until(lambda: gateway.get("/v2/api/functions/again").status_code == 200)
    job = gateway.wait(gateway.submit("again", {}))
    assert job["workerId"] != old
    flag.write_text("")
    assert gateway.wait(running)["status"] == "finished"
    gateway.until(lambda: old not in [w["name"] for w in gateway.get("/v2/api/workers").json()])


def test_a_bad_reload_changes_nothing(plain_mist):
    gateway = plain_mist()
    gateway.reconfigure(limits={"queue": "many"})
    gateway.until(lambda: "limits.queue: expected" in gateway.stderr())
    assert gateway.run("typed", {"i": 1})["success"]


def test_a_c_worker_serves_jobs(c_mist):
    gateway = c_mist()
    assert gateway.run("echo", {"text": "héllo"})["payload"] == "héllo"
    assert gateway.run("fail", {"message": "no"}) == {"success": False, "payload": {}, "errors": ["no"]}
    assert gateway.get("/v2/api/functions/echo").json()["lang"] == "c"
    job_id = gateway.submit("log", {"lines": 3})
    gateway.wait(job_id)
    assert gateway.logs(job_id).count("\n") >= 3
    job_id = gateway.submit("sleep", {"ms": 60000})
    gateway.wait(job_id, ["started"])
    gateway.cancel(job_id)
    assert gateway.wait(job_id)["status"] == "cancelled"


def test_only_a_worker_with_its_secret_comes_in(plain_mist):
    import websockets.sync.client as ws
    from websockets.exceptions import InvalidStatus

    gateway = plain_mist()
    gateway.run("typed", {"i": 1})
    [worker] = gateway.get("/v2/api/workers").json()
    url = gateway.url.replace("http", "ws") + "/v2/workers/connect?worker="
    [secret] = [r["connect"]["secret"] for r in gateway.worker_records() if r["connect"]["worker"] == worker["name"]]
    other = "a" if secret[-1] != "a" else "b"
    guesses = ["guess", secret[:-1], secret + "x", secret[:-1] + other, "x" * len(secret), secret.swapcase()]
    for name, headers in [*((worker["name"], {"Authorization": f"Bearer {guess}"}) for guess in guesses), (worker["name"], {}),
                          ("nobody", {"Authorization": f"Bearer {secret}"})]:
        with pytest.raises(InvalidStatus) as refused:
            ws.connect(url + name, additional_headers=headers, open_timeout=60 * PATIENCE)
        assert refused.value.response.status_code == 401
    assert gateway.run("typed", {"i": 1})["success"], "the real one is still connected"


def test_a_workers_secret_is_for_its_owner_only(plain_mist):
    gateway = plain_mist()
    gateway.run("typed", {"i": 1})
    [worker] = gateway.get("/v2/api/workers").json()
    for record in gateway.worker_records():
        if record["worker"] != worker["name"]:
            continue  # a describer, which may end at any time
        mode = os.stat(os.path.join(record["directory"], "connect.json")).st_mode & 0o777
        assert mode == 0o600
        secret = record["connect"]["secret"]
        assert secret not in open(f"/proc/{record['pid']}/cmdline").read()
        assert secret not in open(f"/proc/{record['pid']}/environ").read()


def test_a_worker_gets_of_the_gateways_environment_what_is_named(plain_mist, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "of the gateway")
    monkeypatch.setenv("HADOOP_OF_A_TEST", "a distribution's")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    gateway = plain_mist(runtimes={"plain": {"python": sys.executable, "environment": {"ADDED": "by the runtime"}}})
    seen = gateway.run("environment", {})["payload"]
    assert "SECRET_TOKEN" not in seen and seen["PATH"] == os.environ["PATH"]
    assert seen["HADOOP_OF_A_TEST"] == "a distribution's" and seen["https_proxy"] == "http://proxy:1"
    assert seen["ADDED"] == "by the runtime" and seen["MIST_WORKER_FILE"]

    gateway.reconfigure(workers={"pass-environment": "PATH SECRET_*"}, contexts={"new": {"runtime": "plain"}})
    gateway.until(lambda: gateway.get("/v2/api/contexts/new").status_code == 200)
    seen = gateway.run("environment", {}, context="new")["payload"]
    assert seen["SECRET_TOKEN"] == "of the gateway" and "HADOOP_OF_A_TEST" not in seen


def test_what_is_said_of_the_runtime_plain_is_added_to_what_it_is(plain_mist):
    gateway = plain_mist(runtimes={"plain": {"python": sys.executable}})
    assert gateway.run("typed", {"i": 1})["success"]


def listening(pids):
    """(address, port) of each socket on which one of these processes takes TCP connections."""
    inodes = set()
    for pid in pids:
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            continue
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in open(table).readlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                found.add(tuple(words[1].split(":")))
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.mark.spark
@pytest.mark.parametrize("spark_conf,n_ui", [({}, 0), ({"spark.master": "local[1]", "spark.ui.enabled": "true"}, 1)])
def test_spark_with_a_local_master_listens_on_this_machine_only(mist_factory, spark_conf, n_ui):
    gateway = mist_factory({"contexts": {"own": {"worker-mode": "shared", "spark-conf": spark_conf}}, "functions": {
        "pi": {"path": str(ROOT / "jobs" / "pi" / "pi.py"), "class-name": "pi", "context": "own"}}})
    assert gateway.run("pi", {"samples": 1000})["success"]
    [worker] = gateway.get("/v2/api/workers").json()
    sockets = listening(gateway.worker_processes())
    assert len(sockets) >= 2 and {address for address, _ in sockets} <= LOOPBACK, sockets
    assert bool(worker.get("sparkUi")) == bool(n_ui)


FORKS = """
import multiprocessing, time
import mist

@mist.function
def forks(ctx):
    here = multiprocessing.get_context("fork")
    with here.Pool(2) as pool:
        results = pool.map(abs, [-1, -2, -3])
    child = here.Process(target=time.sleep, args=(3600,))
    child.start()
    child.terminate()
    child.join()
    return results, child.exitcode
"""


def test_processes_that_a_job_forks_end_without_their_worker(plain_mist, tmp_path):
    """multiprocessing's Pool ends its processes by SIGTERM."""
    artifact = tmp_path / "forks.py"
    artifact.write_text(FORKS)
    gateway = plain_mist(contexts={"c": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}},
                         functions={"forks": {"path": str(artifact), "class-name": "forks", "context": "c"}})
    jobs = [gateway.wait(gateway.submit("forks", {})) for _ in range(2)]
    assert [job["jobResult"] for job in jobs] == [[[1, 2, 3], -signal.SIGTERM]] * 2
    assert jobs[0]["workerId"] == jobs[1]["workerId"]


def test_an_application_is_named_by_its_context_or_by_its_worker(plain_mist, tmp_path):
    """A spark-submit of our own notes how it was called, and ends."""
    submit = tmp_path / "spark" / "bin" / "spark-submit"
    submit.parent.mkdir(parents=True)
    submit.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\" >$NOTE.new\nmv $NOTE.new $NOTE\nexit 3\n")
    submit.chmod(0o755)
    contexts = {"named": {"spark-conf": ["spark.app.name=nightly report"]}, "unnamed": {}}
    ours = {name: {"kind": "spark", "spark-home": str(submit.parents[1]), "python": sys.executable, "environment": {"NOTE": str(tmp_path / name)}}
            for name in contexts}
    gateway = plain_mist(runtimes={**runtimes(), **ours}, contexts={name: {"runtime": name, **settings} for name, settings in contexts.items()})
    words = {}
    for name in contexts:
        gateway.submit("whoami", {}, context=name)
        gateway.until((tmp_path / name).exists)
        words[name] = (tmp_path / name).read_text().split("\n")
    assert "spark.app.name=nightly report" in words["named"] and "--name" not in words["named"]
    assert words["unnamed"][words["unnamed"].index("--name") + 1].startswith("unnamed")
