# SPDX-License-Identifier: Apache-2.0
"""mist, the command line, as a program and as a person at a terminal run it."""
import codecs
import os
import pty
import select
import subprocess
import time

from support.mistd import PATIENCE, build_folder

MIST = str(build_folder() / "src" / "cli" / "mist")
SHORT = 30 * PATIENCE


def environment(gateway, **more):
    url = gateway if isinstance(gateway, str) else gateway.url
    return {**{k: v for k, v in os.environ.items() if k not in ("MIST_TOKEN",)}, "MIST_URL": url, "LANG": "C.UTF-8", **more}


def cli(gateway, *words, code=0, stdin="", **env):
    """stdout of the command, which must end with `code`; (stdout, stderr) when that is not 0."""
    done = subprocess.run([MIST, *map(str, words)], input=stdin, capture_output=True, text=True, timeout=2 * SHORT,
                          env=environment(gateway, **env))
    assert done.returncode == code, f"mist {words} ended with {done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout if code == 0 else (done.stdout, done.stderr)


def said(gateway, *words, code, **options):
    """The one line on stderr of a command that fails."""
    out, err = cli(gateway, *words, code=code, **options)
    assert err.startswith("mist: ") and out == "", (out, err)
    return err


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, gateway, *words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(MIST, [MIST, *map(str, words)], environment(gateway))
        self.text, self.decoder = "", codecs.getincrementaldecoder("utf-8")()

    def read(self):
        """False: it has ended."""
        if select.select([self.fd], [], [], 0.05)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            self.text = (self.text + self.decoder.decode(data)).replace("\r\n", "\n")
            return bool(data)
        return True

    def until(self, text):
        deadline = time.monotonic() + SHORT
        while text not in self.text:
            assert self.read() and time.monotonic() < deadline, self.text

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self, code=0):
        deadline = time.monotonic() + SHORT
        while self.read():
            assert time.monotonic() < deadline, self.text
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        assert status == code, self.text
        return self.text
