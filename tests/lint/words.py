# SPDX-License-Identifier: Apache-2.0
"""Calls that have a better one, waits by the wall clock, marks of unfinished work, and paths that exist on one machine only."""
import re

from lint.tree import ROOT, code, files, name, text

INSTEAD = {
    "strcpy": "memcpy with a known length, or xstrdup", "strcat": "buf_add", "sprintf": "snprintf or xasprintf",
    "vsprintf": "vsnprintf", "gets": "getline", "atoi": "strtoll with its end and errno checked",
    "atol": "strtoll with its end and errno checked", "strtok": "strcspn or strsep", "rand": "getrandom",
    "localtime": "localtime_r", "gmtime": "gmtime_r", "sleep": "a timer of the loop, or a wait for the condition",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(INSTEAD) + r")\s*\(")
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b")
# What people see, and the times of files. Whoever waits by it waits for as long as the clock is set back.
WALL = re.compile(r"\b(CLOCK_REALTIME(?:_COARSE)?|gettimeofday|pthread_timedjoin_np)\b")
WALL_IS_MEANT = ("src/base/clock.c", "src/worker/leavings.c")
MACHINE_PATH = re.compile(r"(?<![\w.$}%>*)-])/(?:home|mnt|root|work|opt/mist[\w-]*)(?![\w-])")


def lines(pattern, source):
    for match in pattern.finditer(source):
        yield source.count("\n", 0, match.start()) + 1, match.group(match.lastindex or 0)


def violations():
    for path in files(".c", ".h"):
        for line, call in lines(CALL, code(path)):
            yield f"{name(path)}:{line}: {call}() is not used here; use {INSTEAD[call]}"
    for path in files(".c", ".h", folders=("src", "include")):
        for line, wall in lines(WALL, code(path)):
            if name(path) not in WALL_IS_MEANT:
                yield f"{name(path)}:{line}: {wall}: waits and durations go by clock_mono_ms() and CLOCK_MONOTONIC"
    for path in [*files(), ROOT / "README.md", ROOT / "meson.build"]:
        for line, mark in lines(UNFINISHED, text(path)):
            yield f"{name(path)}:{line}: {mark}: finish it, or open an issue"
        for line, place in lines(MACHINE_PATH, text(path)):
            yield f"{name(path)}:{line}: {place} does not exist on other machines"
