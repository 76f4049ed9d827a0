# SPDX-License-Identifier: Apache-2.0
"""A disk that does not answer holds up what needs it, and nothing else: the core turns."""
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import gateways
from support.mistd import PATIENCE, Mistd, until

HANG_MS = 6000
# A look at an artifact is waited for 2 s; these go on for longer.
LOOK_MS, FIRST_LOOK_MS = 12000, 6000


@pytest.fixture
def hanging(tmp_path):
    """hanging(plan): a gateway with workers in C, of which `there` has an artifact."""
    made = []
    artifact = tmp_path / "artifact.bin"
    artifact.write_bytes(b"1")

    def make(plan):
        functions = {"there": {"class-name": "echo", "context": "example", "path": str(artifact)}}
        gateway = Mistd(gateways.c_sections(functions=functions, mist={"watchdog": "4s"}), start=False, env={"MIST_FAIL_POINTS": plan})
        made.append(gateway)
        gateway.start()
        return gateway

    yield make
    for gateway in made:
        gateway.close()


def turns(gateway):
    """The core answers, and before what hangs could have ended."""
    began = time.monotonic()
    assert gateway.get("/v2/api/contexts").status_code == 200
    return time.monotonic() - began < HANG_MS * 0.75 / 1000


def hangs(gateway, point):
    return f"fail point {point}" in gateway.stderr()


def finish(gateway):
    assert "stands still" not in gateway.stderr()
    gateway.stop()
    gateway.check_sanitizers()


@pytest.mark.parametrize("point", ["launcher.command", "launcher.directory", "launcher.record", "launcher.rename"])
def test_the_files_of_a_worker_hold_up_its_own_jobs_only(hanging, point):
    gateway = hanging(f"{point}:delay={HANG_MS}@1")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(gateway.run, "echo", {"text": "late"})
        until(lambda: hangs(gateway, point), 5, "the worker's files")
        assert turns(gateway) and not answer.done()
        assert answer.result()["payload"] == "late"
    finish(gateway)


@pytest.mark.timeout(600)
def test_a_crash_is_told_though_what_was_printed_cannot_be_read(tmp_path):
    gateway = Mistd(gateways.c_sections(contexts={"one": {"runtime": "example", "worker-mode": "shared"}}),
                    env={"MIST_FAIL_POINTS": "launcher.output:delay=60000@1"})
    try:
        job = gateway.submit("crash", {}, context="one")
        assert gateway.wait(job, timeout=60)["status"] == "failed"
        assert "what it printed last cannot be read: its disk does not answer" in gateway.stderr()
        assert gateway.run("echo", {"text": "on"}, context="one")["payload"] == "on"
    finally:
        gateway.kill9()
        gateway.close()


def late_files(delay_ms, point="launcher.directory"):
    """A gateway that waits half a second for the files of a worker, and whose first one has to wait for so long."""
    return Mistd(gateways.c_sections(workers={"start-timeout": "500ms"}), env={"MIST_FAIL_POINTS": f"{point}:delay={delay_ms}@1"})


def echo(gateway):
    return gateway.post("/v2/api/functions/echo/jobs", json={"text": "x"})


def test_a_worker_whose_files_take_too_long_did_not_start(tmp_path):
    gateway = late_files(HANG_MS)
    try:
        refused = echo(gateway)
        assert refused.status_code == 503 and "were not written within 500ms (workers.start-timeout)" in refused.json()["detail"]
        gateway.configure(gateways.c_sections())  # time enough to start, on any machine
        gateway.hangup()
        until(lambda: echo(gateway).status_code == 200, 20, "the end of the delay")
        finish(gateway)
    finally:
        gateway.close()


def test_a_disk_that_does_not_answer_is_not_asked_for_one_worker_after_the_other():
    gateway = late_files(60000)
    try:
        assert "workers.start-timeout" in echo(gateway).json()["detail"]
        for _ in range(3):
            refused = echo(gateway)
            assert refused.status_code == 503 and "are still not written" in refused.json()["detail"]
        gateway.check_sanitizers()
    finally:
        gateway.kill9()  # it would wait for the disk
        gateway.close()


def test_a_runtime_whose_disk_does_not_answer_holds_up_no_other():
    gateway = late_files(60000, "launcher.command")
    try:
        assert "the programs of runtime example were not found within 500ms (workers.start-timeout)" in echo(gateway).json()["detail"]
        gateway.configure(gateways.c_sections(functions={"typed": {"path": gateways.FUNCTIONS, "class-name": "typed", "context": "plain"}},
                                              contexts={"plain": gateways.PLAIN}))
        gateway.hangup()
        assert gateway.run("typed", {"i": 1})["success"]
        refused = echo(gateway)
        assert refused.status_code == 503 and "are still not found" in refused.json()["detail"]
        gateway.check_sanitizers()
    finally:
        gateway.kill9()  # it would wait for the disk
        gateway.close()


def test_what_is_known_of_an_artifact_does_while_its_disk_does_not_answer(hanging):
    gateway = hanging(f"core.artifact.look:delay={LOOK_MS}@2")
    assert gateway.run("there", {"text": "first"})["payload"] == "first"
    before = 0

    def another_look():
        nonlocal before
        before = time.monotonic()
        return gateway.run("there", {"text": "x"}) and hangs(gateway, "core.artifact.look")

    until(another_look, 10, "another look")
    assert gateway.run("there", {"text": "third"})["payload"] == "third"
    assert time.monotonic() - before < LOOK_MS / 1000, "it was answered before the look could have ended"
    finish(gateway)


def test_an_artifact_that_cannot_be_looked_at_fails_the_request_in_words(hanging):
    gateway = hanging(f"core.artifact.look:delay={FIRST_LOOK_MS}@1,core.artifact.look:EACCES@2")
    refused = gateway.post("/v2/api/functions/there/jobs", json={"text": "x"})
    assert refused.status_code == 503 and "cannot be looked at: the disk does not answer" in refused.json()["detail"]
    assert turns(gateway) and gateway.run("echo", {"text": "other"})["payload"] == "other"
    until(lambda: gateway.post("/v2/api/functions/there/jobs", json={"text": "x"}).status_code == 404, 20, "the end of the delay")
    assert gateway.run("there", {"text": "found"})["payload"] == "found"
    finish(gateway)


def test_many_artifacts_on_a_slow_disk_are_all_looked_at(tmp_path):
    """Each look takes a while, and all of them much longer than one may."""
    (tmp_path / "artifact.bin").write_bytes(b"1")
    functions = {f"f{i}": {"class-name": "echo", "context": "example", "path": str(tmp_path / "artifact.bin")} for i in range(16)}
    gateway = Mistd(gateways.c_sections(functions=functions), env={"MIST_FAIL_POINTS": "core.artifact.look:delay=400"})
    try:
        listed = {f["name"]: f for f in gateway.get("/v2/api/functions", timeout=60 * PATIENCE).json()}
        assert [listed[name].get("error") for name in functions] == [None] * len(functions)
        finish(gateway)
    finally:
        gateway.close()


def test_a_file_system_that_does_not_answer_hides_no_artifact_of_another(tmp_path):
    (tmp_path / "artifact.bin").write_bytes(b"1")
    paths = {"one": str(tmp_path / "artifact.bin"), "two": str(tmp_path / "artifact.bin"), "three": str(tmp_path / "artifact.bin"), "elsewhere": "/proc/self/exe"}
    functions = {name: {"class-name": "echo", "context": "example", "path": path} for name, path in paths.items()}
    gateway = Mistd(gateways.c_sections(functions=functions), env={"MIST_FAIL_POINTS": "core.artifact.look:delay=60000@1,core.artifact.look:delay=60000@2"})
    try:
        with ThreadPoolExecutor(2) as pool:
            for answer in [pool.submit(gateway.post, f"/v2/api/functions/{name}/jobs", json={"text": "x"}) for name in ("one", "two")]:
                assert answer.result().status_code == 503 and "the disk does not answer" in answer.result().json()["detail"]
        assert gateway.run("elsewhere", {"text": "x"})["payload"] == "x"
        held = gateway.post("/v2/api/functions/three/jobs", json={"text": "x"})
        assert held.status_code == 503, "it costs no third thread: that one would find it"
        finish(gateway)  # which would not be in time if it waited for that
    finally:
        gateway.close()


def test_a_configuration_that_is_read_for_long_holds_up_nobody(hanging):
    gateway = hanging(f"mistd.config.read:delay={HANG_MS}@1,mistd.config.read:EIO@2")
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: hangs(gateway, "mistd.config.read"), 5, "the signal")
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: "the configuration is still being read, after " in gateway.stderr(), 5, "a word of that")
    assert turns(gateway)
    until(lambda: "the configuration was read again" in gateway.stderr(), 10, "the end of the delay")
    until(lambda: "the configuration was not taken: " in gateway.stderr() and "Input/output error" in gateway.stderr(), 10, "the second")
    finish(gateway)


def test_settings_are_taken_whatever_they_refer_to(hanging):
    gateway = hanging("mistd.config.references:delay=60000@1")
    for settings in {}, {"limits": {"queue": 1}}:
        gateway.configure(gateways.c_sections(**settings))
        gateway.hangup()  # waits until it was taken
    until(lambda: "what the configuration refers to is still being looked at, after " in gateway.stderr(), 5, "a word of that")
    finish(gateway)  # which would not be in time if it waited for that


def test_the_end_does_not_wait_for_a_configuration_that_is_being_read(hanging):
    gateway = hanging("mistd.config.read:delay=60000@1")
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: hangs(gateway, "mistd.config.read"), 5, "the signal")
    finish(gateway)


def test_nothing_is_made_of_an_artifact_that_is_being_deleted(hanging):
    gateway = hanging(f"core.artifact.remove:delay={HANG_MS}@1,core.artifact.remove:EIO@2")
    path = gateway.data / "artifacts" / "a.bin"
    path.write_bytes(b"1")
    made = {"name": "made", "path": "a.bin", "className": "echo", "defaultContext": "example"}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(gateway.delete, "/v2/api/artifacts/a.bin")
        until(lambda: hangs(gateway, "core.artifact.remove"), 5, "the deletion")
        assert turns(gateway)
        for request in gateway.post("/v2/api/functions", json=made), gateway.delete("/v2/api/artifacts/a.bin"):
            assert request.status_code == 409 and "is being deleted" in request.json()["detail"]
        assert not answer.done()
        assert answer.result().status_code == 200 and not path.exists()
    assert gateway.get("/v2/api/functions/made").status_code == 404
    path.write_bytes(b"1")
    refused = gateway.delete("/v2/api/artifacts/a.bin")
    assert refused.status_code == 503 and "Input/output error" in refused.json()["detail"] and path.exists()
    assert gateway.post("/v2/api/functions", json=made).status_code == 200
    finish(gateway)


def test_an_artifact_that_cannot_be_renamed_says_nothing_of_the_store(hanging):
    gateway = hanging("transport.http.artifact.rename:EIO@1")
    files = [("file", ("new.bin", b"1"))]
    refused = gateway.post("/v2/api/deployments", files=files)
    assert refused.status_code == 503 and refused.headers["Retry-After"]
    assert refused.json()["detail"] == "nothing was changed: the artifact new.bin cannot be replaced: Input/output error"
    assert "the store cannot write" not in gateway.stderr()
    assert gateway.post("/v2/api/deployments", files=files).status_code == 200
    finish(gateway)
