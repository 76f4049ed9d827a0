# SPDX-License-Identifier: Apache-2.0
import os
import sys
import zipfile

import pytest

from mist.errors import Refusal
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
    with pytest.raises(Refusal, match="cannot import pkg.job"):
        loader.load(str(tmp_path / "bad.zip"), "pkg.job.f")
