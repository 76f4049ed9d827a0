# SPDX-License-Identifier: Apache-2.0
"""The one Spark of this process: made once, shared by all jobs, made again if a function stopped it.

PySpark is the user's and is imported only when a session is asked for. Under spark-submit the JVM is there already
and the context's conf with it; a worker started as plain Python launches the JVM itself and passes the conf on.

What a job does in Spark is tied to it by properties of its thread: the job group (what `cancel` stops), the scheduler
pool (one for each slot, so that jobs of one worker share the cluster fairly) and the word `mist` in log4j's thread
context. PySpark gives each Python thread a JVM thread of its own, so these are set in the job's thread before the
function runs."""

import glob
import importlib.util
import logging
import os
import sys
import threading
import zipfile

CATALOG = "spark.sql.catalogImplementation"

_log = logging.getLogger("mist.worker")
_lock = threading.RLock()
_conf = {}
_capacity = 1
_hive = None          # the second session, see hive_session()
_modules = []         # loaded before PySpark was: to be registered once it is
_thread_context = None  # log4j's, looked up once: each name in its path costs a round trip
_packages = {}        # name → artifacts.Package that jobs may use
_given_to = None      # the SparkContext whose executors have this package
_parent = os.getppid()


def is_wanted():
    """The gateway says so for contexts whose runtime is a Spark."""
    return os.environ.get("MIST_SPARK") == "1"


def configure(conf, capacity):
    global _capacity
    _conf.update(conf)
    _capacity = capacity


def session():
    """The SparkSession, made if there is none or the last one was stopped."""
    with _lock:
        SparkSession = _import_pyspark()
        standing = _active_context()
        builder = SparkSession.builder
        if standing is None:
            _configure(builder)
        made = builder.getOrCreate()
        for module in _modules:
            pickle_by_value(module)
        _modules.clear()
        for package in list(_packages.values()):
            give(package)
        return made


def sql_context(session):
    """Spark 1's way in, for functions that ask for it."""
    from pyspark.sql import SQLContext
    return SQLContext(session.sparkContext, session)


def hive_context(session):
    from pyspark.sql import HiveContext
    hive = hive_session(session)
    made = HiveContext(session.sparkContext, None, hive._jsparkSession.sqlContext())
    made.sparkSession = hive  # it takes the active one
    return made


def hive_session(session):
    """A session whose catalogue is Hive's: the worker's own if its context was configured so, else a second one, made
    once and shared as the first is. Which catalogue a session has is settled when it is made, and the first one is
    made before any function is known."""
    global _hive
    with _lock:
        context = session.sparkContext
        if context.getConf().get(CATALOG) == "hive":
            return session
        if _hive is None or _hive.sparkContext is not context:
            made = context._jvm
            for name in session._jsparkSession.getClass().getName().split("."):
                made = getattr(made, name)
            _hive = type(session)(context, made(context._jsc.sc(), {CATALOG: "hive"}))
        return _hive


def _configure(builder):
    is_submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not is_submitted:
        for key, value in _conf.items():
            builder.config(key, value)
    if _capacity > 1 and "spark.scheduler.mode" not in _conf:
        builder.config("spark.scheduler.mode", "FAIR")


def make_importable():
    """A Python that PySpark was not installed for can use the one in SPARK_HOME, as spark-submit arranges it."""
    home = os.environ.get("SPARK_HOME")
    if home and importlib.util.find_spec("pyspark") is None:
        sys.path += [os.path.join(home, "python"), *glob.glob(os.path.join(home, "python", "lib", "py4j-*.zip"))]


def _import_pyspark():
    try:
        from pyspark.sql import SparkSession
    except ImportError as e:
        if (e.name or "").partition(".")[0] not in ("pyspark", "py4j"):
            raise
        raise RuntimeError("this worker has no Spark: PySpark is not installed for its Python and SPARK_HOME names "
                           "none. Give the function a context whose runtime is a Spark") from None
    return SparkSession


def is_up():
    return _active_context() is not None


def _active_context():
    """The SparkContext that lives, or None. Never makes one."""
    pyspark = sys.modules.get("pyspark")
    context = getattr(pyspark, "SparkContext", None)
    active = getattr(context, "_active_spark_context", None)
    return active if active is not None and active._jsc is not None else None


def describe():
    """The members of hello that Spark knows."""
    context = _active_context()
    if context is None:
        return {}
    told = {"sparkVersion": context.version}
    if context.uiWebUrl:
        told["sparkUi"] = context.uiWebUrl
    return told


def enter(job_id, description, slot):
    """Ties the calling thread's Spark jobs to the job, and unties them from the one before."""
    context = _active_context()
    if context is None:
        return
    context._jsc.sc().setLocalProperties(context._jvm.java.util.Properties())
    context.setJobGroup(job_id, description, interruptOnCancel=True)
    context.setLocalProperty("spark.scheduler.pool", f"mist-{slot}")
    if _thread_context is not None:
        _thread_context.put("mist", job_id)


def cancel(job_id):
    """Stops what Spark runs for the job."""
    context = _active_context()
    if context is None:
        return
    try:
        context.cancelJobGroup(job_id)
    except Exception as e:  # the context is just being stopped, or the JVM is gone: the thread is interrupted anyway
        _log.warning("cannot cancel Spark's job group %s: %s", job_id, e)


def is_lost():
    """True if there was a JVM and it is gone."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        return os.getppid() != _parent
    context = _active_context()
    process = getattr(getattr(context, "_gateway", None), "proc", None)
    return process is not None and process.poll() is not None


def stop():
    """May take long or hang: the caller bounds it."""
    context = _active_context()
    if context is not None:
        context.stop()


def give(package):
    """Gives a packed artifact to the executors, unless they have it."""
    context = _active_context()
    with _lock:
        _packages[package.name] = package
        if context is None or package.given_to is context:
            return
    try:
        _give_packages(context)
    except Exception as e:
        _log.warning("the executors have no package mist: %s", e)
    try:
        context.addFile(package.path)
        stub = package.stub(context._temp_dir)
        context.addPyFile(stub)
        package.given = (stub, *(os.path.join(_files_of(context), os.path.basename(p)) for p in (package.path, stub)))
        package.given_to = context
    except Exception as e:  # what runs in the driver works all the same
        _log.warning("the executors cannot be given %s: %s", package.shown, e)


def take_back(package):
    """No task that starts from now on needs it."""
    with _lock:
        _packages.pop(package.name, None)
    name = package.name + ".zip"
    context = package.given_to
    if context is not None and name in context._python_includes:
        context._python_includes.remove(name)
    sys.path[:] = [p for p in sys.path if os.path.basename(p) != name]


def _files_of(context):
    from pyspark import SparkFiles
    return SparkFiles.getRootDirectory()


def _give_packages(context):
    """The modules of a packed artifact are imported by the executors too, and import this package or mistpy there."""
    global _given_to
    if _given_to is context:
        return
    folder = os.path.dirname(os.path.abspath(__file__))
    stand_in = os.path.join(folder, "stand_in")
    mistpy = importlib.util.find_spec("mistpy")
    packages = [(folder, "mist")]
    if mistpy is not None and (mistpy.origin or "").startswith(stand_in + os.sep):
        packages.append((os.path.join(stand_in, "mistpy"), "mistpy"))
    archive = os.path.join(context._temp_dir, "mist-packages.zip")  # Spark's own, which goes with it
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        for place, package in packages:
            for file in glob.glob(os.path.join(glob.escape(place), "**", "*.py"), recursive=True):
                if package == "mistpy" or not file.startswith(stand_in + os.sep):
                    z.write(file, os.path.join(package, os.path.relpath(file, place)))
    context.addPyFile(archive)
    _given_to = context


def pickle_by_value(module):
    """Executors cannot import a function's module by the name it has here, so closures must carry its code."""
    pickle = sys.modules.get("pyspark.cloudpickle")
    if pickle is None:
        _modules.append(module)
    elif hasattr(pickle, "register_pickle_by_value"):
        pickle.register_pickle_by_value(module)


def pickle_by_reference(module):
    """The module is no longer in use."""
    pickle = sys.modules.get("pyspark.cloudpickle")
    if pickle is None:
        _modules[:] = [m for m in _modules if m is not module]
    elif hasattr(pickle, "unregister_pickle_by_value"):
        try:
            pickle.unregister_pickle_by_value(module)
        except ValueError:
            pass  # it never was


def attach_log(path, pattern):
    """Makes log4j write what passes to the FIFO at `path` as well. What passes: WARN and above, or the level that
    spark.log.level names. Needs log4j 2, which Spark has since 3.3."""
    global _thread_context
    context = _active_context()
    if context is None:
        return
    jvm = context._jvm
    log4j = jvm.org.apache.logging.log4j
    core = log4j.core
    layout = core.layout.PatternLayout.newBuilder().withPattern(pattern).build()
    stream = jvm.java.io.FileOutputStream(path)
    appender = core.appender.OutputStreamAppender.createAppender(layout, None, stream, "mist", False, True)
    appender.start()
    level = log4j.Level.toLevel(context.getConf().get("spark.log.level") or "WARN")
    logger_context = log4j.LogManager.getContext(False)
    configuration = logger_context.getConfiguration()
    configuration.addAppender(appender)
    configuration.getRootLogger().addAppender(appender, level, None)
    # It warns of every pool that no file describes; ours are named by enter() and need none.
    core.config.Configurator.setLevel("org.apache.spark.scheduler.FairSchedulableBuilder", log4j.Level.ERROR)
    logger_context.updateLoggers()
    _thread_context = log4j.ThreadContext


def print_to(path):
    """Makes System.out and System.err of the JVM append to a file. log4j has its own hold of what they were before."""
    jvm = _active_context()._jvm
    stream = jvm.java.io.PrintStream(jvm.java.io.FileOutputStream(path, True), True)
    jvm.java.lang.System.setOut(stream)
    jvm.java.lang.System.setErr(stream)
