# SPDX-License-Identifier: Apache-2.0
"""One wrong edit: a row of the table."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Edit:
    """What would go wrong; the file; what stands there exactly once; what takes its place; the tests that must notice.

    A test is "test-core::a_function_of_it" (a program of tests/unit; that the whole of it breaks down is a notice, too) or
    "unit/python/test_encode.py::test_name" (of pytest, below tests)."""

    def __init__(self, why, file, old, new, *notices):
        self.why, self.file, self.old, self.new, self.notices = why, file, old, new, notices
        self.theme = ""

    def __str__(self):
        return f"{self.file}: {self.why}"

    @property
    def programs(self):
        """Of the unit tests: name → functions."""
        named = {}
        for file, _, function in (n.partition("::") for n in self.notices):
            if not file.endswith(".py"):
                named.setdefault(file, set()).add(function)
        return named

    @property
    def python_tests(self):
        return [n for n in self.notices if n.split("::")[0].endswith(".py")]

    def complaint(self, root=ROOT):
        """Why the row is of no use any more; None if it is."""
        path = root / self.file
        source = path.read_text() if path.exists() else None
        if source is None:
            return f"there is no {self.file}: say where the line went"
        if source.count(self.old) != 1:
            return (f"{source.count(self.old)} times in {self.file}, expected once: {self.old!r}. Was the line changed? Then give the "
                    "row what stands there now, and an edit that is still wrong; or take the row out if its danger is gone")
        if self.old == self.new:
            return "the edit changes nothing"
        if not self.notices:
            return "no test is named that must notice"
        return next((c for c in (test_complaint(n, root) for n in self.notices) if c), None)


def test_complaint(test, root):
    file, _, name = test.partition("::")
    path = root / "tests" / (file if file.endswith(".py") else f"unit/{file}.c")
    definition = rf"^def {name.split('[')[0]}\(" if file.endswith(".py") else rf"^(?:static void |TEST\(){name}\b"
    if not path.exists():
        return f"{test}: there is no {path.relative_to(root)}"
    if not name:
        return f"{test}: expected FILE::TEST"
    if not re.search(definition, path.read_text(), re.MULTILINE):
        return f"{test}: there is no such test in {path.relative_to(root)}; which one would notice now?"
    return None
