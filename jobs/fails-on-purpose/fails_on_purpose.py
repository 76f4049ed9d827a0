# SPDX-License-Identifier: Apache-2.0
"""Always fails: for seeing how a failure looks, and for trying retries."""

import mist


@mist.function
def fails_on_purpose(ctx: mist.Context, message: str = "on purpose"):
    ctx.log.warning("about to fail, attempt %d", ctx.attempt)
    raise RuntimeError(message)
