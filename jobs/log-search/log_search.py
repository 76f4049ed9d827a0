# SPDX-License-Identifier: Apache-2.0
"""Finds the lines of a text that contain every one of some words, with Spark."""

from functools import reduce
from typing import List

import mist


@mist.function(tags=["sql"])
def log_search(ctx: mist.Context, filePath: str, filters: List[str]):
    from pyspark.sql import functions as f

    lines = ctx.spark.read.text(filePath)
    matching = reduce(lambda found, word: found.where(f.col("value").contains(word)), filters, lines)
    found = [row.value for row in matching.collect()]
    ctx.log.info("%d lines match %s", len(found), filters)
    return {"count": len(found), "result": found}
