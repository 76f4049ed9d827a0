# SPDX-License-Identifier: Apache-2.0
"""What a function is given as its first argument.

In a worker it is made for each job. In a user's test it is a mist.testing.Context, or just `mist.Context()`: its log
goes to Python's logging, its progress nowhere, and its .spark is a session of the test's own."""

import logging
import math

from mist import spark
from mist.logs import job_log


def _number(value):
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"progress is a number from 0 to 1, not {value!r:.60}; a note is the second argument")
    return number


class Context:
    """One job, as its function sees it.

    job_id        the id that the caller got, a text
    external_id   what the caller named it, or None
    attempt       1, and one more each time that its worker died and the function has `retries`"""

    def __init__(self, job_id="", *, external_id=None, attempt=1, job=None):
        self.job_id = job_id
        self.external_id = external_id
        self.attempt = attempt
        self._job = job
        self._log = logging.LoggerAdapter(job_log, {"mist_job": job}) if job else job_log

    @property
    def spark(self):
        """The SparkSession of this worker, shared by its jobs: do not stop it."""
        was_up = spark.is_up()
        session = spark.session()
        if self._job is not None and not was_up:
            self._job.enter_spark()
        return session

    @property
    def log(self):
        """A logger whose messages reach the job's log, from whichever thread."""
        return self._log

    @property
    def cancelled(self):
        """True once the job is to stop. A function that asks has a few seconds to leave its work in order and to
        return, which counts as finished, or to raise; one that doesn't is interrupted at once."""
        if self._job is None or not self._job.is_cancelled:
            return False
        self._job.knows_of_cancel = True
        return True

    def progress(self, value=None, note=None):
        """Says how far the job is, a word on it, or both. What is below 0 is 0 and what is above 1 is 1. Each call says all
        of it anew; called often, only the newest is sent."""
        if value is None and note is None:
            raise TypeError("progress is a number from 0 to 1, a note, or both")
        if value is not None:
            value = _number(value)
            value = min(1.0, max(0.0, value))
        if note is not None and not isinstance(note, str):
            raise TypeError(f"the note of a progress is a str, not {type(note).__name__}")
        if self._job is not None:
            self._job.progress(value, note)
