# SPDX-License-Identifier: Apache-2.0
"""The jobs this worker holds, and the threads that run them.

A Job is held from its `start` until the gateway acknowledges its outcome, or forgets it. Threads are made when a job
finds none idle and are kept, so a stream of small jobs makes none. All threads are daemons: a function that hangs
cannot keep the process.

Cancel: the job is marked (ctx.cancelled), its Spark job group is cancelled, and a moment later, since either may end
the function in order, Cancelled is raised in its thread; again and again until the job ends. A function that has
asked for ctx.cancelled has more than a moment. Interruptions can come at any line of the thread, so they are only
allowed between open() and seal(), around the user's function and the encoding of its result (which runs Spark too),
and nothing in between touches the socket or a lock that others need. A thread that was interrupted is not used again:
libraries keep things by thread, PySpark its connection among them.

A job that was cancelled and then ended by an error is `cancelled`; if it returned all the same it is `finished`."""

import collections
import contextvars
import ctypes
import dataclasses
import queue
import threading
import time

from mist import fetch, frames, logs, printed, spark, streaming
from mist.arguments import convert
from mist.context import Context
from mist.errors import Cancelled, explain, shorten
from mist.frames import ProtocolError
from mist.results import encode
from mist.texts import clean

ENTRIES_MAX = 20000       # of a job's log, waiting to be sent
ENTRY_CHARS_MAX = 64 * 1024
ROOM_WAIT_S = 5           # how long a job that logs too fast is held back before lines are left out
STOP_AGAIN_S = 0.3
TIDY_S = 3                # for a function that knows it is cancelled

_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc
_raise_in_thread.argtypes = [ctypes.c_ulong, ctypes.py_object]
_NOTHING = ctypes.py_object()  # NULL: takes back what was not raised yet


@dataclasses.dataclass(frozen=True)
class Outcome:
    kind: str
    at: int
    text: str         # the frame
    error: str = ""


class Job:
    """Written by its thread, except: is_cancelled, is_forgotten (receiving thread), *_on, log_is_posted (outbox)."""

    def __init__(self, frame, outbox):
        self.id = frame["job"]
        self.id_text = frames.text(self.id)   # as it stands in a frame
        self.frame = frame
        self.slot = 0                         # which of the worker's places it has
        self.has_slot = False
        self.downloading_at = 0
        self.downloading_is_told = False
        self.started_at = 0
        self.outcome = None
        self.is_cancelled = False
        self.is_forgotten = False
        self.knows_of_cancel = False
        self.was_interrupted = False
        self.started_on = None     # the connection on which the gateway was told
        self.ended_on = None
        self.entries = collections.deque()   # (at, level, message)
        self.n_dropped = 0
        self.printed = {}                    # printed.Lines, by stream and thread
        self.log_is_posted = False
        self.said_progress = None     # the newest
        self.told_progress = None     # the one that the gateway was told, and the connection
        self._has_waited = False      # in vain for room in `entries`
        self._outbox = outbox
        self._lock = threading.Lock()
        self._thread = None        # its identity while interruptions are allowed

    def log(self, level, message, at=None, may_wait=True):
        if len(self.entries) >= ENTRIES_MAX and not (may_wait and self._wait_for_room()):
            self.n_dropped += 1
            return
        self._has_waited = False
        self.entries.append((at or now_ms(), level, clean(shorten(message, ENTRY_CHARS_MAX))))
        if not self.log_is_posted or len(self.entries) % 1000 == 0:
            self.log_is_posted = True
            self._outbox.post_lazily(self)

    def _wait_for_room(self):
        """Waits once, not again for each of very many lines."""
        until = time.monotonic() + ROOM_WAIT_S
        while len(self.entries) >= ENTRIES_MAX:
            if self._has_waited or not self._outbox.is_connected or time.monotonic() > until:
                self._has_waited = True
                return False
            time.sleep(0.002)
        return True

    def progress(self, value, note):
        self.said_progress = (value, note if note is None else clean(note))
        self._outbox.post_lazily(self)

    def enter_spark(self):
        spark.enter(self.id, self.frame["function"], self.slot)

    def open(self):
        """From here to seal() the thread may be interrupted."""
        with self._lock:
            self._thread = threading.get_ident()
        if self.is_cancelled:
            raise Cancelled

    def seal(self):
        """May itself be met by an interruption that was under way: call it until it returns."""
        with self._lock:
            self._thread = None
            _raise_in_thread(threading.get_ident(), _NOTHING)

    def interrupt(self):
        with self._lock:
            if self._thread is not None:
                self.was_interrupted = True
                _raise_in_thread(self._thread, Cancelled)

    def finish(self, result_text):
        at = now_ms()
        text = '{"type":"finished","job":%s,"at":%d,"result":%s}' % (self.id_text, at, result_text)
        self.outcome = Outcome("finished", at, text)

    def fail(self, error, at=None):
        at = at or now_ms()
        error = clean(error)
        text = frames.text({"type": "failed", "job": self.id, "at": at, "error": error})
        self.outcome = Outcome("failed", at, text, error)
        return self.outcome

    def cancelled(self):
        at = now_ms()
        self.outcome = Outcome("cancelled", at, '{"type":"cancelled","job":%s,"at":%d}' % (self.id_text, at))


class Jobs:
    def __init__(self, capacity, outbox, loader):
        self.capacity = capacity
        self.spark_log = None
        self._outbox = outbox
        self._loader = loader
        self._lock = threading.RLock()  # a finalizer may print while it is held, and whose that is has to be known
        self._held = {}       # id → Job, in the order they came
        self._running = {}    # id → Job, forgotten ones too until they end
        self._queue = queue.SimpleQueue()
        self._n_idle = 0
        self._free_slots = list(range(capacity))

    # Called by the receiving thread.

    def start(self, frame):
        job = Job(frame, self._outbox)
        with self._lock:
            if job.id in self._held:
                raise ProtocolError(f"job {job.id} was started before")
            if sum(not j.is_forgotten for j in self._running.values()) >= self.capacity:
                raise ProtocolError(f"start over the capacity of {self.capacity}")
            self._held[job.id] = job
            self._running[job.id] = job
            if self._free_slots:  # none is free when a forgotten job will not end: then it shares
                job.slot = self._free_slots.pop()
                job.has_slot = True
            needs_thread = self._n_idle == 0
            if not needs_thread:
                self._n_idle -= 1
        self._queue.put(job)
        if needs_thread:
            threading.Thread(target=self._serve, name="mist-job", daemon=True).start()

    def cancel(self, job_id):
        job = self._held.get(job_id)
        if job is not None and job.outcome is None and not job.is_cancelled:
            job.is_cancelled = True
            threading.Thread(target=self._stop, args=(job,), name="mist-cancel", daemon=True).start()

    def cancel_all(self):
        for job in self.held():
            self.cancel(job.id)

    def acknowledge(self, ids):
        with self._lock:
            for job_id in ids:
                job = self._held.get(job_id)
                if job is not None and job.outcome is not None:
                    del self._held[job_id]

    def forget(self, ids):
        for job_id in ids:
            job = self._held.get(job_id)
            if job is not None:
                job.is_forgotten = True
                self.cancel(job_id)
                with self._lock:
                    del self._held[job_id]

    def held(self):
        with self._lock:
            return list(self._held.values())

    # For the logs.

    def running(self, job_id):
        return self._running.get(job_id)

    def sole(self):
        with self._lock:
            return next(iter(self._running.values())) if len(self._running) == 1 else None

    def all_running(self):
        with self._lock:
            return list(self._running.values())

    @property
    def n_running(self):
        return len(self._running)

    # The jobs' threads.

    def _serve(self):
        while True:
            job = self._queue.get()
            try:
                self._run(job)
            except BaseException as e:  # an interruption in the last line before the seal
                job.was_interrupted = True
                self._end(job, None, e)
            if job.was_interrupted:
                return
            del job

    def _run(self, job):
        result_text = error = None
        try:
            result_text = contextvars.copy_context().run(self._perform, job)
        except BaseException as e:
            error = e
        while True:
            try:
                job.seal()
                break
            except Cancelled:
                pass
        self._end(job, result_text, error)

    def _perform(self, job):
        logs.current_job.set(job)
        printed.begin(job)
        frame = job.frame
        job.open()
        path = frame["path"]
        if fetch.is_download(path):
            job.downloading_at = now_ms()
            self._outbox.post(job)
            path = self._loader.fetch(path)
        job.started_at = now_ms()
        self._outbox.post(job)
        logs.ensure()
        job.enter_spark()
        function = self._loader.load(path, frame["className"], holder=job.id)
        values = convert(function, frame["parameters"])
        context = Context(job.id, external_id=frame.get("externalId"), attempt=frame["attempt"], job=job)
        return encode.text(function.call(context, values), self._outbox.max_frame)

    def _end(self, job, result_text, error):
        streaming.stop(job.id)
        self._loader.release(job.id)
        if self.spark_log is not None:
            self.spark_log.settle()
        printed.end(job)
        reason = None if error is None else explain(error)
        job.frame = None
        with self._lock:  # once it is told that this one ended, the next may come, and find its place free
            if error is None:
                job.finish(result_text)
            elif job.is_cancelled:
                job.cancelled()
            else:
                job.fail(reason)
            self._running.pop(job.id, None)
            if job.has_slot:
                self._free_slots.append(job.slot)
                job.has_slot = False
            if not job.was_interrupted:
                self._n_idle += 1
        self._outbox.post(job)

    def _stop(self, job):
        tidy_until = time.monotonic() + TIDY_S
        while job.outcome is None:
            spark.cancel(job.id)
            time.sleep(STOP_AGAIN_S)
            if not job.knows_of_cancel or time.monotonic() > tidy_until:
                job.interrupt()
                streaming.stop(job.id)  # now: a wait for its end is interrupted, and does not return


def now_ms():
    return int(time.time() * 1000)
