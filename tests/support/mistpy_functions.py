# SPDX-License-Identifier: Apache-2.0
"""Functions written for Mist's Python library, as its users write them."""

import logging

from mistpy.decorators import (arg, list_type, on_hive_context, on_hive_session, on_spark_context, on_spark_session,
                               on_sql_context, on_streaming_context, opt_arg, with_args)


@with_args(arg("numbers", type_hint=list_type(int)), arg("by", type_hint=int, default=2), opt_arg("note", type_hint=str))
@on_spark_context
def multiplied(sc, numbers, by, note):
    return {"result": sc.parallelize(numbers).map(lambda x: x * by).collect(), "note": note}


@with_args(arg("flag", bool), arg("ratio", float, default=0.5), arg("words", list), arg("names", list_type(list_type(str))),
           arg("rest", dict), arg("any", None), opt_arg("sizes", list_type(float)))
@on_spark_context
def typed(sc, flag, ratio, words, names, rest, any, sizes):
    return {}


@on_spark_session
@with_args(opt_arg("own", int), arg("declared", int, default=1))
def either_order(spark, declared=7, own=5):
    return {"kind": type(spark).__name__, "declared": declared, "own": own}


@on_spark_context
def undeclared(sc, number, by=3):
    return {"result": sc.parallelize([number]).map(lambda x: x * by).first()}


@with_args(arg("path", str))
@on_sql_context
def with_sql_context(sqlContext, path):
    sqlContext.read.json(path).createOrReplaceTempView("people")
    return {"kind": type(sqlContext).__name__, "names": [row.name for row in sqlContext.sql("select name from people").collect()]}


def hive_rows(sql):
    sql("create table if not exists counts (word string, n int) stored as orc")
    sql("insert overwrite table counts values ('a', 1), ('b', 2)")
    return [[row.word, row.n] for row in sql("select * from counts order by word").collect()]


@on_hive_session
def with_hive_session(spark):
    return {"kind": type(spark).__name__, "rows": hive_rows(spark.sql)}


@on_hive_context
def with_hive_context(hiveContext):
    return {"kind": type(hiveContext).__name__, "rows": hive_rows(hiveContext.sql)}


def counted(ssc, numbers):
    found = []
    ssc.queueStream([ssc.sparkContext.parallelize([n]) for n in numbers]).map(lambda n: n + 1) \
       .foreachRDD(lambda at, rdd: found.append((at, rdd.collect())))
    ssc.start()
    return found


@with_args(arg("numbers", list_type(int)))
@on_streaming_context
def streamed(ssc, numbers):
    found = counted(ssc, numbers)
    while sum(len(batch) for _, batch in found) < len(numbers):
        if ssc.awaitTerminationOrTimeout(0.05):
            break
    seconds = [b[0].timestamp() - a[0].timestamp() for a, b in zip(found, found[1:])]
    return {"result": [n for _, batch in found for n in batch], "interval": round(min(seconds), 2)}


@on_streaming_context
def streams_for_ever(ssc):
    ssc.queueStream([], default=ssc.sparkContext.parallelize([1])).foreachRDD(lambda rdd: logging.warning("a batch of %d", rdd.count()))
    ssc.start()
    ssc.awaitTermination()
    return {}


@on_spark_context
def no_dict(sc):
    return [1, "two", None]


@with_args(arg("x", int))
def without_spark(x):
    return {}
