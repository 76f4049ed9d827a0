# SPDX-License-Identifier: Apache-2.0
"""The table of wrong edits cannot rot unnoticed, and its score is what it says."""
import json
import sys

import pytest

from mutate import run
from mutate.edit import Edit
from support import count

SOURCE = "int one = 1;\nint two = 1 + 1;\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "tests" / "unit").mkdir(parents=True)
    (tmp_path / "a.c").write_text(SOURCE)
    (tmp_path / "tests" / "unit" / "test-a.c").write_text("TEST(one_is_one)\n{\n}\n")
    (tmp_path / "tests" / "unit" / "test_a.py").write_text("def test_one(x):\n    pass\n")
    return tmp_path


@pytest.mark.parametrize("old, new, tests, sentence", [
    ("one = 1", "one = 2", ["test-a::one_is_one", "unit/test_a.py::test_one"], None),
    ("= 1", "= 2", ["test-a::one_is_one"], "2 times in a.c, expected once: '= 1'"),
    ("three", "four", ["test-a::one_is_one"], "0 times in a.c, expected once: 'three'"),
    ("one", "one", ["test-a::one_is_one"], "the edit changes nothing"),
    ("one", "two", [], "no test is named"),
    ("one", "two", ["test-a"], "expected FILE::TEST"),
    ("one", "two", ["test-a::one"], "test-a::one: there is no such test in tests/unit/test-a.c"),
    ("one", "two", ["test-b::one_is_one"], "there is no tests/unit/test-b.c"),
    ("one", "two", ["unit/test_a.py::test_two"], "there is no such test in tests/unit/test_a.py")])
def test_a_row_that_cannot_be_tried_is_named(root, old, new, tests, sentence):
    complaint = Edit("why", "a.c", old, new, *tests).complaint(root)
    assert complaint is None if sentence is None else sentence in complaint


@pytest.mark.parametrize("noticed, survived, untried, status, counts", [
    (20, 0, 0, 0, (20, 0)), (19, 1, 0, 0, (20, 0)), (18, 2, 0, 1, (18, 2)), (20, 0, 1, 1, (20, 1)), (0, 0, 1, 1, (0, 1))])
def test_the_score_decides(tmp_path, capsys, noticed, survived, untried, status, counts):
    results = {}
    for result, n in (("noticed", noticed), ("NOT NOTICED", survived), ("CANNOT BE TRIED", untried)):
        for i in range(n):
            results[Edit(f"{result} {i}", "a.c", "one", "two", "test-a::one_is_one")] = result
    record = tmp_path / "record.json"
    assert run.report(results, record) == status
    assert capsys.readouterr().out.count("not noticed: ") == survived
    assert count.main(str(record)) == counts and len([json.loads(line) for line in record.read_text().splitlines()]) == len(results)


@pytest.mark.parametrize("handler, words, seconds", [("default_int_handler", "KeyboardInterrupt", 30), ("SIG_IGN", "it did not end within", 2)])
def test_a_pytest_that_does_not_end_is_ended_and_what_it_said_is_kept(tmp_path, monkeypatch, handler, words, seconds):
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!{sys.executable}\nimport signal, time\nsignal.signal(signal.SIGINT, signal.{handler})\nprint('said', flush=True)\ntime.sleep(60)\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(run, "PYTEST_END_SECONDS", seconds)
    monkeypatch.setattr(sys, "executable", str(stand_in))
    copy = run.Copy(tmp_path / "copy")
    copy.tree.mkdir()
    assert copy.run_pytest(["test_a.py::test_one"], (), limit=4) == "pytest, which did not end"  # by then it has begun
    assert words in copy.said and "said\n" in copy.said
    copy.tidy()
    copy.scratch.rmdir()
