# SPDX-License-Identifier: Apache-2.0
"""The files that the rules look at."""
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "include", "proto", "configs", "jobs", "tests", "deploy")
LEFT_OUT = re.compile(r"(^|/)(\.[^/]*|__pycache__|node_modules|target|build[^/]*)/")


def files(*suffixes, folders=FOLDERS):
    """Paths below the folders, those with one of the suffixes if any are named; nothing built, nothing hidden."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file())
    return [p for p in found if not LEFT_OUT.search(name(p)) and (not suffixes or p.suffix in suffixes)]


def name(path):
    return path.relative_to(ROOT).as_posix()


def text(path):
    """What a file says; nothing if it is not text."""
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode(errors="replace")


def code(path):
    """C without comments and without what stands in quotes; the lines stay where they are."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
    return pattern.sub(lambda m: "\n" * m.group().count("\n") if m.group()[0] == "/" else '""', text(path))
