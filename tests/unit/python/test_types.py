# SPDX-License-Identifier: Apache-2.0
"""proto/types.md: each of its rows, against the Python runner."""

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import os
import pathlib
import re
import sys
import time
import types
import typing
import uuid
import zoneinfo

import numpy
import pandas
import pytest

from mist.results import encode
from scripted_gateway import ROOT

ZONE = "Europe/Berlin"
ROW = re.compile(r"\| (`+)(.+?)\1 \| (?:`+(.+?)`+|refused: (.+?)) \|")


class Text(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Pair(enum.Enum):
    BOTH = (1, 2)


class Named(typing.NamedTuple):
    x: int
    y: object


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


NAMES = {
    "nan": float("nan"), "inf": float("inf"), "np": numpy, "pd": pandas, "Decimal": decimal.Decimal, "utc": datetime.timezone.utc,
    "UUID": uuid.UUID, "Path": pathlib.Path, "ZoneInfo": zoneinfo.ZoneInfo, "deque": collections.deque,
    "OrderedDict": collections.OrderedDict, "MappingProxyType": types.MappingProxyType, "encoded": encode.encode,
    **{c.__name__: c for c in (Text, Level, Pair, Named, Point)},
    **{n: getattr(datetime, n) for n in ("date", "datetime", "time", "timedelta", "timezone")}}


def sections():
    """(heading, [(left, JSON or None, refusal or None)])"""
    text = pathlib.Path(ROOT, "proto", "types.md").read_text(encoding="utf-8")
    for part in text.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ") and not line.startswith("| ---")][1:]
        rows = [ROW.fullmatch(line) for line in lines]
        assert all(rows), [line for line, row in zip(lines, rows) if not row]
        yield heading, [(row[2], row[3], row[4]) for row in rows]


TABLE = dict(sections())
PYTHON = [row for heading in ("Python", "NumPy", "pandas") for row in TABLE[heading]]


@pytest.fixture(autouse=True)
def zone(monkeypatch):
    monkeypatch.setenv("TZ", ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def check(value, expected, refusal, unwrap=lambda text: text):
    """Both ways of writing it."""
    for write in (lambda v: json.dumps(encode.encode(v), ensure_ascii=False, separators=(",", ":")), encode.text):
        if refusal:
            with pytest.raises(encode.Unencodable) as e:
                write(value)
            assert refusal in str(e.value)
        else:
            assert unwrap(write(value)) == expected


@pytest.mark.parametrize("left, expected, refusal", PYTHON, ids=[row[0][:60] for row in PYTHON])
def test_a_value_of_python(left, expected, refusal):
    check(eval(left, dict(NAMES)), expected, refusal)


@pytest.fixture(scope="module")
def spark():
    import pyspark
    from pyspark.sql import SparkSession
    os.environ.update({"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
                       "SPARK_HOME": os.path.dirname(pyspark.__file__)})
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config(
        "spark.sql.session.timeZone", ZONE).getOrCreate()
    yield session
    session.stop()


@pytest.mark.spark
def test_a_value_of_spark(spark):
    from pyspark.ml.linalg import Matrices, Vectors
    from pyspark.sql import Row
    names = {"spark": spark, "Matrices": Matrices, "Vectors": Vectors, "Row": Row}
    for sql, expected, refusal in TABLE["Spark, by SQL"]:
        check(spark.sql(f"select {sql} as v"), expected, refusal, lambda text: text[len('[{"v":'):-len("}]")])
    for left, expected, refusal in TABLE["Spark, by Python"]:
        check(eval(left, names), expected, refusal)
