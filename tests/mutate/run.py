# SPDX-License-Identifier: Apache-2.0
"""Makes one wrong edit after the other and looks whether the tests notice: run.py FOLDER RECORD [WORD…]

The table is tests/mutate/table. FOLDER gets a copy of the tree and its build; nothing is ever changed here. For each row the edit is
made in the copy, what the named tests need is built, they are run, and the file is put back. WORDs (or MIST_MUTATE_ONLY) choose rows
in whose theme, file or description one of them stands. RECORD gets a line for each row, which tests/support/count.py counts: a
row that cannot be tried (its line is not there any more, it does not compile, its tests fail without it) is a failure, and so are
all that nobody noticed, if they are more than 5 in 100."""
import filecmp
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mutate.edit import ROOT  # noqa: E402
from mutate.table import edits  # noqa: E402

EXPECTED = 95  # in 100
PATIENCE = float(os.environ.get("MIST_PATIENCE", "1"))
PROGRAM_SECONDS = 60 * PATIENCE
END_SECONDS = 15  # a test program has these to tidy up, once it has noticed
PYTEST_SECONDS = 300 * PATIENCE  # for the tests of an edit, or for TESTS_AT_ONCE where there are more
TESTS_AT_ONCE = 5
PYTEST_END_SECONDS = 30  # pytest has these to end what it started
LEFT_OUT = re.compile(r"^(\..*|build.*|__pycache__|node_modules|target)$")
NOT_NEEDED = ("tests/unit", "tests/fuzz", "tests/bench")  # by what pytest runs


class CannotBeTried(Exception):
    pass


class Copy:
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.tree, self.build = folder / "tree", folder / "build"
        self.log = folder / "build.log"
        self.said = ""  # by pytest, at last
        self.scratch = Path(tempfile.mkdtemp(prefix="mist-mutate-"))  # by which what is left over is known

    def make(self):
        """What is the same stays, so that what was built stays too."""
        self.tree.mkdir(parents=True, exist_ok=True)
        self._take(ROOT, self.tree)
        if not (self.build / "build.ninja").exists():
            shutil.rmtree(self.build, ignore_errors=True)
            self._do(["meson", "setup", self.build, self.tree, "-Dbuildtype=plain", "-Doptimization=1", "-Dwarning_level=0", "-Dfail_points=enabled"])
        said = json.loads(subprocess.run(["meson", "introspect", "--tests", self.build], capture_output=True, check=True).stdout)
        self.programs = {t["name"]: t for t in said if any(s.split(":")[-1] == "unit" for s in t["suite"])}
        said = json.loads(subprocess.run(["meson", "introspect", "--targets", self.build], capture_output=True, check=True).stdout)
        files = [Path(f).relative_to(self.build.resolve()) for t in said if t["type"] in ("executable", "shared library", "shared module")
                 for f in t["filename"] if not str(Path(t["defined_in"]).parent).endswith(NOT_NEEDED)]
        self.for_pytest = [str(f) for f in files]

    def _take(self, source, target):
        names = {n for n in os.listdir(source) if not LEFT_OUT.match(n)}
        for gone in set(os.listdir(target)) - names - {"__pycache__"}:
            path = target / gone
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in names:
            one, other = source / name, target / name
            if one.is_symlink():
                if not (other.is_symlink() and os.readlink(one) == os.readlink(other)):
                    other.unlink(missing_ok=True)
                    other.symlink_to(os.readlink(one))
            elif one.is_dir():
                other.mkdir(exist_ok=True)
                self._take(one, other)
            elif one.is_file() and not (other.exists() and filecmp.cmp(one, other, shallow=False)):
                shutil.copy(one, other)

    def _do(self, command):
        for _ in range(2):  # a compiler that crashes, as it does on a crowded machine, says nothing about an edit
            with open(self.log, "w") as out:
                done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            if done.returncode == 0:
                return
        raise CannotBeTried("it does not build:\n" + self.log.read_text()[-3000:])

    def make_ready(self, programs, python_tests):
        targets = [str(Path(self.programs[p]["cmd"][0]).relative_to(self.build.resolve())) for p in programs]
        if any(not t.startswith("unit/python/") for t in python_tests):
            targets += self.for_pytest
        if targets:
            self._do(["ninja", "-C", self.build, *targets])

    def run_program(self, name, functions):
        """Which of the functions noticed; None: none. That others fail says nothing: they may be late on a crowded machine."""
        test = self.programs[name]
        process = subprocess.Popen(test["cmd"], cwd=test["workdir"], env={**self.environment(), **test["env"]}, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace", start_new_session=True)
        is_late = threading.Event()

        def end():
            is_late.set()
            os.killpg(process.pid, signal.SIGKILL)

        watch = threading.Timer(PROGRAM_SECONDS, end)
        watch.start()
        failed, is_whole = None, False
        for line in process.stdout:
            found = re.match(r"not ok \d+ - (?:on \w+: )?(\w+)", line)
            is_whole |= bool(re.match(r"# (not )?ok - ", line))
            if found and found[1] in functions and not failed:
                failed = f"{name}::{found[1]}"
                watch.cancel()
                watch = threading.Timer(END_SECONDS, end)
                watch.start()
        process.wait()
        watch.cancel()
        if failed:
            return failed
        if is_late.is_set():
            return f"{name}, which did not end"
        return None if is_whole else f"{name}, which ended with {process.returncode}"

    def run_pytest(self, tests, options=("-x",), limit=PYTEST_SECONDS):
        """Who noticed first; None: nobody."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", *options, "-p", "no:cacheprovider", f"--timeout={PYTEST_SECONDS / 2}", "-o", "addopts=--import-mode=importlib -ra",
             *(f"tests/{t}" for t in tests)], cwd=self.tree, env={**self.environment(), "MIST_BUILD": str(self.build)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        try:
            self.said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            self.said = self._interrupted(process)
            return "pytest, which did not end"
        said = self.said
        if process.returncode in (1, 2):
            failed = re.search(r"^(?:FAILED|ERROR) (?:tests/)?(\S+)", said, re.MULTILINE)
            return failed[1] if failed else "pytest"
        if process.returncode:
            raise CannotBeTried("pytest cannot run its tests:\n" + said[-3000:])
        return None

    @staticmethod
    def _interrupted(process):
        """What it said at last. It ends what it started; what it leaves, tidy() finds."""
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=PYTEST_END_SECONDS)[0]
        except subprocess.TimeoutExpired:
            process.kill()
        try:
            said = process.communicate(timeout=PYTEST_END_SECONDS)[0]
        except subprocess.TimeoutExpired as e:  # somebody that it started has its end of the pipe
            said = (e.stdout or b"").decode(errors="replace")
        return f"it did not end within {PYTEST_END_SECONDS} s after an interrupt\n{said}"

    def failing(self, programs, python_tests):
        """Which of the tests fail as they are, three times: one that is late once says nothing."""
        failed = []
        for program, functions in sorted(programs.items()):
            if all(self.run_program(program, functions) for _ in range(3)):
                failed += [f"{program}::{f}" for f in functions]
        tests = list(python_tests)
        for _ in range(3):
            self.said = ""
            if not tests or not self.run_pytest(tests, (), PYTEST_SECONDS * max(1, len(tests) // TESTS_AT_ONCE)):
                return failed
            found = {re.sub(r"^tests/", "", name) for name in re.findall(r"^(?:FAILED|ERROR) ([^\s\[]+)", self.said, re.MULTILINE)}
            tests = [t for t in tests if t in found] or tests
        return failed + tests

    def environment(self):
        return {**os.environ, "TMPDIR": str(self.scratch)}

    def tidy(self):
        """Processes that an edit has let live, and files that nobody has removed."""
        mark = str(self.scratch).encode()
        for _ in range(100):
            are_left = False
            for environ in Path("/proc").glob("[0-9]*/environ"):
                try:
                    if mark in environ.read_bytes():
                        os.kill(int(environ.parent.name), signal.SIGKILL)
                        are_left = True
                except OSError:
                    pass  # it has just ended, or is somebody else's
            if not are_left:
                break
            time.sleep(0.05)
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(exist_ok=True)

    def look(self, programs, python_tests):
        for program, functions in sorted(programs.items()):
            noticed = self.run_program(program, functions)
            if noticed:
                return noticed
        return self.run_pytest(python_tests) if python_tests else None

    def try_one(self, edit):
        """Who noticed; None: nobody."""
        file = self.tree / edit.file
        before = file.read_text()
        try:
            file.write_text(before.replace(edit.old, edit.new))
            if file.suffix != ".py":
                self.make_ready(edit.programs, edit.python_tests)
            return self.look(edit.programs, edit.python_tests)
        finally:
            file.write_text(before)
            self.tidy()


def chosen(words):
    for edit in edits():
        if not words or any(w in f"{edit.theme} {edit.file} {edit.why}" for w in words):
            yield edit


def all_tests(rows):
    """Programs with their functions, and tests of pytest."""
    programs = {}
    for edit in rows:
        for program, functions in edit.programs.items():
            programs.setdefault(program, set()).update(functions)
    return programs, sorted({t for e in rows for t in e.python_tests})


def try_all(copy, rows):
    """Row → what became of it."""
    copy.make()
    programs, python_tests = all_tests(rows)
    print(f"{len(rows)} edits, {len(programs)} programs and {len(python_tests)} tests of pytest that are to notice them", flush=True)
    copy.make_ready(programs, python_tests)
    failing = copy.failing(programs, python_tests)
    copy.tidy()
    results = {}
    for edit in rows:
        began = time.monotonic()
        try:
            useless = [t for t in edit.notices if t in failing]
            if useless:
                raise CannotBeTried(f"without any edit {', '.join(useless)} fails\n{copy.said[-2000:]}")
            by = copy.try_one(edit)
            results[edit] = "noticed" if by else "NOT NOTICED"
        except CannotBeTried as e:
            by, results[edit] = str(e), "CANNOT BE TRIED"
        print(f"{results[edit]:<11} {time.monotonic() - began:>6.1f} s  {edit}{f'  [{by}]' if by else ''}", flush=True)
    return results


def report(results, record):
    survivors = [e for e, r in results.items() if r == "NOT NOTICED"]
    n_tried = sum(r != "CANNOT BE TRIED" for r in results.values())
    score = 100 * (n_tried - len(survivors)) / n_tried if n_tried else 0
    is_good = score >= EXPECTED
    print(f"\n{n_tried - len(survivors)} of {n_tried} edits were noticed: {score:.1f} in 100, at least {EXPECTED} are expected")
    for edit in survivors:
        print(f"not noticed: {edit}\n  {edit.old!r} became {edit.new!r}; looked at by {', '.join(edit.notices)}")
    with open(record, "w") as lines:
        for edit, result in results.items():
            passed = {"noticed": "OK", "NOT NOTICED": "EXPECTEDFAIL" if is_good else "FAIL"}.get(result, "FAIL")
            lines.write(json.dumps({"name": str(edit), "result": passed, "stdout": ""}) + "\n")
    return 0 if is_good and n_tried == len(results) else 1


def main(folder, record, *words):
    rows = sorted(chosen(words or os.environ.get("MIST_MUTATE_ONLY", "").split()), key=lambda e: e.file)  # a file is built once less then
    wrong = [f"{e}: {c}" for e in rows for c in [e.complaint()] if c]
    if wrong or not rows:
        print("\n".join(wrong) or "no row is chosen")
        return 1
    copy = Copy(Path(folder).resolve())
    try:
        results = try_all(copy, rows)
    except CannotBeTried as e:
        print(f"without any edit: {e}")
        results = None
    finally:
        copy.tidy()
        copy.scratch.rmdir()
    return report(results, record) if results else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
