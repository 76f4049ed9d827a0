# SPDX-License-Identifier: Apache-2.0
"""What functions and workers print: in jobs' logs, at GET /v2/api/workers/{id}/output, by `mist workers output`."""

import os
import signal
import subprocess

import pytest

from support.cli import MIST, cli, environment, said

ALONE = {"runtime": "plain", "worker-mode": "shared", "max-jobs": 1}


@pytest.fixture
def alone(plain_mist):
    """A worker that runs one job at a time."""
    return plain_mist(contexts={"alone": ALONE})


def entries(gateway, job_id):
    """(level, message) of what the function said."""
    lines = [line.split(" ", 3) for line in gateway.logs(job_id).splitlines()]
    return [(level, text) for level, _, _, text in lines if not text.endswith("Event") and not text.startswith("WorkerAssigned")]


def output(gateway, worker, **query):
    return gateway.get(f"/v2/api/workers/{worker}/output", params=query)


@pytest.mark.parametrize("context, has_child", [("alone", True), ("plain", False)])
def test_what_a_function_prints_is_in_its_log_and_in_the_workers_output(alone, context, has_child):
    job = alone.wait(alone.submit("prints", {"text": "this"}, context=context))
    child = [("INFO", "child this")] if has_child else []
    assert entries(alone, job["jobId"]) == [
        ("INFO", "print this"), ("WARN", "stderr this"), ("INFO", "log this"), *child, ("INFO", "the end of this")]
    text = output(alone, job["workerId"]).text
    assert all(line in text for line in ("print this\nstderr this\n", "child this\n", "the end of this")) and "log this" not in text
    quiet = alone.wait(alone.submit("nothing", {}, context=context))
    assert "this" not in alone.logs(quiet["jobId"])


@pytest.mark.parametrize("context", ["alone", "plain"])
def test_the_lines_of_a_crash_are_in_the_jobs_log(alone, context):
    job = alone.wait(alone.submit("crashes", {"text": "corrupted"}, context=context))
    assert job["status"] == "failed"
    alone.until(lambda: "free(): corrupted" in alone.logs(job["jobId"]))
    alone.until(lambda: "free(): corrupted" in output(alone, job["workerId"]).text)
    assert output(alone, job["workerId"]).text.count("free(): corrupted") == 1


def test_the_lines_of_a_crash_are_in_no_log_if_another_job_may_have_printed_them(alone, tmp_path):
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    beside = alone.submit("prints", {"text": "beside", "until": first}, context="plain")
    job = alone.submit("crashes", {"text": "corrupted", "until": second}, context="plain")
    alone.until(lambda: all(alone.job(one)["status"] == "started" for one in (beside, job)))
    assert alone.job(beside)["workerId"] == alone.job(job)["workerId"]
    for go, one in (first, beside), (second, job):
        open(go, "w").close()
        alone.wait(one)
    alone.until(lambda: "free(): corrupted" in output(alone, alone.job(job)["workerId"]).text)
    assert alone.job(job)["status"] == "failed" and "free(): corrupted" not in alone.logs(job)


def test_a_gateway_that_is_killed_costs_no_line(alone, tmp_path):
    go = tmp_path / "go"
    job_id = alone.submit("prints", {"text": "kept", "until": str(go)}, context="alone")
    alone.until(lambda: "child kept" in alone.logs(job_id))
    alone.kill9()
    alone.start()
    go.touch()
    alone.wait(job_id)
    said = [message for _, message in entries(alone, job_id) if "kept" in message]
    assert [m for m in dict.fromkeys(said)] == ["print kept", "stderr kept", "log kept", "child kept", "the end of kept"]


def test_a_worker_in_c_prints_to_its_jobs(c_mist):
    gateway = c_mist()
    jobs = [gateway.wait(gateway.submit("print", {"text": text})) for text in ("a", "b")]
    for text, job in zip("ab", jobs):
        assert entries(gateway, job["jobId"]) == [
            ("INFO", f"printed {text}"), ("INFO", f"logged {text}"), ("INFO", "to stderr"), ("INFO", "no end")]
    assert "printed b\n" in output(gateway, jobs[1]["workerId"]).text
    quiet = gateway.wait(gateway.submit("noop", {}))
    assert "print" not in gateway.logs(quiet["jobId"])


def test_the_output_is_read_in_parts(alone):
    job = alone.wait(alone.submit("babble", {"megabytes": 2}, context="alone"))
    worker, last = job["workerId"], "line 3 of the last megabyte\n"
    alone.until(lambda: output(alone, worker, tail=1).text == last)
    assert output(alone, worker, tail=3).text == 2 * ("x" * 99 + "\n") + last
    assert output(alone, worker, tail=0).text == ""
    whole = output(alone, worker, limit=16 << 20).text
    assert whole.endswith(last) and len(whole) > 2_000_000
    text = output(alone, worker).text
    assert 1_000_000 < len(text) <= 1 << 20 and whole.endswith(text) and text.startswith("x" * 99 + "\n")
    assert "".join(output(alone, worker, offset=n, limit=1 << 20).text for n in range(0, len(whole) + 1, 1 << 20)) == whole
    assert output(alone, worker, offset=1 << 40).text == ""
    answer = output(alone, worker)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert alone.request("HEAD", f"/v2/api/workers/{worker}/output").status_code == 200
    assert alone.request("HEAD", f"/v2/api/workers/{worker}/output?follow=true").status_code == 200


@pytest.mark.parametrize("query, name", [
    ("tail=x", "tail"), ("tail=1&offset=1", "tail"), ("limit=0", "limit"), ("limit=99999999", "limit"), ("offset=-1", "offset"),
    ("follow=maybe", "follow"), ("tails=1", "tails")])
def test_a_wrong_query_is_refused(plain_mist_for_module, query, name):
    answer = plain_mist_for_module.get(f"/v2/api/workers/nope/output?{query}")
    assert answer.status_code == 400 and name in answer.json()["detail"]


@pytest.mark.parametrize("name", ["nope", "%2e%2e", "a%2Fb", "x" * 3000, "a%00", "..%2F..%2Fmist.db"])
def test_the_output_of_nobody_is_not_found(plain_mist_for_module, name):
    assert plain_mist_for_module.get(f"/v2/api/workers/{name}/output").status_code in (400, 404)
    assert plain_mist_for_module.get(f"/v2/api/workers/{name}/output?follow=true").status_code in (400, 404)


def test_the_output_is_followed_until_the_worker_ends(alone, tmp_path):
    go = tmp_path / "go"
    job_id = alone.submit("prints", {"text": "first", "until": str(go)}, context="alone")
    alone.until(lambda: "child first" in alone.logs(job_id))
    worker = alone.job(job_id)["workerId"]
    command = subprocess.Popen([MIST, "workers", "output", worker, "-f", "-n", "1"], env=environment(alone), text=True, stdout=subprocess.PIPE)
    with alone.get(f"/v2/api/workers/{worker}/output?follow=true&tail=2", stream=True) as answer:
        assert command.stdout.readline() == "child first\n"
        go.touch()
        alone.wait(job_id)
        alone.wait(alone.submit("prints", {"text": "second"}, context="alone"))
        assert alone.delete(f"/v2/api/workers/{worker}").status_code == 200
        followed = list(answer.iter_lines(decode_unicode=True))
    rest = ["the end of firstprint second", "stderr second", "child second", "the end of second"]
    assert followed == ["stderr first", "child first", *rest]
    assert command.communicate(timeout=60)[0].splitlines() == rest and command.returncode == 0


def test_a_follower_goes_on_when_the_older_part_is_moved_away(plain_mist):
    gateway = plain_mist(workers={"output": "64k"}, contexts={"alone": ALONE})
    worker = gateway.wait(gateway.submit("prints", {"text": "first"}, context="alone"))["workerId"]
    path = gateway.data / "logs" / f"worker-{worker}.log"
    with gateway.get(f"/v2/api/workers/{worker}/output?follow=true&offset=0", stream=True) as answer:
        lines = answer.iter_lines(decode_unicode=True)
        assert [next(lines) for _ in range(3)] == ["print first", "stderr first", "child first"]
        with open(path, "ab") as f:  # at once: nothing of it is left when it was moved
            os.write(f.fileno(), (b"x" * 99 + b"\n") * 10_000)
        gateway.until(lambda: path.stat().st_size == 0)
        gateway.wait(gateway.submit("prints", {"text": "second"}, context="alone"))
        rest = []
        while "child second" not in rest:  # it looks now and then; with the worker the older part goes, by which it knows of the move
            rest.append(next(lines))
        assert gateway.delete(f"/v2/api/workers/{worker}").status_code == 200
        rest += lines
    assert rest.count("x" * 99) <= 10_000


@pytest.fixture
def moved(plain_mist):
    """(gateway, worker, what it has printed so far, a call that prints so many bytes more and returns them): little of it is kept."""
    gateway = plain_mist(workers={"output": "64k"}, contexts={"alone": ALONE})
    worker = gateway.wait(gateway.submit("prints", {"text": "first"}, context="alone"))["workerId"]
    words = ("print first", "stderr first", "child first", "the end of first")
    gateway.until(lambda: all(word in output(gateway, worker).text for word in words))
    path = gateway.data / "logs" / f"worker-{worker}.log"

    def say(mark, size):
        text = "".join(f"{mark} {n:06}\n" for n in range(size // 9))
        with open(path, "ab") as f:
            os.write(f.fileno(), text.encode())
        return text

    say.path = path
    return gateway, worker, output(gateway, worker).text, say


def test_followers_get_what_was_moved_just_before_the_end(moved):
    gateway, worker, first, say = moved
    query = f"/v2/api/workers/{worker}/output?follow=true"
    with gateway.get(f"{query}&offset=0", stream=True) as all_of_it, gateway.get(f"{query}&tail=0", stream=True) as rest:
        assert all_of_it.headers["Mist-Offset"] == "0" and rest.headers["Mist-Offset"] == str(len(first))
        said = say("a", 18_000)
        assert all_of_it.raw.read(len(first) + len(said)).decode() == first + said
        assert rest.raw.read(len(said)).decode() == said
        said = say("b", 18_000)
        gateway.until(lambda: say.path.stat().st_size == 0)
        assert gateway.delete(f"/v2/api/workers/{worker}").status_code == 200
        for answer in (all_of_it, rest):
            assert answer.raw.read().decode().startswith(said)  # the worker may say something about its end


def test_an_offset_means_the_same_after_it_was_moved(moved):
    gateway, worker, text, say = moved
    text += say("a", 45_000)
    gateway.until(lambda: say.path.stat().st_size == 0)
    text += say("b", 900)

    def read(**query):
        answer = output(gateway, worker, **query)
        return int(answer.headers["Mist-Offset"]), answer.text

    begin, kept = read(offset=0)
    assert 0 < begin < len(text) and kept == text[begin:] and 30_000 < len(kept) < 34_000
    for offset in (begin + 1, len(text) - 901, len(text) - 900, len(text) - 9, len(text)):
        assert read(offset=offset) == (offset, text[offset:])
    assert read(offset=len(text) - 905, limit=10) == (len(text) - 905, text[-905:-895])
    assert read(offset=1 << 40) == (len(text), "")
    assert read(tail=2) == (len(text) - 18, text[-18:])
    assert read(limit=20) == (len(text) - 18, text[-18:])
    gateway.kill9()
    gateway.start()
    assert read(offset=0, limit=len(kept)) == (begin, kept)  # behind it the worker tells that it lost its gateway


def test_a_follower_holds_up_neither_others_nor_the_end(alone):
    job = alone.wait(alone.submit("prints", {"text": "x"}, context="alone"))
    with alone.get(f"/v2/api/workers/{job['workerId']}/output?follow=true", stream=True) as answer:
        assert next(answer.iter_lines(chunk_size=1))
        assert alone.get("/v2/api/status").status_code == 200
        alone.stop()


def test_the_command_line_shows_it(alone):
    job = alone.wait(alone.submit("crashes", {"text": "late"}, context="alone"))
    alone.until(lambda: "late" in cli(alone, "workers", "output", job["workerId"]))
    assert cli(alone, "workers", "output", "--tail", "1", job["workerId"]).endswith("free(): late\n")
    assert "output" in said(alone, "workers", "output", "nope", code=3)
    assert "--tail are for output" in said(alone, "workers", "list", "-n", "1", code=2)
    said(alone, "jobs", "output", job["jobId"], code=2)


def test_what_a_stopped_worker_does_not_pass_on_is_bounded(plain_mist, tmp_path):
    """A library that keeps the interpreter to itself and prints, as far as the gateway can tell."""
    gateway = plain_mist(workers={"output": "64k"}, contexts={"alone": ALONE})
    job_id = gateway.submit("prints", {"text": "x", "until": str(tmp_path / "go")}, context="alone")
    gateway.until(lambda: "child x" in gateway.logs(job_id))
    [(pid, folder)] = [(r["pid"], r["directory"]) for r in gateway.worker_records() if r["context"] == "alone"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with open(os.path.join(folder, "printed"), "ab") as f:
            f.write((b"y" * 99 + b"\n") * 10_000)
        gateway.until(lambda: os.stat(os.path.join(folder, "printed")).st_blocks * 512 <= 64 * 1024)
    finally:
        os.kill(pid, signal.SIGCONT)
    (tmp_path / "go").touch()
    assert gateway.wait(job_id)["status"] == "finished"
    assert "y" * 99 in gateway.logs(job_id)
