# SPDX-License-Identifier: Apache-2.0
"""One walk: a gateway with a fail point does some work, another one comes after it on the same data, and what was promised is asked for.

Walks wait more than they work, so a few go side by side: all that pytest has selected begin with the first, and each test waits for
its own."""
import collections
import contextlib
import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests

from support import gateways
from support.mistd import TERMINAL, DidNotStart, Mistd, gateway_binary, until

SIDE_BY_SIDE = 4
ENDS = {"exit": 86, "kill": -9}
DELAY_MS = 150


@dataclass(frozen=True)
class Point:
    name: str
    errno: str  # "" where nothing can fail

    def actions(self):
        return [a for a in (self.errno, f"delay={DELAY_MS}", *ENDS) if a]


def listed():
    done = subprocess.run([gateway_binary(), "--list-fail-points"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    return [Point(w[0], w[1].strip("-")) for w in words]


POINTS = listed()


def cases(belongs):
    """(point, action) of every point whose name belongs."""
    return [pytest.param(p.name, a, id=f"{p.name}:{a}") for p in POINTS if belongs(p.name) for a in p.actions()]


class Walks:
    """walk(home, point, action) for every test of a module that is selected; result() of one raises what it raised.

    The folders are made here, since pytest's factory of them is not for several threads."""

    def __init__(self, request, walk):
        folders = request.getfixturevalue("tmp_path_factory")
        self.pool, self.futures = ThreadPoolExecutor(SIDE_BY_SIDE), {}
        for item in request.session.items:
            if request.fixturename in item.fixturenames and item.module is request.module:
                case = item.callspec.params["point"], item.callspec.params["action"]
                self.futures[case] = self.pool.submit(walk, folders.mktemp("walk"), *case)

    def result(self, point, action):
        self.futures[point, action].result()

    def close(self):
        self.pool.shutdown(cancel_futures=True)


class Gateway(Mistd):
    """Workers in C, of two contexts: `example` shares its workers, `once` has one for each job."""

    def __init__(self, home, point, action, **limits):
        self.point, self.action = point, action
        self.record = home / "record"
        self.record.touch()
        shared = {"runtime": "example", "worker-mode": "shared", "max-jobs": 2, "jobs-per-worker": 4}
        config = gateways.c_sections(
            functions={"record": {"class-name": "record", "context": "example"}},
            contexts={"example": shared, "once": {"runtime": "example", "worker-mode": "exclusive", "max-jobs": 2}},
            http={"idle-timeout": "10s"}, limits={"broken-retry": "100ms", **limits})
        self.sections = config
        super().__init__(config, start=False)

    def set_transports(self, transports):
        self.configure({**self.sections, "transports": transports})

    def begin(self, plan):
        """Starts with the plan. False: it ended, as the plan has it, or refused to start and said why."""
        self.env = {**self.env, "MIST_FAIL_POINTS": plan}
        try:
            self.start()
            return True
        except DidNotStart as e:
            if self.action in ENDS:
                assert e.code == ENDS[self.action], e
            else:
                assert e.code == 1 and "\nmistd: " in "\n" + e.stderr, e
            return False

    def leave_unreadable_row(self):
        """Of a job that ended well and is queued now, with arguments that are no JSON."""
        self.again()
        self.wait(self.submit("record", {"path": str(self.record), "n": 50}))
        self.stop()
        with contextlib.closing(sqlite3.connect(self.data / "mist.db")) as db, db:
            assert db.execute("UPDATE job SET state = 1, parameters = '{'").rowcount == 1

    def has_ended(self):
        return self.process.poll() is not None

    def has_passed(self):
        return f"fail point {self.point}: " in self.stderr()

    def finish(self, was_started):
        """The end of the one with the plan: by the plan, or in order."""
        if was_started and self.action in ENDS:
            until(self.has_ended, 20, f"the end of mistd at {self.point}")
            assert self.process.returncode == ENDS[self.action], self.log()
            self.process = None
        elif was_started:
            assert not self.has_ended(), self.log()
            until(self.is_connected, 20, "the recovery")
            self.stop()
        self.check_sanitizers()
        assert self.has_passed(), f"{self.point} was not passed: {self.log()}"

    def again(self):
        """Another one without a plan."""
        self.env = {k: v for k, v in self.env.items() if k != "MIST_FAIL_POINTS"}
        self.start()
        self.connected()

    def runs(self):
        """{n: how often it ran}"""
        return collections.Counter(line.split()[1] for line in self.record.read_text().splitlines())


class HttpWork:
    """Some of everything that is durable. A refusal or a cut connection promises nothing; an answer does."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.jobs, self.contexts, self.artifacts = {}, [], {}

    def _try(self, step, *arguments):
        try:
            step(*arguments)
        except (requests.RequestException, ConnectionError):
            pass

    def _job(self, n, context, path=None):
        answer = self.gateway.post("/v2/api/functions/record/jobs", params={"context": context} if context else {},
                                   json={"path": path or str(self.gateway.record), "n": n})
        if answer.status_code == 200:
            self.jobs[answer.json()["id"]] = n
        else:
            assert answer.status_code in (429, 503), answer.text

    def _context(self, name):
        answer = self.gateway.post("/v2/api/contexts", json={"name": name, "workerMode": "shared", "maxJobs": 3})
        if answer.status_code == 200:
            self.contexts.append(name)
        else:
            assert answer.status_code == 503, answer.text

    def _artifact(self, name):
        content = f"# {name}\n" * 5000
        answer = self.gateway.post("/v2/api/artifacts", files={"file": (name, content)})
        if answer.status_code == 200:
            self.artifacts[name] = content
        else:
            assert answer.status_code == 503, answer.text

    def _status(self, job_id):
        """None: it is not there, which in a walk may be since it is forgotten."""
        answer = self.gateway.get(f"/v2/api/jobs/{job_id}")
        assert answer.status_code in (200, 404), answer.text
        return answer.json()["status"] if answer.status_code == 200 else None

    def _wait(self, job_id):
        until(lambda: self.gateway.has_ended() or self._status(job_id) in (None, *TERMINAL), what=f"the end of {job_id}")

    def do(self):
        for name in ("a.py", "b.py"):
            self._try(self._artifact, name)
            self._try(self._context, name.replace(".", "-"))
        for n in range(4):
            self._try(self._job, n, None)
        for n in range(4, 6):
            self._try(self._job, n, "once")
        for job_id in list(self.jobs):
            self._try(self._wait, job_id)
        for n in range(6, 8):
            self._try(self._job, n, None)

    def list_in_pieces(self):
        """Jobs with arguments so long that their list is read in pieces. A list that stops in the middle looks like no whole one."""
        for n in range(100, 180):
            self._try(self._job, n, None, "/." * 1900 + str(self.gateway.record))
        for job_id in list(self.jobs):
            self._try(self._wait, job_id)
        is_whole = False
        try:
            is_whole = len(self.gateway.get("/v2/api/jobs", params={"limit": 1000}).json()) >= 80
        except requests.RequestException:
            pass
        assert is_whole == self.gateway.action.startswith("delay")

    def check(self, may_fail, may_be_gone):
        """Of the gateway that came after it."""
        for name in self.contexts:
            assert self.gateway.get(f"/v2/api/contexts/{name}").status_code == 200, f"context {name} was promised"
        for name, content in self.artifacts.items():
            assert self.gateway.get(f"/v2/api/artifacts/{name}").text == content, f"artifact {name} was promised"
        left = self.gateway.get("/v2/api/artifacts").json()
        assert set(left) <= {"a.py", "b.py"}
        for name in left:  # whole, or not there
            assert len(self.gateway.get(f"/v2/api/artifacts/{name}").text) == len(f"# {name}\n" * 5000)
        for job_id, n in self.jobs.items():
            until(lambda job_id=job_id: self._status(job_id) in (None, *TERMINAL), what=f"the end of {job_id}")
            answer = self.gateway.get(f"/v2/api/jobs/{job_id}")
            if may_be_gone and answer.status_code == 404:
                continue
            assert answer.status_code == 200, f"job {job_id} was promised: {answer.text}"
            job = answer.json()
            if job["status"] == "finished":
                assert job["jobResult"] == n, job
            else:
                assert may_fail and job["status"] == "failed" and job["jobResult"], job
        runs = self.gateway.runs()
        assert max(runs.values(), default=0) <= 1, f"jobs ran twice: {runs}"
        assert self.gateway.run("record", {"path": str(self.gateway.record), "n": 99})["payload"] == 99
