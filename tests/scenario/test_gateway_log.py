# SPDX-License-Identifier: Apache-2.0
"""What mistd writes about its work, as text and as JSON."""
import datetime
import json
import re
import socket

import pytest

from support.doors import three_doors
from support.mistd import PATIENCE, until


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


# Ids of requests

def test_a_request_has_an_id_in_its_answer_in_problems_and_in_the_log(plain_mist):
    gateway = plain_mist(mist={"log-format": "json", "log-level": "debug"})
    url = "/v2/api/functions/typed/jobs"
    answer = gateway.post(url, json={"i": 1}, headers={"X-Request-Id": "my.order:7/a=b@c|d+e~f_g-h"})
    assert answer.headers["X-Request-Id"] == "my.order:7/a=b@c|d+e~f_g-h"
    [end] = until(lambda: about(gateway, job=answer.json()["id"], outcome="finished"))
    assert end["request"] == "my.order:7/a=b@c|d+e~f_g-h" and " as my.order:7/" in end["message"]
    refused = gateway.post(url, json={"i": "x"}, headers={"X-Request-Id": "second"})
    assert refused.status_code == 400 and refused.json()["requestId"] == refused.headers["X-Request-Id"] == "second"
    [line] = until(lambda: about(gateway, request="second"))
    assert line["transport"] == "http" and line["level"] == "debug" and refused.json()["detail"] in line["message"]
    assert gateway.run("typed", {"i": 1})["success"]
    made = [gateway.get("/v2/api/status").headers["X-Request-Id"] for _ in range(3)]
    assert len(set(made)) == 3 and all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", name) for name in made)


@pytest.mark.parametrize("given", ["", "a b", "a\tb", 'a"b', "a\\b", "<a>", "a,b", "ä", "x" * 129, "a;b"])
def test_an_id_that_makes_no_sense_is_replaced(plain_mist_for_module, given):
    answer = plain_mist_for_module.get("/v2/api/jobs/none", headers={"X-Request-Id": given.encode()})
    assert answer.status_code == 404 and re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", answer.json()["requestId"])
    assert answer.headers["X-Request-Id"] == answer.json()["requestId"]


@pytest.mark.parametrize("head, status", [
    ("GET /v2/api/jobs?a HTTP/1.1\r\nHost: localhost\r\n", 400), ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n", 404),
    ("GET / HTTP/1.1\r\nHost: evil.example\r\n", 421), ("PUT / HTTP/1.1\r\nHost: localhost\r\n", 405),
    (f"GET /{'x' * 13000} HTTP/1.1\r\nHost: localhost\r\n", 414), (f"GET / HTTP/1.1\r\nHost: localhost\r\nA: {'x' * 13900}\r\n", 431),
    ("POST /v2/api/functions/typed/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n", 413),
    (f"GET /?{'&'.join('abcdefgh'[i % 8] + str(i) + '=1' for i in range(70))} HTTP/1.1\r\nHost: localhost\r\n", 400),
])
def test_an_early_refusal_has_an_id_too(plain_mist_for_module, head, status):
    gateway = plain_mist_for_module
    with socket.create_connection((gateway.host, gateway.port), timeout=20 * PATIENCE) as s:
        s.sendall(f"{head}\r\n".encode())
        answer = b""
        while b"}" not in answer:
            piece = s.recv(65536)
            assert piece, answer
            answer += piece
    head, body = answer.split(b"\r\n\r\n", 1)
    assert int(head.split()[1]) == status
    assert f"X-Request-Id: {json.loads(body)['requestId']}\r\n".encode() in head + b"\r\n"


def test_refusals_over_brokers_are_logged_with_what_names_the_request(plain_mist, mosquitto, kafka, prefix):
    gateway, clients = three_doors(plain_mist, mosquitto, kafka, prefix, ("typed",), mist={"log-format": "json", "log-job-ends": "info"})
    topic, sentence = f"{prefix}/functions/typed/jobs", "Invalid field i"

    def ask(body, data):
        clients["mqtt"].client.publish(topic, body, response_topic=clients["mqtt"].topic, correlation_data=data)

    ask({"i": "x"}, b"order 7")
    ask({"i": "x"}, b"\xff\x00")
    [text] = until(lambda: about(gateway, transport="mqtt", request="order 7"))
    assert text["level"] == "info" and topic in text["message"] and sentence in text["message"]
    until(lambda: about(gateway, transport="mqtt", request="ff00"))
    ask({"i": 1}, b"order 8")
    [end] = until(lambda: about(gateway, transport="mqtt", request="order 8"))
    assert end["outcome"] == "finished" and end["function"] == "typed"
    assert clients["kafka"].call("typed", {"i": "x"}).event == "refused"
    assert clients["kafka"].call("typed", {"i": 1}).event == "finished"
    [refused, end] = until(lambda: [line for line in about(gateway, transport="kafka") if f"{prefix}.f.typed/0/" in line.get("request", "")][1:] and
                           [line for line in about(gateway, transport="kafka") if "request" in line])
    assert sentence in refused["message"] and refused["level"] == "info" and end["outcome"] == "finished"
    for _ in range(30):
        ask({"i": "x"}, b"again")
    clients["mqtt"].client.wait(33, clients["mqtt"].topic)
    assert len(about(gateway, transport="mqtt", request="again")) <= 20, "ten lines of one cause in a minute, of which two may have begun"
