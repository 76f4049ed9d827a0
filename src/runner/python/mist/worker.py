# SPDX-License-Identifier: Apache-2.0
"""The program: `python -m mist.worker`, or this file as the application of spark-submit.

It starts Spark if the context has one, then serves jobs until the gateway drains it, refuses it, or is gone. Exit
status: 0 drained, 2 no usable worker file, 3 Spark could not start or ended, 4 refused, 5 the gateway was gone for
longer than the grace, 143 SIGTERM.

The process always ends: Spark is given a few seconds to stop, then os._exit() takes whatever thread still hangs."""

import os
import platform
import signal
import sys
import threading
import time

if __package__ in (None, ""):
    # Run by its path: the folder on sys.path is the package itself, whose modules (logs, jobs, …) would hide others.
    _package = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != _package]
    sys.path.insert(0, os.path.dirname(_package))

try:
    import websockets.sync.client  # noqa: F401
except ImportError as e:  # the one thing that this Python has to have; who set it up reads this in the gateway's answers
    sys.exit(f"mist worker: {sys.executable} has no package websockets of version 13 or newer, which a worker needs ({e}): "
             f"{sys.executable} -m pip install websockets")

from mist import logs, printed, spark, streaming, texts  # noqa: E402
from mist.errors import explain  # noqa: E402
from mist.jobs import Jobs  # noqa: E402
from mist.load import Loader  # noqa: E402
from mist.logs import worker_log  # noqa: E402
from mist.outbox import Outbox  # noqa: E402
from mist.session import CANNOT_START, NO_WORKER_FILE, Session, Settings, dial, say_error  # noqa: E402

STOP_SPARK_S = 5
STOP_JOBS_S = 1.5
TELL_S = 0.5
TERMINATE_SPARK_S = 2  # altogether less than the gateway waits between SIGTERM and SIGKILL
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
    spark.make_importable()
    spark.configure({"spark.app.name": settings.worker, **settings.spark_conf}, settings.capacity)
    streaming.configure(settings.streaming_s)
    try:
        texts.configure(settings.spark_conf)
    except ValueError as e:
        report(settings, str(e))
        return leave(CANNOT_START)
    outbox = Outbox()
    loader = Loader()
    jobs = Jobs(settings.capacity, outbox, loader)
    logs.install(jobs, printed.install(jobs))
    _in_background(heed_signals, _signal_pipe(), jobs, outbox)
    if spark.is_wanted() and not settings.describer:
        if not start_spark(settings, jobs):
            return leave(CANNOT_START)
        _in_background(watch, outbox)
    if settings.capacity == 1 and not settings.describer:
        capture()
    outbox.start()
    return leave(Session(settings, jobs, outbox, loader, about).run())


def about():
    return {"lang": "python", "version": platform.python_version(), "pid": os.getpid(), **spark.describe()}


def start_spark(settings, jobs):
    try:
        spark.session()
    except BaseException as e:
        reason = f"Spark could not start: {explain(e)}"
        worker_log.error("%s", reason)
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


def capture():
    """One job at a time: all that is printed is its."""
    try:
        path = printed.capture()
        if spark.is_up():
            spark.print_to(path)
    except Exception as e:
        worker_log.warning("what is not printed by Python does not reach the jobs' logs: %s", e)


def report(settings, reason):
    """Tells the gateway why there will be no hello; it learns of the exit status anyway."""
    try:
        connection = dial(settings, 5)
        say_error(connection, reason, 1000)
    except Exception as e:
        worker_log.warning("the gateway could not be told: %s", e)


def watch(outbox):
    """Without its JVM a worker can do nothing, and under spark-submit nobody else would end it. Its stdout and stderr
    were pipes to the JVM: whatever is said from here on must not mind that nobody reads."""
    while not spark.is_lost():
        time.sleep(WATCH_S)
    worker_log.error("Spark's JVM is gone")
    outbox.settle(STOP_JOBS_S)
    leave(CANNOT_START)


def _signal_pipe():
    """Python runs its handlers in the main thread only, which may sleep in a lock when the signal came to another
    thread; the number that the C handler writes here is read at once."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    _let_forks_end(signal.SIGTERM)
    return reader


def _let_forks_end(number):
    """Processes that a job forks, as multiprocessing does, end by the signal as any other, which our pipe would take for the
    worker's own. It is held back until they have forgotten that pipe."""
    def hold():
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])

    def release():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])

    def forget():
        signal.set_wakeup_fd(-1)
        signal.signal(number, signal.SIG_DFL)
        release()

    os.register_at_fork(before=hold, after_in_parent=release, after_in_child=forget)


def heed_signals(reader, jobs, outbox):
    while signal.SIGTERM not in os.read(reader, 64):
        pass
    terminate(jobs, outbox)


def terminate(jobs, outbox):
    jobs.cancel_all()
    until = time.monotonic() + STOP_JOBS_S
    while jobs.n_running and time.monotonic() < until:
        time.sleep(0.01)
    outbox.settle(TELL_S)
    leave(TERMINATED, TERMINATE_SPARK_S)


def leave(status, wait_s=STOP_SPARK_S):
    """Ends the process, whatever its threads do."""
    ending = _in_background(_tidy)
    ending.join(wait_s)
    os._exit(status)


def _tidy():
    try:
        spark.stop()
    except Exception as e:
        worker_log.warning("Spark did not stop in order: %s", e)
    printed.settle()


def _in_background(target, *args):
    thread = threading.Thread(target=target, args=args, name=f"mist-{target.__name__}", daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    main()
