# SPDX-License-Identifier: Apache-2.0
"""Something hangs: the core is watched, and the end of the program has a limit."""
import os
import signal
import threading
import time

import pytest

from support.mistd import PATIENCE, build_folder
from support.subscribers import metric

CORE_STUCK, TOO_LATE = 70, 71


@pytest.fixture
def make(plain_mist, tmp_path):
    """A gateway with a transport that hangs where there is a file of that name in tmp_path."""
    plugin = build_folder() / "tests" / "support" / "hanging-transport.so"
    section = f'transports = ( {{ type = "plugin"; name = "slow"; path = "{plugin}"; settings = {{ directory = "{tmp_path}"; }}; }} );\n'
    return lambda **mist: plain_mist(section, mist=mist)


def hang_core(gateway, tmp_path):
    (tmp_path / "state").touch()

    def ask():
        try:
            gateway.get("/metrics")
        except OSError:
            pass

    threading.Thread(target=ask, daemon=True).start()


def ended(gateway, timeout):
    process, gateway.process = gateway.process, None
    return process.wait(timeout * PATIENCE)


def test_a_core_that_stands_still_is_seen_and_told_where(make, tmp_path):
    gateway = make(watchdog="400ms")
    gateway.until(lambda: gateway.get("/health/live").status_code == 200)
    hang_core(gateway, tmp_path)
    gateway.until(lambda: gateway.get("/health/live").status_code == 503)
    ready = gateway.get("/health/ready")
    assert ready.status_code == 503 and ready.json()["detail"] == "the core stands still for longer than mist.watchdog"
    gateway.until(lambda: "hanging-transport.so" in gateway.stderr())
    said = gateway.stderr()
    assert "the core stands still for longer than mist.watchdog, 400ms: it is at a query or a command (thread" in said
    assert "where it stands:" in said and "core_metrics_put" in said
    (tmp_path / "state").unlink()
    gateway.until(lambda: gateway.get("/health/live").status_code == 200)
    gateway.until(lambda: gateway.get("/health/ready").status_code == 200)
    gateway.until(lambda: "the core turns again" in gateway.stderr())
    assert gateway.run("typed", {"i": 1})["success"]
    assert metric(gateway, "mist_watchdog_standstills_total") >= 1


def test_a_core_that_stands_still_ends_where_that_is_wanted(make, tmp_path):
    gateway = make(watchdog="3s", **{"watchdog-action": "exit"})
    flag = tmp_path / "flag"
    job_id = gateway.submit("wait_for", {"path": str(flag)})
    gateway.wait(job_id, ["started"])
    hang_core(gateway, tmp_path)
    assert ended(gateway, 20) == CORE_STUCK
    (tmp_path / "state").unlink()
    gateway.restart()
    flag.write_text("")
    assert gateway.wait(job_id)["status"] == "finished"


def test_a_gateway_that_was_suspended_does_not_stand_still(make):
    gateway = make(watchdog="2s")
    os.kill(gateway.pid, signal.SIGSTOP)
    time.sleep(4)  # what is tried is that time passes
    os.kill(gateway.pid, signal.SIGCONT)
    assert gateway.run("typed", {"i": 1})["success"]
    assert "stands still" not in gateway.stderr()


@pytest.mark.parametrize("where,words", [("state", "the core does not end, and is left behind"), ("stop", "transport slow does not end")])
def test_the_end_is_bounded_whatever_hangs(make, tmp_path, where, words):
    gateway = make(watchdog="200ms", **{"stop-timeout": "1s"})
    flag = tmp_path / "flag"
    job_id = gateway.submit("wait_for", {"path": str(flag)})
    gateway.wait(job_id, ["started"])
    if where == "state":
        hang_core(gateway, tmp_path)
        gateway.until(lambda: "hanging-transport.so" in gateway.stderr())
    else:
        (tmp_path / "stop").touch()
    gateway.process.terminate()
    assert ended(gateway, 20) == TOO_LATE
    assert words in gateway.stderr() and "mist.stop-timeout is 1s" in gateway.stderr()
    (tmp_path / where).unlink()
    gateway.sections["mist"].pop("stop-timeout")
    gateway.configure(gateway.rendered())
    gateway.restart()
    flag.write_text("")
    assert gateway.wait(job_id)["status"] == "finished"


def test_who_asks_twice_does_not_wait_long(make, tmp_path):
    gateway = make(**{"stop-timeout": "10 minutes"})
    (tmp_path / "stop").touch()
    gateway.process.terminate()
    gateway.until(lambda: "stopping on Terminated" in gateway.stderr())
    gateway.process.terminate()
    assert ended(gateway, 20) == TOO_LATE
    assert "transport slow does not end" in gateway.stderr() and "told to end more than once" in gateway.stderr()
    (tmp_path / "stop").unlink()
    gateway.restart()
