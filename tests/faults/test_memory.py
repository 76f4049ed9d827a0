# SPDX-License-Identifier: Apache-2.0
"""Large arguments that wait: what they cost, and that a gateway with little memory takes them up again."""
import re
import resource
import subprocess
from concurrent.futures import ThreadPoolExecutor

MB = 1 << 20


def address_space(gateway):
    with open(f"/proc/{gateway.pid}/statm") as f:
        return int(f.read().split()[0]) * resource.getpagesize()


def n_finished(gateway):
    [n] = re.findall(r'mist_job_events_total\{event="finished"\} (\d+)', gateway.get("/metrics").text)
    return int(n)


def test_large_arguments_of_queued_jobs_are_not_kept_in_memory(plain_mist, tmp_path):
    """More of them than there is memory for: they are accepted, and taken up again."""
    gateway = plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared"}}, limits={"queue-bytes": "64m"})
    flag = tmp_path / "flag"
    running = gateway.submit("wait_for", {"path": str(flag)}, context="one")
    gateway.wait(running, ["started"])
    limit = address_space(gateway) + 600 * MB
    subprocess.run(["prlimit", f"--as={limit}", "--pid", str(gateway.pid)], check=True)
    body = b'{"i": 1, "s": "' + b"x" * (8 * MB - 64) + b'"}'
    before, jobs = gateway.resident_bytes(), []
    for _ in range(40):
        answer = gateway.post("/v2/api/functions/typed/jobs?context=one", data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 200, answer.text
        jobs.append(answer.json()["id"])
    grown = gateway.resident_bytes() - before
    assert grown < 120 * MB, f"{grown / MB:.0f} MB"

    gateway.kill9()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))  # of this process, and so of mistd from its first instruction
    try:
        gateway.start(timeout=60)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert gateway.resident_bytes() < 120 * MB
    flag.write_text("")
    gateway.until(lambda: n_finished(gateway) >= 3, timeout=60)
    assert len(gateway.wait(jobs[0])["jobResult"]["s"]) == 8 * MB - 64, "its arguments came back, whole"


def test_more_arguments_at_once_than_there_is_memory_for_are_refused(plain_mist, tmp_path):
    gateway = plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared"}}, limits={"queue-bytes": "3m"})
    never = gateway.post("/v2/api/functions/typed/jobs?context=one", json={"i": 1, "s": "x" * (4 * MB)})
    assert never.status_code == 413 and "limits.queue-bytes is 3145728" in never.json()["detail"]
    assert "Retry-After" not in never.headers
    flag = tmp_path / "flag"
    gateway.wait(gateway.submit("wait_for", {"path": str(flag)}, context="one"), "started")
    large = {"i": 1, "s": "x" * (2 * MB)}
    with ThreadPoolExecutor(1) as caller:  # who waits on the connection has no row: the arguments are in memory
        waiting = caller.submit(gateway.run, "typed", large, context="one")
        gateway.until(lambda: gateway.get("/v2/api/jobs?status=queued").json(), what="the call to wait")
        answer = gateway.post("/v2/api/functions/typed/jobs?context=one", json=large)
        assert answer.status_code == 429 and answer.headers["Retry-After"] and "limits.queue-bytes is 3145728" in answer.json()["detail"]
        flag.write_text("")
        assert waiting.result()["success"]
    assert gateway.run("typed", {"i": 1}, context="one")["success"]
