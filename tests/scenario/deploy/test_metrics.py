# SPDX-License-Identifier: Apache-2.0
"""GET /metrics: what it tells, and that the parsers of those who read it take it as it is."""
import re
import time

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as prometheus

from support.mistd import until
from support.raw_http import ask
from support.subscribers import metric

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# What Prometheus 3 says, and the old one that knew another OpenMetrics.
PROMETHEUS_3 = ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
PROMETHEUS_2_5 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def fetch(gateway, accept=None):
    answer = gateway.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    return answer


def families(answer):
    parse = openmetrics if answer.headers["Content-Type"] == OPEN else prometheus
    return {family.name: family for family in parse.text_string_to_metric_families(answer.text)}


def fetch_both(gateway):
    """Plain and OpenMetrics. None: a series came up between the two."""
    before, open_, after = families(fetch(gateway)), families(fetch(gateway, OPEN)), families(fetch(gateway))

    def series(found):
        return {(s.name, frozenset(s.labels.items())) for family in found.values() for s in family.samples}

    return (after, open_) if series(before) == series(after) else None


@pytest.fixture(scope="module")
def busy(plain_mist_for_module):
    """It has run jobs."""
    gateway = plain_mist_for_module
    assert gateway.run("typed", {"i": 1})["success"]
    gateway.post("/v2/api/functions/typed/jobs", json={})
    gateway.get("/no/such/path")
    gateway.get("/metrics")
    return gateway


@pytest.mark.parametrize("accept,content_type", [(None, PLAIN), ("*/*", PLAIN), ("text/html,*/*;q=0.8", PLAIN), (PROMETHEUS_2_5, PLAIN),
                                                 (PROMETHEUS_3, OPEN), ("application/openmetrics-text", OPEN),
                                                 ("text/plain;q=0.9, application/openmetrics-text;q=0.5", PLAIN)])
def test_the_format_is_the_one_that_was_asked_for(busy, accept, content_type):
    answer = fetch(busy, accept)
    assert answer.headers["Content-Type"] == content_type and answer.headers["Vary"] == "Accept"
    assert answer.text.endswith("# EOF\n") == (content_type == OPEN)
    found = families(answer)
    assert found["mist_jobs_ended"].type == "counter" and found["mist_job_wait_seconds"].type == "histogram"
    assert found["mist_active_jobs"].type == "gauge"


def test_a_client_that_says_nothing_gets_plain_text(busy):
    """Python's adds an Accept of its own."""
    assert ask(busy, "GET /metrics HTTP/1.1", "Host: localhost").headers["content-type"] == PLAIN


def test_both_formats_tell_the_same(busy):
    """Names of families differ, but only by what the formats have of their own."""
    plain, open_ = until(lambda: fetch_both(busy), what="no new series between the two")
    infos = {name for name, family in open_.items() if family.type == "info"}
    assert {name.removesuffix("_info") if name.removesuffix("_info") in infos else name for name in plain} == set(open_)
    assert infos == {"mist_build"}
    for name, family in open_.items():
        same = plain.get(name) or plain[name + "_info"]
        assert same.documentation == family.documentation and not family.documentation[0].islower() and family.documentation.endswith(".")
        assert {(s.name, frozenset(s.labels.items())) for s in same.samples} == \
            {(s.name, frozenset(s.labels.items())) for s in family.samples if not s.name.endswith("_created")}, name


def test_names_follow_the_conventions(busy):
    for name, family in families(fetch(busy, OPEN)).items():
        assert re.fullmatch(r"(mist|process)_[a-z]+(_[a-z]+)*", name)
        assert not re.search(r"_(ms|millis|kb|mb|count|sum|bucket|total|percent|minutes)(_|$)", name)
        assert family.unit == next((unit for unit in ("seconds", "bytes") if name.endswith("_" + unit)), "")
        if family.type == "histogram":
            assert family.unit == "seconds"
        for sample in family.samples:
            assert family.type != "counter" or sample.name in (name + "_total", name + "_created")
            assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", label) for label in sample.labels)


def test_jobs_are_told_by_function_context_transport_and_outcome(plain_mist):
    gateway = plain_mist()
    labels = {"function": "typed", "context": "plain", "transport": "http"}
    for _ in range(3):
        gateway.run("typed", {"i": 1})
    assert not gateway.run("unencodable", {})["success"]
    assert metric(gateway, "mist_jobs_ended_total", outcome="finished", **labels) == 3
    assert metric(gateway, "mist_jobs_ended_total", outcome="failed", **labels) == 0
    assert metric(gateway, "mist_jobs_ended_total", outcome="failed", **labels | {"function": "unencodable"}) == 1
    assert metric(gateway, "mist_job_wait_seconds_count", **labels) == 3
    assert metric(gateway, "mist_job_run_seconds_count", outcome="finished", **labels) == 3
    assert metric(gateway, "mist_job_events_total", event="finished") == 3


def test_times_are_seconds(plain_mist):
    """A job waits for a worker that is taken, then runs as long as it takes."""
    gateway = plain_mist(contexts={"plain": {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}})
    gateway.run("typed", {"i": 1})
    began = time.time()
    first = gateway.submit("wait_for", {"path": str(gateway.home / "flag")})
    gateway.wait(first, ["started"])
    second = gateway.submit("wait_for", {"path": str(gateway.home / "flag")})
    gateway.wait(second, ["queued"])
    both = time.time()
    until(lambda: time.time() > both + 0.5)
    (gateway.home / "flag").touch()
    gateway.wait(first), gateway.wait(second)
    took = time.time() - began
    labels = {"function": "wait_for"}
    assert 0.45 < metric(gateway, "mist_job_run_seconds_sum", outcome="finished", **labels) < 2 * took
    assert 0.45 < metric(gateway, "mist_job_wait_seconds_sum", **labels) < 2 * took
    assert metric(gateway, "mist_job_wait_seconds_bucket", le="0.001", **labels) <= 1
    assert metric(gateway, "mist_job_wait_seconds_bucket", le="14400.0", **labels) == 2


def test_labels_have_a_limit(plain_mist):
    gateway = plain_mist(limits={"job-series": 1})
    for function in "typed", "unencodable", "typed", "unencodable":
        gateway.run(function, {"i": 1} if function == "typed" else {})
    assert metric(gateway, "mist_jobs_ended_total", function="typed", outcome="finished") == 2
    assert metric(gateway, "mist_jobs_ended_total", function="unencodable", outcome="failed") is None
    assert metric(gateway, "mist_jobs_ended_total", function="other", context="other", transport="http", outcome="failed") == 2


def test_requests_are_told_by_route_and_status(plain_mist):
    gateway = plain_mist()
    count = "mist_http_request_duration_seconds_count"
    jobs = {"method": "POST", "route": "/v2/api/functions/{id}/jobs"}
    gateway.run("typed", {"i": 1})
    assert gateway.post("/v2/api/functions/typed/jobs", json={}).status_code == 400
    assert gateway.post("/v2/api/functions/nobody/jobs", json={}).status_code == 404
    until(lambda: metric(gateway, count, status="2xx", **jobs) == 1)
    until(lambda: metric(gateway, count, status="4xx", **jobs) == 2)
    for i in range(20):
        assert gateway.get(f"/nothing/{i}").status_code == 404
    until(lambda: metric(gateway, count, method="other", route="other", status="4xx") == 20)
    assert gateway.session.head(gateway.url + "/health/live").status_code == 200
    assert metric(gateway, count, method="GET", route="/health/live", status="2xx") >= 1
    assert metric(gateway, "mist_http_connections") >= 1
    assert metric(gateway, "mist_http_connections_limit") > 100


def test_the_process_and_its_disk(busy):
    disk = metric(busy, "mist_data_directory_size_bytes")
    assert 0 < metric(busy, "mist_data_directory_free_bytes") <= disk
    assert metric(busy, "mist_store_database_bytes") > 4096
    assert metric(busy, "mist_store_commit_seconds_count") >= 1 and metric(busy, "mist_store_operations_total") >= 1
    assert metric(busy, "process_cpu_seconds_total") > 0
    assert abs(metric(busy, "process_start_time_seconds") - time.time()) < 600
    assert 3 < metric(busy, "process_open_fds") < metric(busy, "process_max_fds")
    assert 1 << 20 < metric(busy, "process_resident_memory_bytes") < metric(busy, "process_virtual_memory_bytes")
    assert metric(busy, "mist_build_info", version=busy.get("/v2/api/status").json()["mistVersion"]) == 1
    until(lambda: metric(busy, "mist_context_workers", context="plain", state="idle") == 1)


def test_a_process_that_only_loads_signatures_is_no_worker(plain_mist):
    gateway = plain_mist()
    assert gateway.run("typed", {"i": 1})["success"]
    assert gateway.get("/v2/api/status").json()["workers"] == len(gateway.get("/v2/api/workers").json()) == 1
    assert metric(gateway, "mist_signature_processes") == 1 and metric(gateway, "mist_worker_processes") == 1
