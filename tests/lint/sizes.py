# SPDX-License-Identifier: Apache-2.0
"""What is too long to be read at once: files, headers, functions, folders."""
import re
from collections import defaultdict

from lint.tree import files, name, text

LINES = {".c": 1200, ".h": 250, ".py": 1200}  # cohesion first: halves that share statics belong together
FUNCTION_LINES = 100
FOLDER_FILES = 20  # a .c and its .h count once


def functions(source):
    """(name, first line, lines) of each function: its braces stand alone in the first column."""
    lines, opened = source.splitlines(), None
    for number, line in enumerate(lines):
        if line == "{":
            opened = number
        elif line == "}" and opened is not None:
            head = re.findall(r"(\w+)\(", " ".join(lines[max(0, opened - 5):opened]))
            yield (head[-1] if head else "?"), opened + 1, number - opened + 1
            opened = None


def violations():
    folders = defaultdict(set)
    for path in files(*LINES, folders=("src", "include", "proto", "tests", "jobs")):
        source = text(path)
        if name(path.parent) != "tests/unit":  # one file for each file that it tests
            folders[name(path.parent)].add(path.stem)
        n = source.count("\n")
        if n > LINES[path.suffix]:
            yield f"{name(path)}: {n} lines, more than {LINES[path.suffix]}"
        if path.suffix == ".c":
            for function, line, length in functions(source):
                if length > FUNCTION_LINES:
                    yield f"{name(path)}:{line}: {function}() has {length} lines, more than {FUNCTION_LINES}"
    for folder, stems in folders.items():
        if len(stems) > FOLDER_FILES:
            yield f"{folder}: {len(stems)} files, more than {FOLDER_FILES}"
