# SPDX-License-Identifier: Apache-2.0
"""Artifacts that are somewhere else: a path with a scheme becomes a file of this machine.

file:// is opened where it is. http:// and https:// are fetched with urllib into the worker's own folder. Any other
scheme is Hadoop's: the client of the Spark context's JVM copies the file there, so that it is the distribution's own,
with the context's spark.hadoop.* settings and whatever credentials Spark has.

Every job asks again whether the file has changed: the server by its ETag or Last-Modified, Hadoop by time and length.
What has not is not fetched, and a copy that came out the same is left alone, so that its module is not imported anew.
A server that cannot be asked fails the job: what would run otherwise is code that nobody can tell the age of.

Any thread; one lock for each path."""

import atexit
import dataclasses
import email.utils
import filecmp
import functools
import hashlib
import http.client
import os
import re
import shutil
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request

from mist import spark
from mist.errors import Refusal

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
WEB = ("http", "https")
TIMEOUT_S = 20  # of one read of the socket
PIECE = 1 << 18
BYTES_MAX = 1 << 30  # of one artifact; MIST_ARTIFACT_MAX of the environment says otherwise
NAME_MAX = 200


@dataclasses.dataclass
class Copy:
    path: str
    stamp: tuple  # of the original


def scheme_of(path):
    match = SCHEME.match(path)
    return match[1].lower() if match else None


def is_download(path):
    return scheme_of(path) not in (None, "file")


def name_of(path):
    """The name of the file, which says what kind of artifact it is."""
    if scheme_of(path) not in WEB:
        return os.path.basename(path)
    try:
        return os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(path).path))
    except ValueError as e:
        raise Refusal(f"{path} is no address: {e}") from None


def own_folder():
    """For copies of artifacts. It lies in the worker's own folder, and goes with it; a process without one removes it."""
    file = os.environ.get("MIST_WORKER_FILE")
    return _make_folder(os.path.dirname(os.path.abspath(file)) if file else None)


@functools.lru_cache(maxsize=None)
def _make_folder(parent):
    made = tempfile.mkdtemp(prefix="artifacts-", dir=parent)
    if parent is None:
        atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


class Fetcher:
    def __init__(self):
        self._lock = threading.Lock()
        self._locks = {}    # path → lock
        self._copies = {}   # path → Copy

    def fetch(self, path):
        """Where the artifact is on this machine. Raises a Refusal."""
        scheme = scheme_of(path)
        if scheme is None:
            return path
        if scheme == "file":
            return _file(path)
        with self._lock:
            lock = self._locks.setdefault(path, threading.Lock())
        with lock:
            known = self._copies.get(path)
            known = known if known and os.path.exists(known.path) else None
            copy = (_from_web if scheme in WEB else _from_hadoop)(path, self._place(path), known)
            self._copies[path] = copy
            return copy.path

    def _place(self, path):
        name = name_of(path)
        if name in ("", ".", "..") or "\0" in name or len(name) > NAME_MAX:
            raise Refusal(f"{path} names no file")
        folder = os.path.join(own_folder(), hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:16])
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, name)


def _file(path):
    parts = urllib.parse.urlsplit(path)
    if parts.netloc not in ("", "localhost"):
        raise Refusal(f"{path}: a file:// address has no host, or localhost: the file is on the machine of the worker")
    return urllib.parse.unquote(parts.path)


def _from_web(path, place, known):
    headers = {"User-Agent": "mist-worker", "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
    if known:
        conditions = zip(("If-None-Match", "If-Modified-Since"), known.stamp)
        headers.update((name, value) for name, value in conditions if value)
    try:
        with urllib.request.urlopen(urllib.request.Request(path, headers=headers), timeout=TIMEOUT_S) as answer:
            stamp = (answer.headers.get("ETag"), _modified(answer.headers))
            return _keep(place, stamp, known, lambda part: _receive(path, answer, part))
    except urllib.error.HTTPError as e:
        if e.code == 304 and known:
            return known
        raise Refusal(f"{path}: the server answered {e.code} {e.reason}") from None
    except urllib.error.URLError as e:
        raise Refusal(f"{path} cannot be fetched: {e.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as e:
        raise Refusal(f"{path} cannot be fetched: {e or type(e).__name__}") from None


def _modified(headers):
    """Last-Modified, unless the file could have changed in that same second after it was read."""
    modified, date = headers.get("Last-Modified"), headers.get("Date")
    try:
        apart = email.utils.parsedate_to_datetime(date) - email.utils.parsedate_to_datetime(modified)
        return modified if apart.total_seconds() >= 2 else None
    except (TypeError, ValueError):
        return None


def _receive(path, answer, part):
    expected, n = answer.headers.get("Content-Length"), 0
    with open(part, "wb") as f:
        while piece := answer.read(PIECE):
            n += len(piece)
            _check_size(path, n)
            f.write(piece)
    if expected is not None and expected.isdigit() and n != int(expected):
        raise Refusal(f"{path} cannot be fetched: the server ended after {n} of {expected} bytes")


def _from_hadoop(path, place, known):
    if not spark.is_up() and not spark.is_wanted():
        raise Refusal(f"{path} is read by Hadoop's client, which comes with Spark: give the function a context whose "
                      "runtime is a Spark")
    context = spark.session().sparkContext
    hadoop_path = context._jvm.org.apache.hadoop.fs.Path
    try:
        source = hadoop_path(path)
        system = source.getFileSystem(context._jsc.hadoopConfiguration())
        status = system.getFileStatus(source)
        stamp = (status.getModificationTime(), status.getLen())
        if status.isDirectory():
            raise Refusal(f"{path} is a folder")
        if known and known.stamp == stamp:
            return known
        _check_size(path, status.getLen())
        # Raw: without the .crc file beside it.
        return _keep(place, stamp, known, lambda part: system.copyToLocalFile(False, source, hadoop_path(part), True))
    except Refusal:
        raise
    except Exception as e:
        raise Refusal(f"{path} cannot be fetched: {_words(e)}") from None


def _words(error):
    """Of Java's exceptions their own first line; the rest is the JVM's stack."""
    java = getattr(error, "java_exception", None)
    return (java.toString() if java is not None else str(error)).strip().partition("\n")[0]


def _check_size(path, n):
    limit = int(os.environ.get("MIST_ARTIFACT_MAX") or BYTES_MAX)
    if n > limit:
        raise Refusal(f"{path} is larger than an artifact may be, {limit} bytes (MIST_ARTIFACT_MAX)")


def _keep(place, stamp, known, fill):
    """Whole or not at all: the loader may be reading what was there before."""
    folder = tempfile.mkdtemp(dir=os.path.dirname(place))
    try:
        part = os.path.join(folder, os.path.basename(place))
        fill(part)
        if not known or not filecmp.cmp(part, known.path, shallow=False):
            os.replace(part, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Copy(place, stamp)
