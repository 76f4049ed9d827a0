# SPDX-License-Identifier: Apache-2.0
"""Other people's servers as children of a test: their ports, their life, and that none outlives the test process."""
import os
import random
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.mistd import PATIENCE

LOG_SHOWN = 20_000
# The kernel ends a child with the thread that started it. A test may start a server in a thread that does not last; this one does.
_starter = ThreadPoolExecutor(1, thread_name_prefix="starter")
_handed_out = set()
# Tests that run side by side have ports of their own.
_SIDE, _SIDES = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def free_port():
    """A port that nobody listens on, and that no client gets for its own end while a server is away for a moment."""
    below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000 + _SIDE, max(below, 20_000), _SIDES)
        if port in _handed_out:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port


class ChildProcess:
    """A server: `command()` says what to run and `is_ready()` whether it answers. Its output goes to `log_file`."""

    name = "a server"
    ready_timeout = 30

    def __init__(self, directory):
        self.home = Path(directory)
        self.home.mkdir(parents=True, exist_ok=True)
        self.log_file = self.home / "log"
        self.process = None
        self._last_log = ""

    def command(self):
        raise NotImplementedError

    def is_ready(self):
        raise NotImplementedError

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def launch(self):
        """Starts it and does not wait."""
        assert not self.is_running(), f"{self.name} is running"
        command = ["setpriv", "--pdeathsig", "KILL", "--", *map(str, self.command())]
        with open(self.log_file, "ab") as log:
            self.process = _starter.submit(subprocess.Popen, command, cwd=self.home, stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log).result()
        return self

    def wait_until_ready(self):
        deadline = time.monotonic() + self.ready_timeout * PATIENCE
        while not self.is_ready():
            ended = not self.is_running()
            if ended or time.monotonic() > deadline:
                why = f"ended with {self.process.returncode}" if ended else "does not answer"
                self.kill9()
                raise AssertionError(f"{self.name} {why}:\n{self.log()}")
            time.sleep(0.01)
        return self

    def start(self):
        return self.launch().wait_until_ready()

    def stop(self, timeout=30):
        """SIGTERM, and its end."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} did not end within {timeout * PATIENCE:g} s of SIGTERM") from None

    def kill9(self):
        """kill -9, in the middle of whatever it does."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def restart(self):
        """Another one on the same ports and data; stopped first if it runs."""
        self.stop()
        return self.start()

    def pause(self):
        """SIGSTOP: its connections stay and nothing answers, until resume()."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        """The end, without ceremony. What it said can still be read."""
        self.kill9()
        self._last_log = self.log()

    def log(self):
        """The end of what it said: for people."""
        try:
            return self.log_file.read_bytes()[-LOG_SHOWN:].decode(errors="replace")
        except OSError:
            return self._last_log
