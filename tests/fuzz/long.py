# SPDX-License-Identifier: Apache-2.0
"""Runs every fuzz engine of a tree for long: long.py TREE RECORD

A parser runs until it has had 10 million executions; what is stateful until it has had a million and nothing new was covered for 20
minutes. MIST_FUZZ_RUNS and MIST_FUZZ_QUIET (seconds) are other goals for all of them, for a look in between; MIST_FUZZ_ONLY names
some of the engines. Two run at a time. What one finds is made small and put in its corpus, where the stage `fuzz` fails on it
from then on; of the inputs that cover something new the smallest are put there, too. RECORD gets a line for each, which
tests/support/count.py counts."""
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOALS = {"parser": (10_000_000, 0), "stateful": (1_000_000, 20 * 60)}  # executions, seconds without anything new
AT_A_TIME = 2
LENGTH_MAX = 4096
KEPT_MAX = 32  # new inputs of one run
CORPUS_MAX = 250  # files of one corpus: a replay takes seconds
# Looking for what an execution lost takes a hundred times as long as the execution, and is done for each that lost something. Where a
# library loses memory by itself it is done once, at the end.
LOSING = {"conf"}
STATUS = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+)")
FINDINGS = ("crash-", "leak-", "timeout-", "oom-")
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
           "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


@dataclass
class Engine:
    name: str
    kind: str
    program: Path
    corpora: list
    work: Path
    executions: int = 0
    coverage: int = 0
    seconds: float = 0
    is_done: bool = False
    findings: list = field(default_factory=list)
    added: int = 0
    said: str = ""

    @property
    def kept(self):
        return HERE / self.name

    def goals(self):
        runs, quiet = GOALS[self.kind]
        return int(os.environ.get("MIST_FUZZ_RUNS", runs)), float(os.environ.get("MIST_FUZZ_QUIET", quiet))


def engines(tree):
    """Of meson's tests of the suite `fuzz`: the program beside the one that replays, and its corpora."""
    listed = json.loads(subprocess.run(["meson", "introspect", "--tests", tree], capture_output=True, check=True).stdout)
    only = os.environ.get("MIST_FUZZ_ONLY", "").split()
    for test in listed:
        suites = [s.split(":")[-1] for s in test["suite"]]
        name = test["name"].removeprefix("fuzz-")
        if "fuzz" not in suites or (only and name not in only):
            continue
        work = Path(tree) / "corpora" / name
        work.mkdir(parents=True, exist_ok=True)
        yield Engine(name, "stateful" if "stateful" in suites else "parser", Path(test["cmd"][0] + "_engine"), test["cmd"][1:], work)


def command(engine, *options):
    # Weighing each input by how rare what it covers is takes longer than the executions.
    leaks = ["-detect_leaks=0"] if engine.name in LOSING else []
    return ["nice", engine.program, *options, *leaks, "-entropic=0", f"-max_len={LENGTH_MAX}", "-rss_limit_mb=3000", "-timeout=120",
            f"-artifact_prefix={engine.kept}/"]


def run(engine):
    runs, quiet = engine.goals()
    before = set(engine.kept.iterdir())
    began = newest = time.monotonic()
    log = engine.work.parent / f"{engine.name}.log"
    with open(log, "w") as out:
        enough = [] if quiet else [f"-runs={runs}"]
        process = subprocess.Popen(command(engine, *enough) + [engine.work, *engine.corpora], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.PIPE, text=True, errors="replace", env={**os.environ, **OPTIONS})
        # It says little when it finds nothing.
        look = threading.Timer(0, lambda: None)

        def stop_if_done():
            nonlocal look
            if quiet and engine.executions >= runs and time.monotonic() - newest >= quiet:
                engine.is_done = True
                process.send_signal(signal.SIGINT)
            elif process.poll() is None:
                look = threading.Timer(1, stop_if_done)
                look.start()

        stop_if_done()
        for line in process.stderr:
            out.write(line)
            status = STATUS.match(line)
            if status:
                coverage = int(status[3])
                if coverage > engine.coverage:
                    newest = time.monotonic()
                engine.executions, engine.coverage = int(status[1]), coverage
        process.wait()
        look.cancel()
        engine.is_done |= process.returncode == 0 and engine.executions >= runs
    engine.seconds = time.monotonic() - began
    engine.findings = sorted(f for f in set(engine.kept.iterdir()) - before if f.name.startswith(FINDINGS))
    engine.said = log.read_text(errors="replace")[-6000:]
    for finding in engine.findings:
        minimise(engine, finding)
    if not engine.findings:
        keep(engine)
    return engine


def minimise(engine, finding):
    """In its place, if there is something smaller that does the same."""
    smaller = engine.work.parent / f"{engine.name}-minimal"
    smaller.unlink(missing_ok=True)
    subprocess.run(command(engine, "-minimize_crash=1", "-max_total_time=60", f"-exact_artifact_path={smaller}") + [finding],
                   stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **OPTIONS})
    if smaller.exists() and 0 < smaller.stat().st_size < finding.stat().st_size:
        finding.write_bytes(smaller.read_bytes())
    smaller.unlink(missing_ok=True)


def keep(engine):
    """The smallest of those inputs that cover something which the corpus does not."""
    before = set(engine.kept.iterdir())
    subprocess.run(command(engine, "-merge=1", "-set_cover_merge=1") + [engine.kept, *engine.corpora[1:], engine.work],
                   stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, **OPTIONS})
    new = sorted(set(engine.kept.iterdir()) - before, key=lambda f: f.stat().st_size)
    room = max(0, min(KEPT_MAX, CORPUS_MAX - len(before)))
    for extra in new[room:]:
        extra.unlink()
    for found in new[:room]:
        found.rename(engine.kept / f"found-{found.name[:12]}")
    engine.added = len(new[:room])


def main(tree, record):
    found = list(engines(tree))
    if not found:
        print("no fuzz engine in", tree)
        return 1
    print(f"{'engine':<10} {'executions':>12} {'a second':>9} {'covered':>8} {'kept':>5} {'minutes':>8}  findings")
    with ThreadPoolExecutor(AT_A_TIME) as pool, open(record, "w") as lines:
        for engine in pool.map(run, found):
            is_good = engine.is_done and not engine.findings
            print(f"{engine.name:<10} {engine.executions:>12} {engine.executions / max(engine.seconds, 0.001):>9.0f} "
                  f"{engine.coverage:>8} {'+' + str(engine.added):>5} {engine.seconds / 60:>8.1f}  "
                  f"{', '.join(f.name for f in engine.findings) or ('none' if engine.is_done else 'ended by itself')}", flush=True)
            if not is_good:
                print(engine.said)
            lines.write(json.dumps({"name": engine.name, "result": "OK" if is_good else "FAIL", "stdout": ""}) + "\n")
    return 0 if all(e.is_done and not e.findings for e in found) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
