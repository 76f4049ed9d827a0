# SPDX-License-Identifier: Apache-2.0
"""What `meson install` makes: put below another root, complete, and working from there without the source tree."""
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys

import pytest

from lint import links
from support import libconfig
from support.gateways import FUNCTIONS
from support.mistd import ROOT, Mistd, build_folder, runtimes, until

pytestmark = pytest.mark.installed
PREFIX = "usr/local"
FILES = """bin/mist sbin/mistd lib/systemd/system/mistd.service include/mist/worker.h include/mist-transport/mist/transport.h
share/man/man1/mist.1 share/man/man8/mistd.8 share/bash-completion/completions/mist share/zsh/site-functions/_mist
share/mist/configs/mist.conf share/mist/configs/brokers.conf share/mist/configs/service.conf share/mist/jobs/hello/hello.py
share/mist/python/mist/worker.py share/mist/python/mist/testing.py share/mist/python/mist/results/encode.py
share/mist/python/mist/stand_in/mistpy/decorators.py share/mist/proto/frames.json share/doc/mist/README.md share/doc/mist/deploy/README.md
share/doc/mist/src/runner/python/README.md share/doc/mist/proto/types.md""".split()


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    root = tmp_path_factory.mktemp("installed")
    subprocess.run(["meson", "install", "-C", build_folder(), "--no-rebuild", "--quiet", "--destdir", root], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return root / PREFIX


def package(prefix, *question):
    (folder,) = prefix.rglob("pkgconfig")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(folder), "PKG_CONFIG_SYSROOT_DIR": str(prefix.parents[1])}
    asked = subprocess.run(["pkg-config", *question], env=environment, capture_output=True, text=True, check=True)
    return shlex.split(asked.stdout)


def compile_c(source, to, *words):
    done = subprocess.run(["cc", "-std=gnu11", "-Wall", "-Werror", source, "-o", to, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def gateway(prefix):
    """made(config) starts the mistd that was installed."""
    made = []

    def start(config):
        gateway = Mistd(config, start=False)
        command = gateway.command
        gateway.command = lambda: [prefix / "sbin" / "mistd", *command()[1:]]
        made.append(gateway)
        return gateway.start()

    yield start
    for gateway in made:
        print(gateway.log())
        gateway.close()


def test_everything_is_there_and_nothing_that_was_only_made_by_running(prefix):
    assert [name for name in FILES if not (prefix / name).is_file()] == []
    assert {path.stem for path in prefix.rglob("*.pc")} == {"libmist", "mist-transport"}
    assert not list(prefix.rglob("__pycache__")) and not list(prefix.rglob("*.a"))
    for name in "bin/mist", "sbin/mistd":
        assert subprocess.run([prefix / name, "--version"], capture_output=True, text=True, check=True).stdout.split()[1][0].isdigit()


def test_pages_name_what_is_installed(prefix):
    pages = [(prefix / "share" / "doc" / "mist" / page).read_text() for page in ("deploy/README.md", "src/runner/python/README.md")]
    named = {path for page in pages for path in re.findall(rf"/{PREFIX}/([\w./-]+\w)", page) if not path.startswith("lib/mist/venv")}
    rows = re.search(r"\| where \| what \|\n.*\n((?:\|.*\n)+)", pages[0])[1]
    named |= {path for row in rows.splitlines() for path in re.findall(r"`([\w-]+/[\w./-]+)`", row.split("|")[1])}
    assert len(named) > 10 and [path for path in sorted(named) if not (prefix / path).exists()] == []


def test_links_of_installed_pages_lead_somewhere(prefix):
    pages = list((prefix / "share" / "doc" / "mist").rglob("*.md"))
    targets = {(page, target.partition("#")[0]) for page in pages for target in links.LINK.findall(links.CODE.sub("", page.read_text()))
               if "://" not in target}
    assert len(pages) > 6 and len(targets) > 20
    assert [f"{page.relative_to(prefix)}: {target}" for page, target in sorted(targets) if not (page.parent / target).exists()] == []


def test_pkg_config_looks_where_it_is_installed(prefix):
    searched = subprocess.run(["pkg-config", "--variable", "pc_path", "pkg-config"], capture_output=True, text=True, check=True).stdout
    assert {f"/{path.parent.relative_to(prefix.parents[1])}" for path in prefix.rglob("*.pc")} <= set(searched.strip().split(":"))


def test_workers_run_what_was_installed(prefix, gateway, tmp_path):
    where = tmp_path / "where.py"
    where.write_text("import mist, os\n\ndef where():\n    return [mist.__file__, os.environ['MIST_PROTO']]\n")
    functions = {"where": {"path": str(where), "class-name": "where", "context": "plain"}}
    running = gateway({"contexts": {"plain": {"runtime": "plain"}}, "functions": functions})
    assert running.run("where")["payload"] == [f"{prefix}/share/mist/python/mist/__init__.py", f"{prefix}/share/mist/proto"]


def test_the_command_line_talks_to_it(prefix, gateway):
    hello = prefix / "share" / "mist" / "jobs" / "hello" / "hello.py"
    running = gateway({"contexts": {"plain": {"runtime": "plain"}},
                       "functions": {"hello": {"path": str(hello), "class-name": "hello", "context": "plain"}}})
    done = subprocess.run([prefix / "bin" / "mist", "-u", running.url, "run", "hello", "name=Ada"], capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"greeting": "Hello, Ada!"})


def test_a_worker_in_c_is_compiled_against_it(prefix, gateway, tmp_path):
    source = tmp_path / "worker.c"
    source.write_text((ROOT / "tests" / "support" / "example_worker.c").read_text().replace('"mist/worker.h"', "<mist/worker.h>"))
    (library,) = prefix.rglob("libmist.so.1")
    compile_c(source, tmp_path / "worker", *package(prefix, "--cflags", "--libs", "libmist"))
    example = {"kind": "program", "command": str(tmp_path / "worker"), "environment": {"LD_LIBRARY_PATH": str(library.parent)}}
    running = gateway({"runtimes": {**runtimes(), "example": example}, "contexts": {"example": {"runtime": "example"}},
                       "functions": {"echo": {"class-name": "echo", "context": "example"}}})
    assert running.run("echo", {"text": "hi"})["payload"] == "hi"


def test_a_transport_is_compiled_against_it(prefix, gateway, tmp_path):
    plugin, spool = tmp_path / "spool.so", tmp_path / "spool"
    spool.mkdir()
    compile_c(ROOT / "tests" / "support" / "modules" / "spool_transport.c", plugin, "-D_GNU_SOURCE", "-shared", "-fPIC",
              *package(prefix, "--cflags", "mist-transport"))
    running = gateway(libconfig.dumps({
        "runtimes": runtimes(), "contexts": {"plain": {"runtime": "plain"}},
        "functions": {"typed": {"path": FUNCTIONS, "class-name": "typed", "context": "plain"}},
        "transports": [{"type": "plugin", "path": str(plugin), "settings": {"directory": str(spool)}}]}))
    (spool / "one.new").write_text('{"function": "typed", "parameters": {"i": 4}}')
    (spool / "one.new").rename(spool / "one.json")
    answer = spool / "one.out"
    until(answer.exists)
    assert json.loads(answer.read_text())["result"]["i"] == 4


@pytest.mark.parametrize("page", ["man1/mist.1", "man8/mistd.8"])
def test_manuals_are_right(prefix, page):
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", prefix / "share" / "man" / page], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_manual_of_mistd_names_every_option(prefix):
    manual = (prefix / "share" / "man" / "man8" / "mistd.8").read_text()
    help_text = subprocess.run([prefix / "sbin" / "mistd", "--help"], capture_output=True, text=True, check=True).stdout
    options = re.findall(r"^  (?:-\w, )?--([\w-]+)", help_text, re.MULTILINE)
    assert len(options) > 6 and [o for o in options if not re.search(rf"^\.It Fl .*-{o}\b", manual, re.MULTILINE)] == []


def test_the_unit_starts_what_was_installed(prefix, tmp_path):
    unit = (prefix / "lib" / "systemd" / "system" / "mistd.service").read_text()
    program, *words = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
    assert program == f"/{PREFIX}/sbin/mistd" and words == ["--config", "/etc/mist/mist.conf"]
    # Its settings, where only the Python environment is missing here.
    settings = (prefix / "share" / "mist" / "configs" / "service.conf").read_text()
    assert f"/{PREFIX}/share/mist/jobs/hello/hello.py" in settings
    settings = settings.replace(f"/{PREFIX}/share", f"{prefix}/share")
    settings = re.sub(r'"/[^"]*/pyspark"', f'"{runtimes()["default"]["spark-home"]}"', settings)
    settings = re.sub(r'"/[^"]*/bin/python3"', f'"{sys.executable}"', settings)
    (tmp_path / "mist.conf").write_text(settings)
    checked = subprocess.run([prefix / "sbin" / "mistd", "--config", tmp_path / "mist.conf", "--check-config"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    for line in "KillMode=process", "OOMPolicy=continue", "StateDirectory=mist":  # workers outlive it, and it outlives them
        assert f"\n{line}\n" in unit
    assert not re.search(r"^PrivateTmp=(?!no)", unit, re.MULTILINE)  # it would end with mistd, and workers that stay have files in it
    (writable,) = re.findall(r"^ReadWritePaths=(.*)$", unit, re.MULTILINE)
    assert {"/tmp", "/var/tmp"} <= set(writable.split())
    assert 'data-directory = "/var/lib/mist"' in settings


def test_a_copy_made_while_it_runs_is_a_backup(prefix, gateway, tmp_path):
    """As deploy/README.md has it; sqlite3's .backup is this call."""
    hello = prefix / "share" / "mist" / "jobs" / "hello" / "hello.py"
    config = {"contexts": {"plain": {"runtime": "plain"}}}
    running = gateway(config)
    with open(hello, "rb") as f:
        assert running.post("/v2/api/artifacts", files={"file": ("hello.py", f)}).status_code == 200
    answer = running.post("/v2/api/functions", json={"name": "hello", "path": "hello.py", "className": "hello", "defaultContext": "plain"})
    assert answer.status_code == 200
    job = running.submit("hello", {"name": "Ada"})
    running.wait(job)
    copy = tmp_path / "copy"
    copy.mkdir()
    source, target = sqlite3.connect(running.data / "mist.db"), sqlite3.connect(copy / "mist.db")
    source.backup(target)
    source.close(), target.close()
    for name in "artifacts", "gateway-id", "logs":
        subprocess.run(["cp", "-a", running.data / name, copy], check=True)
    running.kill9()
    running.end_workers()
    checked = subprocess.run([prefix / "sbin" / "mistd", "--check-data", copy], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    subprocess.run(["rm", "-r", running.data], check=True)
    copy.rename(running.data)
    running.start()
    assert running.job(job)["jobResult"] == {"greeting": "Hello, Ada!"} and "greeting Ada" in running.logs(job)
    assert running.run("hello", {"name": "Bob"})["payload"] == {"greeting": "Hello, Bob!"}
