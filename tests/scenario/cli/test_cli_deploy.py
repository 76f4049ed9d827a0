# SPDX-License-Identifier: Apache-2.0
"""mist, the command line: artifacts, and apply."""
import hashlib
import json
import re

import pytest

from support.cli import Terminal, cli, said

CODE = "import mist\n\n@mist.function\ndef twice(n: int):\n    return 2 * n\n"


@pytest.fixture(scope="module")
def gateway(plain_mist_for_module):
    return plain_mist_for_module


@pytest.fixture
def own(plain_mist):
    """A gateway for this test alone."""
    return plain_mist()


# Artifacts

def test_artifacts_are_put_listed_fetched_and_deleted(own, tmp_path):
    (tmp_path / "twice.py").write_text(CODE)
    assert cli(own, "artifacts", "put", tmp_path / "twice.py") == "twice.py\n"
    assert json.loads(cli(own, "artifacts")) == ["twice.py"]
    assert "twice.py" in Terminal(own, "artifacts").end().splitlines()
    assert cli(own, "artifacts", "show", "twice.py").strip() == hashlib.sha1(CODE.encode()).hexdigest()
    assert cli(own, "artifacts", "get", "twice.py", tmp_path / "copy") == "" and (tmp_path / "copy").read_text() == CODE
    assert cli(own, "artifacts", "get", "twice.py", "-") == CODE
    cli(own, "artifacts", "delete", "twice.py", "--yes")
    assert json.loads(cli(own, "artifacts", "list")) == []
    for verb in "show", "get", "delete":
        assert "twice.py" in said(own, "artifacts", verb, "twice.py", *(["-y"] if verb == "delete" else []), code=3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "twice.py"]


def test_another_file_of_the_same_name_replaces_only_when_told_to(own, tmp_path):
    (tmp_path / "twice.py").write_text(CODE)
    cli(own, "artifacts", "put", tmp_path / "twice.py")
    cli(own, "artifacts", "put", tmp_path / "twice.py")
    (tmp_path / "twice.py").write_text("other")
    said(own, "artifacts", "put", tmp_path / "twice.py", code=2)
    cli(own, "artifacts", "put", tmp_path / "twice.py", "-y")
    assert cli(own, "artifacts", "get", "twice.py", "-") == "other"


def test_a_file_that_breaks_functions_is_put_by_force_only(own, tmp_path):
    path = tmp_path / "twice.py"
    path.write_text(CODE)
    cli(own, "artifacts", "put", path)
    own.post("/v2/api/functions", json={"name": "theirs", "path": "twice.py", "className": "twice", "defaultContext": "plain"})
    path.write_text("def twice(")
    assert "function theirs cannot be loaded" in said(own, "artifacts", "put", path, "-y", code=3)
    assert cli(own, "artifacts", "get", "twice.py", "-") == CODE
    said(own, "artifacts", "put", path, "--force", code=2)  # which still is a question
    cli(own, "artifacts", "put", path, "--force", "-y")
    assert cli(own, "artifacts", "get", "twice.py", "-") == "def twice("


def test_a_large_artifact_goes_and_comes_whole(own, tmp_path):
    (tmp_path / "large.bin").write_bytes(b"0123456789abcdef" * (2 << 20))
    cli(own, "artifacts", "put", tmp_path / "large.bin")
    cli(own, "artifacts", "get", "large.bin", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large.bin").read_bytes()


def test_files_that_cannot_be_put(own, tmp_path):
    (tmp_path / "a b.py").write_text("")
    said(own, "artifacts", "put", tmp_path / "none.py", code=2)
    said(own, "artifacts", "put", tmp_path, code=2)
    said(own, "artifacts", "put", tmp_path / "a b.py", code=3)


# Deploying

APP = """
artifacts = { twice = { file = "lib/twice.py"; }; };
contexts = { mine = { runtime = "plain"; worker-mode = "shared"; maxJobs = 2; downtime = "2 minutes";
                      spark-conf = { a = { b = 1; c = true; }; }; }; };
functions = { twice = { path = "twice.py"; class-name = "twice"; context = "mine"; }; };
"""


@pytest.fixture
def app(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "twice.py").write_text(CODE)
    (tmp_path / "app.conf").write_text(APP)
    return tmp_path


def apply(gateway, path, *words):
    """[(word, kind, name), …]"""
    lines = [line.replace("would ", "would-").split(":")[0].split() for line in cli(gateway, "apply", "-f", path, *words).splitlines()]
    return [tuple(line) for line in lines]


def same(word):
    return [(word, "artifact", "twice.py"), (word, "context", "mine"), (word, "function", "twice")]


def test_apply_makes_what_the_file_says_and_then_changes_nothing(own, app):
    assert apply(own, app / "app.conf") == same("created")
    assert json.loads(cli(own, "run", "twice", "n=21")) == 42
    context = own.get("/v2/api/contexts/mine").json()
    assert (context["maxJobs"], context["downtime"], context["sparkConf"]) == (2, "120s", {"a.b": "1", "a.c": "true"})
    assert apply(own, app / "app.conf") == same("unchanged")
    assert apply(own, app) == same("unchanged")


def test_a_dry_run_does_nothing(own, app):
    assert apply(own, app / "app.conf", "--dry-run") == same("would-create")
    assert own.get("/v2/api/artifacts").json() == [] and own.get("/v2/api/contexts/mine").status_code == 404
    apply(own, app / "app.conf")
    assert apply(own, app / "app.conf", "-n") == same("unchanged")


def test_what_differs_is_told_and_made_so(own, app):
    apply(own, app)
    (app / "lib" / "twice.py").write_text(CODE.replace("2 * n", "3 * n"))
    (app / "app.conf").write_text(APP.replace("maxJobs = 2", "max-jobs = 3").replace('downtime = "2 minutes";', "")
                                  .replace('"mine"', '"plain"'))
    dry = cli(own, "apply", "-f", app, "--dry-run")
    done = cli(own, "apply", "-f", app, "-y")
    lines = done.splitlines()
    assert lines[0].startswith("updated   artifact twice.py: sha1 ")
    assert 'maxJobs 2 -> 3' in lines[1] and 'downtime "120s" -> "3600s"' in lines[1] and lines[1].count("->") == 2
    assert lines[2] == 'updated   function twice: defaultContext "mine" -> "plain"'
    assert [line.split(":", 1)[1:] for line in dry.splitlines()] == [line.split(":", 1)[1:] for line in lines]
    assert json.loads(cli(own, "run", "twice", "n=21")) == 63
    assert own.get("/v2/api/contexts/mine").json()["downtime"] == "3600s"
    assert apply(own, app) == same("unchanged")


def test_the_report_as_json(own, app):
    apply(own, app)
    (app / "app.conf").write_text(APP.replace("maxJobs = 2", "maxJobs = 5"))
    report = json.loads(cli(own, "apply", "-f", app, "--json", "--yes"))
    assert [line["action"] for line in report] == ["unchanged", "updated", "unchanged"]
    assert report[1] == {"kind": "context", "name": "mine", "action": "updated", "changes": {"maxJobs": {"from": 2, "to": 5}}}


def test_mists_own_form_with_a_prefix(own, app):
    (app / "app.conf").unlink()
    (app / "20function.conf").write_text('model = "Function"; name = "f"; data = { path = "twice_1.0.py"; className = "twice"; context = "ctx"; };')
    (app / "10context.conf").write_text('model = "Context"; name = "ctx"; data = { runtime = "plain"; max-parallel-jobs = 2; };')
    (app / "lib" / "00artifact.conf").write_text('model = "Artifact"; name = "twice"; version = "1.0"; data = { file-path = "twice.py"; };')
    assert apply(own, app, "--prefix", "ada") == [("created", "artifact", "ada_twice_1.0.py"), ("created", "context", "ada_ctx"),
                                                  ("created", "function", "ada_f")]
    function = own.get("/v2/api/functions/ada_f").json()
    assert function["path"] == "ada_twice_1.0.py" and function["defaultContext"] == "ada_ctx"
    assert own.get("/v2/api/contexts/ada_ctx").json()["maxJobs"] == 2
    assert json.loads(cli(own, "run", "ada_f", "n=4")) == 8


def test_the_order_is_by_kind_then_digits_then_file(own, app):
    (app / "app.conf").unlink()
    for name in "30x", "05y", "z", "a":
        (app / f"{name}.conf").write_text(f'contexts = ( {{ name = "{name}.1"; runtime = "plain"; }} );')
    (app / "01f.conf").write_text('functions = { f = { path = "twice.py"; class-name = "twice"; context = "a.1"; }; };')
    (app / "99art.conf").write_text('artifacts = ( { name = "twice.py"; file = "lib/twice.py"; } );')
    assert [line[2] for line in apply(own, app)] == ["twice.py", "05y.1", "30x.1", "a.1", "z.1", "f"]


def test_a_function_that_does_not_load_is_refused_and_can_be_mended(own, app):
    (app / "app.conf").write_text(APP.replace('class-name = "twice"', 'class-name = "thrice"'))
    err = said(own, "apply", "-f", app, code=3)
    assert "app.conf:5: function twice" in err and "the functions there are: twice" in err and "nothing was applied" in err
    assert own.get("/v2/api/artifacts").json() == [] and own.get("/v2/api/contexts/mine").status_code == 404
    (app / "app.conf").write_text(APP)
    assert apply(own, app)[2] == ("created", "function", "twice")
    (app / "lib" / "twice.py").write_text("broken(")
    for words in [], ["-y"], ["--dry-run"]:
        err = said(own, "apply", "-f", app, *words, code=3)
        assert "function twice cannot be loaded" in err and "SyntaxError: " in err and "staged" not in err
    assert cli(own, "artifacts", "get", "twice.py", "-") == CODE and json.loads(cli(own, "run", "twice", "n=2")) == 4
    own.post("/v2/api/artifacts?force=true", files={"file": ("twice.py", "broken(")})  # it was broken otherwise
    own.until(lambda: "error" in own.get("/v2/api/functions/twice").json())
    (app / "lib" / "twice.py").write_text(CODE)
    assert [line[0] for line in apply(own, app, "-y")] == ["updated", "unchanged", "updated"]
    own.delete("/v2/api/artifacts/twice.py?force=true")
    (app / "app.conf").write_text(APP.replace("twice = { file", "other = { file").replace('"lib/twice.py"', '"lib/other.py"')
                                  .replace('path = "twice.py"', 'path = "other.py"'))
    (app / "lib" / "other.py").write_text(CODE)
    assert [line[0] for line in apply(own, app, "-y")] == ["created", "unchanged", "updated"]


def test_what_changes_is_asked_for_and_without_a_terminal_refused(own, app):
    apply(own, app)
    before = own.get("/v2/api/functions/twice").json()
    (app / "lib" / "twice.py").write_text(CODE.replace("n: int", "n: int, name: str = 'x'"))
    out, err = cli(own, "apply", "-f", app, code=2)
    assert "say --yes" in err and out.splitlines()[2] == "would update function twice: signature (n: int) -> (n: int, name: string?)"
    assert said(own, "apply", "-f", app, "--json", code=2).startswith("mist: change 2 things?")
    assert own.get("/v2/api/functions/twice").json() == before and cli(own, "artifacts", "get", "twice.py", "-") == CODE
    terminal = Terminal(own, "apply", "-f", app)
    terminal.until("[y/N]")
    terminal.type("n\n")
    assert "nothing was done" in terminal.end(2) and cli(own, "artifacts", "get", "twice.py", "-") == CODE
    terminal = Terminal(own, "apply", "-f", app)
    terminal.until("change 2 things? [y/N]")
    terminal.type("y\n")
    assert "updated   function twice: signature (n: int) -> (n: int, name: string?)" in terminal.end()
    assert apply(own, app) == same("unchanged")
    (app / "lib" / "other.py").write_text(CODE)
    (app / "new.conf").write_text('artifacts = { other = { file = "lib/other.py"; }; };')
    assert ("created", "artifact", "other.py") in apply(own, app)  # what is new needs no question


def test_several_files_are_applied_together_or_not_at_all(own, app):
    (app / "lib" / "good.py").write_text(CODE)
    (app / "more.conf").write_text("""artifacts = { good = { file = "lib/good.py"; }; };
contexts = { more = { runtime = "plain"; }; none = { runtime = "typo"; }; };
functions = { good = { path = "good.py"; class-name = "twice"; context = "more"; };
              bad = { path = "good.py"; class-name = "thrice"; context = "plain"; }; };
""")
    err = said(own, "apply", "-f", app, "-y", code=3)
    assert [line.split(": ")[1].rpartition("/")[2] for line in err.splitlines()[:2]] == ["more.conf:2", "more.conf:4"]
    assert "context none: runtime: there is no runtime typo" in err and "function bad cannot be loaded" in err
    assert own.get("/v2/api/artifacts").json() == [] and own.get("/v2/api/contexts/more").status_code == 404
    text = (app / "more.conf").read_text()
    (app / "more.conf").write_text(text.replace('"typo"', '"plain"').replace('"thrice"', '"twice"'))
    assert {line[0] for line in apply(own, app)} == {"created"} and json.loads(cli(own, "run", "bad", "n=1")) == 2


def test_a_function_of_somebody_else_that_would_break_is_named(own, app):
    apply(own, app)
    own.post("/v2/api/functions", json={"name": "theirs", "path": "twice.py", "className": "twice", "defaultContext": "plain"})
    (app / "app.conf").write_text('artifacts = { twice = { file = "lib/twice.py"; }; };')
    (app / "lib" / "twice.py").write_text(CODE.replace("def twice", "def thrice"))
    err = said(own, "apply", "-f", app, "-y", code=3)
    assert "function theirs cannot be loaded" in err and "its artifact would be replaced" in err
    (app / "lib" / "twice.py").write_text(CODE.replace("n: int", "n: float"))
    lines = cli(own, "apply", "-f", app, "-y").splitlines()
    assert sorted(lines[1:]) == [f"updated   function {name}: signature (n: int) -> (n: double)" for name in ("theirs", "twice")]


def test_what_the_gateways_configuration_has_is_refused(own, app):
    (app / "app.conf").write_text('contexts = { plain = { max-jobs = 2; }; };')
    _, err = cli(own, "apply", "-f", app, code=3)
    assert "configuration file" in err and "app.conf:1" in err


@pytest.mark.parametrize("text, words", [
    ("", "nothing to apply"), ("contexts = {", "app.conf:1"), ("\nhttp = { port = 1; };", "app.conf:2: http"),
    ("contexts = { c = { max-job = 1; }; };", "max-job"), ('contexts = { c = { max-jobs = "1"; }; };', "an integer"),
    ('contexts = { c = { downtime = "soon"; }; };', "a duration"), ("contexts = { c = { precreated = 1; }; };", "true or false"),
    ("contexts = { c = { spark-conf = 1; }; };", "key=value"), ('contexts = ( { name = "a/b"; } );', "a/b"),
    ("contexts = ( { max-jobs = 1; } );", "no name"), ("contexts = { c = 1; };", "expected a group"), ("contexts = 1;", "contexts"),
    ("functions = { f = { path = \"x.py\"; }; };", "class-name"), ("artifacts = { a = { }; };", "file"),
    ('artifacts = { a = { file = "x.py"; size = 1; }; };', "size"), ('artifacts = { a = { file = "none.py"; }; };', "none.py"),
    ('contexts = ( { name = "c"; }, { name = "c"; } );', "also in"), ('model = "Job"; data = { };', "model"),
    ('model = "Context"; name = "c";', "data"), ('model = "Artifact"; name = "a"; data = { file = "x"; };', "version"),
    ("contexts = { c = { max-jobs = 99999999999; }; };", "32 bits"), ('@include "."', "include"),
])
def test_files_that_are_not_right_are_refused_before_anything_is_done(gateway, tmp_path, text, words):
    (tmp_path / "app.conf").write_text(text)
    _, err = cli(gateway, "apply", "-f", tmp_path, code=2)
    assert words in err and "app.conf" in err or words == "nothing to apply"


def test_an_included_file_is_found_by_its_absolute_name_and_named_when_it_is_not_right(gateway, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "app.conf").write_text(f'@include "{tmp_path}/more/a.conf"\n')
    (tmp_path / "more" / "a.conf").write_text('contexts = {\n@include "more/one"\n};')
    (tmp_path / "more" / "one").write_text("included = { max-jobs = 3; };")
    cli(gateway, "apply", "-f", tmp_path / "app.conf", "-y")
    assert gateway.get("/v2/api/contexts/included").json()["maxJobs"] == 3
    (tmp_path / "more" / "one").write_text("\nincluded = { max-jobs = three; };")
    assert f"{tmp_path}/more/one:2: syntax error" in said(gateway, "apply", "-f", tmp_path / "app.conf", code=2)
    (tmp_path / "more" / "one").write_text("\nincluded = { max-job = 3; };")
    assert f"{tmp_path}/more/one:2: max-job:" in said(gateway, "apply", "-f", tmp_path / "app.conf", code=2)
    (tmp_path / "app.conf").write_text('\n@include "/no/such.conf"')
    assert f'{tmp_path}/app.conf:2: @include "/no/such.conf": No such file' in said(gateway, "apply", "-f", tmp_path / "app.conf", code=2)


def test_all_that_is_wrong_in_files_is_told_with_its_place(gateway, tmp_path):
    (tmp_path / "a.conf").write_text('contexts = {\n wrong = {\n  max-job = 1;\n  max-jobs = "x";\n  downtime = "soon"; };\n flat = 1;\n flat2 = { a = 1; };\n};\nother = 1;')
    (tmp_path / "b.conf").write_text("contexts = = 1;")
    (tmp_path / "c.conf").write_text('functions = {\n f = { path = "x.py"; };\n bad };')
    (tmp_path / "d.conf").write_text('functions = ( { name = "f"; path = "x.py"; },\n { path = "x.py"; },\n { name = "../f"; path = "x.py"; class-name = "f"; } );')
    (tmp_path / "e.conf").write_text('model = "Context";\nname = "e";\nmore = 1;\ndata = {\n nothing = 1; };')
    _, err = cli(gateway, "apply", "-f", tmp_path, code=2)
    places = [re.match(r"mist: .*/([a-e]\.conf:\d+): ", line).group(1) for line in err.splitlines()]
    assert places == ["a.conf:3", "a.conf:4", "a.conf:5", "a.conf:6", "a.conf:7", "a.conf:9", "b.conf:1", "c.conf:3", "d.conf:1", "d.conf:2",
                      "d.conf:3", "e.conf:3", "e.conf:5"], err
    assert "did you mean max-jobs?" in err.splitlines()[0] and gateway.get("/v2/api/contexts/wrong").status_code == 404


def test_a_folder_that_there_is_not(gateway, tmp_path):
    assert "no-such" in said(gateway, "apply", "-f", tmp_path / "no-such", code=2)
