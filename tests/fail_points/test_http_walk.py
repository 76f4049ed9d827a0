# SPDX-License-Identifier: Apache-2.0
"""Every fail point of the store, the launcher and HTTP, with each action, under some work over HTTP: no answer is broken. Those of
deployments are test_deployments.py's."""
import pytest

from fail_points.walk import Gateway, HttpWork, Walks, cases

# The passage that is meant; the first where none is named. Some first ones are of the start, or of the describer.
PASSAGE = {"store.begin": 3, "store.job": 3, "store.commit": 4, "store.committed": 4, "launcher.record": 4, "launcher.rename": 4,
           "launcher.spawn": 2, "launcher.spawned": 2, "transport.http.accept": 3, "transport.http.answer": 9}


def belongs(name):
    return not name.startswith(("transport.mqtt.", "transport.kafka.", "store.outbox.", "store.deployment.", "launcher.output", "core.",
                                "mistd."))  # test_core_hangs.py


@pytest.fixture(scope="module")
def walks(request):
    def walk(home, point, action):
        is_prune = point == "store.prune"
        gateway = Gateway(home, point, action, **({"history": "1s"} if is_prune else {}))
        try:
            if point == "store.unreadable":
                gateway.leave_unreadable_row()
            work = HttpWork(gateway)
            was_started = gateway.begin(f"{point}:{action}@{PASSAGE.get(point, 1)}")
            if point == "transport.http.list":
                work.list_in_pieces()
            elif was_started:
                work.do()
            gateway.finish(was_started)
            gateway.again()
            work.check(may_fail=point.startswith("launcher.") and action.startswith("E"), may_be_gone=is_prune)
        finally:
            gateway.close()

    walks = Walks(request, walk)
    yield walks
    walks.close()


@pytest.mark.parametrize("point, action", cases(belongs))
def test_what_was_answered_is_kept(walks, point, action):
    walks.result(point, action)
