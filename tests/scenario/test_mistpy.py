# SPDX-License-Identifier: Apache-2.0
"""Functions written for Mist's Python library, in a gateway of ours."""

import zipfile

import pytest

from support.gateways import Gateway
from support.mistd import ROOT, runtimes, until

FUNCTIONS = ROOT / "tests" / "support" / "mistpy_functions.py"
NAMES = ("multiplied", "with_sql_context", "with_hive_session", "streamed", "streams_for_ever", "without_spark")
pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def gateway():
    context = {"runtime": "default", "worker-mode": "shared", "max-jobs": 1, "streaming-duration": "500ms",
               "spark-conf": {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}}
    made = Gateway({"runtimes": runtimes(), "contexts": {"stream": context},
                    "functions": {n: {"path": str(FUNCTIONS), "class-name": n, "context": "stream"} for n in NAMES}})
    yield made
    print(made.log())
    made.close()


def test_their_signatures_are_shown(gateway):
    shown = gateway.get("/v2/api/functions/multiplied").json()
    assert shown["lang"] == "python" and shown["tags"] == []
    assert shown["execute"] == {
        "numbers": {"type": "MList", "args": [{"type": "MInt"}]}, "by": {"type": "MOption", "args": [{"type": "MInt"}]},
        "note": {"type": "MOption", "args": [{"type": "MString"}]}}
    tags = {name: gateway.get(f"/v2/api/functions/{name}").json()["tags"] for name in NAMES[1:4]}
    assert tags == {"with_sql_context": ["sql"], "with_hive_session": ["hive", "sql"], "streamed": ["streaming"]}
    assert "on_spark_context" in gateway.get("/v2/api/functions/without_spark").json()["error"]


def test_arguments_are_checked_before_there_is_a_job(gateway):
    for wrong in ({}, {"numbers": "1"}, {"numbers": [1], "by": "2"}):
        assert gateway.post("/v2/api/functions/multiplied/jobs", json=wrong).status_code == 400
    assert gateway.get("/v2/api/functions/multiplied/jobs").json() == []


def test_they_run(gateway, tmp_path):
    people = tmp_path / "people.json"
    people.write_text('{"name": "Ada"}\n{"name": "Grace"}\n')
    assert gateway.run("multiplied", {"numbers": [1, 2], "by": 5})["payload"] == {"result": [5, 10], "note": None}
    assert gateway.run("with_sql_context", {"path": str(people)})["payload"]["names"] == ["Ada", "Grace"]
    assert gateway.run("with_hive_session")["payload"]["rows"] == [["a", 1], ["b", 2]]


def test_a_stream_has_the_contexts_interval_and_can_be_cancelled(gateway):
    assert gateway.run("streamed", {"numbers": [1, 2, 3]})["payload"] == {"result": [2, 3, 4], "interval": 0.5}
    job_id = gateway.submit("streams_for_ever")
    until(lambda: "a batch of 1" in gateway.logs(job_id), 120, what="a batch")
    gateway.cancel(job_id)
    assert gateway.wait(job_id, timeout=120)["status"] == "cancelled"
    assert gateway.run("streamed", {"numbers": [4, 5]})["payload"]["result"] == [5, 6]


def test_an_egg_is_uploaded_and_named_by_package_module_function(gateway, tmp_path):
    egg = tmp_path / "mistpys.egg"
    with zipfile.ZipFile(egg, "w") as z:
        z.writestr("mistpys/__init__.py", "")
        z.write(FUNCTIONS, "mistpys/functions.py")
    with open(egg, "rb") as f:
        assert gateway.post("/v2/api/artifacts", files={"file": (egg.name, f)}).status_code == 200
    told = gateway.post("/v2/api/functions", json={"name": "packed", "path": egg.name, "defaultContext": "stream",
                                                   "className": "mistpys.functions.multiplied"})
    assert told.status_code == 200 and set(told.json()["execute"]) == {"numbers", "by", "note"}
    assert gateway.run("packed", {"numbers": [3], "note": "x"})["payload"] == {"result": [6], "note": "x"}
