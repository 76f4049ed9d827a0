# SPDX-License-Identifier: Apache-2.0
"""The program: `python -m mist.worker`, or this file as the application of spark-submit.

It starts Spark if the context has one, then serves jobs until the gateway drains it, refuses it, or is gone. Exit status: 0 drained, 2 no
usable worker file, 3 Spark could not start or ended, 4 refused, 5 the gateway was gone for longer than the grace, 143 SIGTERM.

The process always ends: Spark is given a few seconds to stop, then os._exit() takes whatever thread still hangs."""

import os
import platform
import signal
import sys
import threading
import time

if __package__ in (None, ""):
    # Run by its path: the folder on sys.path is the package itself, whose modules (logs, jobs, …) would hide the user's.
    _package = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != _package]
    sys.path.insert(0, os.path.dirname(_package))

from mist import logs, spark  # noqa: E402
from mist.errors import explain  # noqa: E402
from mist.jobs import Jobs  # noqa: E402
from mist.load import Loader  # noqa: E402
from mist.logs import worker_log  # noqa: E402
from mist.outbox import Outbox  # noqa: E402
from mist.session import CANNOT_START, NO_WORKER_FILE, Session, Settings, dial, say_error  # noqa: E402

STOP_SPARK_S = 5
STOP_JOBS_S = 2
WATCH_S = 1
TERMINATED = 128 + signal.SIGTERM


def main():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    try:
        settings = Settings.read()
    except ValueError as e:
        print(f"mist worker: {e}", file=sys.stderr)
        return leave(NO_WORKER_FILE)
    spark.configure(settings.spark_conf, settings.capacity)
    outbox = Outbox()
    loader = Loader()
    jobs = Jobs(settings.capacity, outbox, loader)
    logs.install(jobs)
    signal.signal(signal.SIGTERM, lambda *_: _in_background(terminate, jobs, outbox))
    if spark.is_wanted() and not settings.describer:
        if not start_spark(settings, jobs):
            return leave(CANNOT_START)
        _in_background(watch, outbox)
    outbox.start()
    return leave(Session(settings, jobs, outbox, loader, about).run())


def about():
    return {"lang": "python", "version": platform.python_version(), "pid": os.getpid(), **spark.describe()}


def start_spark(settings, jobs):
    try:
        spark.session()
    except BaseException as e:
        reason = f"Spark could not start: {explain(e)}"
        print(f"mist worker: {reason}", file=sys.stderr)
        report(settings, reason)
        return False
    try:
        log = logs.SparkLog(jobs)
        spark.attach_log(log.path, logs.PATTERN)
        log.unlink()
        jobs.spark_log = log
    except Exception as e:
        worker_log.warning("Spark's log does not reach the jobs' logs: %s", e)
    return True


def report(settings, reason):
    """Tells the gateway why there will be no hello; it learns of the exit status anyway."""
    try:
        connection = dial(settings, 5)
        say_error(connection, reason, 1000)
    except Exception as e:
        worker_log.warning("the gateway could not be told: %s", e)


def watch(outbox):
    """Without its JVM a worker can do nothing, and under spark-submit nobody else would end it."""
    while not spark.is_lost():
        time.sleep(WATCH_S)
    print("mist worker: Spark's JVM is gone", file=sys.stderr)
    outbox.settle(STOP_JOBS_S)
    leave(CANNOT_START)


def terminate(jobs, outbox):
    jobs.cancel_all()
    until = time.monotonic() + STOP_JOBS_S
    while jobs.n_running and time.monotonic() < until:
        time.sleep(0.01)
    outbox.settle(STOP_JOBS_S)
    leave(TERMINATED)


def leave(status):
    """Ends the process, whatever its threads do."""
    ending = _in_background(_tidy)
    ending.join(STOP_SPARK_S)
    os._exit(status)


def _tidy():
    try:
        spark.stop()
    except Exception as e:
        print(f"mist worker: Spark did not stop in order: {e}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()


def _in_background(target, *args):
    thread = threading.Thread(target=target, args=args, name=f"mist-{target.__name__}", daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    main()
