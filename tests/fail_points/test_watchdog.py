# SPDX-License-Identifier: Apache-2.0
"""A thread that is held up is named, and where it stands; nothing ends for it."""
from support import gateways
from support.mistd import Mistd, until


def test_an_http_thread_that_stands_still_is_told_of():
    gateway = Mistd(gateways.c_sections(mist={"watchdog": "2s"}, http={"threads": 1}), start=False,
                    env={"MIST_FAIL_POINTS": "transport.http.answer:delay=6000@4"})
    try:
        gateway.start()
        for _ in range(4):
            assert gateway.get("/health/live").status_code == 200
        until(lambda: "the HTTP thread 1 turns again" in gateway.stderr(), 20, "the end of the delay")
        said = gateway.stderr()
        assert "the HTTP thread 1 stands still for longer than mist.watchdog, 2s: it is at its connections (thread" in said
        assert "where it stands:" in said and "the core stands still" not in said
        assert gateway.get("/health/live").status_code == 200
        gateway.stop()
        gateway.check_sanitizers()
    finally:
        gateway.close()
