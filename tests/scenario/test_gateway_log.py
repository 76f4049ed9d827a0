# SPDX-License-Identifier: Apache-2.0
"""What mistd writes about its work, as text and as JSON."""
import datetime
import json
import re

from support.mistd import until


def lines(gateway):
    return [json.loads(line) for line in gateway.stderr().splitlines()]


def about(gateway, **members):
    return [line for line in lines(gateway) if all(line.get(name) == value for name, value in members.items())]


def test_a_log_in_json_has_what_each_line_is_about(plain_mist):
    gateway = plain_mist(mist={"log-format": "json", "log-job-ends": "info"})
    gateway.run("typed", {"i": 1})
    failed = gateway.submit("unencodable", {})
    gateway.wait(failed)
    [job] = [job for job in gateway.get("/v2/api/jobs").json() if job["jobId"] != failed]
    [end] = until(lambda: about(gateway, job=job["jobId"]))
    assert {k: v for k, v in end.items() if k not in ("time", "message", "request")} == {
        "level": "info", "job": job["jobId"], "function": "typed", "outcome": "finished", "context": "plain", "worker": job["workerId"],
        "transport": "http"}
    assert re.search(rf"^job {job['jobId']} of function typed: finished, waited for \d+ ms, ran for \d+ ms, attempt 1, context plain, ", end["message"])
    [end] = until(lambda: about(gateway, job=failed))
    assert end["outcome"] == "failed" and "\n" not in end["message"] and end["message"].endswith(gateway.job(failed)["jobResult"].splitlines()[-1])
    [connected] = about(gateway, worker=job["workerId"], context="plain", message=f"worker {job['workerId']} is connected (context plain)")
    at = datetime.datetime.fromisoformat(connected["time"])
    assert at.utcoffset() == datetime.timedelta(0) and abs((datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()) < 3600
    assert {line["level"] for line in lines(gateway)} <= {"info", "warn"}
    gateway.delete(f"/v2/api/workers/{job['workerId']}")
    until(lambda: [line for line in about(gateway, worker=job["workerId"]) if "has ended" in line["message"]])


def test_the_form_and_the_lines_of_jobs_change_while_it_runs(plain_mist):
    gateway = plain_mist(mist={"log-format": "text", "log-level": "info"})
    gateway.run("typed", {"i": 1})
    assert "of function typed" not in gateway.stderr()
    gateway.config.write_text(re.sub('"(text|info)"', lambda m: {"text": '"json"', "info": '"debug"'}[m[1]], gateway.config.read_text()))
    gateway.hangup()
    until(lambda: '"message":"the configuration was read again"' in gateway.stderr())
    n = len(gateway.stderr().splitlines())
    gateway.run("typed", {"i": 1})
    until(lambda: ": finished, " in gateway.stderr())
    told = [json.loads(line) for line in gateway.stderr().splitlines()[n:]]
    assert len([line for line in told if "job" in line]) == 1, "one line a job"
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARN) ", gateway.stderr())
