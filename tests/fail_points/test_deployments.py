# SPDX-License-Identifier: Apache-2.0
"""A deployment is made whole or not at all, wherever the gateway is killed in it: the next one has all of the old or all of the new."""
import json
import subprocess

import pytest
import requests

from fail_points.walk import POINTS
from support import gateways
from support.mistd import PATIENCE, DidNotStart, Mistd, gateway_binary, until

FILES = ("a.bin", "b.bin")
# Where it is killed, and whether the deployment has taken effect there.
ENDS = {"store.deployment.keep:kill@1": False, "store.deployment.keep:kill@2": False, "store.deployment.journal:kill@1": False,
        "transport.http.artifact.rename:kill@1": False, "transport.http.artifact.rename:kill@2": False, "store.definition:kill@1": False,
        "store.commit:kill@1": False, "store.committed:kill@1": True, "store.deployment.settle:kill@1": True}
# Where the next gateway is killed, after one that was killed between the two files.
ENDS_OF_THE_NEXT = ("store.deployment.undo:kill@1", "store.deployment.undo:kill@2", "store.deployment.settle:kill@1")
REFUSALS = ("store.deployment.keep:ENOSPC@2", "store.deployment.journal:ENOSPC@1", "store.definition:EINVAL@1",
            "transport.http.artifact.rename:EIO@2")


@pytest.fixture
def gateway():
    gateway = Mistd(gateways.c_sections())
    yield gateway
    gateway.close()


def deploy(gateway, content, jobs):
    context = {"name": "mine", "runtime": "example", "workerMode": "shared", "maxJobs": jobs}
    function = {"name": "made", "path": "a.bin", "className": "echo", "defaultContext": "mine"}
    files = [*(("file", (name, content)) for name in FILES),
             ("deployment", (None, json.dumps({"contexts": [context], "functions": [function]})))]
    return gateway.post("/v2/api/deployments", files=files)


def deploy_old(gateway):
    answer = deploy(gateway, b"old", 2)
    assert answer.status_code == 200, answer.text


def deploy_and_die(gateway):
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        deploy(gateway, b"new", 3)
    died(gateway)


def died(gateway):
    until(lambda: gateway.process.poll() is not None, 60, "the end of mistd")
    assert gateway.process.returncode == -9, gateway.log()
    gateway.process = None


def plan(gateway, text):
    gateway.env = {k: v for k, v in gateway.env.items() if k != "MIST_FAIL_POINTS"}
    if text:
        gateway.env["MIST_FAIL_POINTS"] = text


def state(gateway):
    """Of the artifacts, then of the context."""
    files = [gateway.get(f"/v2/api/artifacts/{name}").text for name in FILES]
    return [*files, gateway.get("/v2/api/contexts/mine").json()["maxJobs"]]


def check_data(gateway):
    """Its exit status, and what it prints."""
    done = subprocess.run([gateway_binary(), "--check-data", gateway.data], capture_output=True, text=True, timeout=60 * PATIENCE)
    return done.returncode, done.stdout


def left(gateway):
    return sorted(p.name for p in (gateway.data / "artifacts").iterdir())


def check(gateway, is_new):
    there = state(gateway)
    assert there == (["new", "new", 3] if is_new else ["old", "old", 2]), gateway.log()
    assert left(gateway) == list(FILES)
    assert gateway.run("made", {"text": "x"})["payload"] == "x"
    gateway.stop()
    gateway.check_sanitizers()


def test_every_fail_point_of_a_deployment_is_here():
    plans = [*ENDS, *ENDS_OF_THE_NEXT, *REFUSALS]
    assert {p.name for p in POINTS if p.name.startswith("store.deployment.")} <= {text.split(":")[0] for text in plans}


@pytest.mark.parametrize("point", ENDS)
def test_whoever_is_killed_in_a_deployment_leaves_all_of_the_old_or_of_the_new(gateway, point):
    deploy_old(gateway)
    gateway.stop()
    plan(gateway, point)
    gateway.start()
    deploy_and_die(gateway)
    plan(gateway, None)
    gateway.start()
    check(gateway, ENDS[point])


@pytest.mark.parametrize("point", ENDS_OF_THE_NEXT)
def test_whoever_is_killed_while_he_undoes_one_is_followed_by_another_who_does(gateway, point):
    deploy_old(gateway)
    gateway.stop()
    plan(gateway, "transport.http.artifact.rename:kill@2")
    gateway.start()
    deploy_and_die(gateway)
    plan(gateway, point)
    with pytest.raises(DidNotStart) as stopped:
        gateway.start()
    assert stopped.value.code == -9
    plan(gateway, None)
    gateway.start()
    assert "was not finished and is undone: 2 of its 2 artifacts" in gateway.stderr()
    check(gateway, False)


@pytest.mark.parametrize("point", REFUSALS)
def test_what_is_refused_changes_nothing_and_is_made_the_next_time(gateway, point):
    deploy_old(gateway)
    gateway.stop()
    plan(gateway, point)
    gateway.start()
    refused = deploy(gateway, b"new", 3)
    assert refused.status_code in (500, 503) and "nothing was changed" in refused.json()["detail"], refused.text
    assert state(gateway) == ["old", "old", 2]
    answer = deploy(gateway, b"new", 3)
    assert answer.status_code == 200, answer.text
    until(lambda: left(gateway) == list(FILES), what="an end of the staged files")
    check(gateway, True)


def test_a_disk_that_refuses_to_undo_one_stops_no_start(gateway):
    deploy_old(gateway)
    gateway.stop()
    plan(gateway, "transport.http.artifact.rename:kill@2")
    gateway.start()
    deploy_and_die(gateway)
    code, said = check_data(gateway)
    assert code == 0 and " of 2 artifacts is not finished: the next start finishes or undoes it" in said, said
    plan(gateway, "store.deployment.undo:EIO@1")
    gateway.start()
    assert "a.bin is the new one, although it was to be put back: Input/output error" in gateway.stderr()
    aside = gateway.data / "artifacts" / ".deployment-aside"
    assert (aside / "journal").is_file() and (aside / "0").read_text() == "old"
    assert state(gateway) == ["new", "old", 2]
    answer = deploy(gateway, b"new", 3)
    assert answer.status_code == 200, answer.text
    assert state(gateway) == ["new", "new", 3]
    gateway.stop()
    gateway.check_sanitizers()
    code, said = check_data(gateway)
    assert code == 1 and f"{aside} has what is left of a deployment that could not be undone" in said, said
