# SPDX-License-Identifier: Apache-2.0
import builtins
import os
import re
import sys
import time
import types
import zipfile

import pytest

from mist import load
from mist.errors import Refusal, explain, sentence
from mist.load import Loader


@pytest.fixture
def loader():
    path, modules = list(sys.path), set(sys.modules)
    yield Loader()
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def run(loader, path, name):
    return loader.load(str(path), name).call(None, {})


def write_zip(path, **modules):
    with zipfile.ZipFile(path, "w") as z:
        for name, text in modules.items():
            z.writestr(name.replace("__init", "/__init__").replace("__of__", "/") + ".py", text)
    return path


def test_decorated_and_plain_functions_are_found(loader, user_file):
    path = user_file("import mist\n@mist.function(name='x')\ndef f(): return 1\ndef g(): return 2\n")
    assert run(loader, path, "x") == 1 and run(loader, path, "f") == 1 and run(loader, path, "g") == 2


def test_the_same_file_is_imported_once(loader, user_file):
    path = user_file("import itertools\nn = itertools.count()\ndef f(): return next(n)\n")
    assert [run(loader, path, "f") for _ in range(3)] == [0, 1, 2]


def test_an_edited_file_is_used_at_once_even_of_the_same_size_and_second(loader, user_file):
    path = user_file("def f(): return 1\n")
    os.utime(path, ns=(10 ** 18, 10 ** 18))
    assert run(loader, path, "f") == 1
    old = loader.load(str(path), "f")
    path = user_file("def f(): return 2\n")
    os.utime(path, ns=(10 ** 18, 10 ** 18 + 1))
    assert run(loader, path, "f") == 2
    assert old.call(None, {}) == 1


def test_two_files_of_one_name_do_not_meet(loader, tmp_path):
    for n in "ab":
        (tmp_path / n).mkdir()
        (tmp_path / n / "job.py").write_text(f"def f(): return {n!r}\n")
    assert run(loader, tmp_path / "a" / "job.py", "f") == "a"
    assert run(loader, tmp_path / "b" / "job.py", "f") == "b"


def test_a_file_named_as_our_own_modules_or_pythons_hides_none(loader, user_file):
    path = user_file("import json\ndef f(): return json.dumps(1)\n", "json.py")
    assert run(loader, path, "f") == "1"


def test_dataclasses_with_textual_annotations_and_pickle_work(loader, user_file):
    path = user_file("from __future__ import annotations\nimport dataclasses, pickle, typing\n"
                     "@dataclasses.dataclass\nclass P:\n    x: typing.ClassVar[int] = 1\n    y: int = 2\n"
                     "def f(): return pickle.loads(pickle.dumps(P(3))).y\ndef g(p: P): return p\n")
    assert run(loader, path, "f") == 3
    tree = loader.load(str(path), "g").signature()["execute"]["p"]
    assert tree["fields"] == {"y": {"type": "MOption", "args": [{"type": "MInt"}]}}


def test_no_file_no_function_and_no_artifact_are_said_plainly(loader, user_file, tmp_path):
    with pytest.raises(Refusal, match="^no such file: .*nothing.py$"):
        loader.load(str(tmp_path / "nothing.py"), "f")
    path = user_file("import mist\ndef helper(): pass\n@mist.function\ndef b(): pass\n@mist.function\ndef a(): pass\n")
    with pytest.raises(Refusal, match='^no function "c" in user_code.py; the functions there are: a, b$'):
        loader.load(str(path), "c")
    path = user_file("from os.path import join\ndef one(): pass\ndef _two(): pass\nclass Three: pass\n", "plain.py")
    with pytest.raises(Refusal, match="there are: one$"):
        loader.load(str(path), "Three")
    path = user_file("x = 1\n", "empty.py")
    with pytest.raises(Refusal, match="it has no functions"):
        loader.load(str(path), "x")
    with pytest.raises(Refusal, match="is no Python artifact"):
        loader.load(str(tmp_path / "job.jar"), "f")
    with pytest.raises(Refusal, match="cannot read"):
        (tmp_path / "folder.py").mkdir()
        loader.load(str(tmp_path / "folder.py"), "f")


def test_an_import_error_has_the_users_traceback_and_nothing_of_ours(loader, user_file):
    path = user_file("import no_such_module_here\n")
    with pytest.raises(Refusal) as refusal:
        loader.load(str(path), "f")
    text = str(refusal.value)
    assert "No module named 'no_such_module_here'" in text and 'user_code.py", line 1' in text
    assert "load.py" not in text


@pytest.mark.parametrize("text, expected", [
    ("x = 1\ndef f(:\n", r"cannot import .*user_code\.py \(line 2: def f\(:\): SyntaxError: .*"),
    ("\nimport no_such_module_here\n", r"cannot import .*user_code\.py \(line 2: import no_such_module_here\): ModuleNotFoundError: "
                                       rf"No module named 'no_such_module_here' \(Python: {re.escape(sys.executable)}\)"),
    ("import json\njson.loads('{')\n", r"cannot import .*user_code\.py \(line 2: json\.loads\('\{'\)\): json\.decoder\.JSONDecodeError: .*")])
def test_a_sentence_about_a_file_that_cannot_be_imported_has_the_line(loader, user_file, text, expected):
    with pytest.raises(Refusal) as refusal:
        loader.load(str(user_file(text)), "f")
    assert re.fullmatch(expected, sentence(refusal.value)), sentence(refusal.value)


@pytest.mark.parametrize("text, expected", [
    ("def f(:\n", "SyntaxError"), ("import sys\nsys.exit(3)\n", "SystemExit: 3"), ("\0", "null bytes"),
    ("x = 1 / 0\n", "ZeroDivisionError")])
def test_a_file_that_cannot_be_imported_is_tried_again_once_it_changed(loader, user_file, text, expected):
    with pytest.raises(Refusal, match=expected):
        loader.load(str(user_file(text)), "f")
    assert run(loader, user_file("def f(): return 'mended'\n"), "f") == "mended"


def test_a_packed_artifact_is_named_by_package_module_function(loader, tmp_path):
    path = write_zip(tmp_path / "a.zip", pkg__init="", pkg__of__tool="x = 'from a zip'\n",
                     pkg__of__job="from pkg.tool import x\ndef f(): return x\n")
    assert run(loader, path, "pkg.job.f") == "from a zip"
    with pytest.raises(Refusal, match='no function "g" in pkg.job in a.zip; the functions there are: f'):
        loader.load(str(path), "pkg.job.g")
    with pytest.raises(Refusal, match='"package.module.function", not "f"'):
        loader.load(str(path), "f")
    with pytest.raises(Refusal, match="No module named 'pkg.other'"):
        loader.load(str(path), "pkg.other.f")


def test_a_changed_packed_artifact_and_another_with_the_same_package_are_told_apart(loader, tmp_path):
    def job(n):
        return {"pkg__init": "", "pkg__of__tool": f"x = {n}\n",
                "pkg__of__job": "from pkg import tool\ndef f(): return tool.x\n"}
    a, b = write_zip(tmp_path / "a.egg", **job(1)), write_zip(tmp_path / "b.whl", **job(2))
    assert [run(loader, p, "pkg.job.f") for p in (a, b, a)] == [1, 2, 1]
    write_zip(a, **job(333))
    assert [run(loader, p, "pkg.job.f") for p in (a, b)] == [333, 2]


def test_a_packed_artifact_that_is_no_archive_is_said(loader, tmp_path):
    (tmp_path / "bad.zip").write_text("no zip")
    with pytest.raises(Refusal, match="cannot import from .*bad.zip: it is no archive"):
        loader.load(str(tmp_path / "bad.zip"), "pkg.job.f")


def test_content_of_the_same_size_and_time_is_noticed(loader, user_file, tmp_path):
    """Within one tick of the file system's clock, and with all that can be set set back."""
    path = user_file("def f(): return 1\n")
    s = os.stat(path)
    for n in (1, 2, 3):
        with open(path, "r+") as f:
            f.write(f"def f(): return {n}\n")
        os.utime(path, ns=(s.st_atime_ns, s.st_mtime_ns))
        assert run(loader, path, "f") == n
    packed = [write_zip(tmp_path / f"{n}.zip", job=f"def f(): return {n}\n") for n in (1, 2)]
    assert packed[0].stat().st_size == packed[1].stat().st_size
    path = tmp_path / "job.zip"
    for n in (0, 1, 0):
        path.write_bytes(packed[n].read_bytes())
        os.utime(path, ns=(s.st_atime_ns, s.st_mtime_ns))
        assert run(loader, path, "job.f") == n + 1


def test_a_file_system_whose_clock_is_coarse_hides_no_change(loader, user_file, monkeypatch):
    """All that is written within a tick of it has the same times."""
    path, now, fstat = user_file("def f(): return 1\n"), time.time_ns(), os.fstat

    def at_this_tick(fd):
        s = fstat(fd)
        return types.SimpleNamespace(st_dev=s.st_dev, st_ino=s.st_ino, st_size=s.st_size, st_mode=s.st_mode, st_mtime_ns=now, st_ctime_ns=now)

    monkeypatch.setattr(load.os, "fstat", at_this_tick)
    for n in (1, 2, 3):
        path.write_text(f"def f(): return {n}\n")
        assert run(loader, path, "f") == n


def test_an_old_file_is_not_read_again(loader, user_file, monkeypatch):
    path = user_file("def f(): return 1\n")
    monkeypatch.setattr(load, "SETTLED_NS", 0)
    first = loader.load(str(path), "f")
    monkeypatch.setattr(load.hashlib, "sha256", None)
    assert loader.load(str(path), "f") is first


SHARED = {"sharedlib__init": "from sharedlib.name import NAME\n", "sharedlib__of__late": "from sharedlib import NAME as LATE\n"}
APP = r"""
import dataclasses, importlib, json, pickle, sharedlib, sharedlib.name as by_name, threading, typing
from . import beside

@dataclasses.dataclass
class Box:
    n: "int"

def at_import(): return sharedlib.NAME, by_name.NAME, beside.NAME
def lazily():
    from sharedlib.late import LATE
    import sharedlib.name
    return LATE, sharedlib.name.NAME
def by_a_name_it_computes(): return importlib.import_module("shared" + "lib").NAME, importlib.import_module("sharedlib.late").LATE
def in_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(lazily()))
    thread.start(); thread.join()
    return found[0]
def pickled(): return pickle.loads(pickle.dumps(Box(3))) == Box(3), typing.get_type_hints(Box)["n"] is int
def from_elsewhere(): return pickle.loads(b"capp.job\nBox\n(I4\ntR.").n
def outside(): return json.dumps(1), importlib.import_module("json") is json
def missing():
    try: import sharedlib.nothing
    except ModuleNotFoundError as e: return e.name, str(e)
def fails():
    class Odd(Exception): pass
    raise Odd(sharedlib.NAME)
class Wrong(Exception): pass
def wrong(): raise Wrong("x")
"""


def app_of(path, name, **more):
    return write_zip(path, **SHARED, sharedlib__of__name=f"NAME = {name!r}\n", app__init="", app__of__job=APP,
                     app__of__beside="from sharedlib import NAME\n", json="NOT = 'the library'\n", **more)


def test_artifacts_with_packages_of_one_name_see_their_own(loader, tmp_path):
    paths = {name: app_of(tmp_path / f"{name}.zip", name) for name in ("app1", "app2")}
    for _ in range(2):
        for name, path in paths.items():
            assert run(loader, path, "app.job.at_import") == (name,) * 3
            assert run(loader, path, "app.job.lazily") == (name,) * 2
            assert run(loader, path, "app.job.by_a_name_it_computes") == (name,) * 2
            assert run(loader, path, "app.job.in_a_thread") == (name,) * 2
            assert run(loader, path, "app.job.pickled") == (True, True)
            assert run(loader, path, "app.job.from_elsewhere") == 4
            assert run(loader, path, "app.job.outside") == ("1", True)
            assert run(loader, path, "app.job.missing") == ("sharedlib.nothing", "No module named 'sharedlib.nothing'")


def test_a_file_beside_sees_no_packages_of_an_archive(loader, tmp_path, user_file):
    assert run(loader, app_of(tmp_path / "app1.zip", "app1"), "app.job.by_a_name_it_computes") == ("app1", "app1")
    path = user_file("def f():\n    import sharedlib.late\n    return sharedlib.late.LATE\n"
                     "def g():\n    from sharedlib import NAME\n")
    for name in "fg":
        with pytest.raises((ImportError, AttributeError)):
            run(loader, path, name)


def test_a_replaced_archive_serves_the_jobs_it_has_and_then_goes(loader, tmp_path):
    path = app_of(tmp_path / "app.zip", "old")
    old = loader.load(str(path), "app.job.lazily", holder="a job")
    package = next(iter(loader._loaded.values())).package
    app_of(path, "new")
    assert run(loader, path, "app.job.lazily") == ("new", "new")
    loader.release("another job")
    assert old.call(None, {}) == ("old", "old") and os.path.exists(package.path)
    loader.release("a job")
    assert not os.path.exists(package.path) and package.name not in str(list(sys.modules))
    assert run(loader, path, "app.job.lazily") == ("new", "new")


def test_a_content_that_is_back_while_a_job_still_runs_with_it_stays_when_that_job_ends(loader, tmp_path):
    path = app_of(tmp_path / "app.zip", "one")
    loader.load(str(path), "app.job.lazily", holder="the first")
    app_of(path, "two")
    loader.load(str(path), "app.job.lazily", holder="the second")
    app_of(path, "one")
    again = loader.load(str(path), "app.job.lazily", holder="the third")
    for holder in ("the first", "the second"):
        loader.release(holder)
    assert again.call(None, {}) == ("one", "one")
    loader.release("the third")
    assert run(loader, path, "app.job.lazily") == ("one", "one")


def test_an_import_that_somebody_has_wrapped_goes_on_through_ours(loader, tmp_path, monkeypatch):
    """A library that puts its own __import__ around the present one calls ours from within."""
    paths = [app_of(tmp_path / f"{name}.zip", name) for name in ("app1", "app2")]
    assert run(loader, paths[0], "app.job.lazily") == ("app1", "app1")
    before, seen = builtins.__import__, []

    def wrapped(name, *args, **named):
        seen.append(name)
        return before(name, *args, **named)
    monkeypatch.setattr(builtins, "__import__", wrapped)
    assert run(loader, paths[1], "app.job.lazily") == ("app2", "app2")
    assert run(loader, paths[0], "app.job.outside") == ("1", True) and seen


def test_what_an_installed_package_shares_with_an_archive_is_found_in_both(loader, tmp_path, monkeypatch):
    (tmp_path / "site" / "spaced" / "installed").mkdir(parents=True)
    (tmp_path / "site" / "spaced" / "installed" / "__init__.py").write_text("x = 'installed'\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    path = write_zip(tmp_path / "a.zip", spaced__of__own="x = 'own'\n",
                     job="def f():\n    from spaced.own import x\n    from spaced.installed import x as y\n    return x, y\n")
    with zipfile.ZipFile(path, "a") as z:
        z.mkdir("spaced") if hasattr(z, "mkdir") else z.writestr("spaced/", "")
    assert run(loader, path, "job.f") == ("own", "installed")


def test_data_and_metadata_of_an_archive_are_its_own(loader, tmp_path):
    code = ("import importlib.metadata, importlib.resources, pkgutil\n"
            "def f(): return [importlib.metadata.version('app-of-mine'), pkgutil.get_data('app', 'x.txt'), \n"
            "                 importlib.resources.files(__package__).joinpath('x.txt').read_text(), \n"
            "                 importlib.resources.files('app').joinpath('x.txt').read_text()]\n")
    for n in "12":
        path = write_zip(tmp_path / f"{n}.whl", app__init="", app__of__job=code)
        with zipfile.ZipFile(path, "a") as z:
            z.writestr("app/x.txt", n)
            z.writestr("app_of_mine-1.dist-info/METADATA", f"Name: app-of-mine\nVersion: {n}\n")
    for n in "121":
        assert run(loader, tmp_path / f"{n}.whl", "app.job.f") == [n, n.encode(), n, n]


def test_tracebacks_name_the_archive_and_not_our_copy(loader, tmp_path):
    path = app_of(tmp_path / "app.zip", "app1")
    with pytest.raises(Exception) as failure:
        run(loader, path, "app.job.wrong")
    text = explain(failure.value)
    assert f'File "{path}/app/job.py"' in text and text.splitlines()[-1] == "app.job.Wrong: x" and "mist_" not in text
