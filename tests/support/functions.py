# SPDX-License-Identifier: Apache-2.0
"""Functions that tests run in plain Python workers."""

import dataclasses
import datetime
import decimal
import enum
import os
import signal
import subprocess
import sys
import time
import typing

import mist


@mist.function
def record(ctx, path: str, n: int, seconds: float = 0.0):
    """Leaves a line in a file, so that a test can count how often a job ran."""
    with open(path, "a") as f:
        f.write(f"{ctx.job_id} {n} {os.getpid()}\n")
    time.sleep(seconds)
    return n


@mist.function
def wait_for(ctx, path: str):
    """Runs until the file is there, or the job is cancelled."""
    ctx.log.info("waiting for %s", path)
    while not os.path.exists(path):
        if ctx.cancelled:
            raise RuntimeError("cancelled")
        time.sleep(0.02)
    return "seen"


@mist.function
def stubborn(ctx, path: str):
    """Does not end when it is asked to, wherever the interruption comes; from when there is PATH.running on."""
    while True:
        try:
            while True:
                try:
                    open(path + ".running", "w").close()
                    while not os.path.exists(path):
                        time.sleep(0.05)
                    return "ended by itself"
                except BaseException:
                    time.sleep(0.05)
        except BaseException:
            pass


@mist.function
def die(ctx, path: str, times: int = 1000):
    """Kills its worker, as often as it was told to."""
    with open(path, "a") as f:
        f.write("x")
    if os.path.getsize(path) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.path.getsize(path)


@mist.function
def typed(i: int, s: str = "x", l: list[float] = None, b: bool = False):
    return {"i": i, "s": s, "l": l, "b": b}


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Span:
    start: datetime.date
    days: int = 1


@mist.function
def report(span: Span, colour: Colour = Colour.RED, at: datetime.datetime | int | None = None, price: decimal.Decimal = decimal.Decimal("1.50"),
           mode: typing.Literal["fast", "slow"] = "fast", data: bytes = b"", pair: tuple[int, str] = (1, "x"), long: datetime.timedelta = None):
    return [type(v).__name__ for v in (span, span.start, colour, at, price, mode, data, pair, long)]


@mist.function
def takes_any(ctx, start: str = "", **more):
    return {"start": start, **more}


@mist.function
def whoami(ctx):
    return os.getpid()


@mist.function
def chatty(ctx, lines: int = 3):
    for i in range(lines):
        ctx.log.info("line %d", i)
    ctx.log.warning("that was all")
    ctx.progress(0.5, "half way")
    return lines


@mist.function
def nothing(ctx):
    return None


@mist.function
def odd_values():
    import datetime
    import decimal

    return {"nan": float("nan"), "inf": float("inf"), "date": datetime.date(2020, 2, 29), "decimal": decimal.Decimal("1.5"), "set": {1},
            "tuple": (1, 2), "none": None}


@mist.function
def unencodable():
    return {"rows": [object()]}


@mist.function
def hold(ctx, seconds: int):
    """A long call in C that keeps the interpreter's lock."""
    import ctypes

    ctypes.PyDLL(None).sleep(seconds)
    return "held"


@mist.function
def leave_children(ctx, n: int):
    """Starts processes in sessions of their own."""
    import subprocess

    return [subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL).pid for _ in range(n)]


@mist.function
def leave_nameless_child(ctx):
    """Starts a process that says nowhere whose it is: all that it shares with its worker is the process group."""
    import subprocess

    return subprocess.Popen(["/bin/sleep", "600"], env={}, stdout=subprocess.DEVNULL).pid


@mist.function
def babble(ctx, megabytes: int):
    for _ in range(megabytes):
        os.write(2, (b"x" * 99 + b"\n") * 10_000)
    os.write(2, b"line 3 of the last megabyte\n")
    return megabytes


@mist.function
def environment(ctx):
    return dict(os.environ)


@mist.function
def big(n: int):
    return "x" * n


@mist.function
def prints(ctx, text: str, until: str = ""):
    """Says it in every way that there is."""
    print("print", text)
    sys.stderr.write("stderr " + text + "\n")
    ctx.log.info("log %s", text)
    subprocess.run(["echo", "child", text], check=True)
    while until and not os.path.exists(until):
        time.sleep(0.01)
    sys.stdout.write("the end of " + text)


@mist.function
def crashes(ctx, text: str, until: str = ""):
    """Leaves last words, as a C library does before it aborts."""
    while until and not os.path.exists(until):
        time.sleep(0.01)
    os.write(2, f"free(): {text}\n".encode())
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)
