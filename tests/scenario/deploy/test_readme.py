# SPDX-License-Identifier: Apache-2.0
"""The README as a newcomer goes through it: its shell lines in the order they stand, on a fresh mosquitto and a fresh Kafka. Only
addresses are this test's own. What an installation takes is compared with deploy/setup.sh."""
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.mistd import PATIENCE, ROOT, Mistd, build_folder, until

GREETING = {"greeting": "Hello, Ada!"}
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FILE = re.compile(r"# (\S+\.(?:py|conf))\n")


def blocks(page, section):
    """The indented blocks of a section, without their indent."""
    body = page.read_text().split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).lstrip("\n") for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", body, re.MULTILINE)]


def lines_of(block):
    """A command a line, with what a backslash continues and without what is said of it."""
    whole = block.replace("\\\n", " ")
    return [" ".join(re.sub(r"\s+# .*", "", line).split()) if "'" not in line else re.sub(r"\s{2,}# .*", "", line)
            for line in whole.splitlines() if line.strip()]


def is_greeting(out):
    return json.loads(out).get("payload") == GREETING


CHECKS = (  # how a line begins, and what is true of what it prints
    ("curl -d '{\"name\"", is_greeting),
    ("curl -d '{\"samples\"", lambda out: ID.search(out)),
    ("curl -X DELETE", lambda out: json.loads(out)["jobId"]),
    ("curl http://127.0.0.1:2003/v2/api/jobs/ID/logs", lambda out: "QueuedEvent" in out),
    ("curl http://127.0.0.1:2003/v2/api/jobs/ID", lambda out: json.loads(out)["status"]),
    ("curl 'http://127.0.0.1:2003/v2/api/jobs?status=failed&limit=10'", lambda out: json.loads(out) == []),
    ("curl http://127.0.0.1:2003/v2/api/functions", lambda out: "hello" in [f["name"] for f in json.loads(out)]),
    ("curl http://127.0.0.1:2003/v2/api/workers", lambda out: len(json.loads(out)) > 0),
    ("curl http://127.0.0.1:2003/v2/api/status", lambda out: json.loads(out)["mistVersion"]),
    ("mist run hello", lambda out: json.loads(out) == GREETING),
    ("mist run shout", lambda out: json.loads(out) == {"text": "HIHI"}),
    ("mist apply", lambda out: out.count("created") == 2),
    ("mist submit", lambda out: ID.fullmatch(out.strip())),
    ("mist wait", lambda out: 3 < json.loads(out) < 3.3),
    ("mosquitto_rr", lambda out: json.loads(out)["result"] == GREETING),
    ("kcat -C -b localhost:9092 -t answers", lambda out: is_answer(*out.split(" ", 2))),
)


def is_answer(key, headers, body):
    return key == "ada" and "event=finished" in headers and json.loads(body)["result"] == GREETING


class Newcomer:
    def __init__(self, folder, mosquitto, kafka):
        self.folder, self.mosquitto, self.kafka = folder, mosquitto, kafka
        self.gateway, self.job, self.background, self.ran = Mistd(), "", [], []
        tools = folder / "tools"
        tools.mkdir()
        for name in "mosquitto_sub", "mosquitto_pub", "mosquitto_rr":
            (tools / name).write_text(f'#!/bin/sh\nexec /usr/bin/{name} -h 127.0.0.1 -p {mosquitto.port} "$@"\n')
        (tools / "curl").write_text('#!/bin/sh\nexec /usr/bin/curl -sS --fail-with-body --noproxy "*" "$@"\n')
        for tool in tools.iterdir():
            tool.chmod(0o755)
        self.env = {**os.environ, "PATH": f"{tools}:{build_folder()}/src/cli:{os.environ['PATH']}", "MIST_URL": self.gateway.url}

    def close(self):
        for process, _, _ in self.background:
            process.kill()
            process.wait()
        self.gateway.close()

    def start(self, line, out=subprocess.PIPE):
        own = line.replace("localhost:9092", self.kafka.bootstrap).replace("http://127.0.0.1:2003", self.gateway.url)
        own = re.sub(r"\bID\b", self.job, own)
        # In a folder of its own, and so that all of a pipe ends with it.
        return subprocess.Popen(["bash", "-o", "pipefail", "-c", own], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                                stdout=out, stderr=subprocess.PIPE, text=True)

    def run(self, line):
        process = self.start(line)
        out, err = process.communicate(timeout=120 * PATIENCE)
        assert process.returncode == 0, f"{line}: {process.returncode}: {out}{err}\n{self.gateway.log()}"
        check = next((check for begin, check in CHECKS if line.startswith(begin)), None)
        assert check(out) if check else not line.startswith("curl"), f"{line}: {out}"
        # A question about a job names another one only in its answer.
        if ID.search(out) and re.match(r"mist submit|curl -d", line):
            self.job = ID.search(out)[0]

    def do(self, line):
        self.ran.append(line)
        if line.startswith("kafka-topics.sh"):
            words = shlex.split(line)
            assert words[1:-1] == ["--bootstrap-server", "localhost:9092", "--create", "--topic"]
            self.kafka.create_topic(words[-1])
        elif line.startswith("MIST_CONFIG="):
            self.restart_with(ROOT / re.match(r"MIST_CONFIG=(\S+) ./deploy/quickstart$", line)[1])
        elif line.endswith(" &"):
            self.listen("exec stdbuf -oL " + line[:-2])
        elif "mist/in" in line:
            self.run_until_heard(line, re.search(r'"externalId":"(.*?)"', line)[1])
        else:
            self.run(line)
            if "cancel" in line:
                assert self.gateway.wait(self.job, timeout=60)["status"] == "cancelled"

    def listen(self, line):
        heard = self.folder / f"heard-{len(self.background)}"
        with open(heard, "w") as out:
            self.background.append((self.start(line, out), heard, line))

    def run_until_heard(self, line, external_id):
        """Once more while the newest listener, which may not have subscribed yet, has heard of no result."""
        for _ in range(5):
            self.run(line)
            try:
                return until(lambda: self.has_heard(external_id), timeout=5)
            except AssertionError:
                pass
        raise AssertionError(f"{line}: {self.background[-1][1].read_text()[-2000:]}")

    def has_heard(self, external_id):
        told = [json.loads(line) for line in self.background[-1][1].read_text().splitlines(True) if line.endswith("\n")]
        results = [event for event in told if event.get("event") == "finished" and event.get("result") == GREETING]
        return any(self.gateway.job(event["id"]).get("externalId") == external_id for event in results)

    def wait_for_cancelled(self, heard):
        """Who was slow to listen is told once more."""
        for _ in range(5):
            try:
                return until(lambda: '"cancelled"' in heard.read_text(), timeout=5)
            except AssertionError:
                self.gateway.cancel(self.gateway.submit("pi", {"samples": 10 ** 9}))
        raise AssertionError(f"{heard}: {heard.read_text()[-2000:]}")

    def restart_with(self, shipped):
        # An included file counts from the folder of the gateway's own.
        base = os.path.relpath(shipped.parent, Path(tempfile.gettempdir()).resolve() / "home")
        text = shipped.read_text().replace('"mist.conf"', f'"{base}/mist.conf"')
        text = text.replace("localhost:1883", f"127.0.0.1:{self.mosquitto.port}").replace("localhost:9092", self.kafka.bootstrap)
        self.gateway.configure(text)
        self.gateway.restart()
        self.gateway.connected()


@pytest.mark.spark
@pytest.mark.timeout(900)
def test_the_lines_of_the_readme_work_in_the_order_they_stand(tmp_path, mosquitto_factory, kafka_factory):
    newcomer = Newcomer(tmp_path, mosquitto_factory(), kafka_factory())
    try:
        for section in "Use it", "A function in Python", "Over MQTT and Kafka":
            for block in blocks(ROOT / "README.md", section):
                named = FILE.match(block)
                if named:
                    (tmp_path / named[1]).write_text(block)
                    continue
                for line in lines_of(block):
                    newcomer.do(line)
        # Those that listen to everything were told of what was cancelled.
        everything = [heard for process, heard, line in newcomer.background if process.poll() is None and "mist/out" not in line]
        assert len(everything) == 2
        for heard in everything:
            newcomer.wait_for_cancelled(heard)
        assert len(newcomer.ran) > 25
    finally:
        newcomer.close()


def setup_list(name):
    script = f'root=. log=/dev/null && . deploy/setup.sh && printf "%s\\n" "${{{name}[@]}}"'
    return set(subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.release
@pytest.mark.parametrize("page,section,words,name", [
    ("deploy/README.md", "Install", "apt-get install ", "build_packages"), ("deploy/README.md", "As a service", "pip install ", "python_requirements"),
    ("README.md", "By hand", "pip install ", "python_requirements")])
def test_what_is_installed_by_hand_is_what_the_quickstart_installs(page, section, words, name):
    (line,) = [line for block in blocks(ROOT / page, section) for line in lines_of(block) if words in line]
    assert set(line.split(words, 1)[1].split()) == setup_list(name)


@pytest.mark.release
def test_the_readme_names_where_the_tools_of_brokers_come_from():
    body = (ROOT / "README.md").read_text().split("\n## Over MQTT and Kafka\n", 1)[1].split("\n## ", 1)[0]
    packages = re.search(r"`apt-get install ([\w -]+)`", body)[1].split()
    of_package = {"mosquitto_rr": "mosquitto-clients", "mosquitto_sub": "mosquitto-clients", "mosquitto_pub": "mosquitto-clients", "kcat": "kcat"}
    used = {word for line in "\n".join(blocks(ROOT / "README.md", "Over MQTT and Kafka")).splitlines() for word in line.split() if word in of_package}
    assert len(used) == 4 and {of_package[word] for word in used} | {"mosquitto"} == set(packages)


@pytest.mark.release
def test_the_quickstart_and_the_tests_install_what_setup_lists():
    for script in "deploy/quickstart", "tests/run":
        assert '"${build_packages[@]}"' in (ROOT / script).read_text()
    requirements = (ROOT / "tests" / "requirements.txt").read_text().split()
    assert setup_list("python_requirements") <= set(requirements)


def test_the_gateway_by_hand_has_right_settings(tmp_path):
    (line,) = [line for block in blocks(ROOT / "README.md", "By hand") for line in lines_of(block) if line.startswith("mistd ")]
    (tmp_path / "venv").symlink_to(sys.prefix)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    env = {**os.environ, "PATH": f"{build_folder()}/src/mistd:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", line + " --check-config"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
