# SPDX-License-Identifier: Apache-2.0
"""Packed artifacts in a worker with a real Spark: what runs in the executors is what runs in the driver, also when two
artifacts bring packages of one name and when one is replaced while its jobs run."""

import os
import sys
import time
import zipfile

import pyspark
import pytest

from scripted_gateway import RUNNER

pytestmark = pytest.mark.spark

LIB = """
VERSION = {version}
def double(x): return x * VERSION
class Box:
    def __init__(self, n): self.n = n * VERSION
    def shown(self): return [VERSION, self.n]
"""
JOB = """
import os, time
from pyspark.sql.functions import udf, col
from sharedlib import lib

@udf("long")
def by_udf(x): return lib.double(x)

def in_all(ctx, wait: str = ""):
    def late(x):
        from sharedlib.lib import double
        return double(x)
    numbers = ctx.spark.sparkContext.parallelize([0, 1, 2], 2)
    frame = ctx.spark.range(3).coalesce(1).orderBy("id")
    if wait:
        open(wait + ".waits", "w").close()
        while not os.path.exists(wait): time.sleep(0.02)
    return {"driver": [lib.double(x) for x in range(3)], "df": [r[0] for r in frame.select(by_udf(col("id"))).collect()],
            "rdd": numbers.map(lib.double).collect(), "closure": numbers.map(lambda x: lib.double(x)).collect(),
            "late": numbers.map(late).collect(), "late in driver": [late(x) for x in range(3)],
            "boxes": [b.shown() for b in numbers.map(lib.Box).collect()],
            "data": ctx.spark.sparkContext.parallelize([lib.Box(1)], 1).map(lambda b: b.shown()).collect(),
            "count": ctx.spark.sparkContext.parallelize([lib.Box(1)], 1).distinct().count(),
            "broadcast": ctx.spark.sparkContext.parallelize([1], 1).map(
                lambda x, b=ctx.spark.sparkContext.broadcast(lib.Box(1)): b.value.shown()).collect()}

def fails(ctx): return ctx.spark.sparkContext.parallelize([1], 1).map(lambda x: lib.none).collect()
def stops(ctx): ctx.spark.stop()
"""


def expected(version):
    of = [0, version, 2 * version]
    return {"driver": of, "df": of, "rdd": of, "closure": of, "late": of, "late in driver": of,
            "boxes": [[version, n] for n in of], "data": [[version, version]], "count": 1,
            "broadcast": [[version, version]]}


def write(path, version):
    fresh = path.with_suffix(".new")
    with zipfile.ZipFile(fresh, "w") as z:
        z.writestr("sharedlib/__init__.py", "")
        z.writestr("sharedlib/lib.py", LIB.format(version=version))
        z.writestr("team/__init__.py", "")
        z.writestr("team/job.py", JOB)
    fresh.replace(path)
    return path


@pytest.fixture
def peer(gateway):
    conf = {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}
    gateway.start_worker({"MIST_SPARK": "1", "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": RUNNER,
                          "SPARK_HOME": os.path.dirname(pyspark.__file__), "SPARK_LOCAL_IP": "127.0.0.1"},
                         sparkConf=conf, capacity=4)
    peer = gateway.peer(180)
    peer.welcome()
    return peer


def start(peer, job, path, name="in_all", **parameters):
    peer.send("start", job=job, function="f", path=str(path), className=f"team.job.{name}", parameters=parameters, attempt=1)


def run(peer, path, name="in_all"):
    start(peer, os.urandom(8).hex(), path, name)
    outcome = peer.outcome()
    return outcome.get("result", outcome.get("error"))


def test_executors_run_what_the_driver_runs(peer, tmp_path):
    team, other = write(tmp_path / "team.zip", 2), write(tmp_path / "other.whl", 7)
    assert run(peer, team) == expected(2)
    assert run(peer, other) == expected(7)
    error = run(peer, team, "fails")
    assert "module 'sharedlib.lib' has no attribute 'none'" in error and "mist_" not in error

    # Replaced while a job of it runs, beside one of the other: each has its own to the end.
    start(peer, "old", team, wait=str(tmp_path / "go"))
    start(peer, "beside", other, wait=str(tmp_path / "go"))
    while not (tmp_path / "go.waits").exists():
        time.sleep(0.02)
    write(team, 600)
    assert run(peer, team) == expected(600)
    (tmp_path / "go").touch()
    outcomes = [peer.outcome() for _ in range(2)]
    assert {o["job"]: o.get("result", o) for o in outcomes} == {"old": expected(2), "beside": expected(7)}
    assert run(peer, team) == expected(600)

    # A new Spark context is given them, too.
    run(peer, team, "stops")
    assert run(peer, team) == expected(600)
    copies = [os.path.join(folder, f) for folder, _, files in os.walk(tmp_path) for f in files if f.startswith("team-")]
    assert len([c for c in copies if os.path.getsize(c)]) == 1, copies
