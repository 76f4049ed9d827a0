# SPDX-License-Identifier: Apache-2.0
"""mist, the command line, against a gateway: jobs, what there is, how it ends."""
import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from support.cli import MIST, SHORT, Terminal, cli, environment, said
from support.mistd import ROOT, until


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    return plain_mist_for_module


@pytest.fixture
def answering():
    """A gateway that answers as it is told: answering(status, type, body) → (url, requests)."""
    servers = []

    def make(status, content_type, body):
        requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                requests.append((self.path, dict(self.headers)))
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_DELETE = do_GET

            def log_message(self, *arguments):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", requests

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


# Running jobs

def test_run_prints_the_result_and_nothing_else(gateway):
    assert json.loads(cli(gateway, "run", "typed", "i=3", "s=word", "l=[1,2.5]", "b=true")) == \
        {"i": 3, "s": "word", "l": [1, 2.5], "b": True}


def test_a_value_that_is_no_json_is_a_string_and_quotes_make_one_of_a_number(gateway):
    assert json.loads(cli(gateway, "run", "typed", "i=1", 's="7"'))["s"] == "7"
    assert json.loads(cli(gateway, "run", "typed", "i=1", "s=a=b c"))["s"] == "a=b c"
    assert json.loads(cli(gateway, "run", "typed", "i=1", "s="))["s"] == ""


def test_arguments_from_json_a_file_and_standard_input(gateway, tmp_path):
    (tmp_path / "args").write_text('{"i": 5, "s": "file"}')
    assert json.loads(cli(gateway, "run", "typed", '{"i": 4}'))["i"] == 4
    assert json.loads(cli(gateway, "run", "typed", f"@{tmp_path}/args"))["s"] == "file"
    assert json.loads(cli(gateway, "run", "typed", "@-", stdin='{"i": 6}'))["i"] == 6
    assert json.loads(cli(gateway, "run", "typed", f"@{tmp_path}/args", "i=9")) == {"i": 9, "s": "file", "l": None, "b": False}


@pytest.mark.parametrize("words", [["nonsense"], ["=1"], ["{"], ["[1]", "x=1"], ["@/no/such/file"], ["{}", "{'i': 1}"]])
def test_arguments_that_are_none_are_a_usage_error_with_one_sentence(gateway, words):
    assert said(gateway, "run", "typed", *words, code=2).count("\n") == 1


def test_null_is_a_result(gateway):
    assert cli(gateway, "run", "nothing") == "null\n"


def test_a_failed_job_ends_with_1_and_its_error(gateway):
    assert "object" in said(gateway, "run", "unencodable", code=1)


def test_an_unknown_function_ends_with_3(gateway):
    assert "nosuch" in said(gateway, "run", "nosuch", code=3)


def test_arguments_that_the_function_does_not_take_end_with_3(gateway):
    assert "i" in said(gateway, "run", "typed", "i=word", code=3)


def test_submit_prints_the_id_and_wait_the_result(gateway):
    job_id = cli(gateway, "submit", "typed", "i=8").strip()
    assert json.loads(cli(gateway, "wait", job_id))["i"] == 8
    assert gateway.job(job_id)["status"] == "finished"


def test_submit_in_another_context(gateway):
    job_id = cli(gateway, "submit", "typed", "i=8", "--context", "plain").strip()
    assert gateway.job(job_id)["context"] == "plain"
    cli(gateway, "wait", job_id)


def test_wait_gives_up_in_time_and_the_job_goes_on(gateway, tmp_path):
    job_id = cli(gateway, "submit", "wait_for", f"path={tmp_path}/go").strip()
    assert job_id in said(gateway, "wait", job_id, "-t", "50ms", code=124)
    (tmp_path / "go").touch()
    assert json.loads(cli(gateway, "wait", job_id)) == "seen"


def test_wait_for_a_failed_job_ends_with_1(gateway):
    job_id = cli(gateway, "submit", "unencodable").strip()
    assert f"job {job_id}: failed: " in said(gateway, "wait", job_id, code=1)


def test_the_time_given_to_run_is_the_jobs(gateway, tmp_path):
    err = said(gateway, "run", "wait_for", f"path={tmp_path}/never", "-t", "200ms", code=1)
    assert " was cancelled: over its time limit (timeout) of 200ms\n" in err
    assert err.replace(" of 200ms", "") == said(gateway, "wait", err.split()[2], code=1)


def test_cancel(gateway, tmp_path):
    job_id = cli(gateway, "submit", "wait_for", f"path={tmp_path}/never").strip()
    gateway.wait(job_id, "started")
    cli(gateway, "cancel", job_id)
    assert gateway.wait(job_id)["status"] == "cancelled"
    assert said(gateway, "wait", job_id, code=1) == f"mist: job {job_id} was cancelled: user request\n"


def test_cancel_of_a_job_that_there_is_not(gateway):
    assert "not found" in said(gateway, "cancel", "00000000-0000-7000-8000-000000000000", code=3)


def test_logs_are_the_jobs_log(gateway):
    job_id = cli(gateway, "submit", "chatty", "lines=2").strip()
    followed = cli(gateway, "logs", "-f", job_id)
    assert "line 0" in followed and "line 1" in followed and "that was all" in followed
    assert cli(gateway, "logs", job_id) == gateway.logs(job_id)
    assert followed == gateway.logs(job_id)


def test_following_a_log_shows_lines_while_the_job_runs(gateway, tmp_path):
    job_id = cli(gateway, "submit", "wait_for", f"path={tmp_path}/go").strip()
    with subprocess.Popen([MIST, "logs", "--follow", job_id], stdout=subprocess.PIPE, text=True, env=environment(gateway)) as p:
        lines = []
        while not any("waiting for" in line for line in lines):
            lines.append(p.stdout.readline())
            assert lines[-1], lines
        (tmp_path / "go").touch()
        lines += p.stdout.readlines()
        assert p.wait(SHORT) == 0
    assert "".join(lines) == gateway.logs(job_id)


# On a terminal

def test_run_on_a_terminal_shows_states_log_and_result(gateway):
    text = Terminal(gateway, "run", "chatty", "lines=2").end()
    assert text.startswith("job ") and "StartedEvent" in text and "line 1" in text and "\n50 % half way\n" in text and "\nfinished\n" in text
    assert text.splitlines()[-1] == "2"


def test_ctrl_c_on_a_terminal_cancels_the_job(gateway, tmp_path):
    terminal = Terminal(gateway, "run", "wait_for", f"path={tmp_path}/never")
    terminal.until("waiting for")
    terminal.type("\x03")
    text = terminal.end(130)
    job_id = text.splitlines()[0].split()[1]
    assert gateway.wait(job_id)["status"] == "cancelled"


def test_a_failed_job_on_a_terminal_ends_with_1(gateway):
    assert "failed" in Terminal(gateway, "run", "unencodable").end(1)


def test_a_table_on_a_terminal_has_aligned_columns(gateway):
    lines = Terminal(gateway, "functions").end().splitlines()
    assert lines[0].split() == ["NAME", "CONTEXT", "PATH", "CLASS", "NAME", "ERROR"]
    column = lines[0].index("CONTEXT")
    assert all(line[column - 1] == " " and line[column:].startswith("plain ") for line in lines[1:])
    assert any(line.startswith("typed ") for line in lines)


def test_json_on_a_terminal_is_what_the_gateway_said(gateway):
    text = Terminal(gateway, "--json", "functions", "show", "typed").end()
    assert json.loads(text) == gateway.get("/v2/api/functions/typed").json() and "\n  " in text


def test_deleting_on_a_terminal_asks(gateway, tmp_path):
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "go")})
    terminal = Terminal(gateway, "jobs", "delete", job_id)
    terminal.until("[y/N]")
    terminal.type("n\n")
    terminal.end(2)
    (tmp_path / "go").touch()
    assert gateway.wait(job_id)["status"] == "finished"


# What there is

@pytest.mark.parametrize("noun", ["functions", "contexts", "workers", "jobs"])
def test_lists_are_the_gateways_json(gateway, noun):
    gateway.run("nothing")
    until(lambda: json.loads(cli(gateway, noun)) == json.loads(cli(gateway, noun, "list")), what="the same twice")
    assert {key for thing in json.loads(cli(gateway, noun)) for key in thing} >= {"jobId" if noun == "jobs" else "name"}


def test_show(gateway):
    job_id = gateway.submit("nothing")
    gateway.wait(job_id)
    worker = gateway.get("/v2/api/workers").json()[0]["name"]
    for noun, name in (("functions", "typed"), ("contexts", "plain"), ("contexts", "default"), ("workers", worker), ("jobs", job_id)):
        until(lambda: json.loads(cli(gateway, noun, "show", name)) == gateway.get(f"/v2/api/{noun}/{name}").json(), what="the same twice")


def test_status(gateway):
    assert json.loads(cli(gateway, "status"))["mistVersion"] == gateway.get("/v2/api/status").json()["mistVersion"]
    out = Terminal(gateway, "status").end()
    assert "mistVersion" in out and "started" in out and "javaVersion" not in out and "memory" not in out


def test_status_on_a_terminal_has_the_transports(answering):
    status = {"mistVersion": "1.2", "javaVersion": {"vmVendor": "none"}, "gc": {}, "jobs": 3,
              "transports": [{"name": "kafka", "up": False, "detail": "no broker"}, {"name": "mqtt", "up": True}]}
    out = Terminal(answering(200, "application/json", json.dumps(status).encode())[0], "status").end()
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert rows == {"mistVersion": "1.2", "jobs": "3", "transports.kafka": "down: no broker", "transports.mqtt": "up"}


def test_a_job_on_a_terminal_has_times_and_numbers_for_people(answering):
    job = {"jobId": "1", "progress": {"time": 1700000000000, "value": 0.2}}
    out = Terminal(answering(200, "application/json", json.dumps(job).encode())[0], "jobs", "show", "1").end()
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert rows["progress.value"] == "0.2" and rows["progress.time"].startswith("2023-11-1")


def test_the_table_of_workers_has_their_contexts_first(gateway):
    gateway.run("nothing")
    assert Terminal(gateway, "workers").end().splitlines()[0].split() == ["NAME", "CONTEXT", "JOBS", "ADDRESS"]


def test_a_cancel_that_takes_its_time_says_what_comes(answering):
    out = Terminal(answering(202, "application/json", b'{"status": "cancelling"}')[0], "cancel", "1").end()
    assert out.startswith("job 1: cancelling; ") and "limits.cancel-grace" in out


def test_jobs_by_status_and_number(gateway):
    for _ in range(3):
        gateway.run("nothing")
    assert len(json.loads(cli(gateway, "jobs", "--limit", "2"))) == 2
    assert {job["status"] for job in json.loads(cli(gateway, "jobs", "--status", "finished,cancelled"))} <= {"finished", "cancelled"}
    assert "Unknown status" in said(gateway, "jobs", "-s", "odd", code=3)


def test_things_that_there_are_not_end_with_3(gateway):
    for noun in ("functions", "contexts", "workers", "jobs"):
        assert "nosuch" in said(gateway, noun, "show", "nosuch", code=3)


def test_a_name_is_never_another_path(gateway):
    for name in ("..", "../status", "a/b", "a%2Fb", "ä b?c#d"):
        said(gateway, "functions", "show", name, code=3)
    said(gateway, "functions", "show", "", code=2)


def test_deleting_a_worker_stops_it(plain_mist):
    gateway = plain_mist()
    gateway.run("nothing")
    name = gateway.get("/v2/api/workers").json()[0]["name"]
    assert "--yes" in said(gateway, "workers", "delete", name, code=2)
    cli(gateway, "workers", "delete", name, "-y")
    until(lambda: name not in [w["name"] for w in gateway.get("/v2/api/workers").json()], what="the end of the worker")


# How it ends

def test_no_answer_ends_with_4():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
        assert url in said(url, "status", code=4)


def test_an_answer_cut_short_ends_with_4():
    with socket.create_server(("127.0.0.1", 0)) as s:
        def once():
            with s.accept()[0] as c:
                c.recv(65536)
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")

        thread = threading.Thread(target=once)
        thread.start()
        said(f"http://127.0.0.1:{s.getsockname()[1]}", "jobs", code=4)
        thread.join()


@pytest.mark.parametrize("words, answer, told", [
    (["logs", "-f", "1"], b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nline\n", "mist logs -f 1\n"),
    (["wait", "1"], b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\n{"status":"started"}', "mist wait 1\n")])
def test_who_was_watching_a_job_is_told_how_to_go_on(words, answer, told):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def once():
            with server.accept()[0] as connection:
                connection.recv(65536)
                connection.sendall(answer)
            if words[0] == "wait":  # which asks again
                server.accept()[0].close()

        thread = threading.Thread(target=once)
        thread.start()
        err = cli(f"http://127.0.0.1:{server.getsockname()[1]}", *words, code=4)[1]
        thread.join()
    assert "gave no answer" in err and err.endswith(told)


@pytest.mark.parametrize("status, content_type, body, code, words", [
    (503, "application/problem+json", b'{"type":"about:blank","status":503,"detail":"not\\nnow \\u001b[31m"}', 5, "mist: not\nnow \x1b[31m\n"),
    (500, "text/plain", b"Server error:\nodd", 5, "mist: Server error:\nodd\n"),
    (400, "text/plain", "ä".encode() * 40_000 + b"\n", 3, "mist: " + "ä" * 32_768 + "…\n"),
    (401, "application/problem+json", b'{"title":"Unauthorized"}', 3, "mist: Unauthorized\n"),
    (404, "text/plain", b"", 3, "mist: the gateway answered 404\n"),
    (302, "text/html", b"", 5, "mist: the gateway answered 302\n"),
])
def test_the_gateways_words_and_the_exit_status(answering, status, content_type, body, code, words):
    url, _ = answering(status, content_type, body)
    assert said(url, "status", code=code) == words


def test_an_answer_that_is_no_json_ends_with_5(answering):
    url, _ = answering(200, "text/html", b"<html>")
    for words in (["functions"], ["run", "f"], ["submit", "f"], ["wait", "id"], ["cancel", "id"]):
        said(url, *words, code=5)


def test_an_answer_may_be_nested_as_deep_as_a_result_that_is_kept(answering):
    deep = 600 * "[" + 600 * "]"
    url, _ = answering(200, "application/json", deep.encode())
    assert "".join(cli(url, "status").split()) == deep


def test_the_token_is_sent_and_not_printed(answering):
    url, requests = answering(403, "application/problem+json", b'{"detail":"no"}')
    assert "sesame" not in said(url, "status", code=3, MIST_TOKEN="sesame")
    assert requests[0][1]["Authorization"] == "Bearer sesame"


def test_an_address_given_as_option_wins_and_may_end_with_a_slash(gateway):
    assert json.loads(cli("http://127.0.0.1:1", "--url", gateway.url + "/", "contexts", "show", "plain"))["name"] == "plain"
    said("http://127.0.0.1:1", "status", "-u", "ftp://127.0.0.1/", code=2)


@pytest.mark.parametrize("words", [[], ["nosuch"], ["--nosuch"], ["run"], ["run", "f", "--nosuch"], ["wait"], ["wait", "a", "b"],
                                   ["jobs", "nosuch", "x"], ["functions", "show"], ["workers", "put", "x"], ["apply"],
                                   ["wait", "x", "-t", "soon"], ["run", "f", "--timeout=soon"], ["run", ""], ["status", "x"]])
def test_a_wrong_command_line_ends_with_2(gateway, words):
    _, err = cli(gateway, *words, code=2)
    assert "mist" in err


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["jobs", "-h"], ["apply", "--help"], ["--version"]])
def test_help_and_version_need_no_gateway(words):
    assert "mist" in cli("http://127.0.0.1:1", *words)


def test_help_is_also_a_command():
    assert cli("http://127.0.0.1:1", "help") == cli("http://127.0.0.1:1", "--help")
    assert cli("http://127.0.0.1:1", "help", "run") == cli("http://127.0.0.1:1", "run", "--help")
    assert "did you mean jobs?" in said("http://127.0.0.1:1", "help", "job", code=2)


def test_an_interrupted_wait_ends_with_130_and_the_job_goes_on(gateway, tmp_path):
    job_id = gateway.submit("wait_for", {"path": str(tmp_path / "go")})
    with subprocess.Popen([MIST, "logs", "-f", job_id], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=environment(gateway)) as p:
        p.stdout.readline()
        p.send_signal(signal.SIGINT)
        assert p.wait(SHORT) == 130
    (tmp_path / "go").touch()
    assert gateway.wait(job_id)["status"] == "finished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_in_a_script_cancels_its_job_and_names_it(gateway, tmp_path, number):
    with subprocess.Popen([MIST, "run", "wait_for", f"path={tmp_path}/go"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env=environment(gateway)) as p:
        job = until(lambda: [j for j in gateway.get("/v2/api/jobs?status=started").json()
                             if j["params"]["arguments"].get("path") == f"{tmp_path}/go"], what="the start of the job")[0]
        p.send_signal(number)
        out, err = p.communicate(timeout=SHORT)
    assert (p.returncode, out) == (130, "") and f"mist: interrupted, cancelling job {job['jobId']}\n" in err
    assert gateway.wait(job["jobId"])["cancelReason"] == "Job was cancelled: user request"


@pytest.fixture
def busy():
    """A gateway with job 7: busy([(status, headers), ...]) → (url, asked); its first answers to a GET are those, then the job
    has finished. A status of 0: it does not answer, until the test has ended."""
    servers, ended = [], threading.Event()

    def make(answers):
        answers, asked = list(answers), queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.answer(200, {}, b'{"id":"7"}')

            def do_DELETE(self):
                self.answer(200, {}, b'{"status":"cancelled"}')

            def do_GET(self):
                status, headers = answers.pop(0) if answers else (200, {})
                asked.put(self.path)
                if not status:
                    ended.wait()
                elif self.path.startswith("/v2/api/jobs/7/logs"):
                    self.answer(status, headers, b"a line\n" if status == 200 else b"busy")
                else:
                    self.answer(status, headers, b'{"status":"finished","jobResult":42}' if status == 200 else b"busy")

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield make
    ended.set()
    for server in servers:
        server.shutdown()
        server.server_close()


WATCHING = [(["run", "f"], "42\n"), (["wait", "7"], "42\n"), (["logs", "-f", "7"], "a line\n")]


@pytest.mark.parametrize("words, printed", WATCHING)
def test_a_gateway_that_is_too_busy_is_asked_again(busy, words, printed):
    url, asked = busy([(429, {}), (503, {"Retry-After": "1"}), (502, {})])
    assert cli(url, *words) == printed
    assert asked.qsize() >= 4


def test_a_gateway_that_is_too_busy_to_tell_how_the_job_ended_is_asked_again(busy):
    url, _ = busy([(200, {}), (429, {})])
    assert cli(url, "run", "f") == "42\n"


@pytest.mark.parametrize("words, answers, told", [
    (["run", "f"], [(429, {"Retry-After": "3600"})], "mist wait 7\n"),
    (["run", "f"], [(200, {}), (503, {"Retry-After": "3600"})], "mist wait 7\n"),
    (["run", "f"], [(403, {})], "mist wait 7\n"),
    (["logs", "-f", "7"], [(503, {"Retry-After": "3600"})], "mist logs -f 7\n")])
def test_a_job_whose_gateway_stays_busy_is_named_and_not_known(busy, words, answers, told):
    url, _ = busy(answers)
    out, err = cli(url, *words, code=4)
    assert out == "" and err.startswith("mist: busy\nmist: job 7") and err.endswith(told)


def test_the_time_of_wait_is_kept_while_the_gateway_is_busy(busy):
    url, _ = busy([(503, {"Retry-After": "30"})])
    assert "job 7" in said(url, "wait", "7", "-t", "100ms", code=124)


@pytest.mark.parametrize("words", [words for words, _ in WATCHING])
def test_an_interrupt_while_the_gateway_does_not_answer_is_told_once(busy, words):
    url, asked = busy([(0, {})])
    with subprocess.Popen([MIST, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(url)) as p:
        asked.get(timeout=SHORT)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=SHORT)
    assert (p.returncode, out, err.count("interrupted")) == (130, "", 1), err


def is_catching(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"^SigCgt:\s*(\w+)$", f.read(), re.MULTILINE)[1], 16) >> (number - 1) & 1


def test_an_interrupt_before_there_is_a_connection_ends_the_command():
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # more than wait for an accept: the next connection is not made
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with subprocess.Popen([MIST, "run", "f"], stderr=subprocess.PIPE, text=True, env=environment(url)) as p:
            until(lambda: is_catching(p.pid, signal.SIGINT), what="a command that can be interrupted")
            p.send_signal(signal.SIGINT)
            err = p.communicate(timeout=SHORT)[1]
    assert (p.returncode, err) == (130, "mist: interrupted\n")


# Completion

@pytest.mark.parametrize("words, expected", [
    (["st"], {"status", "store"}), (["run", "typ"], {"typed"}), (["contexts", "show", "pl"], {"plain"}), (["jobs", "--st"], {"--status"}),
    (["jobs", "--status", "fin"], {"finished"}), (["artifacts", ""], {"list", "show", "delete", "get", "put"}),
    (["functions", ""], {"list", "show", "delete"}), (["run", "typed", "--context", "pl"], {"plain"}),
])
def test_completion_in_bash(gateway, words, expected):
    # However long mist takes here: a person would not wait for it.
    script = 'timeout() { shift; "$@"; }; . "$1"; shift; COMP_WORDS=(mist "$@"); COMP_CWORD=$#; _mist; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script, "bash", ROOT / "src" / "cli" / "completion.bash", *words], capture_output=True, text=True,
                          env=environment(gateway, PATH=f"{os.path.dirname(MIST)}:{os.environ['PATH']}"), check=True)
    assert set(done.stdout.split()) == expected and done.stderr == ""


# Text of others on a terminal

WILD = "\x1b]0;title\x07 \x1b[31mred \u009b2J \u202eevil\u2066 \x7f\tend é漢"
TAME = "\\x1b]0;title\\x07 \\x1b[31mred \\u009b2J \\u202eevil\\u2066 \\u007f\tend é漢"


def is_tame(text):
    return not any(ord(c) < 32 and c not in "\n\t" or 0x7f <= ord(c) < 0xa0 or c in "\u202e\u2066" for c in text)


def test_escapes_of_a_log_and_an_error_are_shown_on_a_terminal_and_raw_in_a_pipe(c_mist):
    gateway = c_mist()
    wild, tame = (text.replace(c1, "") for text, c1 in ((WILD, "\u009b"), (TAME, "\\u009b")))  # the worker leaves that out itself
    out = Terminal(gateway, "run", "fail", "message=" + json.dumps(wild)).end(code=1)
    assert is_tame(out) and out.count(tame) >= 2, out  # in the log and in the error
    job_id = gateway.get("/v2/api/jobs").json()[0]["jobId"]
    for words, code in ((("logs", job_id), 0), (("logs", "--follow", job_id), 0), (("wait", job_id), 1)):
        out = Terminal(gateway, *words).end(code=code)
        assert is_tame(out) and tame in out, (words, out)
    assert wild in cli(gateway, "logs", job_id)
    assert wild in cli(gateway, "wait", job_id, code=1)[1]


def test_a_result_on_a_terminal_is_harmless_and_still_json(c_mist):
    out = Terminal(c_mist(), "run", "echo", "text=" + json.dumps(WILD)).end()
    result = out[out.index('"'):]
    assert is_tame(out) and json.loads(result) == WILD


def test_names_and_states_of_a_foreign_server_are_harmless(answering):
    row = {"name": WILD, "defaultContext": WILD, "path": WILD, "className": WILD, "error": WILD}
    cell = TAME.replace("\t", "\\x09")
    url, _ = answering(200, "application/json", json.dumps([row], ensure_ascii=False).encode())
    out = Terminal(url, "functions").end()
    assert is_tame(out) and out.count(cell) == 5
    url, _ = answering(200, "application/json", json.dumps({WILD: WILD, "status": WILD}, ensure_ascii=False).encode())
    for words in ("functions", "show", "f"), ("cancel", "1"), ("status",):
        out = Terminal(url, *words).end()
        assert is_tame(out) and "evil" in out, (words, out)
    url, _ = answering(400, "application/problem+json", json.dumps({"detail": WILD}, ensure_ascii=False).encode())
    out = Terminal(url, "functions").end(code=3)
    assert is_tame(out) and "evil" in out


def test_a_log_that_comes_in_pieces_keeps_its_characters(answering):
    text = ("é漢🎉" * 30_000 + "\n").encode() + b"\xff\xe2\x82\n"
    url, _ = answering(200, "text/plain", text)
    out = Terminal(url, "logs", "1").end()
    assert out == "é漢🎉" * 30_000 + "\n\\xff\\xe2\\x82\n"


def test_a_misspelt_word_is_answered_with_the_right_one(gateway, tmp_path):
    assert "did you mean functions?" in said(gateway, "funtions", code=2)
    assert "did you mean show?" in said(gateway, "functions", "shwo", "f", code=2)
    assert "did you mean" not in said(gateway, "functions", "show", code=2)
    assert "did you mean mist functions show typed?" in said(gateway, "functions", "typed", code=2)
    assert "did you mean finished?" in said(gateway, "jobs", "--status", "finishd", code=3)
    assert "did you mean plain?" in said(gateway, "run", "typed", "i=1", "-c", "palin", code=3)
    out, err = cli(gateway, "run", "--contxt", "c", "typed", code=2)
    assert "did you mean --context?" in err
    path = tmp_path / "x.conf"
    path.write_text('functions = { f = { path = "typed.py"; class-name = "typed"; context = "palin"; }; };')
    assert f"{path}:1: function f: context: there is no context palin" in said(gateway, "apply", "-f", path, "-y", code=3)
    path.write_text('contexts = { c = { worker-moed = "shared"; }; };')
    assert "worker-moed: no context has such a setting; did you mean worker-mode?" in said(gateway, "apply", "-f", path, code=2)


def test_functions_that_do_not_load_are_listed_with_their_error(gateway):
    lines = {line.split()[0]: line for line in Terminal(gateway, "functions").end().splitlines()}
    assert lines["NAME"].rstrip().endswith("ERROR") and "cannot be read: No such file" in lines["missing"]
    assert lines["typed"].rstrip().endswith("typed")
