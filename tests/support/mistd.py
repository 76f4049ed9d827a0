# SPDX-License-Identifier: Apache-2.0
"""A real gateway for a test: its own folder, port and configuration; nothing of it is left when the test ends."""
import copy
import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import requests

from support import libconfig
from support.http import openapi

ROOT = Path(__file__).resolve().parents[2]
TERMINAL = ("finished", "failed", "cancelled")
PATIENCE = float(os.environ.get("MIST_PATIENCE", "1"))  # sanitizers are slow: every deadline is so many times longer
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|: runtime error: ")
LOG_SHOWN = 20_000


def build_folder():
    return Path(os.environ.get("MIST_BUILD", ROOT / ".mist" / "build-release")).resolve()


def gateway_binary():
    return build_folder() / "src" / "mistd" / "mistd"


@functools.cache
def spark_home():
    found = importlib.util.find_spec("pyspark")
    return found.submodule_search_locations[0] if found else ""


def runtimes():
    """The two runtimes that are always there, with this test's own Python and its PySpark."""
    return {"default": {"kind": "spark", "spark-home": spark_home(), "python": sys.executable},
            "plain": {"kind": "python", "python": sys.executable}}


def until(probe, timeout=30, what="the condition"):
    """The first true value of probe(); fails when there is none in time. Who was held up himself looks once more."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        is_last = time.monotonic() > deadline
        value = probe()
        if value:
            return value
        if is_last:
            raise AssertionError(f"{what}: not within {timeout * PATIENCE:g} s; last seen {value!r}")
        time.sleep(0.01)


class DidNotStart(Exception):
    """mistd ended, or said nothing, before it was ready. `code` is its exit status (None: it was still there)."""

    def __init__(self, code, stderr):
        super().__init__(f"mistd did not start (exit status {code}): {stderr.strip()}")
        self.code, self.stderr = code, stderr


class Mistd:
    """config: a dict or libconfig text; None is the shipped configs/mist.conf. The runtimes `default` and `plain` get this
    Python unless the dict or text has runtimes of its own. sets: more "path=value" texts. env: added to the environment."""

    def __init__(self, config=None, sets=(), env=None, start=True):
        self.home = Path(tempfile.mkdtemp(prefix="mist-test-")).resolve()
        self.data = self.home / "data"
        self.sets, self.env = list(sets), {**os.environ, **(env or {})}
        self.process, self.port, self.url = None, 0, None
        self._local = threading.local()
        self.configure(config)
        if start:
            try:
                self.start()
            except BaseException:
                self.close()
                raise

    # Its life

    def configure(self, config):
        """Writes the configuration anew; hangup() or restart() makes mistd read it."""
        self._own_sets = [f"mist.data-directory={self.data}"]
        if isinstance(config, dict):
            config = libconfig.dumps({"runtimes": runtimes(), **copy.deepcopy(config)})
        elif config is None or "runtimes" not in config:
            self._own_sets += [f"runtimes.{name}.{key}={value}" for name, runtime in runtimes().items()
                               for key, value in runtime.items()]
        self.config = ROOT / "configs" / "mist.conf"
        if config is not None:
            self.config = self.home / "mist.conf"
            self.config.write_text(config)

    def command(self):
        sets = [*self._own_sets, f"http.port={self.port}", *self.sets]
        return [gateway_binary(), "--config", self.config, *(word for s in sets for word in ("--set", s))]

    def start(self, timeout=60):
        """Starts it, on the port it had before if it had one, and waits for the line that says it is ready. The port is one that the
        kernel gives nobody while the gateway is away."""
        from support.child_process import free_port

        assert self.process is None, "mistd is running"
        self.port = self.port or free_port()
        with open(self.home / "stdout", "wb") as out, open(self.home / "stderr", "ab") as err:
            self.process = subprocess.Popen(self.command(), cwd=self.home, env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=err)
        deadline = time.monotonic() + timeout * PATIENCE
        while not (ready := re.match(r"ready (http://\S+:(\d+))\n", self.stdout())):
            code = self.process.poll()
            if code is not None or time.monotonic() > deadline:
                self.kill9()
                raise DidNotStart(code, self.stderr())
            time.sleep(0.002)
        self.url, self.port = ready[1], int(ready[2])
        return self

    def stop(self, timeout=60):
        """SIGTERM; it must end well. Busy workers stay."""
        process, self.process = self.process, None
        process.terminate()
        try:
            code = process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"mistd did not end within {timeout * PATIENCE:g} s of SIGTERM") from None
        assert code == 0, f"mistd ended with {code}"
        assert self.stdout() == f"ready {self.url}\n", f"more than one line on stdout: {self.stdout()!r}"
        self.check_sanitizers()

    def kill9(self):
        """kill -9, in the middle of whatever it does. Workers stay."""
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def restart(self):
        """Another one on the same port and data; stopped first if it runs."""
        if self.process:
            self.stop()
        return self.start()

    def hangup(self):
        """SIGHUP, and waits until the configuration was read again, or was not taken: either is a line of the log."""
        def answers():
            return len(re.findall(r"the configuration was (?:read again|not taken)", self.stderr()))

        before = answers()
        self.process.send_signal(signal.SIGHUP)
        until(lambda: answers() > before, what="the configuration to be read again")

    def close(self):
        """The end: stops it, ends its workers, removes the folder."""
        try:
            if self.process and self.process.poll() is None:
                self.stop()
            elif self.process:
                code, self.process = self.process.returncode, None
                self.check_sanitizers()
                raise AssertionError(f"mistd had ended by itself, with {code}")
        finally:
            self.end_workers()
            self._last_log = self.log()
            shutil.rmtree(self.home, ignore_errors=True)

    def check_sanitizers(self):
        found = SANITIZER.search(self.stderr())
        assert not found, f"a sanitizer complained: {self.stderr()[found.start():][:4000]}"

    # What it said

    def stdout(self):
        return _read(self.home / "stdout")

    def stderr(self):
        """Of one that runs, whole lines only: the last one may be half written."""
        text = _read(self.home / "stderr")
        return text[:text.rfind("\n") + 1] if self.process and self.process.poll() is None else text

    def log(self):
        """stderr, and what its workers printed: for people."""
        if not self.home.exists():
            return self._last_log
        parts = [self.stderr()[-LOG_SHOWN:]]
        for output in sorted(self.data.glob("logs/worker-*.log")):
            parts.append(f"-- {output.relative_to(self.data)}\n{_read(output)[-LOG_SHOWN // 4:]}")
        return "\n".join(parts)

    # HTTP

    @property
    def session(self):
        """One for each thread. Whatever comes through it has to be as proto/openapi.yaml says."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
            self._local.session.hooks["response"].append(
                lambda answer, **options: openapi.check(answer, options.get("stream", False)))
        return self._local.session

    def request(self, method, path, **options):
        options.setdefault("timeout", 60 * PATIENCE)
        return self.session.request(method, self.url + path, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def put(self, path, **options):
        return self.request("PUT", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    # Transports

    def transports(self):
        """How each is, by its name."""
        return {one["name"]: one for one in self.get("/health/ready").json()["transports"]}

    def trouble(self):
        """What it says of its transports, in one text."""
        return "\n".join(f"transport {one['name']}: {one['detail']}" for one in self.transports().values() if "detail" in one)

    def is_connected(self):
        """It is ready, and all its transports are up."""
        answer = self.get("/health/ready")
        return answer.status_code == 200 and all(one["up"] for one in answer.json()["transports"])

    def connected(self):
        """Itself, once they are."""
        until(self.is_connected, what="the connections to the brokers")
        return self

    # Jobs

    def submit(self, function, params=None, **query):
        """Asynchronously; the job's id."""
        return _good(self.post(f"/v2/api/functions/{function}/jobs", json=params or {}, params=query))["id"]

    def run(self, function, params=None, **query):
        """Synchronously; {"success", "payload", "errors"}."""
        return _good(self.post(f"/v2/api/functions/{function}/jobs", json=params or {},
                               params={**query, "force": "true"}, timeout=300 * PATIENCE))

    def job(self, job_id):
        return _good(self.get(f"/v2/api/jobs/{job_id}"))

    def logs(self, job_id):
        answer = self.get(f"/v2/api/jobs/{job_id}/logs")
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        return answer.content.decode()

    def cancel(self, job_id):
        return _good(self.delete(f"/v2/api/jobs/{job_id}"))

    def wait(self, job_id, states=TERMINAL, timeout=30):
        """The job, once it is in one of the states (one name, or several)."""
        states = (states,) if isinstance(states, str) else tuple(states)
        job = {}

        def is_there():
            job.clear()
            job.update(self.job(job_id))
            assert job["status"] in states or job["status"] not in TERMINAL, f"waited for {states}, ended as {job}"
            return job["status"] in states

        try:
            until(is_there, timeout, f"job {job_id} in {' or '.join(states)}")
        except AssertionError as e:
            raise AssertionError(f"{e}; the job: {json.dumps(job)}") from None
        return job

    # Workers

    def worker_pids(self):
        """The recorded pids of all its worker processes."""
        records = (_json(path) for path in sorted(self.data.glob("workers/*/worker.json")))
        return [record["pid"] for record in records if record.get("pid", 0) > 0]

    def worker_processes(self):
        """Every living process that was started for one of its workers, the children of workers too: a worker's environment
        says which file it was made for."""
        mark = f"MIST_WORKER_FILE={self.data}/workers/".encode()
        return [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/environ") if mark in _bytes(p)]

    def end_workers(self):
        def ended():
            left = self.worker_processes()
            for pid in left:
                _kill(pid)
            return not left

        until(ended, 10, "the end of the workers")


def _bytes(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _read(path):
    return _bytes(path).decode(errors="replace")


def _json(path):
    return json.loads(_bytes(path) or b"{}")


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _good(answer):
    assert answer.status_code == 200, f"{answer.request.method} {answer.url}: {answer.status_code}: {answer.text[:2000]}"
    return answer.json()
