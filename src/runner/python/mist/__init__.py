# SPDX-License-Identifier: Apache-2.0
"""Functions for Mist, and the worker that runs them.

    import mist

    @mist.function
    def wordcount(ctx: mist.Context, path: str, top: int = 10):
        lines = ctx.spark.read.text(path)
        ...

The arguments and their types come from the signature; what the function returns becomes JSON (proto/types.md says how).
`python -m mist.worker` is started by the gateway, not by hand."""

from mist.context import Context
from mist.errors import Cancelled
from mist.function import function

__version__ = "0.1.0"
__all__ = ["Cancelled", "Context", "function"]
