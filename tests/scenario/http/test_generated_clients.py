# SPDX-License-Identifier: Apache-2.0
"""Clients that generators make from the document of the HTTP API, as a user gets them: without a warning, with a function for every
operation, whole (Python: every module imports; TypeScript: it compiles strictly), and able to call, wait, page through a log, follow
and cancel."""
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from support import npm
from support.mistd import PATIENCE, ROOT

pytestmark = pytest.mark.release
DOCUMENT = yaml.safe_load((ROOT / "proto" / "openapi.yaml").read_text())
OPERATIONS = {operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()
              if "operationId" in operation}
PAGE = 100


def snake(name):
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """As the gateway serves it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


@pytest.fixture(scope="module")
def python_client(document, tmp_path_factory):
    """The package, and what its generator said."""
    folder = tmp_path_factory.mktemp("python")
    binaries = Path(sys.executable).parent  # the generator calls ruff
    done = subprocess.run([sys.executable, "-m", "openapi_python_client", "generate", "--path", document, "--meta", "none",
                           "--output-path", folder / "mist_generated"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"}, timeout=120 * PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield importlib.import_module("mist_generated"), done.stdout + done.stderr
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def typescript_client(document, tmp_path_factory):
    """A project with the client and the program npm/jobs.ts, and what the generator said."""
    folder = npm.project(tmp_path_factory.mktemp("typescript") / "project", "jobs.ts", "tsconfig.json")
    said = npm.node(folder, "@hey-api/openapi-ts/bin/run.js", "-i", document, "-o", "generated", "--no-log-file")
    return folder, said


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    return plain_mist_for_module


def test_the_python_client_is_whole(python_client):
    package, said = python_client
    assert re.fullmatch(r"Generating \S+\n", said), said
    modules = [m.name for m in pkgutil.walk_packages(package.__path__, "mist_generated.")]
    for module in modules:
        importlib.import_module(module)
    functions = {m.rsplit(".", 1)[1] for m in modules if m.count(".") == 3 and m.startswith("mist_generated.api.")}
    assert functions == {snake(name) for name in OPERATIONS}


def test_the_python_client_runs_jobs(python_client, gateway):
    from mist_generated import Client
    from mist_generated.api.events import follow_job
    from mist_generated.api.functions import list_functions
    from mist_generated.api.jobs import cancel_job, get_job, get_job_log, list_jobs, submit_job
    from mist_generated.models import Arguments, Job, JobReference, JobResult, JobStatus, Page, Problem

    client = Client(gateway.url, timeout=60 * PATIENCE)

    def submit(name, **arguments):
        answer = submit_job.sync(name, client=client, body=Arguments.from_dict(arguments))
        assert isinstance(answer, JobReference), answer
        return answer.id

    waited = submit_job.sync("typed", client=client, body=Arguments.from_dict({"i": 1}), prefer="wait=60")
    assert isinstance(waited, JobResult) and waited.success and waited.errors == []

    chatty = submit("chatty", lines=20)
    assert "event: finished" in follow_job.sync(chatty, client=client)
    job = get_job.sync(chatty, client=client)
    assert isinstance(job, Job) and job.status == JobStatus.FINISHED and job.params.arguments.to_dict() == {"lines": 20}
    log, at = [], 0
    while True:
        page = get_job_log.sync_detailed(chatty, client=client, range_=f"bytes={at}-{at + PAGE - 1}")
        if page.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            break
        assert page.status_code == HTTPStatus.PARTIAL_CONTENT
        log.append(page.parsed)
        at += PAGE
    assert len(log) > 5 and "".join(log) == gateway.logs(str(chatty))

    endless = submit("wait_for", path=str(gateway.home / "never"))
    cancelled = cancel_job.sync(endless, client=client)
    assert isinstance(cancelled, Job) and cancelled.status == JobStatus.CANCELLED
    refused = submit_job.sync("typed", client=client, body=Arguments())
    assert isinstance(refused, Problem) and "i" in refused.detail
    page = list_jobs.sync(client=client, status=[JobStatus.CANCELLED], paginate=True)
    assert isinstance(page, Page) and endless in [job.job_id for job in page.jobs]
    assert "typed" in [function.name for function in list_functions.sync(client=client)]


def test_the_typescript_client_is_whole(typescript_client):
    folder, said = typescript_client
    assert not re.search(r"warn|error|⚠|✗", said, re.IGNORECASE), said
    functions = re.findall(r"^export const (\w+) = <", (folder / "generated" / "sdk.gen.ts").read_text(), re.MULTILINE)
    assert sorted(functions) == sorted(OPERATIONS)


def test_the_typescript_client_runs_jobs(typescript_client, gateway):
    folder, _ = typescript_client
    npm.node(folder, "typescript/bin/tsc", "--project", ".")
    seen = json.loads(npm.node(folder, "compiled/jobs.js", gateway.url, gateway.home / "never"))
    assert seen["waited"]["success"] is True and seen["cancelled"] == "cancelled" and seen["history"] > 0
    assert seen["followed"][0] == "initialized" and seen["followed"][-1] == "finished"
    assert len(seen["pages"]) > 5 and "".join(seen["pages"]) == gateway.logs(seen["job"]["jobId"])
    assert "i" in seen["refused"] and "typed" in seen["functions"]
