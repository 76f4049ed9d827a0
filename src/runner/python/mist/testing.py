# SPDX-License-Identifier: Apache-2.0
"""Functions tried without a gateway, from pytest or any other test:

    from mist import testing
    from shout import shout

    def test_it_shouts():
        ctx = testing.Context()
        assert shout(ctx, "hi", times=2) == {"text": "HIHI"}
        assert ctx.logged == [("INFO", "shouting 2 times")]

    def test_over_json():
        assert testing.call(shout, {"text": "hi"}) == {"text": "HI"}

A function stays an ordinary one: the first test calls it. The second goes the way of a job: arguments are JSON, checked and
converted by the annotations, and the result is what a client is answered with."""

import json
import logging

from mist import compat, context
from mist.arguments import convert
from mist.errors import Refusal
from mist.function import Function
from mist.logs import level_name
from mist.results import encode

__all__ = ["Context", "Refusal", "call"]


class Context(context.Context):
    """A context that remembers what was said to it. `spark` is what ctx.spark is; without it ctx.spark is a session of this
    process, made when it is asked for (pip install pyspark)."""

    def __init__(self, job_id="test", *, external_id=None, attempt=1, spark=None):
        self.logged = []      # (level, message) of ctx.log; the records go to Python's logging, too
        self.progressed = []  # (value, note) of ctx.progress
        self._spark = spark
        super().__init__(job_id, external_id=external_id, attempt=attempt, job=_Job(self))
        self._log = logging.Logger("mist.job", logging.DEBUG)
        self._log.parent = logging.getLogger()
        self._log.addHandler(_Logged(self.logged))

    def cancel(self):
        """From here on ctx.cancelled is True. Nothing is raised."""
        self._job.is_cancelled = True

    @property
    def spark(self):
        return self._spark or super().spark


def call(function, arguments=None, ctx=None):
    """What a job with these arguments, a dict of JSON values, is answered with, as JSON values. Raises Refusal, with the
    sentence that the gateway or the worker has for it, where arguments are not what the function takes and where the result
    has no form in JSON; what the function itself raises comes as it is. `ctx` is a Context, if the test wants to look at it."""
    made = compat.MistpyFunction(function) if compat.is_mistpys(function) else Function(function)
    arguments = json.loads(json.dumps(arguments or {}))
    known = {parameter.name for parameter in made.parameters}
    for name in arguments:
        if name not in known and not made.takes_extra and not made.ignores_extra:
            raise Refusal(f"Invalid field {name}: there is no such argument")
    result = made.call(ctx or Context(), convert(made, arguments))
    return json.loads(encode.text(result))


class _Job:
    """What a context needs of a worker's job (jobs.py)."""

    def __init__(self, ctx):
        self.is_cancelled = self.knows_of_cancel = False
        self._ctx = ctx

    def progress(self, value, note):
        self._ctx.progressed.append((value, note))

    def enter_spark(self):
        pass


class _Logged(logging.Handler):
    def __init__(self, logged):
        super().__init__()
        self._logged = logged

    def emit(self, record):
        self._logged.append((level_name(record.levelno), record.getMessage()))
