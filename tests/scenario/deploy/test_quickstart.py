# SPDX-License-Identifier: Apache-2.0
"""deploy/quickstart, from a checkout to a running gateway: what it would fetch or build is there already."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from support.child_process import free_port
from support.mistd import PATIENCE, ROOT, gateway_binary, until

pytestmark = [pytest.mark.spark, pytest.mark.release, pytest.mark.timeout(900)]
WAITS = """
import os, time
import mist

@mist.function
def waits(ctx, path: str):
    while not os.path.exists(path):
        time.sleep(0.05)
    return "waited"
"""


class Checkout:
    """As it is after a first run, but that nothing runs yet: with an environment of Python and what was built."""

    def __init__(self, folder):
        self.folder = folder / "checkout"
        self.home = self.folder / ".mist"
        for name in "deploy", "configs", "jobs":
            shutil.copytree(ROOT / name, self.folder / name)
        script = self.folder / "deploy" / "quickstart"
        text = script.read_text()
        assert text.count("prefix=/usr/local\n") == 1
        script.write_text(text.replace("prefix=/usr/local\n", f"prefix={folder}/prefix\n"))
        self.make_environment()
        tools = folder / "tools"
        tools.mkdir()
        (tools / "meson").write_text(f"""#!/bin/sh -e
build={self.home}/build
case $1 in
compile) mkdir -p "$build/src/mistd" && cp -u {gateway_binary()} "$build/src/mistd/mistd" ;;
setup) mkdir -p "$build" ;;
install) mkdir -p "$build/meson-logs" {folder}/prefix && touch {folder}/prefix/one && echo {folder}/prefix/one >"$build/meson-logs/install-log.txt" ;;
esac
""")
        (tools / "ldconfig").write_text("#!/bin/sh\n")
        for tool in tools.iterdir():
            tool.chmod(0o755)
        self.environ = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(folder), "MIST_PORT": str(free_port())}

    def make_environment(self):
        """That of the tests has all that is wanted, and more."""
        venv = self.home / "venv"
        venv.mkdir(parents=True)
        for path in Path(sys.prefix).iterdir():
            if path.name != "complete":
                (venv / path.name).symlink_to(path)
        lists = subprocess.run(["bash", "-c", '. deploy/setup.sh && printf "%s\\n" "${python_requirements[@]}"'], cwd=self.folder,
                               env={**os.environ, "root": str(self.folder), "log": os.devnull}, capture_output=True, text=True, check=True)
        (venv / "complete").write_text(lists.stdout)

    def quickstart(self, *words, status=0):
        done = subprocess.run([self.folder / "deploy" / "quickstart", *words], env=self.environ, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=400 * PATIENCE)
        log = self.home / "mistd.log"
        assert done.returncode == status, done.stdout + done.stderr + (log.read_text() if log.exists() else "")
        return done.stdout + done.stderr

    def gateway(self):
        return int((self.home / "mistd.pid").read_text())

    def ask(self, path, body=None):
        url = f"http://127.0.0.1:{self.environ['MIST_PORT']}/v2/api/{path}"
        request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30 * PATIENCE) as answer:
            return json.load(answer)


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    yield made
    made.quickstart("--uninstall")


def is_ours(pid, checkout):
    try:
        return os.readlink(f"/proc/{pid}/exe").startswith(str(checkout.home))
    except OSError:
        return False


def test_it_ends_with_a_gateway_that_has_run_a_job_and_again_without_harm_to_those_that_run(checkout, tmp_path):
    said = checkout.quickstart()
    assert re.search(r"^ {4}the +\d+$", said, re.MULTILINE), "the words that Spark has counted"
    assert f"mistd is running at http://127.0.0.1:{checkout.environ['MIST_PORT']} (process {checkout.gateway()})" in said
    first, artifact, flag = checkout.gateway(), tmp_path / "waits.py", tmp_path / "flag"
    artifact.write_text(WAITS)
    function = {"name": "waits", "path": str(artifact), "className": "waits", "defaultContext": "plain"}
    if not any(context["name"] == "plain" for context in checkout.ask("contexts")):
        checkout.ask("contexts", {"name": "plain", "runtime": "plain"})
    checkout.ask("functions", function)
    job_id = checkout.ask("functions/waits/jobs", {"path": str(flag)})["id"]
    job = until(lambda: (job := checkout.ask(f"jobs/{job_id}"))["status"] == "started" and job, what="the job to start")

    said = checkout.quickstart()
    assert "Stop the mistd of an earlier run" in said and checkout.gateway() != first and not is_ours(first, checkout)
    assert "ready http" in (checkout.home / "mistd.log.1").read_text()
    flag.touch()
    ended = until(lambda: (ended := checkout.ask(f"jobs/{job_id}"))["status"] in ("finished", "failed", "cancelled") and ended)
    assert (ended["status"], ended["workerId"]) == ("finished", job["workerId"])

    second = checkout.gateway()
    checkout.quickstart("--uninstall")
    assert not is_ours(second, checkout) and not (tmp_path / "prefix" / "one").exists() and (checkout.home / "data" / "mist.db").exists()


def test_stop_leaves_nothing_that_runs_and_a_port_that_is_taken_is_named(checkout):
    said = checkout.quickstart("--stop")
    assert "Stop mistd" in said and "mistd is running at" not in said and not (checkout.home / "mistd.pid").exists()
    with socket.create_server(("127.0.0.1", int(checkout.environ["MIST_PORT"]))):
        assert "is in use by another program; choose one with MIST_PORT=N" in checkout.quickstart(status=1)
    checkout.environ["MIST_PORT"] = "x"
    assert 'MIST_PORT must be a port from 1 to 65535, not "x"' in checkout.quickstart(status=1)
