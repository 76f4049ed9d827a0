# SPDX-License-Identifier: Apache-2.0
"""The smallest function: no Spark, one argument, an answer at once."""

import mist


@mist.function
def hello(ctx: mist.Context, name: str):
    ctx.log.info("greeting %s", name)
    return {"greeting": f"Hello, {name}!"}
