# SPDX-License-Identifier: Apache-2.0
"""A worker with a real Spark: started by spark-submit, as the gateway does, and as plain Python."""

import os
import random
import sys
import zipfile

import pyspark
import pytest

from scripted_gateway import ROOT, RUNNER, WAIT_S

pytestmark = pytest.mark.spark

SPARK_HOME = os.path.dirname(pyspark.__file__)
JOBS = os.path.join(ROOT, "jobs")
START_S = 180

CODE = """
import subprocess, sys, time
import mist

class Box:
    def __init__(self, n): self.n = n

def shifted(ctx, by: int):
    boxes = ctx.spark.sparkContext.parallelize([Box(1), Box(2)])
    return boxes.map(lambda box: Box(box.n + by).n).collect()

def slow(ctx):
    ctx.log.info("slow")
    def nap(x):
        time.sleep(120); return x
    return ctx.spark.sparkContext.parallelize([1], 1).map(nap).count()

def frame(ctx):
    return ctx.spark.sql("select 1 as a, cast(1.5 as decimal(5,2)) as b, date'2019-10-07' as c, double('NaN') as d, "
                         "named_struct('x', array(1,2)) as e, map('k', binary('b')) as f, cast(null as string) as g")

def twice(ctx): return ctx.spark.sql("select 1 as a, 2 as a")

def warns(ctx, word: str):
    jvm = ctx.spark.sparkContext._jvm
    log = jvm.org.slf4j.LoggerFactory.getLogger("the.users.Logger")
    log.info("not this"); log.warn(word + " one\\ntwo"); log.error("with trace", jvm.java.lang.RuntimeException("deep"))

def properties(ctx):
    sc = ctx.spark.sparkContext
    found = [sc.getLocalProperty(k) for k in ("spark.jobGroup.id", "spark.scheduler.pool", "mine")]
    sc.setLocalProperty("mine", "left over")
    return found

def conf(ctx, key: str): return ctx.spark.sparkContext.getConf().get(key)
def stops(ctx): ctx.spark.stop()
def shows(ctx):
    ctx.spark.range(2).show()
    system = ctx.spark.sparkContext._jvm.java.lang.System
    system.out.println("by the JVM"); system.err.println("by its other stream")
    subprocess.run(["echo", "by a child"]); print("by Python", file=sys.stderr)
    ctx.spark.sparkContext._jvm.org.slf4j.LoggerFactory.getLogger("L").warn("logged")
def bad_sql(ctx): return ctx.spark.sql("select nothing from nowhere")
def kills_jvm(ctx):
    try: ctx.spark.sparkContext._jvm.java.lang.Runtime.getRuntime().halt(9)
    except Exception: time.sleep(60)
"""


@pytest.fixture(params=["spark-submit", "python"])
def launch(request, gateway):
    conf = {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}

    def start(**changes):
        environment = {"MIST_SPARK": "1", "SPARK_HOME": SPARK_HOME, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": "",
                       "SPARK_LOCAL_IP": "127.0.0.1"}
        command = [sys.executable, "-m", "mist.worker"]
        if request.param == "spark-submit":
            command = [os.path.join(SPARK_HOME, "bin", "spark-submit"), "--name", "w1"]
            for key, value in conf.items():
                command += ["--conf", f"{key}={value}"]
            command.append(os.path.join(RUNNER, "mist", "worker.py"))
        else:
            environment["PYTHONPATH"] = RUNNER
        start.process = gateway.start_worker(environment, command, sparkConf=conf, **changes)
        peer = gateway.peer(START_S)
        start.hello = peer.welcome()
        return peer
    start.kind = request.param
    return start


def test_the_shipped_functions_run(launch, tmp_path):
    peer = launch()
    assert launch.hello["sparkVersion"] == pyspark.__version__ and "sparkUi" not in launch.hello
    text = tmp_path / "text"
    text.write_text("The cat and THE dog\n\n  and a bird, the   End\nthe end of\tthe tale\n")

    def run(folder, name, /, **parameters):
        return peer.run(f"job-{folder}-{random.random()}", os.path.join(JOBS, folder, name + ".py"), name, **parameters)

    assert run("wordcount", "wordcount", path=str(text), top=3)["result"] == [
        {"word": "the", "count": 5}, {"word": "and", "count": 2}, {"word": "end", "count": 2}]
    assert len(run("wordcount", "wordcount", path=str(text))["result"]) == 10 - 1
    assert "PATH_NOT_FOUND" in run("wordcount", "wordcount", path="/no/such/text")["error"]
    assert run("log-search", "log_search", filePath=str(text), filters=["the", "cat", "bird"])["result"] == {
        "count": 0, "result": []}
    assert run("log-search", "log_search", filePath=str(text), filters=["the", "end"])["result"] == {
        "count": 1, "result": ["the end of\tthe tale"]}
    assert run("log-search", "log_search", filePath=str(text), filters=[])["result"]["count"] == 4
    assert abs(run("pi", "pi", samples=400_000)["result"] - 3.1416) < 0.02
    assert run("hello", "hello", name="world")["result"] == {"greeting": "Hello, world!"}
    failed = run("fails-on-purpose", "fails_on_purpose")
    assert failed["type"] == "failed" and "RuntimeError: on purpose" in failed["error"]
    peer.drain()
    assert launch.process.wait(WAIT_S) == 0


def test_what_functions_do_with_spark(launch, user_file, tmp_path):
    code = user_file(CODE)
    peer = launch(capacity=2)
    assert peer.run("closure", code, "shifted", by=10)["result"] == [11, 12]
    assert peer.run("frame", code, "frame")["result"] == [
        {"a": 1, "b": 1.5, "c": "2019-10-07", "d": None, "e": {"x": [1, 2]}, "f": {"k": "Yg=="}, "g": None}]
    assert "two columns are named 'a'" in peer.run("twice", code, "twice")["error"]
    assert "nowhere" in peer.run("sql", code, "bad_sql")["error"]
    assert peer.run("conf", code, "conf", key="spark.scheduler.mode")["result"] == "FAIR"

    group, pool, mine = peer.run("p1", code, "properties")["result"]
    assert group == "p1" and pool in ("mist-0", "mist-1") and mine is None
    assert peer.run("p2", code, "properties")["result"] == ["p2", pool, None]

    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as z:
        z.writestr("users_pkg/__init__.py", "")
        z.writestr("users_pkg/tool.py", "def double(x): return 2 * x\n")
        z.writestr("users_pkg/job.py", "from users_pkg import tool\ndef f(ctx): return ctx.spark.sparkContext"
                                       ".parallelize([1, 2]).map(lambda x: tool.double(x)).collect()\n")
    peer.send("start", job="packed", function="f", path=str(packed), className="users_pkg.job.f", parameters={},
              attempt=1)
    assert peer.outcome()["result"] == [2, 4]

    peer.start("slow", code, "slow")
    peer.expect("log")
    assert peer.run("beside", code, "shifted", by=1)["result"] == [2, 3]
    peer.send("cancel", job="slow", reason="a test")
    assert peer.outcome()["type"] == "cancelled"

    assert peer.run("stops", code, "stops")["type"] == "finished"
    assert peer.run("again", code, "shifted", by=1)["result"] == [2, 3]
    peer.drain()
    assert launch.process.wait(WAIT_S) == 0


def test_what_is_printed_with_spark_is_in_the_jobs_log(launch, gateway, user_file):
    code = user_file(CODE)
    peer = launch()
    assert peer.run("j", code, "shows")["type"] == "finished"
    said = [(e["level"], e["message"]) for e in peer.log("j")]
    assert [text for text in said if text != ("WARN", "L: logged")] == [
        *(("INFO", line) for line in ("+---+", "| id|", "+---+", "|  0|", "|  1|", "+---+", "", "by the JVM", "by its other stream",
                                      "by a child")), ("WARN", "by Python")]
    assert said.count(("WARN", "L: logged")) == 1 and all(f"by {who}\n" in gateway.said() for who in ("the JVM", "a child", "Python"))
    peer.drain()
    assert launch.process.wait(30) == 0


def test_what_the_driver_logs_reaches_the_job_whose_thread_logs(launch, user_file):
    code = user_file(CODE)
    peer = launch(capacity=2)
    for job in ("a", "b"):
        peer.start(job, code, "warns", word=job)
    for _ in range(2):
        assert peer.outcome()["type"] == "finished"
    for job in ("a", "b"):
        first, second = peer.log(job)
        assert first["level"] == "WARN" and first["message"] == f"Logger: {job} one\ntwo"
        assert second["level"] == "ERROR" and "with trace" in second["message"]
        assert "RuntimeException: deep" in second["message"]


def test_a_worker_ends_with_its_jvm(launch, user_file):
    peer = launch()
    peer.start("j", user_file(CODE), "kills_jvm")
    assert launch.process.wait(WAIT_S) != 0
    assert peer.is_over.wait(WAIT_S)
