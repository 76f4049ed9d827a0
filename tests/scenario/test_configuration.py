# SPDX-License-Identifier: Apache-2.0
"""mistd's options and its configuration file."""

import os
import re
import signal
import subprocess
import threading

import pytest

from support.mistd import PATIENCE, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MISTD = os.path.join(os.environ["MIST_BUILD"], "src/mistd/mistd")


def mistd(*args):
    return subprocess.run([MISTD, *args], capture_output=True, text=True, timeout=60 * PATIENCE)


@pytest.mark.parametrize("text,words", [
    ("http = { prot = 1; };", ":1: http.prot"),
    ("\nhttp = { port = \"x\"; };", ":2: http.port: expected an integer from 0 to 65535"),
    ("http = { port = 70000; };", "got 70000"),
    ("http = { threds = 3; };", "no such setting; did you mean threads?"),
    ("mist = { unknown-contexts = \"refus\"; };", "mist.unknown-contexts: expected one of \"refuse\", \"default\", got \"refus\"; did you mean refuse?"),
    ("mist = { compatibility = \"mist-1.2\"; };", "did you mean mist-1.1?"),
    ("http = { unlimited-addresses = \"127.0.0.0/8 proxy\"; };", "http.unlimited-addresses: proxy is no network: expected an address"),
    ("limit = { queue = 1; };", "no such section; did you mean limits?"),
    ("contexts = { a = { max_jobs = 2; }; };", "did you mean max-jobs?"),
    ("contexts = { a = { runtime = \"plian\"; }; };", "contexts.a.runtime: there is no runtime plian; did you mean plain? There are: default, plain"),
    ("context-defaults = { runtime = \"plains\"; };", "context-defaults.runtime: there is no runtime plains; did you mean plain?"),
    ("transports = ( { type = \"mqqt\"; } );", "got \"mqqt\"; did you mean mqtt?"),
    ("htp = { };", "htp"),
    ("http = {", "syntax error"),
    ("contexts = { a = { max-jobs = 0; }; };", "contexts.a.max-jobs"),
    ("contexts = { a = { runtime = \"none\"; }; };", "there is no runtime none"),
    ("contexts = { a = { worker-mode = \"both\"; }; };", "exclusive"),
    ("contexts = { a = { run-options = \"--name 'my job\"; }; };", "contexts.a.run-options: expected every quote to be closed, but a ' is not"),
    ("context-defaults = { run-options = \"--name 'x\"; };", "context-defaults.run-options: expected every quote"),
    ("runtimes = { r = { kind = \"program\"; command = \"sh -c 'x\"; }; };", "runtimes.r.command: expected every quote"),
    ("contexts = { a = { spark-conf = ( \"spark.mist.decimals=text\" ); }; };",
     "contexts.a.spark-conf: spark.mist.decimals: expected auto, number or string, got \"text\""),
    ("contexts = { a = { spark-conf = { spark = { mist = { decimal = \"string\"; }; }; }; }; };", "spark.mist.decimal is not known here"),
    ("context-defaults = { spark-conf = ( \"spark.mist.decimals=text\" ); };", "context-defaults.spark-conf: spark.mist.decimals: expected auto"),
    ("functions = { f = { path = \"http://\"; class-name = \"f\"; }; };", "functions.f.path: expected a file, or an address"),
    ("contexts = { a = { downtime = \"soon\"; }; };", "contexts.a.downtime"),
    ("contexts = ( { name = \"../x\"; } );", "name"),
    ("contexts = { default = { }; };", "context-defaults"),
    ("functions = { f = { path = \"x.py\"; }; };", "functions.f.class-name"),
    ("limits = { queue = -1; };", "limits.queue"),
    ("transports = { };", "transports: expected a list"),
    ("transports = ( { name = \"a\"; } );", "transports.type: expected one of"),
    ("transports = ( { type = \"pigeon\"; } );", "transports.type: expected one of"),
    ("transports = ( { type = \"plugin\"; } );", "transports.plugin.path: must be given"),
    ("transports = ( { type = \"plugin\"; name = \"a\"; path = \"x\"; colour = 1; } );", "transports.a.colour"),
    ("transports = ( { type = \"plugin\"; path = \"x\"; }, { type = \"plugin\"; path = \"y\"; } );", "stands at"),
    ("transports = ( { type = \"plugin\"; name = \"http\"; path = \"x\"; } );", "the name belongs to the section http"),
])
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, words):
    path = tmp_path / "bad.conf"
    path.write_text(text + "\n")
    for args in ["--check-config"], []:
        r = mistd("--config", str(path), *args)
        assert r.returncode == 1 and r.stdout == ""
        assert words in r.stderr and len(r.stderr.splitlines()) == 1, r.stderr


def test_set_wins_and_is_checked(tmp_path):
    assert mistd("--check-config", "--set", "http.port=0", "--set", "contexts.x.spark-conf.spark.master=local[2]").returncode == 0
    r = mistd("--check-config", "--set", "http.port=many")
    assert r.returncode == 1 and "http.port" in r.stderr
    assert mistd("--check-config", "--set", "nothing.here=1").returncode == 1
    assert "did you mean port?" in mistd("--check-config", "--set", "http.prot=1").stderr
    assert "did you mean http?" in mistd("--check-config", "--set", "htp.port=1").stderr
    assert "no group of transports" in mistd("--check-config", "--set", "transports.a.path=x").stderr
    assert mistd("surplus").returncode == 2
    assert mistd("--no-such-option").returncode == 2


def test_the_settings_of_mists_way_are_documented_and_taken():
    """The last column of the first table."""
    with open(os.path.join(ROOT, "proto/mist-1.1.md")) as f:
        rows = [line.rstrip("\n |").rsplit("|", 1)[1].strip(" `") for line in f.read().split("\n\n")[3].splitlines()[2:]]
    assert len(rows) >= 4 and all(row.startswith("mist.") for row in rows)
    sets = [word for row in rows for word in ("--set", row.replace(" = ", "=").replace('"', ""))]
    assert mistd("--check-config", *sets).returncode == 0
    with open(os.path.join(ROOT, "configs/mist.conf")) as f:
        shipped = f.read()
    for row in rows:
        assert row.split()[0].removeprefix("mist.") + " =" in shipped, row


def test_the_shipped_configuration_is_right():
    r = mistd("--config", os.path.join(ROOT, "configs/mist.conf"), "--check-config")
    assert (r.returncode, r.stderr) == (0, "")


def test_help_config_names_every_setting():
    text = mistd("--help-config").stdout
    for word in "data-directory", "port", "max-jobs", "jobs-per-worker", "spark-conf", "heartbeat", "queue", "class-name", "spark-home":
        assert word in text


def test_signs_of_life_come_before_a_proxy_loses_patience():
    assert re.search(r"\bws-keepalive\b[^;]*; default \"15 seconds\"", mistd("--help-config").stdout)


def test_version_and_help():
    assert mistd("--version").stdout.startswith("mistd ")
    assert "--config" in mistd("--help").stdout


def test_ready_is_the_one_line_on_stdout(plain_mist):
    gateway = plain_mist()
    gateway.run("typed", {"i": 1})
    gateway.stop()
    assert gateway.stdout() == f"ready {gateway.url}\n"


def test_spark_conf_flattens_and_lists_are_taken(plain_mist):
    gateway = plain_mist(text="""
        contexts = ( { name = "nested.name"; spark-conf = { spark = { master = "local[1]"; ui = { enabled = false; }; }; }; },
                     { name = "listed"; spark-conf = ( "spark.sql.shuffle.partitions=3", "spark.sql.shuffle=x=y" ); } );""")
    contexts = {c["name"]: c["sparkConf"] for c in gateway.get("/v2/api/contexts").json()}
    assert contexts["nested.name"] == {"spark.master": "local[1]", "spark.ui.enabled": "false"}
    assert contexts["listed"] == {"spark.sql.shuffle.partitions": "3", "spark.sql.shuffle": "x=y"}


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    path = tmp_path / "bad.conf"
    path.write_text("""htp = { };
http = { port = 70000; threads = "x"; hots = "a"; };
limits = { queue = -1; };
context-defaults = { worker-mode = "both"; };
contexts = { a = { max-jobs = 0; runtime = 5; }; b = { runtime = "none"; }; c = { max-jobs = 2; }; };
functions = { f = { path = "x.py"; }; g = { path = "x://y"; class-name = "g"; }; };
runtimes = { r = { kind = "sprak"; }; };
transports = ( { type = "mqtt"; url = 5; }, { type = "pigeon"; } );
""")
    r = mistd("--config", str(path), "--check-config", "--set", "limits.jbos=1")
    said = r.stderr.splitlines()
    assert r.returncode == 1 and r.stdout == "" and all(line.startswith("mistd: ") for line in said), r.stderr
    for words in (":1: htp: no such section", ":2: http.port: expected", ":2: http.threads", ":2: http.hots: no such setting", ":3: limits.queue",
                  "--set: limits.jbos: no such setting; did you mean jobs?", ":4: context-defaults.worker-mode", ":5: contexts.a.max-jobs",
                  ":5: contexts.a.runtime", "contexts.b.runtime: there is no runtime none", "functions.f.class-name: must be given",
                  "functions.g.path", ":7: runtimes.r.kind", "did you mean spark?", ":8: transports.mqtt.url", "transports.type: expected one of"):
        assert sum(words in line for line in said) == 1, (words, r.stderr)
    assert len(said) == 15, r.stderr
    assert mistd("--config", str(path)).stderr.splitlines()[0] == said[0]


def test_what_settings_refer_to_is_looked_for(tmp_path):
    path = tmp_path / "mist.conf"
    path.write_text("""
functions = { f = { path = "none.py"; class-name = "f"; context = "defualt"; }; e = { class-name = "e"; }; g = { path = "hdfs://a/b.py"; class-name = "g"; }; };
runtimes = { plain = { kind = "python"; python = "no-such-python"; };
             default = { spark-home = "/no/such/spark"; java = "/no/such/java"; python = "/no/such/python"; };
             c = { kind = "program"; command = "/no/such/program with words"; }; };
transports = ( { type = "mqtt"; tls-ca = "ca.pem"; } );
http = { ui = "ui"; };
""")
    r = mistd("--config", str(path), "--check-config")
    assert r.returncode == 1 and r.stdout == ""
    for words in ("functions.f.path: ", "none.py cannot be read: No such file or directory",
                  "functions.f.context: there is no context defualt; did you mean default? There are: default",
                  "runtimes.plain.python: there is no program no-such-python in PATH", "runtimes.default.spark-home: /no/such/spark/bin/spark-submit",
                  "runtimes.default.java: /no/such/java/bin/java", "runtimes.default.python: /no/such/python cannot be run",
                  "functions.e.path: expected a file or an address, got \"\"", "runtimes.c.command: /no/such/program cannot be run", "transports.mqtt.tls-ca: ", "http.ui: "):
        assert words in r.stderr, (words, r.stderr)
    assert len(r.stderr.splitlines()) == 10, r.stderr


def test_a_start_goes_on_without_what_settings_refer_to(plain_mist):
    gateway = plain_mist(functions={"f": {"path": "@functions", "class-name": "typed", "context": "later"}})
    assert "WARN the configuration: functions.f.context: there is no context later" in gateway.stderr()
    assert "WARN the configuration: functions.missing.path: /no/such/artifact.py cannot be read" in gateway.stderr()
    assert gateway.post("/v2/api/contexts", json={"name": "later", "runtime": "plain"}).status_code == 200
    assert gateway.run("f", {"i": 1})["success"]


def test_a_reload_names_what_needs_a_restart(c_mist, tmp_path):
    gateway = c_mist(functions={"noop": {"class-name": "noop", "context": "example"}})
    gateway.reconfigure(limits={"queue": 7}, http={"threads": 3}, mist={"mailbox": 5000})
    words = "the configuration: what needs a restart is as it was: mist.mailbox, http.threads"
    gateway.until(lambda: words in gateway.stderr())
    gateway.reconfigure(http={"threads": "many"}, mist={"mailbox": "x"})
    gateway.until(lambda: gateway.stderr().count("the configuration was not taken") == 2)
    assert "http.threads: expected an integer" in gateway.stderr() and "mist.mailbox: expected an integer" in gateway.stderr()
    del gateway.sections["http"]["threads"], gateway.sections["mist"]["mailbox"]
    gateway.reconfigure(limits={"queue": 8})
    gateway.until(lambda: gateway.stderr().count("the configuration was read again") == 2)
    assert gateway.stderr().count("needs a restart") == 1


def test_a_reload_with_another_port_keeps_the_one_it_has(c_mist, monkeypatch):
    gateway = c_mist(http={})
    command, port = gateway.command(), gateway.port
    at = command.index(f"http.port={port}")
    del command[at - 1:at + 1]  # else it would hold against the file
    monkeypatch.setattr(gateway, "command", lambda: command)
    gateway.reconfigure(http={"port": port})
    gateway.stop()
    gateway.start()
    gateway.reconfigure(http={"port": port % 65535 + 1})
    gateway.until(lambda: "the configuration: what needs a restart is as it was: http.port\n" in gateway.stderr())
    assert gateway.get("/health/live").status_code == 200 and gateway.port == port
    gateway.reconfigure(http={"port": port})
    assert gateway.stderr().count("needs a restart") == 1


@pytest.mark.parametrize("text", ["", "\n \n", "# half of a file\n/* functions = { f = { }; };\n*/ // more"])
def test_a_reload_does_not_take_a_file_that_has_come_to_be_empty(c_mist, text):
    gateway = c_mist(functions={"noop": {"class-name": "noop", "context": "example"}})
    whole = gateway.config.read_text()
    gateway.config.write_text(text)
    gateway.hangup()
    assert f"the configuration was not taken: {gateway.config}: there is no setting in it" in gateway.stderr()
    assert gateway.run("noop", {})["success"]
    gateway.config.write_text(whole)
    gateway.hangup()
    assert "the configuration was read again" in gateway.stderr()


def test_a_hangup_ends_no_gateway_that_starts_or_stops(c_mist):
    gateway = c_mist()
    gateway.stop()
    lock = gateway.data / "lock"
    lock.unlink()
    is_over = threading.Event()

    def hang_up_again_and_again():
        until(lambda: lock.exists() and gateway.process)  # before it no program of ours runs
        process = gateway.process
        while not is_over.wait(0.002) and process.poll() is None:
            process.send_signal(signal.SIGHUP)

    thread = threading.Thread(target=hang_up_again_and_again)
    thread.start()
    try:
        gateway.start()
        gateway.until(lambda: "the configuration was read again" in gateway.stderr())
        gateway.stop()
    finally:
        is_over.set()
        thread.join()


def test_a_gateway_starts_with_an_empty_file_and_takes_it_again(c_mist):
    gateway = c_mist()
    gateway.configure("# nothing yet\n")
    gateway.restart()
    gateway.hangup()
    assert gateway.stderr().count("the configuration was read again") == 1
    gateway.config.write_text("contexts = { mine = { }; };\n")
    gateway.hangup()
    gateway.config.write_text("")
    gateway.hangup()
    assert "was not taken" in gateway.stderr() and gateway.get("/v2/api/contexts/mine").status_code == 200
