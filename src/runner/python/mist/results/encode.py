# SPDX-License-Identifier: Apache-2.0
"""What a function returns, as JSON. proto/types.md says what each type becomes; its rows are tested.

Anything else is refused with the name of its type and where in the result it stands. The gateway's JSON knows neither
the character U+0000 nor half of a surrogate pair: both become U+FFFD. Names that would become one are refused, since a
value would be lost. Libraries are recognised by the name of a type's module, never imported: what was not imported by
the function cannot be in its result.

encode() gives what json.dumps() writes. text() writes it at once, a piece at a time: a long list is neither copied as
a whole nor written in one call of the C encoder, during which no other thread of the process runs."""

import base64
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import itertools
import json
import math
import pathlib
import uuid

from mist import texts
from mist.errors import Refusal
from mist.results import columns, dataframe
from mist.texts import clean

DEPTH_MAX = 200
INT_MIN, INT_MAX = -(2 ** 63), 2 ** 63 - 1
PIECE = 10000        # items of a list that are written at a time
LARGE = 256          # what has more items is looked into
EPOCH = datetime.date(1970, 1, 1).toordinal()
LONG = frozenset((list, tuple, dict))
THEMSELVES = frozenset((bool, type(None)))
NO_DECIMALS = frozenset((bool, type(None), int, float, str, list))


class Unencodable(Refusal, TypeError):
    pass


def encode(value):
    """`value` as what json.dumps() writes without a question. Raises Unencodable."""
    return _encode(value, ROOT, 0)


def text(value, limit=None):
    """The JSON text of `value`. Raises Unencodable, also when it is longer than `limit` characters."""
    pieces = Pieces(limit)
    _write(value, ROOT, 0, pieces)
    return pieces.joined()


class Pieces:
    def __init__(self, limit):
        self._limit = limit
        self._n = 0
        self._pieces = []

    def add(self, piece):
        self._n += len(piece)
        if self._limit is not None and self._n > self._limit:
            raise Unencodable(f"the result is too large: {self._n} bytes as a frame or more, and the gateway takes "
                              f"{self._limit} (workers.frame)")
        self._pieces.append(piece)

    def joined(self):
        return "".join(self._pieces)


def _dumps(encoded):
    return json.dumps(encoded, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _write(value, path, depth, pieces):
    kind = type(value)
    if kind is dict and depth < DEPTH_MAX and any(_is_large(v, depth + 1) for v in value.values()):
        names = _names(value, path)
        pieces.add("{")
        for i, (name, key) in enumerate(names.items()):
            pieces.add(f"{',' if i else ''}{_dumps(name)}:")
            _write(value[key], ("." + name, path), depth + 1, pieces)
        pieces.add("}")
    elif kind in (list, tuple) and not hasattr(value, "_fields") and depth < DEPTH_MAX and _is_large(value, depth):
        _write_list(value, path, depth, pieces)
    elif _is_frame(value):
        _write_list(_rows_of_frame(value, path), path, depth, pieces, are_encoded=True)
    else:
        pieces.add(_dumps(_encode(value, path, depth)))


def _is_large(value, depth):
    kind = type(value)
    if kind is dict:  # one may contain itself
        return len(value) >= LARGE or depth < DEPTH_MAX and any(_is_large(v, depth + 1) for v in value.values())
    return kind in (list, tuple) and len(value) > LARGE or _is_frame(value)


def _write_list(values, path, depth, pieces, are_encoded=False):
    pieces.add("[")
    as_numbers = None if are_encoded else _decimals_of(values)
    first, comma = 0, ""
    for batch in _batches(values):
        start = 0
        for i, value in enumerate(batch) if not are_encoded and _has_long(batch) else ():
            if type(value) in LONG and len(value) > LARGE:
                comma = _write_batch(batch[start:i], first + start, path, depth, pieces, comma, as_numbers, are_encoded)
                pieces.add(comma)
                _write(value, (first + i, path), depth + 1, pieces)
                start, comma = i + 1, ","
        comma = _write_batch(batch[start:], first + start, path, depth, pieces, comma, as_numbers, are_encoded)
        first += len(batch)
    pieces.add("]")


def _batches(values):
    if isinstance(values, (list, tuple)):
        for i in range(0, len(values), PIECE):
            yield values[i:i + PIECE]
        return
    values = iter(values)
    while batch := list(itertools.islice(values, PIECE)):
        yield batch


def _has_long(batch):
    return not LONG.isdisjoint(map(type, batch)) and any(type(v) in LONG and len(v) > LARGE for v in batch)


def _write_batch(batch, first, path, depth, pieces, comma, as_numbers, are_encoded):
    if not batch:
        return comma
    encoded = batch if are_encoded else _encode_items(batch, path, depth, first, as_numbers)
    pieces.add(comma + _dumps(encoded)[1:-1])
    return ","


ROOT = ("result", None)


def path_text(path):
    parts = []
    while path is not None:
        part, path = path
        parts.append(f"[{part}]" if isinstance(part, int) else part)
    parts.reverse()
    if len(parts) > 12:
        parts[6:-6] = ["…"]
    return clean("".join(parts))


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
    values = values if isinstance(values, (list, tuple)) else list(values)
    return _encode_items(values, path, depth, 0, _decimals_of(values))


def _encode_items(values, path, depth, first, as_numbers):
    if as_numbers:
        return [_encode_decided(v, (i, path), depth + 1, as_numbers) for i, v in enumerate(values, first)]
    depth += 1
    kinds = set(map(type, values))
    if len(kinds) == 1 and _are_themselves(values, kinds.pop()):
        return list(values)
    return [v if type(v) in THEMSELVES else [] if type(v) is list and not v else _encode(v, (i, path), depth)
            for i, v in enumerate(values, first)]


def _are_themselves(values, kind):
    """Of one type, as most long lists are: then this is looked at without a step for each."""
    if kind is int:
        return INT_MIN <= min(values) and max(values) <= INT_MAX
    if kind is float:
        return all(map(math.isfinite, values))
    return kind in THEMSELVES or kind is list and not any(values)


def _decimals_of(values):
    """Which Decimals in a list, or in the columns of its rows, are numbers: all of a column or none. None: there are
    no Decimals."""
    found = {}
    if NO_DECIMALS.issuperset(map(type, values)):
        return None
    for value in values:
        kind = type(value)
        if kind in NO_DECIMALS:
            continue
        if kind is decimal.Decimal:
            found.setdefault(None, []).append(value)
            continue
        for name, inner in _fields_of(value, kind):
            if type(inner) is decimal.Decimal:
                found.setdefault(name, []).append(inner)
    return {name: texts.decimals_are_numbers(column) for name, column in found.items()} or None


def _fields_of(value, kind):
    """Of what may be a row: dicts, Spark's Rows, named tuples, dataclasses."""
    if kind is dict:
        return value.items()
    if isinstance(value, tuple):
        names = getattr(value, "__fields__", None) or getattr(value, "_fields", None)
        return zip(names, value) if isinstance(names, (list, tuple)) else ()
    if dataclasses.is_dataclass(kind):
        return [(f.name, getattr(value, f.name, None)) for f in dataclasses.fields(kind)]
    return ()


def _encode_decided(value, path, depth, as_numbers):
    kind = type(value)
    if kind is decimal.Decimal:
        return texts.number_or_text(value, as_numbers.get(None, False))
    if kind is dict:
        return _encode_dict(value, path, depth, as_numbers)
    if isinstance(value, tuple) and hasattr(value, "__fields__"):
        return _encode_dict(_dict_of_row(value, path), path, depth, as_numbers)
    fields = dict(_fields_of(value, kind))
    return _encode_dict(fields, path, depth, as_numbers) if fields else _encode(value, path, depth)


def _encode_dict(value, path, depth, as_numbers=None):
    if depth >= DEPTH_MAX:
        raise Unencodable(f"{path_text(path)}: nested deeper than {DEPTH_MAX} levels")
    out = {}
    for name, key in _names(value, path).items():
        inner = value[key]
        if as_numbers and type(inner) is decimal.Decimal:
            out[name] = texts.number_or_text(inner, as_numbers.get(key, False))
        else:
            out[name] = _encode(inner, ("." + name, path), depth + 1)
    return out


def _names(value, path):
    """JSON's names → the keys."""
    names = {}
    for key in value:
        name = key.value if isinstance(key, enum.Enum) else key
        if not isinstance(name, str):
            raise Unencodable(f"{path_text(path)}: the key {_shown(key)} is {_type_name(key)}; "
                              "the names in a JSON object are str")
        name = clean(str.__str__(name))
        if name in names:
            raise Unencodable(f"{path_text(path)}: two members are named {name!r}; give one of them another name")
        names[name] = key
    return names


def _shown(value):
    try:
        return clean(repr(value)[:80])
    except Exception:
        return "?"


def _encode_other(value, path, depth):
    for encoder in (_encode_python, _encode_foreign):
        found, encoded = encoder(value, path, depth)
        if found:
            return encoded
    raise Unencodable(f"{path_text(path)} is {_type_name(value)}, which has no form in JSON")


def _encode_python(value, path, depth):
    if isinstance(value, enum.Enum):
        return True, _encode(value.value, path, depth + 1)
    if isinstance(value, (datetime.date, datetime.timedelta)) and value != value:
        return True, None  # pandas' NaT
    if _module_of(value) in ("numpy", "pandas"):
        return False, None
    for kind, encoder in PYTHON:
        if isinstance(value, kind):
            return True, encoder(value)
    if isinstance(value, tuple) and hasattr(value, "asDict") and hasattr(value, "__fields__"):
        return True, _encode_dict(_dict_of_row(value, path), path, depth)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return True, _encode_dict(dict(zip(value._fields, value)), path, depth)
    if isinstance(value, (list, tuple, set, frozenset, collections.deque, range)):
        return True, _encode_list(value, path, depth)
    if isinstance(value, collections.abc.Mapping):
        return True, _encode_dict(value, path, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return True, _encode_dict(fields, path, depth)
    for plain in (str, int, float):
        if isinstance(value, plain):
            return True, _encode(plain.__new__(plain, value) if plain is not str else str.__str__(value), path, depth)
    return False, None


def _encode_foreign(value, path, depth):
    module, name = _module_of(value), type(value).__name__
    try:
        if module in ("numpy", "pandas"):
            is_list, plain = (columns.of_numpy if module == "numpy" else columns.of_pandas)(value)
            return True, _encode_list(plain, path, depth) if is_list else _encode(plain, path, depth + 1)
    except columns.NoForm as e:
        what = f"{path_text(path)} is {_type_name(value)}, which has no form in JSON"
        raise Unencodable(f"{what}: {clean(str(e))}" if str(e) else what) from None
    if _is_frame(value):
        return True, list(_rows_of_frame(value, path))
    if module == "pyspark":
        if name == "DataFrame" and hasattr(value, "collect"):  # of Spark Connect
            return True, _encode_list(value.collect(), path, depth)
        if name == "SparseVector":
            return True, dataframe.vector((0, value.size, value.indices.tolist(), value.values.tolist()))
        if name == "DenseVector" or name.endswith("Matrix") and hasattr(value, "toArray"):
            return True, _encode_list(value.toArray().tolist(), path, depth)
    return False, None


def _is_frame(value):
    return _module_of(value) == "pyspark" and type(value).__name__ == "DataFrame" and hasattr(value, "_jdf")


def _rows_of_frame(frame, path):
    try:
        yield from dataframe.collect(frame, clean)
    except dataframe.Refused as e:
        column, why = e.args
        place = path_text(path) + (": column " + ".".join(column) if column else "")
        raise Unencodable(f"{place}: {why}") from None


def _dict_of_row(row, path):
    fields = list(row.__fields__)
    for i, name in enumerate(fields):
        if name in fields[:i]:
            raise Unencodable(f"{path_text(path)}: two columns are named {name!r}; give one of them another name")
    return dict(zip(fields, row))


def _datetime_text(value):
    days = value.toordinal() - EPOCH
    s = days * texts.DAY_S + value.hour * 3600 + value.minute * 60 + value.second
    ns = s * 10 ** 9 + value.microsecond * 1000
    offset = value.utcoffset()
    if offset is not None:
        shift = offset // datetime.timedelta(microseconds=1) * 1000
        return texts.instant(ns - shift, shift // 10 ** 9)
    if value.fold:
        return _second_of_two(value, ns)
    return texts.clock(ns)


def _second_of_two(value, ns):
    """A time that the clocks of the zone showed twice."""
    try:
        offset = value.astimezone().utcoffset() // datetime.timedelta(seconds=1)
    except (ValueError, OverflowError):
        return texts.clock(ns)
    return texts.instant(ns - offset * 10 ** 9, offset)


PYTHON = (
    (datetime.datetime, _datetime_text),
    ((datetime.date, datetime.time), lambda value: value.isoformat()),
    (datetime.timedelta, lambda value: texts.span(value // datetime.timedelta(microseconds=1), 10 ** 6)),
    (decimal.Decimal, lambda value: texts.number_or_text(value, texts.decimals_are_numbers([value]))),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(value).decode("ascii")),
    ((uuid.UUID, pathlib.PurePath), lambda value: clean(str(value))),
)


def _module_of(value):
    """The package its type is from."""
    return (type(value).__module__ or "").partition(".")[0]


def _type_name(value):
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
