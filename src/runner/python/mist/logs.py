# SPDX-License-Identifier: Apache-2.0
"""What is said while a job runs, brought to the job's log.

Python's logging: one handler on the root logger. A record belongs to the job it was logged through (ctx.log), else to
the job whose thread logs or that started the thread (printed.py), else to the job that runs if only one does. What
belongs to no job goes to the worker's output.

Spark's driver: log4j writes to a FIFO that a thread here reads (spark.attach_log). Under spark-submit the driver's
stderr is not ours to redirect: the JVM is the parent of this process. A record there carries the job's id if a job's
own thread logged it; Spark's own threads know of no job, and then the rule above applies. Before an outcome is sent,
what was already written is read (settle)."""

import array
import contextvars
import fcntl
import logging
import os
import select
import tempfile
import termios
import threading
import time

from mist import artifacts
from mist.errors import words_of

current_job = contextvars.ContextVar("mist_job", default=None)

LEVELS = {"TRACE": "DEBUG", "DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARN", "ERROR": "ERROR", "FATAL": "ERROR"}
FIELD, END = "\x1f", "\x1e"
PATTERN = FIELD.join(("%p", "%d{UNIX_MILLIS}", "%X{mist}", "%c{1}: %m%n%ex{full}")) + END
RECORD_MAX = 1024 * 1024
SETTLE_S = 0.5

worker_log = logging.getLogger("mist.worker")

# ctx.log. Not one of the loggers that logging.config knows: it would switch it off, with all that a configuration does
# not name.
job_log = logging.Logger("mist.job", logging.DEBUG)
job_log.parent = logging.getLogger()

_handler = None
_is_forked = False
_before_entry = None  # printed.py: what was printed before it comes before it


def level_name(number):
    if number >= logging.ERROR:
        return "ERROR"
    if number >= logging.WARNING:
        return "WARN"
    return "INFO" if number >= logging.INFO else "DEBUG"


NOBODY = object()  # of a thread that works for no job, whichever runs


def known_job():
    """The job that the thread works for, as far as the thread itself says so; or NOBODY, or None."""
    job = current_job.get() or getattr(threading.current_thread(), "_mist_job", None)
    return job if job is NOBODY or (job is not None and job.outcome is None) else None


def job_of_thread(jobs):
    job = known_job() or jobs.sole()
    return None if job is NOBODY else job


def precede(act):
    """Calls it before each entry."""
    global _before_entry
    _before_entry = act


def forget_jobs():
    """This process is a fork of the worker."""
    global _is_forked, _before_entry
    _is_forked, _before_entry = True, None


class JobHandler(logging.Handler):
    """`jobs` answers sole(): the job that runs, if exactly one does."""

    def __init__(self, jobs, orphans):
        super().__init__()
        self._jobs = jobs
        self._orphans = orphans

    def createLock(self):
        """None is needed, since a job's log is appended to in one step; and a job's thread may be interrupted at any
        line: a lock it held then would silence every other job."""
        self.lock = None

    def emit(self, record):
        job = getattr(record, "mist_job", None) or job_of_thread(self._jobs)
        if job is None or _is_forked:
            self._orphans.handle(record)
            return
        if _before_entry is not None:
            _before_entry()
        try:
            message = self._text(record)
        except Exception as e:
            message = f"a log record of {record.pathname}:{record.lineno} cannot be formatted: {words_of(e)}"
        try:
            at = int(record.created * 1000)
        except (TypeError, ValueError, OverflowError):
            at = None
        job.log(level_name(record.levelno), message, at)

    def _text(self, record):
        message = record.getMessage()
        if record.name != "mist.job":
            message = f"{artifacts.shown_text(record.name)}: {message}"
        if record.exc_info and record.exc_info[0]:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        if record.stack_info:
            message += "\n" + record.stack_info
        return message


def install(jobs, output):
    """Called once, before anything of the user's is imported. `output` takes the worker's own log."""
    stderr = logging.StreamHandler(output)
    stderr.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    global _handler
    _handler = JobHandler(jobs, stderr)
    job_log.propagate = False
    job_log.addHandler(_handler)
    logging.getLogger().setLevel(logging.INFO)
    ensure()
    for ours in (worker_log, logging.getLogger("websockets")):
        ours.propagate = False
        ours.addHandler(stderr)
    logging.getLogger("websockets").setLevel(logging.WARNING)
    for chatty in ("py4j", "matplotlib"):  # these tell their own workings at INFO
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.raiseExceptions = False
    logging.captureWarnings(True)


def ensure():
    """A function may have configured logging and so removed the handler: each job starts with it in its place."""
    root = logging.getLogger()
    if _handler is not None and _handler not in root.handlers:
        root.addHandler(_handler)


class SparkLog:
    """The reading end of the FIFO."""

    def __init__(self, jobs):
        self._jobs = jobs
        self._is_busy = False
        folder = tempfile.mkdtemp(prefix="mist-log-")
        self.path = os.path.join(folder, "log4j")
        os.mkfifo(self.path, 0o600)
        # Open for both, so that opening does not wait for the JVM and there is no end of file before it writes.
        self._fd = os.open(self.path, os.O_RDWR)
        self._rest = b""
        threading.Thread(target=self._read, name="mist-spark-log", daemon=True).start()

    def unlink(self):
        """Once the JVM has opened it, the name is needed no more."""
        os.unlink(self.path)
        os.rmdir(os.path.dirname(self.path))

    def settle(self):
        """Waits, shortly, until all that log4j has written is in the jobs' logs."""
        until = time.monotonic() + SETTLE_S
        while (self._waiting() or self._is_busy) and time.monotonic() < until:
            time.sleep(0.001)

    def _waiting(self):
        count = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, count)
        return count[0] > 0

    def _read(self):
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while True:
            poll.poll()
            self._is_busy = True  # before the read empties the pipe, or settle() would see neither
            try:
                self._take(os.read(self._fd, 64 * 1024))
            except Exception:
                worker_log.exception("a record of Spark's log was lost")
            self._is_busy = False

    def _take(self, data):
        *records, self._rest = (self._rest + data).split(END.encode())
        if len(self._rest) > RECORD_MAX:
            self._rest = b""
        for record in records:
            fields = record.decode("utf-8", "replace").split(FIELD, 3)
            if len(fields) == 4:
                self._deliver(*fields)

    def _deliver(self, level, at, job_id, message):
        job = (self._jobs.running(job_id) if job_id else None) or self._jobs.sole()
        if job is not None:
            job.log(LEVELS.get(level, "INFO"), message.strip(), int(at) if at.isdigit() else None, may_wait=False)
