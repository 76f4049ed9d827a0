# SPDX-License-Identifier: Apache-2.0
"""C is formatted as .clang-format says."""
import re
import subprocess

from lint.tree import ROOT, files, name


def violations():
    sources = [name(path) for path in files(".c", ".h", folders=("src", "include", "proto", "tests"))]
    checked = subprocess.run(["clang-format", "--dry-run", "--Werror", *sources],
                             cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: error", checked.stderr, re.MULTILINE)))
    yield from (f"{source}: run clang-format -i {source}" for source in wrong)
    if checked.returncode and not wrong:
        yield f"clang-format: {checked.stderr.strip()}"
