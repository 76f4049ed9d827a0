# SPDX-License-Identifier: Apache-2.0
"""Gateways with the functions of tests/support: in plain Python workers, and in the example worker in C."""
import contextlib
import json
import os
import signal

from support.mistd import PATIENCE, ROOT, Mistd, build_folder, runtimes, until

FUNCTIONS = str(ROOT / "tests" / "support" / "functions.py")
PLAIN = {"runtime": "plain", "worker-mode": "shared", "max-jobs": 4, "jobs-per-worker": 4}


def plain_functions():
    names = ("record", "wait_for", "stubborn", "die", "typed", "whoami", "chatty", "nothing", "odd_values", "unencodable", "big", "report",
             "takes_any", "hold", "leave_children", "leave_nameless_child", "babble", "environment", "prints", "crashes")
    functions = {name: {"path": FUNCTIONS, "class-name": name, "context": "plain"} for name in names}
    functions["missing"] = {"path": "/no/such/artifact.py", "class-name": "f", "context": "plain"}
    functions["no-such-name"] = {"path": FUNCTIONS, "class-name": "no_such_name", "context": "plain"}
    functions["broken"] = {"path": str(ROOT / "tests" / "support" / "functions_broken.py"), "class-name": "f", "context": "plain"}
    return functions


def c_functions():
    return {name: {"class-name": name, "context": "example"} for name in ("noop", "echo", "sleep", "fail", "crash", "big", "log", "print")}


class Gateway(Mistd):
    """Mistd with a configuration that is kept as a dict, so that a test can change a part of it."""

    def __init__(self, sections, text=""):
        self.sections, self.text = sections, text
        super().__init__(self.rendered())

    def rendered(self):
        from support import libconfig

        return libconfig.dumps(self.sections) + self.text

    def reconfigure(self, **changes):
        for section, values in changes.items():
            self.sections.setdefault(section, {}).update(values)
        self.configure(self.rendered())
        self.hangup()

    functions_path = FUNCTIONS
    until = staticmethod(until)

    @property
    def pid(self):
        return self.process.pid

    @property
    def host(self):
        return "127.0.0.1"

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def worker_records(self):
        """What the gateway recorded of each worker: worker.json, its directory, and connect.json."""
        records = []
        for path in sorted(self.data.glob("workers/*/worker.json")):
            try:
                record = json.loads(path.read_text())
                record["connect"] = json.loads((path.parent / "connect.json").read_text())
            except (OSError, ValueError):
                continue  # it goes at this moment
            records.append({**record, "directory": str(path.parent)})
        return records

    @staticmethod
    def is_alive(pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def kill_workers(self):
        pids = self.worker_processes()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(self.is_alive(pid) for pid in pids), what="the end of the workers")


def sections_of(base, changes):
    sections = {"runtimes": runtimes(), **base}
    for name, values in changes.items():
        if isinstance(values, list):
            sections[name] = values
            continue
        values = {k: {**v, "path": FUNCTIONS} if isinstance(v, dict) and v.get("path") == "@functions" else v for k, v in values.items()}
        sections[name] = {**sections.get(name, {}), **values}
    return sections


def plain(text="", **changes):
    base = {"functions": plain_functions()}
    if "contexts = " not in text:
        base["contexts"] = {"plain": PLAIN}
    return Gateway(sections_of(base, changes), text)


def c_sections(**changes):
    command = str(build_folder() / "tests" / "support" / "mist-example-worker")
    base = {"functions": c_functions(),
            "contexts": {"example": {"runtime": "example", "worker-mode": "shared", "max-jobs": 8, "jobs-per-worker": 8}}}
    sanitizers = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
    base["runtimes"] = {**runtimes(), "example": {"kind": "program", "command": command, "environment": sanitizers}}
    return sections_of(base, changes)


def c_workers(**changes):
    return Gateway(c_sections(**changes))


__all__ = ["PATIENCE", "Gateway", "c_workers", "plain"]
