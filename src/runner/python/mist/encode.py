# SPDX-License-Identifier: Apache-2.0
"""What a function returns, as JSON.

    None, NaN, infinities, pandas' NA and NaT   null
    str, bool, int, float                       themselves; an int beyond 64 bits is a string
    Decimal                                     a number if a float holds it to its last digit, else a string
    date                                        "2019-10-07"
    datetime                                    "2019-10-07T12:48:23.123+0000"; one without a zone is local time
    time                                        "12:48:23.123000"
    bytes                                       base64
    list, tuple, set, numpy arrays, pandas Series, Spark ML vectors    a list
    dict (with str keys), Row, a dataclass      an object
    Spark's and pandas' DataFrame               a list of objects, one a row
    numpy scalars                               what Python has for them

Anything else is refused with the name of its type and where in the result it stands. The gateway's JSON knows neither
the character U+0000 nor half of a surrogate pair: both become U+FFFD. Libraries are recognised by the name of a
type's module, never imported: what was not imported by the function cannot be in its result."""

import base64
import dataclasses
import datetime
import decimal
import math
import re

from mist.errors import Refusal

DEPTH_MAX = 200
INT_MIN, INT_MAX = -(2 ** 63), 2 ** 63 - 1
_foreign = re.compile("[\0\ud800-\udfff]")


class Unencodable(Refusal, TypeError):
    pass


def encode(value):
    """`value` as what json.dumps() writes without a question. Raises Unencodable."""
    return _encode(value, ("result", None), 0)


def clean(text):
    """`text` without the characters that no frame may have."""
    return text if text.isascii() and "\0" not in text else _foreign.sub("\ufffd", text)


def path_text(path):
    parts = []
    while path[1] is not None:
        parts.append(path[0])
        path = path[1]
    parts.append(path[0])
    parts.reverse()
    if len(parts) > 12:
        parts[6:-6] = ["…"]
    return "".join(parts)


def _encode(value, path, depth):
    kind = type(value)
    if kind is str:
        return clean(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if INT_MIN <= value <= INT_MAX else str(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if depth >= DEPTH_MAX:
        raise Unencodable(f"{path_text(path)}: nested deeper than {DEPTH_MAX} levels")
    if kind is dict:
        return _encode_dict(value, path, depth)
    if kind is list:
        return _encode_list(value, path, depth)
    return _encode_other(value, path, depth)


def _encode_list(values, path, depth):
    return [_encode(v, (f"[{i}]", path), depth + 1) for i, v in enumerate(values)]


def _encode_dict(value, path, depth):
    out = {}
    for key, inner in value.items():
        if not isinstance(key, str):
            raise Unencodable(f"{path_text(path)}: the key {repr(key)[:80]} is {_type_name(key)}; "
                              "the names in a JSON object are str")
        out[clean(key)] = _encode(inner, ("." + key, path), depth + 1)
    return out


def _encode_other(value, path, depth):
    for encoder in (_encode_python, _encode_foreign):
        found, encoded = encoder(value, path, depth)
        if found:
            return encoded
    raise Unencodable(f"{path_text(path)} is {_type_name(value)}, which has no form in JSON")


def _encode_python(value, path, depth):
    if isinstance(value, datetime.date) and value != value:
        return True, None  # pandas' NaT
    if isinstance(value, datetime.datetime):
        return True, _datetime_text(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return True, value.isoformat()
    if isinstance(value, decimal.Decimal):
        return True, _decimal_number(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return True, base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple) and hasattr(value, "asDict") and hasattr(value, "__fields__"):
        return True, _encode_row(value, path, depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return True, _encode_list(value, path, depth)
    if isinstance(value, dict):
        return True, _encode_dict(value, path, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return True, _encode_dict(fields, path, depth)
    for plain in (str, int, float):
        if isinstance(value, plain) and _module_of(value) != "numpy":
            return True, _encode(plain(value), path, depth)
    return False, None


def _encode_foreign(value, path, depth):
    module, name = _module_of(value), type(value).__name__
    if module == "numpy":
        plain = value.tolist() if hasattr(value, "tolist") else value
        if type(plain) is not type(value):  # what Python has no scalar for stays as it is
            return True, _encode(plain, path, depth)
    elif module == "pyspark":
        if name == "DataFrame" and hasattr(value, "collect"):
            _check_columns(value.columns, path)
            return True, _encode_list(value.collect(), path, depth)
        if name.endswith("Vector") and hasattr(value, "toArray"):
            return True, _encode_list(value.toArray().tolist(), path, depth)
    elif module == "pandas":
        if name == "DataFrame":
            _check_columns(value.columns, path)
            return True, _encode_list(value.to_dict("records"), path, depth)
        if name in ("NAType", "NaTType"):
            return True, None
        if hasattr(value, "tolist"):
            return True, _encode_list(value.tolist(), path, depth)
    return False, None


def _check_columns(columns, path):
    seen = set()
    for column in columns:
        if column in seen:
            raise Unencodable(f"{path_text(path)}: two columns are named {column!r}; give one of them another name")
        seen.add(column)


def _encode_row(row, path, depth):
    fields = getattr(row, "__fields__", None)
    if not fields:
        return _encode_list(row, path, depth)
    return _encode_dict(dict(zip(fields, row)), path, depth)


def _datetime_text(value):
    if hasattr(value, "to_pydatetime"):  # pandas' has nanoseconds, and no local time
        value = value.to_pydatetime(warn=False)
    if value.tzinfo is None or value.utcoffset() is None:
        value = value.astimezone()
    offset = value.utcoffset()
    sign = "-" if offset < datetime.timedelta(0) else "+"
    minutes = int(abs(offset).total_seconds()) // 60
    return (f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}"
            f"{sign}{minutes // 60:02d}{minutes % 60:02d}")


def _decimal_number(value):
    if not value.is_finite():
        return None
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    return number if math.isfinite(number) and decimal.Decimal(repr(number)) == value else str(value)


def _module_of(value):
    """The package its type is from."""
    return (type(value).__module__ or "").partition(".")[0]


def _type_name(value):
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
