# SPDX-License-Identifier: Apache-2.0
"""What NumPy and pandas have beyond Python's own values, as JSON: arrays and frames, times of other units, missing
values, numbers of other widths. Neither library is imported here: a value brings its own.

each() gives values that encode.py knows; what has a text of its own is given as that."""

import datetime

from mist import texts

PER_SECOND = {"s": 1, "ms": 10 ** 3, "us": 10 ** 6, "ns": 10 ** 9, "ps": 10 ** 12, "fs": 10 ** 15, "as": 10 ** 18}
SECONDS = {"W": 604800, "D": 86400, "h": 3600, "m": 60}
MONTHS = {"Y": 12, "M": 1}


class NoForm(Exception):
    """str() says why."""


def of_numpy(value):
    """(it is a list, what it is in Python)"""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        raise NoForm
    if getattr(value, "ndim", 0):
        return True, _items(value, dtype)
    if type(value).__name__.endswith("ndarray") or type(value).__name__ in ("MaskedArray", "MaskedConstant", "memmap"):
        return False, value[()] if dtype.kind in "Mm" else value.tolist()
    return False, _scalar(value, dtype)


def _items(array, dtype):
    if dtype.kind in "MmVgG" or dtype.names or dtype.kind == "f" and dtype.itemsize > 8:
        return list(array)
    return array.tolist()


def _scalar(value, dtype):
    if dtype.names:
        return {name: value[name] for name in dtype.names}
    if dtype.kind == "M":
        return _time(value, dtype)
    if dtype.kind == "m":
        return _span(value, dtype)
    if dtype.kind == "V":
        return value.tobytes()
    plain = value.tolist()
    if dtype.kind == "f" and type(plain) is type(value):  # longer than Python's
        number = float(plain)
        return number if number == plain or plain != plain else str(plain)
    if type(plain) is type(value):
        raise NoForm
    return plain


def _unit(dtype):
    """('us', 1) of datetime64[us]"""
    name = dtype.str.partition("[")[2].rstrip("]")
    digits = name.rstrip("WYMDhmsunpfa")
    return name[len(digits):], int(digits or 1)


def _time(value, dtype):
    if value != value:
        return None
    unit, step = _unit(dtype)
    n = int(value.astype("int64")) * step
    if unit in MONTHS:
        year, month = divmod(n * MONTHS[unit], 12)
        return texts.date(texts.days_of(1970 + year, 1 + month, 1))
    if unit in ("W", "D"):
        return texts.date(n * (SECONDS[unit] // texts.DAY_S))
    per_second = PER_SECOND.get(unit, 1)
    s, fraction = divmod(n * SECONDS.get(unit, 1), per_second)
    if per_second <= 10 ** 9:
        return texts.clock(s * 10 ** 9 + fraction * (10 ** 9 // per_second))
    ns, rest = divmod(fraction, per_second // 10 ** 9)
    text = texts.clock(s * 10 ** 9 + ns)
    if not rest:
        return text
    head, _, tail = text.partition(".")
    offset = tail.lstrip("0123456789")
    return f"{head}.{str(fraction).zfill(len(str(per_second)) - 1)}{offset}"


def _span(value, dtype):
    if value != value:
        return None
    unit, step = _unit(dtype)
    n = int(value.astype("int64")) * step
    if unit in MONTHS:
        return texts.months(n * MONTHS[unit])
    if unit not in SECONDS and unit not in PER_SECOND:
        raise NoForm("has no unit")
    return texts.span(n * SECONDS.get(unit, 1), PER_SECOND.get(unit, 1))


def of_pandas(value):
    """(it is a list, what it is in Python)"""
    name = type(value).__name__
    if name in ("NAType", "NaTType"):
        return False, None
    if name == "DataFrame":
        return True, _records(value)
    if name == "Timestamp":
        return False, _timestamp(value)
    if name == "Timedelta":
        per_second = PER_SECOND[value.unit]
        return False, texts.span(int(value.asm8.astype("int64")), per_second)
    if name in ("Period", "Interval"):
        return False, str(value)
    if name == "MultiIndex":
        return True, [list(item) for item in value]
    if hasattr(value, "tolist"):
        return True, _column(value)
    raise NoForm


def _records(frame):
    names = []
    for column in frame.columns:
        name = column if isinstance(column, str) else None
        if isinstance(column, int) or type(column).__module__.startswith("numpy") and hasattr(column, "item"):
            name = str(column)
        elif isinstance(column, datetime.date):
            name = _timestamp(column) if hasattr(column, "asm8") else column.isoformat()
        if name is None:
            raise NoForm(f"has the column {column!r:.80}, which is {type(column).__name__}; "
                         "the names in a JSON object are str")
        if name in names:
            raise NoForm(f"two columns are named {name!r}; give one of them another name")
        names.append(name)
    columns = [_column(frame.iloc[:, i]) for i in range(len(names))]
    return [dict(zip(names, row)) for row in zip(*columns)] if columns else [{} for _ in range(len(frame))]


def _column(series):
    """tolist() of times makes pandas' own values of them, which keep their nanoseconds."""
    return series.tolist()


def _timestamp(value):
    unit = getattr(value, "unit", "ns")
    ns = int(value.asm8.astype(f"datetime64[{unit}]").astype("int64")) * (10 ** 9 // PER_SECOND[unit])
    if value.tzinfo is None:
        return texts.clock(ns)
    try:
        offset = value.utcoffset().total_seconds()
    except (OverflowError, ValueError):
        offset = 0
    return texts.instant(ns, int(offset))
