# SPDX-License-Identifier: Apache-2.0
"""Standard HTTP beyond Mist: preferences (RFC 7240) and trace context."""

import pytest


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
    assert gateway.job(job_id)["status"] == "started"
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
    import threading

    gateway = plain_mist()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(gateway, "wait_for", {"path": str(tmp_path / "never")}, "wait=60")))
    thread.start()
    gateway.until(lambda: gateway.get("/v2/api/jobs?status=started").json() != [])
    gateway.stop()
    thread.join(30)
    assert answers and answers[0].status_code == 202
