# SPDX-License-Identifier: Apache-2.0
"""Functions for Mist, and the worker that runs them.

    import mist

    @mist.function
    def wordcount(ctx: mist.Context, path: str, top: int = 10):
        lines = ctx.spark.read.text(path)
        ...

The arguments and their types come from the signature; what the function returns becomes JSON (proto/types.md says how).
The first parameter is the job's Context if it is annotated so, or has no annotation and is called ctx or context.

    mist.function     marks a function, and may give it another name and tags
    mist.Context      ctx.spark, .log, .progress(), .cancelled, .job_id, .external_id, .attempt
    mist.Cancelled    raised in a function whose job is to stop
    mist.testing      tries a function without a gateway (import it: from mist import testing)

What a function prints is in its job's log too.

src/runner/python/README.md, in share/doc/mist of an installation, has all of it on one page.
`python -m mist.worker` is started by the gateway, not by hand."""

from mist.context import Context
from mist.errors import Cancelled
from mist.function import function

__version__ = "0.1.0"
__all__ = ["Cancelled", "Context", "function"]
