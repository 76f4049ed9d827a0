# SPDX-License-Identifier: Apache-2.0
"""Counts the words of a text with Spark."""

import mist


@mist.function(tags=["sql"])
def wordcount(ctx: mist.Context, path: str, top: int = 10):
    from pyspark.sql import functions as f

    words = ctx.spark.read.text(path).select(f.explode(f.split(f.lower("value"), r"\s+")).alias("word"))
    counts = words.where("word != ''").groupBy("word").count()
    return counts.orderBy(f.desc("count"), "word").limit(top)
