# SPDX-License-Identifier: Apache-2.0
"""Programs of npm for a test: node is of the tests' own Python environment, the packages are those of npm/package-lock.json. tests/run
brings them before the tests; where it did not, the first test does."""
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.mistd import PATIENCE, ROOT

HERE = Path(__file__).resolve().parent
LOCK = HERE / "package-lock.json"
NODE = Path(sys.executable).with_name("node")
FOLDER = Path(os.environ.get("MIST_NPM", ROOT / ".mist" / "npm"))
TIMEOUT = 120
TIMEOUT_OF_PACKAGES = 240  # a test has 300


def _environment():
    """npm looks for node on the path, and keeps what it brought beside the packages."""
    return {**os.environ, "PATH": f"{NODE.parent}:{os.environ['PATH']}", "npm_config_cache": f"{FOLDER}-cache",
            "npm_config_update_notifier": "false"}


def packages(timeout=TIMEOUT_OF_PACKAGES):
    """The folder `node_modules`; npm brings it the first time, and when the lock file has changed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made_with = FOLDER / "node_modules" / LOCK.name
    with open(f"{FOLDER}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made_with.exists() or made_with.read_bytes() != LOCK.read_bytes():
            for file in HERE / "package.json", LOCK:
                shutil.copy(file, FOLDER)
            done = subprocess.run([NODE.with_name("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER,
                                  env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
            assert done.returncode == 0, f"npm did not bring the packages: {done.stdout[-2000:]}{done.stderr[-4000:]}"
            shutil.copy(LOCK, made_with)
    return FOLDER / "node_modules"


def project(folder, *names):
    """A folder in which a program of node finds the packages, with these files of npm/ in it."""
    folder.mkdir()
    (folder / "node_modules").symlink_to(packages())
    for name in names:
        shutil.copy(HERE / name, folder)
    return folder


def node(folder, program, *arguments):
    """Runs a program in a project: a file of its own, or one of a package by its path in node_modules. What it printed."""
    if not (folder / program).exists():
        program = Path("node_modules") / program
    done = subprocess.run([NODE, program, *arguments], cwd=folder, env=_environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=TIMEOUT * PATIENCE)
    assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stdout[-8000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr
