# SPDX-License-Identifier: Apache-2.0
"""mist, the command line: what its options do, what it says when something was meant otherwise, and that all of it is documented."""
import json
import re
import subprocess

import pytest

from support.cli import MIST, Terminal, cli, said
from support.mistd import ROOT

TEXTS = """import datetime
import mist

@mist.function
def texts(s: str = "", maybe: str | None = None, either: int | str = 0, n: int = 0, l: list[str] = None, day: datetime.date = None):
    return [s, maybe, either, n, l]

@mist.function
def fails(text: str):
    raise ValueError(text)
"""


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts.py").write_text(TEXTS)
    (folder / "app.conf").write_text('artifacts = { texts = { file = "texts.py"; }; };\nfunctions = {'
                                     ' texts = { path = "texts.py"; class-name = "texts"; context = "plain"; };'
                                     ' fails = { path = "texts.py"; class-name = "fails"; context = "plain"; }; };')
    cli(plain_mist_for_module, "apply", "-f", folder, "-y")
    return plain_mist_for_module


def jobs(gateway, *words):
    return [job["jobId"] for job in json.loads(cli(gateway, "jobs", "list", *words))]


# Options of jobs

@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_job_has_the_name_and_priority_that_it_was_given(gateway, command):
    name = f"order 66/{command} &?"
    cli(gateway, command, "typed", "i=1", "--external-id", name, "--priority=-7")
    (job,) = jobs(gateway, "-x", name)
    assert gateway.wait(job)["externalId"] == name
    for wrong in "101", "-101", "1x", "":
        assert "--priority: expected an integer from -100 to 100" in said(gateway, command, "typed", "i=1", "--priority", wrong, code=2)


def test_the_same_key_is_the_same_job(gateway):
    first = cli(gateway, "submit", "typed", "i=1", "--idempotency-key", "mine")
    assert cli(gateway, "submit", "typed", "i=1", "-k", "mine") == first
    assert json.loads(cli(gateway, "run", "typed", "i=1", "-k", "mine"))["i"] == 1
    assert "mine" in said(gateway, "submit", "typed", "i=2", "-k", "mine", code=3)
    assert len(json.loads(cli(gateway, "jobs", "--limit", "1000", "-F", "typed"))) == len(gateway.get("/v2/api/functions/typed/jobs?limit=1000").json())
    for wrong in "", "a\nb":
        assert "--idempotency-key" in said(gateway, "submit", "typed", "i=1", "-k", wrong, code=2)


def test_lists_of_jobs_are_filtered_and_paged(gateway):
    made = [cli(gateway, "submit", "typed", f"i={i}", "-x", "page").strip() for i in range(4)]
    for job in made:
        cli(gateway, "wait", job)
    other = cli(gateway, "submit", "nothing", "-x", "page").strip()
    cli(gateway, "wait", other)
    assert jobs(gateway, "-x", "page") == [other, *reversed(made)]
    assert jobs(gateway, "-x", "page", "--function", "typed", "--offset", "1", "--limit", "2") == [made[2], made[1]]
    assert jobs(gateway, "-x", "page", "-c", "plain", "-s", "finished", "-O", "4") == [made[0]]
    assert jobs(gateway, "-x", "page", "--context", "other") == jobs(gateway, "-x", "page", "-s", "failed,cancelled") == []
    assert "offset" in said(gateway, "jobs", "--offset", "-1", code=3)


@pytest.mark.parametrize("words", [["jobs", "show", "x", "--limit", "1"], ["jobs", "delete", "x", "-F", "f"], ["artifacts", "list", "--force"],
                                   ["artifacts", "show", "x", "-o"]])
def test_options_of_another_verb_are_refused(gateway, words):
    assert f"{words[0]} {words[1]}: " in said(gateway, *words, code=2)


# What was meant

@pytest.mark.parametrize("words, result", [
    (["s=3"], ["3", None, 0, 0, None]), (["s=true", "n=4"], ["true", None, 0, 4, None]), (["s=1e3", "maybe=007"], ["1e3", "007", 0, 0, None]),
    (["maybe=null"], ["", None, 0, 0, None]), (["maybe=[1]"], ["", "[1]", 0, 0, None]), (["either=3"], ["", None, 3, 0, None]),
    (["either='3'".replace("'", '"')], ["", None, "3", 0, None]), (['{"s": "x"}', "s=5"], ["5", None, 0, 0, None]),
    (["s=5", '{"s": "x"}'], ["x", None, 0, 0, None]), (["s={}"], ["{}", None, 0, 0, None])])
def test_a_text_needs_no_quotes_where_the_function_takes_nothing_else(gateway, words, result):
    assert json.loads(cli(gateway, "run", "texts", *words)) == result


def test_arguments_that_are_wrong_otherwise_stay_wrong(gateway):
    before = len(gateway.get("/v2/api/functions/texts/jobs?limit=1000").json())
    err = said(gateway, "run", "texts", "day=3", "s=4", code=3)
    assert re.search(r"^mist: .*\bday\b", err) and "day=3 is JSON; as a text it is day='\"3\"'" in err and "s=4" not in err
    for words in ["l=3"], ["n=1.5"], ["no-such=1"], ["either=1.5"], ["l=[1]"]:
        assert "is JSON" not in said(gateway, "run", "texts", *words, code=3)
    assert "is JSON" not in said(gateway, "run", "texts", '{"l": 3}', code=3)
    assert "is JSON" not in said(gateway, "run", "texts", "n=word", code=3)
    assert len(gateway.get("/v2/api/functions/texts/jobs?limit=1000").json()) == before


def test_a_folder_holds_no_arguments(gateway, tmp_path):
    assert said(gateway, "run", "texts", f"@{tmp_path}", code=2) == f"mist: {tmp_path}: cannot be read: Is a directory\n"


@pytest.mark.parametrize("more", [[], ["n=2"]])
def test_a_byte_order_mark_before_arguments_is_no_mistake(gateway, tmp_path, more):
    (tmp_path / "arguments").write_text('{"s": "\\u00e9"}', encoding="utf-8-sig")
    assert json.loads(cli(gateway, "run", "texts", f"@{tmp_path}/arguments", *more)) == ["é", None, 0, 2 if more else 0, None]


@pytest.mark.parametrize("words, sentence", [
    (["run", "../jobs"], "there is no function ../jobs"), (["functions", "show", "a//b\x1b/"], "there is no function a//b /"),
    (["contexts", "show", "/"], "there is no context /"), (["wait", "a/b"], "Job a/b not found")])
def test_a_name_is_told_as_it_was_written(gateway, words, sentence):
    assert sentence in said(gateway, *words, code=3)


VAST = "12345678901234567890"


@pytest.mark.parametrize("word", [f"either={VAST}", f"n={VAST}", "either=1e999", f"either=[{VAST}]", f"more={VAST}"])
def test_a_number_that_is_too_large_is_refused_as_in_an_object(gateway, word):
    name, value = word.split("=")
    assert said(gateway, "run", "texts", word, code=2) == f"mist: {name}: a number is too large; as a text it is {name}='\"{value}\"'\n"
    assert "a number is too large" in said(gateway, "run", "texts", '{"either": %s}' % VAST, code=2)


@pytest.mark.parametrize("words, result", [
    ([f"s={VAST}"], [VAST, None, 0, 0, None]), ([f'either="{VAST}"'], ["", None, VAST, 0, None]),
    ([f"either={VAST}-5"], ["", None, f"{VAST}-5", 0, None]), ([f"either={VAST}", "either=1"], ["", None, 1, 0, None])])
def test_many_digits_may_be_a_text(gateway, words, result):
    assert json.loads(cli(gateway, "run", "texts", *words)) == result


def test_names_that_are_nearly_right_are_answered_with_the_right_one(gateway):
    job = cli(gateway, "submit", "typed", "i=1").strip()
    cli(gateway, "wait", job)
    wrong = job[:-1] + ("0" if job[-1] != "0" else "1")
    for words, name in ([["run", "typd", "i=1"], "typed"], [["functions", "show", "Typed"], "typed"], [["functions", "delete", "typedd", "-y"], "typed"],
                        [["contexts", "show", "plian"], "plain"], [["jobs", "show", wrong], job], [["wait", job[:-3]], job], [["logs", wrong], job],
                        [["cancel", job[:-12]], job], [["jobs", "-s", "canceled"], "cancelled"], [["cancl", job], "cancel"],
                        [["jobs", "lits"], "list"]):
        out, err = cli(gateway, *words, code=2 if words[0] == "cancl" or words[1] == "lits" else 3)
        assert f"did you mean {name}?" in err, (words, err)
    assert "did you mean" not in said(gateway, "wait", "00000000-0000-7000-8000-000000000000", code=3)
    assert gateway.get("/v2/api/functions/typd").json()["detail"] == "there is no function typd; did you mean typed?"


def test_each_argument_that_is_wrong_has_a_line(gateway):
    assert said(gateway, "run", "typed", "i=word", code=3) == 'mist: argument i: expected Int, got "word"\n'
    assert said(gateway, "run", "typed", "i=x,Invalid field b: y", code=3) == 'mist: argument i: expected Int, got "x,Invalid field b: y"\n'
    err = said(gateway, "run", "typed", "i=word", "b=[]", "other=1", code=3)
    assert [line.split(":")[:2] for line in err.splitlines()[:3]] == [["mist", " argument i"], ["mist", " argument b"], ["mist", " argument other"]], err
    assert gateway.post("/v2/api/functions/typed/jobs", json={"i": "word"}).json()["detail"].startswith("Invalid field i: Invalid type: ")


# How jobs end

def test_a_job_that_fails_away_from_a_terminal_is_named_with_its_trace_in_lines(gateway):
    out, err = cli(gateway, "run", "fails", "text=" + json.dumps("one\ntwo \x1b[31m"), "-x", "failing", code=1)
    (job,) = jobs(gateway, "-x", "failing")
    lines = err.splitlines()
    assert out == "" and lines[0] == f"mist: job {job}: failed: Traceback (most recent call last):"
    assert lines[-2:] == ["ValueError: one", "two \x1b[31m"] and any(line.startswith("    raise ValueError") for line in lines)
    shown = Terminal(gateway, "run", "fails", "text=" + json.dumps("one\ntwo \x1b[31m")).end(1)
    assert "\nValueError: one\ntwo \\x1b[31m\n" in shown and shown.count("Traceback (most recent call last)") == 1
    assert re.search(r"\nmist: job \S+: failed: ValueError: one\ntwo \\x1b\[31m\n$", shown)


def test_cancel_says_the_same_however_often(gateway, tmp_path):
    job = cli(gateway, "submit", "wait_for", f"path={tmp_path}/never").strip()
    gateway.wait(job, "started")
    for _ in range(3):
        cli(gateway, "cancel", job)
    assert gateway.job(job)["status"] == "cancelled"
    done = cli(gateway, "submit", "nothing").strip()
    cli(gateway, "wait", done)
    for words in ["cancel", done], ["cancel", done], ["jobs", "delete", done, "-y"]:
        assert f"job {done}: finished" in cli(gateway, *words, code=1)[1]
    assert gateway.job(done)["status"] == "finished"


# Documents

def help_of(*words):
    return subprocess.run([MIST, *words, "--help"], capture_output=True, text=True, check=True).stdout


COMMANDS = re.findall(r"^  ([a-z]+) ", help_of().partition("\n\n")[2].partition("\n\n")[0], re.MULTILINE)


def options_of(command):
    """[(letter, name), …] that the help on the command has, those of every command too."""
    return re.findall(r"^  -(\w), --([\w-]+)", help_of(command), re.MULTILINE)


def test_the_help_names_all_commands():
    assert {"run", "submit", "jobs", "apply", "store"} <= set(COMMANDS) and len(COMMANDS) >= 13


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_taken_documented_and_completed(command):
    manual = (ROOT / "src" / "cli" / "mist.1").read_text()
    zsh = (ROOT / "src" / "cli" / "completion.zsh").read_text()
    script = '. "$1"; COMP_WORDS=(mist "$2" --); COMP_CWORD=2; _mist; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script, "bash", ROOT / "src" / "cli" / "completion.bash", command], capture_output=True, text=True, check=True)
    case = re.search(rf"^\t\t(?:\w+ \| )*{command}(?: \| \w+)*\)(.*?);;$", zsh, re.MULTILINE | re.DOTALL)
    common = zsh[zsh.index("common=("):zsh.index("commands=(")]
    options = options_of(command)
    assert set(done.stdout.split()) == {f"--{name}" for _, name in options}
    for letter, name in options:
        assert re.search(rf"\.It (Cm \w+ \w+ Oo )?Fl {letter} (, |\| )Fl -{name}\b", manual), f"mist(1) lacks -{letter}, --{name}"
        assert f"{{-{letter},--{name}}}" in common + (case[1] if case else ""), f"{command}: zsh lacks -{letter}, --{name}"
    if case:
        assert {name for _, name in options} >= set(re.findall(r"\{-\w,--([\w-]+)\}", case[1]))
    assert f"'{command}:" in zsh


def test_every_exit_status_is_in_the_manual():
    codes = {int(n) for n in re.findall(r"^\tEXIT_\w+ = (\d+)", (ROOT / "src" / "cli" / "cli.h").read_text(), re.MULTILINE)}
    manual = (ROOT / "src" / "cli" / "mist.1").read_text()
    section = manual[manual.index(".Sh EXIT STATUS"):manual.index(".Sh EXAMPLES")]
    assert codes == {int(n) for n in re.findall(r"^\.It (\d+)$", section, re.MULTILINE)} and len(codes) == 8
    assert codes <= {int(n) for n in re.findall(r"\b(\d+) (?:done|the|usage|not|no|interrupted)", help_of())}


def test_the_names_of_statuses_are_those_of_the_gateway(gateway):
    manual = (ROOT / "src" / "cli" / "mist.1").read_text()
    schema = next(s for name, s in gateway.get("/v2/api/openapi.json").json()["components"]["schemas"].items() if name == "JobStatus")
    for status in schema["enum"]:
        assert f".Ql {status}" in manual and status in help_of("jobs")
        for shell in "bash", "zsh":
            assert status in (ROOT / "src" / "cli" / f"completion.{shell}").read_text()
