# SPDX-License-Identifier: Apache-2.0
"""What is printed while a job runs, brought to the job's log as well as to the worker's output.

sys.stdout and sys.stderr are streams of ours. A text belongs to the job whose thread prints it, as a log record does
(logs.job_of_thread): each line is an entry, INFO from stdout and WARN from stderr. Threads that a job starts, and the
work it gives to a ThreadPoolExecutor, are the job's. What belongs to no job, such as what libraries print when they
are imported before the first one, is in the worker's output only; that has everything, in the order it was printed.

What does not go through Python (C libraries, child processes, System.out of the driver's JVM) knows of no job, so it
is told to jobs only where a worker runs one at a time. There descriptors 1 and 2 become a file of the worker's own
folder (Capture), which is read from here and passed on. It is a file and not a pipe, since C code that prints may hold
the interpreter's lock for as long as it likes: nobody must wait for a reader then. What was passed on is cut out of
the file; what a crash left in it the gateway adds to the worker's output.

A job's thread may be interrupted at any line. The locks here are taken by `with` and guard the lines of one job only,
or the position in the file."""

import codecs
import concurrent.futures
import ctypes
import functools
import io
import os
import sys
import threading
import time

from mist import logs, texts

STDOUT, STDERR = 1, 2
LINE_CHARS_MAX = 32 * 1024
PARTIAL_S = 1.0      # a line without an end is told after this time,
REWRITTEN_S = 5.0    # and the newest state of one that is written again and again (a progress bar) after this
LOOK_S = 0.2
LOOK_IDLE_S = 1.0
PIECE = 64 * 1024
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2

_printed = None


class Lines:
    """The lines of one stream of one job, as one of its threads prints them: print() writes a text and its end one by
    one, and lines of several threads must not mix. Whole ones are told at once; of a carriage return stays what follows it."""

    def __init__(self, job, level):
        self._job = job
        self._level = level
        self._lock = threading.RLock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts = []            # of the line that has no end yet
        self._n_chars = 0           # of it, also those that are left out
        self._since = None
        self._is_rewritten = False
        self._is_returned = False   # it ends with a carriage return
        self._is_told = False       # a part of it was told before its end came

    def add(self, text):
        with self._lock:
            *lines, rest = text.split("\n")
            for line in lines:
                self._keep(line)
                if self._since is not None or not self._is_told:  # of what was told only the end was missing
                    self._tell()
                self._is_told = False
            self._keep(rest)

    def add_bytes(self, data):
        with self._lock:
            self.add(self._decoder.decode(data))

    def tell_old(self, now):
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._since is not None and now - self._since > (REWRITTEN_S if self._is_rewritten else PARTIAL_S):
                self._tell(may_wait=False)
                self._is_told = True
        finally:
            self._lock.release()

    def end(self):
        with self._lock:
            self.add(self._decoder.decode(b"", True))
            if self._since is not None:
                self._tell(may_wait=False)

    def _keep(self, text):
        if not text:
            return
        body = text.rstrip("\r")
        start = body.rfind("\r") + 1
        if start or (self._is_returned and body):
            self._parts.clear()
            self._n_chars = 0
            self._is_rewritten = True
        self._is_returned = len(body) < len(text)
        if self._since is None:
            self._since = time.monotonic()
        if self._n_chars < LINE_CHARS_MAX:
            self._parts.append(body[start:start + LINE_CHARS_MAX - self._n_chars])
        self._n_chars += len(body) - start

    def _tell(self, may_wait=True):
        line = "".join(self._parts)
        if self._n_chars > len(line):
            line += f" … {texts.counted(self._n_chars - len(line), 'character')} left out"
        self._parts.clear()
        self._n_chars = 0
        self._since = None
        self._is_rewritten = self._is_returned = False
        self._job.log(self._level, line, may_wait=may_wait)


def lines_of(job, name, level):
    key = (name, threading.get_ident())
    return job.printed.get(key) or job.printed.setdefault(key, Lines(job, level))


class Output:
    """The worker's own output, as far as a logging handler needs it."""

    def __init__(self, fd):
        self._fd = fd

    def write(self, text):
        put(self._fd, text.encode("utf-8", "backslashreplace"))

    def flush(self):
        pass


class Stream(io.TextIOBase):
    """sys.stdout, or sys.stderr. Closing, detaching or configuring it changes nothing: it is the process's, and the
    next job prints to it too."""

    mode, encoding, errors, newlines = "w", "utf-8", "backslashreplace", None
    line_buffering, write_through = True, True

    def __init__(self, printed, name, fd, level):
        super().__init__()
        self.name = name
        self.buffer = Bytes(self)
        self._printed = printed
        self._fd = fd
        self._level = level

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        lines = self._printed.take(self, text.encode("utf-8", "backslashreplace"))
        if lines:
            lines.add(text)
        return len(text)

    def write_bytes(self, data):
        data = bytes(data)
        lines = self._printed.take(self, data)
        if lines:
            lines.add_bytes(data)
        return len(data)

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self._fd

    def reconfigure(self, **_):
        pass

    def detach(self):
        return self.buffer

    def close(self):
        pass


class Bytes(io.BufferedIOBase):
    """The `buffer` of such a stream."""

    mode = "wb"

    def __init__(self, stream):
        super().__init__()
        self.raw = self
        self.name = stream.name
        self._stream = stream

    def write(self, data):
        return self._stream.write_bytes(data)

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self._stream.fileno()

    def detach(self):
        return self

    def close(self):
        pass


class Printed:
    """Of the process. `jobs` answers sole() and all_running()."""

    def __init__(self, jobs):
        self._jobs = jobs
        self._outputs = {STDOUT: os.dup(STDOUT), STDERR: os.dup(STDERR)}
        self._streams = (Stream(self, "<stdout>", STDOUT, "INFO"), Stream(self, "<stderr>", STDERR, "WARN"))
        self._before = (sys.stdout, sys.stderr)  # nobody may close their descriptors
        self._capture = None
        self._suspects = None  # the jobs one of which has put other streams in the place of ours
        self._is_child = False
        self._wake = threading.Event()

    def output(self):
        return Output(self._outputs[STDERR])

    def install(self):
        sys.stdout, sys.stderr = self._streams
        sys.__stdout__, sys.__stderr__ = self._streams
        os.register_at_fork(after_in_child=self._forked)
        threading.Thread(target=self._look, name="mist-printed", daemon=True).start()

    def capture(self, folder):
        self._capture = Capture(os.path.join(folder, "printed"), self._outputs[STDOUT])
        logs.precede(self._capture.drain)

    def take(self, stream, data):
        """Writes it to the worker's output; the Lines that it goes to as well, or None."""
        fd = stream.fileno()
        if self._is_child:  # what reaches the worker through the descriptors, if it does at all
            put(fd, data)
            return None
        if self._capture:
            self._capture.drain()  # what came before it
        put(self._outputs[fd], data)
        job = logs.job_of_thread(self._jobs)
        return lines_of(job, fd, stream._level) if job is not None else None

    def begin(self, job):
        """Called by the job's thread before anything of the function's runs."""
        self._restore(job)
        if self._capture:
            self._capture.change_owner(job if self._jobs.sole() is job else None)
        self._wake.set()

    def end(self, job):
        """And after all of it has run."""
        self._restore(job, flushes_for=job)
        if self._capture:
            self._capture.change_owner(None)
        for lines in list(job.printed.values()):
            lines.end()

    def settle(self):
        if self._capture:
            self._capture.change_owner(None)

    def _restore(self, innocent, flushes_for=None):
        """A function may have put something else in the place of the streams, for a while as
        contextlib.redirect_stdout() does, or for good: it stays until all jobs that may have done it have ended."""
        if (sys.stdout, sys.stderr) == self._streams:
            self._suspects = None
        else:
            running = [job for job in self._jobs.all_running() if job is not innocent]
            self._suspects = [job for job in self._suspects or running if job in running]
            if not self._suspects:
                _flush(flushes_for, sys.stdout, sys.stderr)
                sys.stdout, sys.stderr = self._streams
                self._suspects = None
        if len(self._jobs.all_running()) > 1:
            return
        for fd in (STDOUT, STDERR):
            wanted = self._capture.fd if self._capture else self._outputs[fd]
            if not _is_same(fd, wanted):
                os.dup2(wanted, fd)

    def _look(self):
        while True:
            running = self._jobs.all_running()
            if not running:
                self._wake.clear()
                if not self._jobs.all_running():
                    self._wake.wait(LOOK_IDLE_S)
            time.sleep(LOOK_S)
            try:
                if running and (sys.stdout, sys.stderr) != self._streams and self._suspects is None:
                    self._suspects = running
                if self._capture:
                    self._capture.drain()
                now = time.monotonic()
                for job in running:
                    for lines in list(job.printed.values()):
                        lines.tell_old(now)
            except Exception:
                logs.worker_log.exception("what was printed cannot be passed on")

    def _forked(self):
        """In a child that was forked there is nobody who would send anything."""
        self._is_child = True
        logs.forget_jobs()


class Capture:
    """The file that descriptors 1 and 2 are."""

    def __init__(self, path, output):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.path = path
        self._output = output
        self._lock = threading.RLock()
        self._lines = None  # of the job that it is told to
        self._at = 0
        for fd in (STDOUT, STDERR):
            os.dup2(self.fd, fd)

    def drain(self):
        """Passes on what is new."""
        if os.fstat(self.fd).st_size <= self._at:
            return
        with self._lock:
            self._pass_on(os.fstat(self.fd).st_size)

    def change_owner(self, job):
        """Whatever was written so far belongs to the job before."""
        _flush_c()
        with self._lock:
            self.drain()
            self._lines = None if job is None else lines_of(job, "descriptors", "INFO")

    def _pass_on(self, end):
        """Up to `end`: who prints faster than this must not hold up who waits for it."""
        while self._at < end:
            self._at = min(end, _data_from(self.fd, self._at, end))  # the gateway cuts what nobody reads
            data = os.pread(self.fd, min(PIECE, end - self._at), self._at)
            if not data:
                break
            put(self._output, data)
            self._at += len(data)
            if self._lines is not None:
                self._lines.add_bytes(data)
        if not _cut(self.fd, self._at) and os.fstat(self.fd).st_size == self._at:
            os.ftruncate(self.fd, 0)
            self._at = 0


def put(fd, data):
    """All of it, if it can be had: a full disk is no reason for a function to fail."""
    data = memoryview(data)
    while data:
        try:
            data = data[os.write(fd, data):]
        except OSError:
            return


def install(jobs):
    """Called once, before anything of the user's is imported. Returns where the worker's own log goes."""
    global _printed
    _printed = Printed(jobs)
    _printed.install()
    _follow_threads()
    return _printed.output()


def capture():
    """From here on also what does not go through Python; the path of the file for the JVM to print to, too."""
    _printed.capture(os.path.dirname(os.path.abspath(os.environ["MIST_WORKER_FILE"])))
    return _printed._capture.path


def begin(job):
    if _printed is not None:
        _printed.begin(job)


def end(job):
    if _printed is not None:
        _printed.end(job)


def settle():
    if _printed is not None:
        _printed.settle()


def _follow_threads():
    """Python hands the context of a thread on to none that it starts."""
    start, submit = threading.Thread.start, concurrent.futures.ThreadPoolExecutor.submit

    @functools.wraps(start)
    def start_with_job(self):
        if not hasattr(self, "_mist_job"):
            self._mist_job = None if _serves_everybody(self) else logs.known_job()
        return start(self)

    @functools.wraps(submit)
    def submit_with_job(self, fn, /, *args, **kwargs):
        job = logs.known_job()
        return submit(self, fn if job is None else functools.partial(_work, job, fn), *args, **kwargs)

    threading.Thread.start = start_with_job
    concurrent.futures.ThreadPoolExecutor.submit = submit_with_job


def _work(job, fn, /, *args, **kwargs):
    thread = threading.current_thread()
    before, thread._mist_job = getattr(thread, "_mist_job", None), job
    try:
        return fn(*args, **kwargs)
    finally:
        thread._mist_job = before


def _serves_everybody(thread):
    """PySpark answers the JVM's calls on threads that the first job happens to start."""
    target = getattr(thread, "_target", None)
    return any((getattr(of, "__module__", None) or "").startswith("py4j") for of in (type(thread), target))


def _is_same(fd, other):
    try:
        a, b = os.fstat(fd), os.fstat(other)
    except OSError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _data_from(fd, at, end):
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError:
        return end  # nothing but a hole


def _cut(fd, at):
    """Frees what stands before. False: the file system cannot."""
    return _c is not None and _c.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, at) == 0


def _flush(job, *streams):
    """What a wrapper of ours has not written yet is the job's."""
    for stream in streams:
        if type(stream) is io.TextIOWrapper:
            try:
                _work(job, stream.flush)
            except Exception:
                pass  # it is closed


def _flush_c():
    """printf() keeps what it prints to a file until it is asked for."""
    if _c_stdout is not None:
        _c.fflush(_c_stdout)


try:
    _c = ctypes.CDLL(None, use_errno=True)
    _c.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    _c.fflush.argtypes = (ctypes.c_void_p,)
    _c_stdout = ctypes.c_void_p.in_dll(_c, "stdout")
except (OSError, AttributeError, ValueError):  # another C library
    _c = _c_stdout = None
