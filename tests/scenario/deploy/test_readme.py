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
    ("curl -X DELETE", lambda out: True),
    ("curl http://127.0.0.1:2003/v2/api/jobs/ID/logs", lambda out: "QueuedEvent" in out),
    ("curl ", lambda out: json.loads(out) is not None),
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
        for process, _ in self.background:
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
        assert check is None or check(out), f"{line}: {out}"
        # A question about a job names another one only in its answer.
        if ID.search(out) and re.match(r"mist submit|curl -d", line):
            self.job = ID.search(out)[0]

    def do(self, line):
        self.ran.append(line)
        if line.startswith("kafka-topics.sh"):
            words = shlex.split(line)
            self.kafka.create_topic(words[words.index("--topic") + 1])
        elif line.startswith("MIST_CONFIG="):
            self.restart_with(ROOT / re.match(r"MIST_CONFIG=(\S+) ./deploy/quickstart$", line)[1])
        elif line.endswith(" &"):
            heard = self.folder / f"heard-{len(self.background)}"
            with open(heard, "w") as out:
                self.background.append((self.start("exec stdbuf -oL " + line[:-2], out), heard))
        elif "mist/in" in line:  # again until the listener, which may not have subscribed yet, has heard
            listener, heard = self.background[-1]
            until(lambda: self.run(line) or listener.poll() is not None)
            assert json.loads(heard.read_text())["event"]
        else:
            self.run(line)
            if "cancel" in line:
                assert self.gateway.wait(self.job, timeout=60)["status"] == "cancelled"

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
        everything = [heard for process, heard in newcomer.background if process.poll() is None]
        assert len(everything) == 2
        for heard in everything:
            newcomer.wait_for_cancelled(heard)
        assert len(newcomer.ran) > 25
    finally:
        newcomer.close()


def setup_list(name):
    script = f'root=. log=/dev/null && . deploy/setup.sh && printf "%s\\n" "${{{name}[@]}}"'
    return set(subprocess.run(["bash", "-euc", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("page,section", [("README.md", "By hand"), ("deploy/README.md", "Install"), ("deploy/README.md", "As a service")])
def test_what_is_installed_by_hand_is_what_the_quickstart_installs(page, section):
    lines = [line for block in blocks(ROOT / page, section) for line in lines_of(block)]
    wanted = {"apt-get install ": "build_packages", "pip install ": "python_requirements"}
    found = {name: set(line.split(words, 1)[1].split()) for line in lines for words, name in wanted.items() if words in line}
    assert found and all(found[name] == setup_list(name) for name in found)
    if section == "By hand":
        assert set(found) == set(wanted.values())


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
