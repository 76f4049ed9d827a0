# SPDX-License-Identifier: Apache-2.0
"""What clients that know Mist 1.1 only send, and what they rely on."""
import os
from email.utils import formatdate, parsedate_to_datetime

import pytest

MISTS = ("name", "sparkConf", "downtime", "maxJobs", "precreated", "runOptions", "workerMode", "streamingDuration", "maxConnFailures")


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    return plain_mist_for_module


@pytest.fixture
def mist(plain_mist):
    return plain_mist(**{"context-defaults": {"runtime": "plain", "worker-mode": "shared", "jobs-per-worker": 4}})


def test_a_context_may_be_exclusive_where_others_are_shared(mist):
    made = mist.post("/v2/api/contexts", json={"name": "one", "workerMode": "exclusive"})
    assert made.status_code == 200 and made.json()["jobsPerWorker"] == 1
    refused = mist.post("/v2/api/contexts", json={"name": "two", "workerMode": "exclusive", "jobsPerWorker": 2})
    assert refused.status_code == 400 and refused.json()["detail"].startswith("jobsPerWorker: ")


def test_a_client_that_knows_nine_fields_changes_no_other(mist):
    mist.post("/v2/api/contexts", json={"name": "mine", "runtime": "default", "jobsPerWorker": 3, "maxConnFailures": 2147483647})
    shown = mist.get("/v2/api/contexts/mine").json()
    body = {name: shown[name] for name in MISTS} | {"maxJobs": 7}
    assert mist.put("/v2/api/contexts/mine", json=body).json() == shown | {"maxJobs": 7}
    body |= {"runtime": "plain", "jobsPerWorker": 2}
    assert mist.put("/v2/api/contexts/mine", json=body).json() == shown | body


def test_a_part_of_a_second_outlives_a_restart(mist):
    mist.post("/v2/api/contexts", json={"name": "quick", "streamingDuration": "500ms"})
    tag = mist.get("/v2/api/contexts/quick").headers["ETag"]
    mist.restart()
    again = mist.get("/v2/api/contexts/quick")
    assert again.headers["ETag"] == tag and again.json()["streamingDuration"] == "1s"


def test_a_function_that_is_written_back_keeps_its_retries(mist):
    body = {"name": "f", "path": mist.functions_path, "className": "typed", "defaultContext": "plain"}
    mist.post("/v2/api/functions", json={**body, "retries": 3})
    assert mist.put("/v2/api/functions", json=body).status_code == 200
    assert mist.get("/v2/api/functions/f").json()["retries"] == 3


def test_a_file_that_is_not_there_is_a_bad_request(gateway):
    run = {"path": "/no/such.py", "className": "f", "context": "plain", "fakeName": "x"}
    assert gateway.post("/v2/hidden/devrun", json=run).status_code == 400
    assert gateway.post("/jobs", json={"path": "/no/such.py", "className": "f", "namespace": "plain"}).status_code == 400


def test_a_page_may_be_asked_to_be_large(gateway):
    assert gateway.get("/v2/api/jobs?limit=1000000").status_code == 200


def test_a_worker_says_where_its_master_is(gateway):
    gateway.run("typed", {"i": 1})
    worker = gateway.get("/v2/api/workers").json()[0]
    told = gateway.get(f"/v2/api/workers/{worker['name']}").json()["initInfo"]
    address = gateway.url.removeprefix("http://")
    assert [told[name] for name in ("logService", "masterAddress", "masterHttpConf")] == [address] * 3
    assert told["maxArtifactSize"] == 262144000 and told["maxJobs"] == 4
    assert "-pool-" in worker["name"]


def test_an_artifact_is_sent_if_it_was_modified(gateway):
    gateway.post("/v2/api/artifacts", files={"file": ("dated.py", b"x = 1\n")})
    url = "/v2/api/artifacts/dated.py"
    modified = gateway.get(url).headers["Last-Modified"]
    seconds = parsedate_to_datetime(modified).timestamp()
    assert gateway.get(url, headers={"If-Modified-Since": modified}).status_code == 304
    for since in formatdate(seconds - 1, usegmt=True), "yesterday":
        assert gateway.get(url, headers={"If-Modified-Since": since}).content == b"x = 1\n"
    assert gateway.get(url, headers={"If-Modified-Since": modified, "If-None-Match": '"other"'}).status_code == 200
    part = gateway.get(url, headers={"Range": "bytes=0-0", "If-Range": modified})
    assert (part.status_code, part.content) == (206, b"x")


@pytest.mark.parametrize("mtime, is_told", [(0, True), (-1, False), (253402300800, False), (1 << 56, False), (-(1 << 56), False)])
def test_an_artifact_of_any_time_is_sent(gateway, mtime, is_told):
    """What the file system cannot keep it takes the nearest of."""
    gateway.post("/v2/api/artifacts", files={"file": ("odd.py", b"x = 1\n")}, params={"force": "true"})
    path = gateway.data / "artifacts" / "odd.py"
    os.utime(path, (mtime, mtime))
    is_told = is_told or 0 <= path.stat().st_mtime < 253402300800
    for headers in {}, {"If-Modified-Since": "yesterday"}, {"Range": "bytes=0-", "If-Range": "yesterday"}:
        answer = gateway.get("/v2/api/artifacts/odd.py", headers=headers)
        assert (answer.status_code, answer.content) == (200, b"x = 1\n"), headers
        assert ("Last-Modified" in answer.headers) == is_told
