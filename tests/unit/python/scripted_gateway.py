# SPDX-License-Identifier: Apache-2.0
"""The gateway's side of the worker protocol, small enough to script: a real WebSocket server and the worker as a real
process.

A test is the gateway: it accepts a connection, sends frames and waits for frames. Every wait has a deadline, and
every frame of the worker is checked against frames.json on the way in."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.parse

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from mist import frames

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
RUNNER = os.path.join(ROOT, "src", "runner", "python")
WAIT_S = 60 * float(os.environ.get("MIST_PATIENCE", 1))
SECRET = "sesame"


class Peer:
    """One connection of a worker. `seen` keeps all its frames in order."""

    def __init__(self, connection):
        self.connection = connection
        self.seen = []
        self._new = queue.SimpleQueue()
        self.is_over = threading.Event()

    def take(self):
        try:
            for message in self.connection:
                self._new.put(frames.parse(message, "worker"))
        except (ConnectionClosed, frames.ProtocolError) as e:
            self._new.put({"type": "over", "why": str(e)})
        self._new.put({"type": "over", "why": "closed"})
        self.is_over.set()

    def send(self, frame_type, **members):
        self.connection.send(json.dumps({"type": frame_type, **members}))

    def receive(self, wait_s=WAIT_S):
        frame = self._new.get(timeout=wait_s)
        self.seen.append(frame)
        return frame

    def expect(self, *types, wait_s=WAIT_S):
        """The next frame of one of these types; others that come before it stay in `seen`."""
        until = time.monotonic() + wait_s
        while True:
            try:
                frame = self.receive(max(0.01, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {types} within {wait_s} s; seen: {self.seen[-20:]}") from None
            if frame["type"] in types:
                return frame
            assert frame["type"] != "over", f"{frame['why']} before {types}; seen: {self.seen[-20:]}"

    def welcome(self, heartbeat=60, max_frame=1 << 20, forget=()):
        hello = self.expect("hello")
        self.send("welcome", protocol=1, heartbeat=heartbeat, maxFrame=max_frame, forget=list(forget))
        return hello

    def start(self, job, path, name, /, **parameters):
        self.send("start", job=job, function=name, path=str(path), className=name, parameters=parameters, attempt=1)

    def outcome(self, wait_s=WAIT_S):
        frame = self.expect("finished", "failed", "cancelled", wait_s=wait_s)
        self.send("ack", jobs=[frame["job"]])
        return frame

    def run(self, job, path, name, /, **parameters):
        self.start(job, path, name, **parameters)
        return self.outcome()

    def log(self, job):
        frames_of_job = [f for f in self.seen if f["type"] == "log" and f["job"] == job]
        return [entry for frame in frames_of_job for entry in frame["entries"]]

    def drain(self):
        self.send("drain")
        self.expect("bye")


class Gateway:
    def __init__(self, folder):
        self.folder = folder
        self.peers = queue.SimpleQueue()
        self.refuse_with = None
        self.processes = []
        self.worker_file = folder / "worker.json"
        self.output = folder / "output"
        self._server = None
        self.listen()

    def listen(self):
        self._server = serve(self._take, "127.0.0.1", 0, compression=None, process_request=self._admit, max_size=None)
        self.port = self._server.socket.getsockname()[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _admit(self, connection, request):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        if self.refuse_with:
            return connection.respond(self.refuse_with, "no\n")
        if request.headers.get("Authorization") != f"Bearer {SECRET}" or query.get("worker") != ["w 1"]:
            return connection.respond(401, "no such worker\n")
        return None

    def _take(self, connection):
        peer = Peer(connection)
        self.peers.put(peer)
        peer.take()

    def peer(self, wait_s=WAIT_S):
        try:
            return self.peers.get(timeout=wait_s)
        except queue.Empty:
            raise AssertionError(f"no worker connected; it said: {self.said()}") from None

    def write_worker_file(self, **changes):
        told = {"url": f"ws://127.0.0.1:{self.port}/v2/workers/connect", "worker": "w 1", "secret": SECRET,
                "context": "default", "grace": 20, "name": "default", "sparkConf": {}, "streamingDuration": 1,
                "capacity": 1, "describer": False, **changes}
        fresh = self.worker_file.with_suffix(".new")
        fresh.write_text(json.dumps(told))
        fresh.replace(self.worker_file)

    def start_worker(self, environment=None, command=None, **changes):
        self.write_worker_file(**changes)
        env = {**os.environ, "PYTHONPATH": RUNNER, "MIST_WORKER_FILE": str(self.worker_file), **(environment or {})}
        with open(self.output, "ab") as output:
            process = subprocess.Popen(command or [sys.executable, "-m", "mist.worker"], env=env, cwd=self.folder,
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        self.processes.append(process)
        return process

    def said(self):
        return self.output.read_text(errors="replace")

    def stop_listening(self):
        self._server.shutdown()

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
        self.stop_listening()
