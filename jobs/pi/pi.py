# SPDX-License-Identifier: Apache-2.0
"""Pi by throwing darts, spread over Spark's executors."""

import random

import mist

THROWS_PER_TASK = 250_000


def hits(seed_and_throws):
    seed, throws = seed_and_throws
    dice = random.Random(seed)
    return sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(throws))


@mist.function
def pi(ctx: mist.Context, samples: int):
    if samples < 1:
        raise ValueError("samples must be at least 1")
    whole, rest = divmod(samples, THROWS_PER_TASK)
    tasks = list(enumerate([THROWS_PER_TASK] * whole + ([rest] if rest else [])))
    inside = ctx.spark.sparkContext.parallelize(tasks, len(tasks)).map(hits).sum()
    return 4.0 * inside / samples
