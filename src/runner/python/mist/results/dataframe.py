# SPDX-License-Identifier: Apache-2.0
"""Spark's DataFrame as JSON, by its schema.

PySpark turns rows into Python's values, and loses what those do not have: a timestamp with and one without a zone
become the same datetime, months an int, year 0 an exception that names no column. So the rows are read as they come
from the JVM, before that conversion, and the schema says what each value is. `row()` of each schema is looked for once
and refuses what has no form in JSON before anything is computed."""

import base64
import io
import json
import math
import pickle
import re

from mist import texts

MICRO = 1000
DECIMAL = re.compile(r"decimal\((\d+),")
VECTOR = ("org.apache.spark.ml.linalg.VectorUDT", "org.apache.spark.mllib.linalg.VectorUDT")


class Internal(tuple):
    """The values of a struct, as the JVM has them."""


def _values(*values):
    return Internal(values)


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module == "pyspark.sql.types":
            if name == "_create_row_inbound_converter":
                return lambda schema: _values
            if name == "_parse_datatype_json_string":
                return lambda text: None  # the schema of the whole says it
        return super().find_class(module, name)


class Refused(Exception):
    """Of a column: (path of names, what is wrong with it)."""


def collect(frame, clean):
    """An iterator over objects, one a row. Raises Refused."""
    schema = json.loads(frame._jdf.schema().json())
    make = _struct(schema, (), clean)
    return map(make, _rows(frame))


def _rows(frame):
    from pyspark import serializers
    from pyspark.rdd import _load_from_socket

    class Rows(serializers.CPickleSerializer):
        def loads(self, data, encoding="bytes"):
            return Unpickler(io.BytesIO(data), encoding=encoding).load()

    return _load_from_socket(frame._jdf.collectToPython(), serializers.BatchedSerializer(Rows()))


def _struct(schema, path, clean):
    makers, names = [], set()
    for field in schema["fields"]:
        name = clean(field["name"])
        if name in names:
            raise Refused(path, f"two columns are named {name!r}; give one of them another name")
        names.add(name)
        makers.append((name, _maker(field["type"], (*path, name), clean)))

    def make(values):
        return {name: None if value is None else of(value) for (name, of), value in zip(makers, values)}
    return make


def _maker(kind, path, clean):
    """What turns a value, which is not null, into JSON."""
    if isinstance(kind, dict):
        return _maker_of_many(kind, path, clean)
    if kind.startswith("decimal"):
        match = DECIMAL.match(kind)
        is_number = texts.decimals_are_numbers(precision=int(match[1]) if match else 10)
        return lambda value: texts.number_or_text(value, is_number)
    if kind == "string" or kind.startswith(("varchar", "char", "string ")):
        return clean
    if kind.startswith("interval"):
        units = kind.split()[1:]
        if units and units[0] in ("day", "hour", "minute", "second"):
            return lambda micros: texts.span(micros, 10 ** 6)
        if units and units[0] in ("year", "month"):
            return texts.months
    made = PLAIN.get(kind)
    if made is None:
        raise Refused(path, f"the type {kind} has no form in JSON; cast it to string")
    return made


PLAIN = {
    "void": lambda value: None, "boolean": bool, "binary": lambda value: base64.b64encode(value).decode("ascii"),
    "byte": int, "short": int, "integer": int, "long": int,
    "float": lambda value: value if math.isfinite(value) else None,
    "double": lambda value: value if math.isfinite(value) else None,
    "date": texts.date,
    "timestamp": lambda micros: texts.instant(micros * MICRO),
    "timestamp_ltz": lambda micros: texts.instant(micros * MICRO),
    "timestamp_ntz": lambda micros: texts.local(micros * MICRO),
    "time": lambda ns: texts.local(ns)[11:],
}
KEYS = ("string", "varchar", "char", "boolean", "byte", "short", "integer", "long", "float", "double", "decimal", "date",
        "timestamp", "interval")


def _maker_of_many(kind, path, clean):
    if kind["type"] == "struct":
        return _struct(kind, path, clean)
    if kind["type"] == "array":
        of = _maker(kind["elementType"], (*path, "[]"), clean)
        return lambda values: [None if value is None else of(value) for value in values]
    if kind["type"] == "map":
        return _map(kind, path, clean)
    if kind["type"] == "udt":
        if kind.get("class") in VECTOR:
            return vector
        if kind.get("sqlType"):
            return _maker(kind["sqlType"], path, clean)
    raise Refused(path, f"the type {kind.get('pyClass') or kind['type']} has no form in JSON")


def _map(kind, path, clean):
    """The names in an object are texts: keys are written as values are, without quotes."""
    key = kind["keyType"]
    if not isinstance(key, str) or not key.startswith(KEYS):
        shown = key if isinstance(key, str) else key["type"]
        raise Refused(path, f"the keys of the map are of type {shown}; the names in a JSON object are texts")
    of_key, of = _maker(key, path, clean), _maker(kind["valueType"], (*path, "{}"), clean)

    def name_of(value):
        text = of_key(value)
        return text if isinstance(text, str) else json.dumps(text if text is not None else str(value))

    def make(values):
        made = {name_of(k): None if v is None else of(v) for k, v in values.items()}
        if len(made) != len(values):
            raise Refused(path, "two keys of a map have the same text")
        return made
    return make


def _real(values):
    return [v if math.isfinite(v) else None for v in map(float, values)]


def vector(row):
    """As Spark's to_json has a sparse one; a dense one is a list."""
    kind, size, indices, values = row
    if kind == 1:
        return _real(values)
    return {"type": 0, "size": size, "indices": list(indices), "values": _real(values)}
