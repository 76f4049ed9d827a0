# SPDX-License-Identifier: Apache-2.0
"""The worker's side of the connection: it dials, says hello, takes what the gateway says, and dials again when the
connection breaks.

One thread (the process's main thread) receives, and does nothing that can take long: pings are answered from here
whatever the jobs do. What is said about jobs goes through the outbox. The life of a connection is in proto/README.md;
this file is its right order: connect, hello, welcome, then any frame; the first wrong frame ends the connection with
`error`, never the process.

run() returns the exit status: 0 drained, 2 no usable worker file, 4 refused, 5 the gateway is gone for longer than
the grace."""

import dataclasses
import inspect
import json
import os
import socket
import threading
import time
import urllib.parse

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from mist import frames
from mist.errors import explain, sentence
from mist.frames import ProtocolError
from mist.logs import NOBODY, worker_log
from mist.texts import clean

PROTOCOL = 1
DRAINED, NO_WORKER_FILE, CANNOT_START, REFUSED, GATEWAY_LOST = 0, 2, 3, 4, 5
WELCOME_WAIT_S = 10
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 2.0
LASTED_S = 1.0        # a connection that lived longer is followed by another at once
HEARTBEATS_MISSED = 3
REFUSALS_MAX = 2      # of one outcome, before it is replaced by a failure


class Refused(Exception):
    """The gateway will never take this worker."""


@dataclasses.dataclass(frozen=True)
class Settings:
    url: str
    worker: str
    secret: str
    grace: float
    capacity: int
    describer: bool
    spark_conf: dict
    streaming_s: float

    @classmethod
    def read(cls):
        """Raises ValueError with a sentence."""
        path = os.environ.get("MIST_WORKER_FILE")
        if not path:
            raise ValueError("MIST_WORKER_FILE is not set: a worker is started by the gateway")
        try:
            with open(path, encoding="utf-8") as f:
                told = json.load(f)
            return cls(str(told["url"]), str(told["worker"]), str(told["secret"]), float(told["grace"]),
                       max(1, int(told["capacity"])), bool(told.get("describer")), dict(told.get("sparkConf") or {}),
                       float(told.get("streamingDuration") or 1))
        except OSError as e:
            raise ValueError(f"cannot read {path}: {e.strerror}") from None
        except (ValueError, TypeError) as e:
            raise ValueError(f"{path} is no worker file: {e}") from None
        except KeyError as e:
            raise ValueError(f"{path} is no worker file: it has no {e}") from None


def dial(settings, timeout_s):
    """An open connection. Raises OSError, TimeoutError, WebSocketException."""
    separator = "&" if "?" in settings.url else "?"
    url = f"{settings.url}{separator}worker={urllib.parse.quote(settings.worker, safe='')}"
    options = {"additional_headers": {"Authorization": f"Bearer {settings.secret}"}, "compression": None,
               "open_timeout": timeout_s, "close_timeout": 1, "max_size": None}
    # Later versions of websockets ping by themselves and look for proxies: the heartbeat is the gateway's, and so is
    # the address.
    known = inspect.signature(connect).parameters
    options.update((name, None) for name in ("ping_interval", "proxy") if name in known)
    connection = connect(url, **options)
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def say_error(connection, reason, code=1002):
    reason = clean(reason)
    try:
        connection.send(frames.text({"type": "error", "reason": reason[:2000]}))
        connection.close(code, reason.encode("utf-8")[:100].decode("utf-8", "ignore"))
    except (ConnectionClosed, OSError):
        pass


class Session:
    def __init__(self, settings, jobs, outbox, loader, about):
        self._settings = settings
        self._jobs = jobs
        self._outbox = outbox
        self._loader = loader
        self._about = about          # members of hello: lang, version, …
        self._connection = None
        self._max_frame = 0
        self._silence_s = 0.0
        self._is_draining = False
        self._heard_at = 0.0         # when the gateway was last there
        self._refusals = {}          # job id → how often its outcome was refused
        self._takers = {"start": self._on_start, "cancel": self._on_cancel, "ack": self._on_ack, "ping": self._on_ping,
                        "describe": self._on_describe, "drain": self._on_drain, "error": self._on_error,
                        "welcome": self._on_second_welcome}

    def run(self):
        self._heard_at = time.monotonic()
        pause = 0.0
        while True:
            time.sleep(pause)
            welcomed_at = None
            try:
                self._settings = Settings.read()
                welcomed_at = self._connect()
                status = self._receive()
                if status is not None:
                    return status
            except Refused as e:
                worker_log.error("the gateway refuses this worker: %s", e)
                return REFUSED
            except (OSError, WebSocketException, ValueError) as e:
                worker_log.warning("no connection to the gateway: %s", e)
            finally:
                self._disconnect()
            now = time.monotonic()
            if welcomed_at:
                self._heard_at = now
            if self._is_done():
                return DRAINED
            self._is_draining = False    # the next gateway does not know of it; who sent it says it again
            if now - self._heard_at >= self._settings.grace:
                worker_log.error("the gateway is gone for %g s: giving up", self._settings.grace)
                return GATEWAY_LOST
            has_lasted = welcomed_at is not None and now - welcomed_at > LASTED_S
            pause = 0.0 if has_lasted else min(max(BACKOFF_FIRST_S, pause * 2), BACKOFF_MAX_S, self._left() + 0.01)

    def _left(self):
        return max(0.0, self._settings.grace - (time.monotonic() - self._heard_at))

    def _connect(self):
        try:
            self._connection = connection = dial(self._settings, min(10, self._left() + 0.1))
        except InvalidStatus as e:
            if e.response.status_code == 401:
                raise Refused("401, it does not know the worker or its secret") from None
            raise
        held = self._jobs.held()
        connection.send(frames.text({"type": "hello", "protocol": PROTOCOL, "capacity": self._jobs.capacity,
                                     "resumes": [job.id for job in held], **self._about()}))
        welcome = self._first_frame(connection)
        self._max_frame = welcome["maxFrame"]
        self._silence_s = welcome["heartbeat"] * HEARTBEATS_MISSED
        self._jobs.forget(welcome["forget"])
        self._outbox.connect(connection, self._max_frame, self._jobs.held())
        return time.monotonic()

    def _first_frame(self, connection):
        try:
            frame = frames.parse(connection.recv(timeout=WELCOME_WAIT_S), "gateway")
            if frame["type"] == "error":
                worker_log.error("the gateway says: %s", frame["reason"])
                connection.recv(timeout=WELCOME_WAIT_S)  # its close says whether to come again
            if frame["type"] != "welcome":
                raise ProtocolError(f'expected welcome, got {frame["type"]}')
            if frame["protocol"] != PROTOCOL:
                raise ProtocolError(f"this worker speaks protocol {PROTOCOL}, not {frame['protocol']}", 4001)
            if frame["heartbeat"] <= 0:
                raise ProtocolError("frame welcome: member heartbeat: expected seconds above 0")
            return frame
        except ProtocolError as e:
            say_error(connection, str(e), e.code)
            if e.code == 4001:
                raise Refused(str(e)) from None
            raise ValueError(str(e)) from None
        except ConnectionClosed as e:
            if e.rcvd is not None and e.rcvd.code == 4001:
                raise Refused(e.rcvd.reason or "another version of the protocol") from None
            raise

    def _receive(self):
        """Until the connection is over: the exit status, or None to connect again."""
        connection = self._connection
        try:
            while not self._is_done():
                text = connection.recv(timeout=self._silence_s)
                if isinstance(text, str) and len(text) * 4 > self._max_frame and len(text.encode()) > self._max_frame:
                    raise ProtocolError(f"a frame of {len(text.encode())} bytes; the most is {self._max_frame}", 1009)
                frame = frames.parse(text, "gateway")
                self._takers[frame["type"]](frame)
        except ProtocolError as e:
            worker_log.error("protocol error of the gateway: %s", e)
            say_error(connection, str(e), e.code)
            return None
        except TimeoutError:
            worker_log.warning("nothing heard from the gateway for %g s", self._silence_s)
            return None
        except ConnectionClosed as e:
            if e.rcvd is not None and e.rcvd.code in (1007, 1009):
                self._count_refusals(f"it closed the connection with {e.rcvd.code} {e.rcvd.reason}")
            worker_log.warning("the connection to the gateway broke: %s", e)
            return None
        connection.send('{"type":"bye"}')
        connection.close(1000)
        return DRAINED

    def _is_done(self):
        return self._is_draining and not self._jobs.held()

    def _disconnect(self):
        connection, self._connection = self._connection, None
        self._outbox.disconnect()
        if connection is None:
            return
        try:  # first, since the outbox may be in the middle of a send that nobody reads
            connection.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        connection.close()

    def _on_start(self, frame):
        if self._is_draining:
            raise ProtocolError("start after drain")
        self._jobs.start(frame)

    def _on_cancel(self, frame):
        worker_log.info("job %s is to stop: %s", frame["job"], frame["reason"])
        self._jobs.cancel(frame["job"])

    def _on_ack(self, frame):
        self._jobs.acknowledge(frame["jobs"])
        for job_id in frame["jobs"]:
            self._refusals.pop(job_id, None)

    def _on_ping(self, frame):
        self._connection.send('{"type":"pong"}')

    def _on_drain(self, frame):
        self._is_draining = True

    def _on_second_welcome(self, frame):
        raise ProtocolError("a second welcome")

    def _on_error(self, frame):
        worker_log.error("the gateway says: %s", frame["reason"])
        self._count_refusals(frame["reason"])

    def _count_refusals(self, reason):
        """An outcome that the gateway cannot take would end every connection anew: after a second time the job fails
        with the gateway's words, which it can take."""
        for job in self._jobs.held():
            outcome = job.outcome
            if outcome is None or job.ended_on is not self._connection or outcome.kind != "finished":
                continue
            n = self._refusals[job.id] = self._refusals.get(job.id, 0) + 1
            if n >= REFUSALS_MAX:
                job.fail(f"the gateway did not take the result: {reason}", outcome.at)

    def _on_describe(self, frame):
        thread = threading.Thread(target=self._describe, args=(frame, self._connection), name="mist-describe", daemon=True)
        thread._mist_job = NOBODY
        thread.start()

    def _describe(self, frame, connection):
        answer = {"type": "described", "id": frame["id"]}
        try:
            answer["signature"] = self._loader.load(frame["path"], frame["className"]).signature()
            self._loader.release(None)  # what this has replaced and no job uses
        except BaseException as e:
            worker_log.warning("%s of %s: %s", frame["className"], frame["path"], explain(e))
            answer["error"] = sentence(e)
        self._outbox.send(connection, answer)
