# SPDX-License-Identifier: Apache-2.0
"""The thread that says everything about jobs.

Jobs post themselves here when there is news; this thread looks at the job and says what the gateway has not heard on
this connection: that it fetches its code, started, then the log and the progress, then the outcome. So the order is
right by construction, a job's thread never touches the socket (it may be interrupted at any line), and after a new
connection all that is unacknowledged is said again by looking at the same jobs. Log and progress may wait FLUSH_S, to travel together;
anything else takes what waits with it.

While there is no connection nothing is lost but what exceeds ENTRIES_MAX lines of log for a job; that is counted and
said in the log."""

import json
import queue
import threading
import time

from websockets.exceptions import ConnectionClosed

from mist import frames
from mist.errors import explain, shorten
from mist.logs import worker_log
from mist.texts import counted

FLUSH_S = 0.2
ENTRIES_MAX_PER_FRAME = 1000
BYTES_AIM_PER_FRAME = 256 * 1024
NOTE_BYTES = 4096  # of what a job says of its progress, as libmist has it


class Outbox(threading.Thread):
    def __init__(self):
        super().__init__(name="mist-outbox", daemon=True)
        self._inbox = queue.SimpleQueue()
        self._connection = None
        self._max_frame = 0
        self._waiting = {}  # jobs with a log or progress that may still wait; a dict keeps their order

    @property
    def is_connected(self):
        return self._connection is not None

    @property
    def max_frame(self):
        """Of the gateway that there is or was last; None: of none yet."""
        return self._max_frame or None

    # Called by any thread.

    def post(self, job):
        self._inbox.put((self._tell, job))

    def post_lazily(self, job):
        self._inbox.put((self._let_wait, job))

    def connect(self, connection, max_frame, jobs):
        self._inbox.put((self._take_connection, (connection, max_frame, jobs)))

    def disconnect(self):
        self._connection = None

    def send(self, connection, frame):
        """For what belongs to one connection only: described."""
        self._inbox.put((self._send_frame, (connection, frame)))

    def settle(self, timeout_s):
        """Waits until what was posted before is said, or the time is over."""
        done = threading.Event()
        self._inbox.put((lambda event: event.set(), done))
        return done.wait(timeout_s)

    # The thread itself.

    def run(self):
        due = None
        while True:
            try:
                act, what = self._inbox.get(timeout=max(0, due - time.monotonic()) if due else None)
            except queue.Empty:
                self._flush()
                due = None
                continue
            self._attempt(act, what)
            if self._waiting and due is None:
                due = time.monotonic() + FLUSH_S
            elif due and due <= time.monotonic():
                self._flush()
                due = None

    def _flush(self):
        waiting, self._waiting = self._waiting, {}
        for job in waiting:
            self._attempt(self._tell, job)

    def _attempt(self, act, what):
        """Whatever goes wrong with one frame, this thread goes on: it speaks for all jobs."""
        try:
            act(what)
        except (ConnectionClosed, OSError):
            self._connection = None  # the receiving thread sees it too, and connects again
        except Exception as e:
            worker_log.exception("a frame could not be said")
            outcome = getattr(what, "outcome", None)
            if outcome is not None and outcome.kind != "failed":
                what.fail(f"the worker could not tell the outcome: {explain(e)}", outcome.at)
                self._inbox.put((self._tell, what))

    def _take_connection(self, what):
        self._connection, self._max_frame, jobs = what
        for job in jobs:
            job.downloading_is_told = True  # to whom it resumes it has begun
            self._tell(job)

    def _let_wait(self, job):
        if len(job.entries) >= ENTRIES_MAX_PER_FRAME:
            self._tell(job)
        else:
            self._waiting[job] = None

    def _send_frame(self, what):
        connection, frame = what
        if connection is not self._connection:
            return
        text = frames.text(frame)
        if _size(text) > self._max_frame and frame["type"] == "described":
            error = f"the answer is larger than a frame may be ({self._max_frame} bytes, workers.frame)"
            text = frames.text({"type": "described", "id": frame["id"], "error": error})
        connection.send(text)

    def _tell(self, job):
        self._waiting.pop(job, None)
        connection = self._connection
        if connection is None or job.is_forgotten:
            return
        outcome = job.outcome  # before the log is looked at: what is logged later than this comes later
        if job.downloading_at and not job.downloading_is_told:
            job.downloading_is_told = True
            connection.send('{"type":"downloading","job":%s,"at":%d}' % (job.id_text, job.downloading_at))
        if job.started_at and job.started_on is not connection:
            connection.send('{"type":"started","job":%s,"at":%d}' % (job.id_text, job.started_at))
            job.started_on = connection
        job.log_is_posted = False  # first: who adds an entry from here on posts, though the last one went before its post came
        if job.entries or job.n_dropped:
            self._send_log(connection, job)
        if job.said_progress and job.told_progress != (job.said_progress, connection):
            self._send_progress(connection, job)
        if outcome and job.ended_on is not connection:
            connection.send(self._fitting(job, outcome))
            job.ended_on = connection

    def _send_log(self, connection, job):
        head = '{"type":"log","job":%s,"entries":[' % job.id_text
        room = min(BYTES_AIM_PER_FRAME, self._max_frame) - len(head) - 2
        while job.entries:
            taken, batch = _batch(job.entries, room)
            try:
                connection.send(head + ",".join(batch) + "]}")
            except BaseException:
                job.entries.extendleft(reversed(taken))
                raise
        if job.n_dropped:
            dropped, job.n_dropped = job.n_dropped, 0
            what = "was left out: it came faster than it" if dropped == 1 else "were left out: they came faster than they"
            note = f"{counted(dropped, 'line')} of the log {what} could be sent"
            connection.send(head + _entry_text((int(time.time() * 1000), "WARN", note), room) + "]}")

    def _send_progress(self, connection, job):
        said = job.said_progress
        value, note = said
        frame = {"type": "progress", "job": job.id}
        if value is not None:
            frame["value"] = value
        if note is not None:
            frame["note"] = note.encode()[:NOTE_BYTES].decode(errors="ignore")
        connection.send(frames.text(frame))
        job.told_progress = (said, connection)

    def _fitting(self, job, outcome):
        """The frame of the outcome, or of the failure to be as large as it is."""
        size = _size(outcome.text)
        if size <= self._max_frame:
            return outcome.text
        if outcome.kind == "failed":
            error = shorten(outcome.error, max(16, self._max_frame // 16))
        else:
            error = f"the result is too large: {size} bytes as a frame, and the gateway takes {self._max_frame} (workers.frame)"
        return job.fail(error, outcome.at).text


def _size(text):
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _batch(entries, room):
    """Takes from `entries` what fits in one frame: the entries, and their texts."""
    taken, batch, size = [], [], 0
    while entries and len(batch) < ENTRIES_MAX_PER_FRAME:
        text = _entry_text(entries[0], room)
        size += len(text) + 1
        if batch and size > room:
            break
        batch.append(text)
        taken.append(entries.popleft())
    return taken, batch


def _entry_text(entry, room):
    """ASCII, so that its length is its size. An entry that fills a frame alone is cut."""
    at, level, message = entry
    text = json.dumps({"at": at, "level": level, "message": message}, separators=(",", ":"))
    if len(text) > room:
        message = shorten(message, max(8, room // 16))
        text = json.dumps({"at": at, "level": level, "message": message}, separators=(",", ":"))
    return text
