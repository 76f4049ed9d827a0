# SPDX-License-Identifier: Apache-2.0
"""Counts what a test runner recorded: prints "PASSED FAILED".

Reads meson's log (one JSON object a line, one line a test program; a program that speaks TAP counts as its subtests) or
pytest's JUnit XML. Whatever did not pass failed: a skip, an error, a program that died after its last subtest.
"""
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

SUBTEST = re.compile(r"^(ok|not ok)\b(.*)$", re.MULTILINE)


def count_program(entry):
    subtests = SUBTEST.findall(entry.get("stdout", ""))
    passed = sum(verdict == "ok" and "# skip" not in rest.lower() for verdict, rest in subtests)
    failed = len(subtests) - passed
    if entry["result"] not in ("OK", "EXPECTEDFAIL"):
        return passed, max(failed, 1)
    return (passed, failed) if subtests else (1, 0)


def count_meson(text):
    counts = [count_program(json.loads(line)) for line in text.splitlines() if line.strip()]
    return sum(c[0] for c in counts), sum(c[1] for c in counts)


def count_junit(text):
    cases = list(ElementTree.fromstring(text).iter("testcase"))
    failed = sum(any(child.tag in ("failure", "error", "skipped") for child in case) for case in cases)
    return len(cases) - failed, failed


def main(path):
    text = Path(path).read_text(errors="replace") if Path(path).exists() else ""
    if not text.strip():
        return 0, 0
    return count_junit(text) if path.endswith(".xml") else count_meson(text)


if __name__ == "__main__":
    print(*main(sys.argv[1]))
