# SPDX-License-Identifier: Apache-2.0
"""The thread that says everything about jobs, beside those of the jobs."""
import collections
import types

from mist.jobs import Job
from mist.outbox import Outbox


def test_an_entry_that_is_taken_before_it_was_posted_holds_up_none_behind_it():
    """The thread may be telling something else of the job at that moment."""
    outbox, sent = Outbox(), []
    outbox._take_connection((types.SimpleNamespace(send=sent.append), 1 << 20, []))
    job = Job({"job": "j"}, outbox)

    class Watched(collections.deque):
        def append(self, entry):
            super().append(entry)
            outbox._tell(job)

    job.entries = Watched()
    job.log("INFO", "first")
    job.entries = collections.deque()
    for _ in range(2):
        while not outbox._inbox.empty():
            act, what = outbox._inbox.get()
            act(what)
        outbox._flush()
        job.log("INFO", "second")
    assert len(sent) == 2 and "first" in sent[0] and "second" in sent[1]


def test_what_was_left_out_is_named_in_the_number_it_has():
    for n, sentence in ((1, "1 line of the log was left out: it came faster than it could be sent"),
                        (2, "2 lines of the log were left out: they came faster than they could be sent")):
        outbox, sent = Outbox(), []
        outbox._take_connection((types.SimpleNamespace(send=sent.append), 1 << 20, []))
        job = Job({"job": "j"}, outbox)
        job.n_dropped = n
        outbox._tell(job)
        assert len(sent) == 1 and sentence in sent[0]
