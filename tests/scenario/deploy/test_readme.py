# SPDX-License-Identifier: Apache-2.0
"""The lines of the README that call a function over each transport, run as they stand; only addresses are this test's own."""
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from support.mistd import PATIENCE, ROOT, Mistd, until


def lines_of(section):
    text = (ROOT / "README.md").read_text()
    body = text.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return [line.strip() for line in body.splitlines() if line.startswith("    ")]


LINES = lines_of("Over MQTT and Kafka")


@pytest.fixture
def house(mosquitto_factory, kafka_factory):
    broker, kafka = mosquitto_factory(), kafka_factory()
    kafka.create_topic("mist.in", "mist.out", "mist.functions.hello", "answers", "mist.dead-letter")
    shipped = (ROOT / "configs" / "brokers.conf").read_text()
    # An included file counts from the folder of the gateway's own.
    base = os.path.relpath(ROOT / "configs", Path(tempfile.gettempdir()).resolve() / "home")
    text = shipped.replace('"mist.conf"', f'"{base}/mist.conf"').replace("localhost:1883", f"127.0.0.1:{broker.port}")
    gateway = Mistd(text.replace("localhost:9092", kafka.bootstrap))
    try:
        yield gateway, broker, kafka
    finally:
        gateway.close()


def run(house, line, job="ID"):
    gateway, broker, kafka = house
    line = re.sub(r"^mosquitto_(\w+)", rf"mosquitto_\1 -h 127.0.0.1 -p {broker.port}", line)
    line = line.replace("localhost:9092", kafka.bootstrap).replace("http://127.0.0.1:2003", gateway.url).replace("ID", job)
    return subprocess.Popen(["bash", "-c", line], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def said(process):
    return process.communicate(timeout=60 * PATIENCE)[0]


def line(begin):
    (found,) = [text for text in LINES if text.startswith(begin)]
    return found


def test_the_same_function_is_called_over_each_transport(house):
    gateway = house[0]
    gateway.connected()
    greeting = {"greeting": "Hello, Ada!"}
    assert json.loads(said(run(house, line("curl"))))["payload"] == greeting
    assert json.loads(said(run(house, line("mosquitto_rr"))))["result"] == greeting
    said(run(house, line("echo '{\"name\"")))
    key, headers, body = said(run(house, line("kcat -C -b localhost:9092 -t answers"))).split(" ", 2)
    assert key == "ada" and "event=finished" in headers and json.loads(body)["result"] == greeting
    listener = run(house, line("mosquitto_sub -C 1"))
    until(lambda: said_soon(house, listener))
    assert json.loads(said(listener))["event"]


def said_soon(house, listener):
    """Asks again until the listener, which may not have subscribed yet, has heard."""
    said(run(house, line("mosquitto_pub -q 1 -t mist/in")))
    return listener.poll() is not None


def test_a_job_is_followed_and_cancelled_as_the_readme_says(house):
    gateway, broker, kafka = house
    gateway.connected()
    events = broker.subscribe("mist/jobs/+/events")
    for begin in "mosquitto_pub -t mist/jobs", "echo '{\"cancel\"":
        job = gateway.post("/v2/hidden/devrun", json={
            "fakeName": "waits", "path": str(ROOT / "tests" / "support" / "functions.py"), "className": "wait_for", "context": "plain",
            "parameters": {"path": str(gateway.home / "never")}}).json()["id"]
        until(lambda: gateway.job(job)["status"] == "started")
        said(run(house, line(begin), job))
        assert gateway.wait(job)["status"] == "cancelled"
        events.wait_one(lambda m: job in m.topic and m.json()["event"] == "cancelled")
