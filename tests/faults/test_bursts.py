# SPDX-License-Identifier: Apache-2.0
"""Many requests in the same instant: however many events the HTTP thread finds at once, nobody waits for another to come."""
import selectors
import signal
from pathlib import Path

import pytest

from support.mistd import PATIENCE, until
from support.raw_http import connect, read_answer


def is_stopped(pid):
    return all(task.read_text().rsplit(")", 1)[1].split()[0] == "T" for task in Path(f"/proc/{pid}/task").glob("*/stat"))


@pytest.mark.parametrize("path", ["/health/live", "/v2/api/status"])
def test_as_many_requests_at_once_as_are_looked_at_together_are_answered(c_mist, path):
    mist = c_mist(http={"threads": 1})
    clients = [connect(mist) for _ in range(128)]
    for _ in range(3):
        mist.process.send_signal(signal.SIGSTOP)  # so that they are all there when it looks
        until(lambda: is_stopped(mist.pid))
        for client in clients:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {mist.host}\r\n\r\n".encode())
        mist.process.send_signal(signal.SIGCONT)
        with selectors.DefaultSelector() as ready:
            for client in clients:
                ready.register(client, selectors.EVENT_READ)
            while ready.get_map():
                answered = ready.select(30 * PATIENCE)
                assert answered, f"{len(ready.get_map())} of {len(clients)} wait"
                for key, _ in answered:
                    assert read_answer(key.fileobj).status == 200
                    ready.unregister(key.fileobj)
    for client in clients:
        client.close()
