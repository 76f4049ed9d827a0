# SPDX-License-Identifier: Apache-2.0
"""Standard HTTP beyond Mist: preferences (RFC 7240) and trace context."""

import contextlib
import threading

import pytest
import requests

from support.mistd import PATIENCE


@pytest.fixture
def gateway(plain_mist):
    return plain_mist()


def post(gateway, function, params, prefer, **headers):
    return gateway.post(f"/v2/api/functions/{function}/jobs", json=params, headers={"Prefer": prefer, **headers})


def test_respond_async_is_a_202_with_a_location(gateway):
    r = post(gateway, "typed", {"i": 1}, "respond-async")
    assert r.status_code == 202 and r.headers["Preference-Applied"] == "respond-async"
    assert r.headers["Location"] == "/v2/api/jobs/" + r.json()["id"]
    gateway.wait(r.json()["id"])
    assert gateway.get(r.headers["Location"]).json()["status"] == "finished"


def test_wait_answers_with_the_outcome_of_a_durable_job(gateway):
    r = post(gateway, "typed", {"i": 7}, "wait=30")
    assert r.status_code == 200 and r.headers["Preference-Applied"] == "wait=30"
    assert r.json() == {"success": True, "payload": {"i": 7, "s": "x", "l": None, "b": False}, "errors": []}
    assert gateway.get(r.headers["Location"]).json()["status"] == "finished"
    r = post(gateway, "unencodable", {}, "foo, wait=30; x")
    assert r.status_code == 200 and r.json()["success"] is False and "rows[0]" in r.json()["errors"][0]


def test_wait_ends_with_202_when_the_job_takes_longer(gateway, tmp_path):
    flag = tmp_path / "flag"
    r = post(gateway, "wait_for", {"path": str(flag)}, "wait=1")
    assert r.status_code == 202 and r.headers["Preference-Applied"] == "wait=1"
    job_id = r.json()["id"]
    gateway.wait(job_id, "started")
    flag.write_text("")
    assert gateway.wait(job_id)["status"] == "finished"


@pytest.mark.parametrize("prefer", ["wait", "wait=x", "wait=0", "wait=-1", "handling=lenient", ""])
def test_a_preference_that_makes_no_sense_is_ignored(gateway, prefer):
    r = post(gateway, "typed", {"i": 1}, prefer)
    assert r.status_code == 200 and "id" in r.json() and "Preference-Applied" not in r.headers


def test_a_refusal_is_a_refusal_whatever_was_preferred(gateway):
    assert post(gateway, "typed", {"i": "x"}, "wait=5").status_code == 400
    assert post(gateway, "none", {}, "respond-async").status_code == 404


def test_a_stop_answers_who_waits(plain_mist, tmp_path):
    gateway = plain_mist()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(gateway, "wait_for", {"path": str(tmp_path / "never")}, "wait=60")))
    thread.start()
    gateway.until(lambda: gateway.get("/v2/api/jobs?status=started").json() != [])
    gateway.stop()
    thread.join(30 * PATIENCE)
    assert answers and answers[0].status_code == 202


def keyed(gateway, key, function, params, **query):
    return gateway.post(f"/v2/api/functions/{function}/jobs", json=params, params=query, headers={"Idempotency-Key": key})


def test_the_same_key_and_body_is_the_same_job(gateway, tmp_path):
    ran = tmp_path / "ran"
    body = {"path": str(ran), "n": 1}
    ids = {keyed(gateway, "k1", "record", body).json()["id"] for _ in range(5)}
    assert len(ids) == 1
    gateway.wait(ids.pop())
    answers = [keyed(gateway, "k1", "record", body, force="true").json() for _ in range(3)]
    assert answers == [{"success": True, "payload": 1, "errors": []}] * 3
    assert len(ran.read_text().splitlines()) == 1
    keyed(gateway, "k2", "record", body, force="true")
    assert len(ran.read_text().splitlines()) == 2


def test_the_same_key_with_another_body_is_refused(gateway, tmp_path):
    body = {"path": str(tmp_path / "ran"), "n": 1}
    assert keyed(gateway, "k", "record", body).status_code == 200
    for other in ({**body, "n": 2}, "record"), (body, "record"):
        r = keyed(gateway, "k", other[1], other[0], **({"context": "default"} if other[0] is body else {}))
        assert r.status_code == 422 and "another request" in r.json()["detail"]
    assert keyed(gateway, "", "record", body).status_code == 400
    assert keyed(gateway, "x" * 256, "record", body).status_code == 400
    r = keyed(gateway, "bad", "record", {"path": 1, "n": 1})
    assert r.status_code == 400
    assert keyed(gateway, "bad", "record", body).status_code == 200, "a refused request does not use its key up"


def test_many_at_once_with_one_key_make_one_job(gateway, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    ran = tmp_path / "ran"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: keyed(gateway, "once", "record", {"path": str(ran), "n": 3}, force="true").json(), range(16)))
    assert answers == [{"success": True, "payload": 3, "errors": []}] * 16
    assert len(ran.read_text().splitlines()) == 1


def test_a_key_is_remembered_across_kill_9_and_forgotten_in_time(plain_mist, tmp_path):
    gateway = plain_mist(limits={"idempotency-time": "1h"})
    body = {"path": str(tmp_path / "ran"), "n": 1}
    first = keyed(gateway, "k", "record", body).json()["id"]
    gateway.kill9()
    gateway.restart()
    assert keyed(gateway, "k", "record", body).json()["id"] == first
    gateway.reconfigure(limits={"idempotency-time": "1s"})
    gateway.until(lambda: keyed(gateway, "k", "record", body).json().get("id") not in (first, None))


def test_a_call_that_waits_with_a_key_is_kept_like_one_that_does_not(plain_mist, tmp_path):
    """The caller calls again, and finds what became of it."""
    gateway = plain_mist(contexts={"one": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}})
    go, ran = tmp_path / "go", tmp_path / "ran"
    gateway.wait(gateway.submit("wait_for", {"path": str(go)}, context="one"), ["started"])
    body = {"path": str(ran), "n": 1}

    def call():
        with contextlib.suppress(requests.ConnectionError):
            keyed(gateway, "k", "record", body, force="true", context="one")

    caller = threading.Thread(target=call)
    caller.start()
    gateway.until(lambda: any(job["function"] == "record" for job in gateway.get("/v2/api/jobs").json()))
    gateway.kill9()
    caller.join()
    gateway.restart()
    go.touch()
    assert keyed(gateway, "k", "record", body, force="true", context="one").json() == {"success": True, "payload": 1, "errors": []}
    assert len(ran.read_text().splitlines()) == 1


def test_only_the_newest_keys_are_remembered(plain_mist, tmp_path):
    gateway = plain_mist(limits={"idempotency-keys": 2})
    body = {"path": str(tmp_path / "ran"), "n": 1}
    jobs = [keyed(gateway, f"k{i}", "record", body).json()["id"] for i in range(3)]
    for _ in range(2):
        assert [keyed(gateway, f"k{i}", "record", body).json()["id"] for i in (1, 2)] == jobs[1:]
        gateway.kill9()
        gateway.restart()
    assert keyed(gateway, "k0", "record", body).json()["id"] not in jobs


@pytest.mark.parametrize("query", [{}, {"force": "true"}])
def test_the_keys_of_positions_in_a_log_are_no_clients(gateway, query):
    answer = keyed(gateway, "kafka:main:mist:requests:0:1@1764270000000", "typed", {"i": 1}, **query)
    assert answer.status_code == 400 and answer.json()["detail"].startswith("header Idempotency-Key: one that begins with kafka:")
