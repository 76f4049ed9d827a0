# SPDX-License-Identifier: Apache-2.0
"""Whether the gateway is ready, and how its transports are."""
import re

import pytest

from support.mistd import until

NOBODY = "127.0.0.1:1"
AWAY = {"mqtt": {"type": "mqtt", "url": f"tcp://{NOBODY}"},
        "kafka": {"type": "kafka", "brokers": NOBODY, "group": "mist", "subscribe-topic": "requests"}}


def test_http_is_listed_and_up(c_mist):
    gateway = c_mist()
    assert gateway.get("/health/ready").json() == {
        "status": "ready", "transports": [{"name": "http", "type": "http", "required": False, "up": True}]}


def test_a_broker_that_is_away_is_told_and_makes_the_gateway_no_less_ready(c_mist):
    gateway = c_mist(transports=[*AWAY.values()])
    until(lambda: all(NOBODY in gateway.transports()[name]["detail"] for name in AWAY), what="both sentences")
    answer = gateway.get("/health/ready")
    assert answer.status_code == 200 and answer.json()["status"] == "ready"
    for name in AWAY:
        one = gateway.transports()[name]
        assert one["type"] == name and not one["up"] and not one["required"] and NOBODY in one["detail"], one
    assert gateway.run("noop")["success"]


@pytest.mark.parametrize("name", AWAY)
def test_a_required_transport_makes_it_so(c_mist, name):
    gateway = c_mist(transports=[{**AWAY[name], "required": True}])
    until(lambda: NOBODY in gateway.trouble(), what="the sentence")
    answer = gateway.get("/health/ready")
    problem = answer.json()
    assert answer.status_code == 503 and answer.headers["Content-Type"] == "application/problem+json" and answer.headers["Retry-After"]
    assert problem["detail"].startswith(f"transport {name}: ") and NOBODY in problem["detail"]
    assert {one["name"]: (one["required"], one["up"]) for one in problem["transports"]} == {"http": (False, True), name: (True, False)}
    assert gateway.get("/health/live").status_code == 200 and gateway.run("noop")["success"]


def test_what_is_required_is_read_again(c_mist):
    gateway = c_mist(transports=[AWAY["mqtt"]])
    assert gateway.get("/health/ready").status_code == 200
    for required, status in (True, 503), (False, 200):
        gateway.sections["transports"] = [{**AWAY["mqtt"], "required": required}]
        gateway.configure(gateway.rendered())
        gateway.hangup()
        until(lambda: gateway.get("/health/ready").status_code == status, what=f"required = {required}")
    assert "restart" not in gateway.stderr()


@pytest.mark.parametrize("folder", ["logs", "workers"])
def test_a_folder_that_cannot_be_written_makes_it_not_ready_until_it_can_be(c_mist, folder):
    gateway = c_mist()

    def metric():
        return int(re.search(rf'^mist_data_folder_writable{{folder="{folder}"}} (\d)$', gateway.get("/metrics").text, re.MULTILINE)[1])

    path = gateway.data / folder
    path.rename(gateway.home / "elsewhere")
    until(lambda: gateway.get("/health/ready").status_code == 503, what="the missing folder to be seen")
    problem = gateway.get("/health/ready").json()
    assert problem["detail"] == f"the folder {path} cannot be written: No such file or directory" and problem["transports"] and metric() == 0
    assert gateway.get("/health/live").status_code == 200
    (gateway.home / "elsewhere").rename(path)
    until(lambda: gateway.get("/health/ready").status_code == 200, what="the folder to be seen again")
    assert metric() == 1 and gateway.run("noop")["success"]
    assert f"the folder {path} can be written again" in gateway.stderr()
