# SPDX-License-Identifier: Apache-2.0
"""From the JSON arguments of a job to the values its function takes, by its annotations.

The gateway has checked the arguments against the signature it knows; the file may be a newer one, so everything is
checked again here. Nothing is coerced from strings but what JSON has no type for. null and absent are the same: the
default if there is one, None for an Optional, else the argument is missing.

Each Kind has both, side by side, so that they agree: `tree` is Mist's type with what we say beside it (format, enum,
anyOf, items, closed; proto/README.md), convert() makes the value from JSON or raises a Refusal that names the place.
The grammar of texts is that of src/domain/arg_format.c. Annotations that are none of these are Any: the value is given
as it came."""

import base64
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import math
import pathlib
import re
import types
import typing
import uuid

from mist.errors import Refusal, words_of
from mist.texts import FOREIGN

SHOWN_MAX = 120
UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
LISTS = {list: list, tuple: tuple, set: set, frozenset: frozenset, collections.deque: collections.deque,
         collections.abc.Sequence: list, collections.abc.MutableSequence: list, collections.abc.Iterable: list,
         collections.abc.Collection: list, collections.abc.Set: set, collections.abc.MutableSet: set}
MAPS = {dict: dict, collections.OrderedDict: collections.OrderedDict, collections.abc.Mapping: dict,
        collections.abc.MutableMapping: dict}
NONE = type(None)

OFFSET = r"(?P<offset>[Zz]|[+-]\d\d(?::?\d\d)(?:(?<=:\d\d):\d\d)?)?"
CLOCK = r"(?P<h>\d\d):(?P<m>\d\d)(?::(?P<s>\d\d)(?:\.(?P<f>\d{1,6})0*)?)?" + OFFSET
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.A)
TIME = re.compile(CLOCK, re.A)
DATE_TIME = re.compile(r"(?P<date>\d{4}-\d\d-\d\d)(?:[Tt ](?P<clock>" + CLOCK + "))?", re.A)
DURATION = re.compile(r"(-?)P(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,6})0*)?S)?)?", re.A)
DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.A)
UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
INTEGER = re.compile(r"-?\d{1,18}", re.A)
DECIMAL_MAX = 1000


def require(is_right, expected, value, path):
    if is_right:
        return
    shown = json.dumps(value, ensure_ascii=False)
    if len(shown) > SHOWN_MAX:
        shown = shown[:SHOWN_MAX] + "…"
    raise Refusal(f"Invalid field {path}: expected {expected}, got {shown}")


def option_of(tree):
    return tree if tree["type"] == "MOption" else {"type": "MOption", "args": [tree]}


class Kind:
    """Anything."""
    tree = {"type": "MAny"}
    takes_null = True      # null is a value, not the absence of one
    is_optional = False

    def convert(self, value, path):
        return value


class Plain(Kind):
    takes_null = False
    NAMES = {int: ("MInt", "an integer"), float: ("MDouble", "a number"), str: ("MString", "a string"),
             bool: ("MBoolean", "true or false")}

    def __init__(self, kind):
        self.kind = kind
        name, self.expected = self.NAMES[kind]
        self.tree = {"type": name}

    def convert(self, value, path):
        if self.kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        require(type(value) is self.kind, self.expected, value, path)
        return value


class Text(Kind):
    """A value that JSON has no type for, by its text."""
    takes_null = False

    def __init__(self, form, expected, make, may_be_number=False):
        self.tree = {"type": "MAny" if may_be_number else "MString", "format": form}
        self.expected, self.make, self.may_be_number = expected, make, may_be_number

    def convert(self, value, path):
        made = None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if isinstance(value, str) or (is_number and self.may_be_number):
            try:
                made = self.make(value)
            except (ValueError, ArithmeticError):
                pass
        require(made is not None, self.expected, value, path)
        return made


def _date(text):
    match = DATE.fullmatch(text)
    return datetime.date(*map(int, match.groups())) if match else None


def _zone(text):
    if not text:
        return None
    if text in "Zz":
        return datetime.timezone.utc
    parts = text[1:].replace(":", "")
    h, m, s = int(parts[:2]), int(parts[2:4]), int(parts[4:] or 0)
    if h > 23 or m > 59 or s > 59:
        raise ValueError
    offset = datetime.timedelta(hours=h, minutes=m, seconds=s)
    return datetime.timezone(-offset if text[0] == "-" else offset)


def _time(text):
    match = TIME.fullmatch(text)
    if not match:
        return None
    fraction = int((match["f"] or "0").ljust(6, "0"))
    return datetime.time(int(match["h"]), int(match["m"]), int(match["s"] or 0), fraction, _zone(match["offset"]))


def _date_time(text):
    match = DATE_TIME.fullmatch(text)
    if not match:
        return None
    return datetime.datetime.combine(_date(match["date"]), _time(match["clock"] or "00:00"))


def _duration(value):
    if not isinstance(value, str):
        return datetime.timedelta(seconds=value)
    match = DURATION.fullmatch(value)
    if not match or not any(match.groups()[1:]):
        return None
    sign, w, d, h, m, s, f = match.groups()
    span = datetime.timedelta(weeks=int(w or 0), days=int(d or 0), hours=int(h or 0), minutes=int(m or 0),
                              seconds=int(s or 0), microseconds=int((f or "0").ljust(6, "0")))
    return -span if sign else span


def _decimal(value):
    if isinstance(value, str):
        return decimal.Decimal(value) if len(value) <= DECIMAL_MAX and DECIMAL.fullmatch(value) else None
    return decimal.Decimal(repr(value))


def _uuid(text):
    return uuid.UUID(text) if UUID.fullmatch(text) else None


def _integer(text):
    return int(text) if INTEGER.fullmatch(text) else None


TEXTS = {
    datetime.datetime: Text("date-time", "a time as 2019-10-07T12:48:23.123+02:00", _date_time),
    datetime.date: Text("date", "a date as 2019-10-07", _date),
    datetime.time: Text("time", "a time of day as 12:48:23", _time),
    datetime.timedelta: Text("duration", "a duration as PT1H30M, or seconds", _duration, True),
    decimal.Decimal: Text("decimal", "a decimal number", _decimal, True),
    uuid.UUID: Text("uuid", "a UUID", _uuid),
    bytes: Text("base64", "bytes in base64", lambda text: base64.b64decode(text, validate=True)),
    bytearray: Text("base64", "bytes in base64", lambda text: bytearray(base64.b64decode(text, validate=True))),
}
INTEGER_KEY = Text("integer", "an integer", _integer)


class Path(Kind):
    takes_null = False
    tree = {"type": "MString"}

    def __init__(self, kind):
        self.kind = kind

    def convert(self, value, path):
        require(isinstance(value, str), "a string", value, path)
        return self.kind(value)


class Values(Kind):
    """One of some values: Literal, Enum."""
    takes_null = False

    def __init__(self, by_json):
        self.by_json = by_json   # (JSON value, value)
        kinds = {type(shown) for shown, _ in by_json}
        name = Plain.NAMES[kinds.pop()][0] if len(kinds) == 1 else "MAny"
        self.tree = {"type": name, "enum": [shown for shown, _ in by_json]}

    def convert(self, value, path):
        for shown, made in self.by_json:
            if shown == value and isinstance(shown, bool) == isinstance(value, bool):
                return made
        shown = ", ".join(json.dumps(v, ensure_ascii=False) for v, _ in self.by_json)
        require(False, shown if len(self.by_json) == 1 else f"one of {shown:.{SHOWN_MAX}}", value, path)


class Flags(Kind):
    """An enum.Flag: the sum of its members' values."""
    takes_null = False
    tree = {"type": "MInt"}
    expected = "an integer"

    def __init__(self, kind):
        self.kind = kind

    def convert(self, value, path):
        number = Plain(int).convert(value, path)
        known = 0
        for member in self.kind.__members__.values():
            known |= member.value
        require(number >= 0 and not number & ~known, f"a sum of values of {self.kind.__name__}", value, path)
        return self.kind(number)


class Optional(Kind):
    takes_null = False
    is_optional = True

    def __init__(self, inner):
        self.inner = inner
        self.tree = option_of(inner.tree)

    def convert(self, value, path):
        return None if value is None else self.inner.convert(value, path)


class Union(Kind):
    takes_null = False

    def __init__(self, alternatives):
        self.alternatives = alternatives
        self.tree = {"type": "MAny", "anyOf": [a.tree for a in alternatives]}

    def convert(self, value, path):
        exact = [a for a in self.alternatives if isinstance(a, Plain) and a.kind is type(value) is not str]
        refusals = []
        for alternative in exact + self.alternatives:
            try:
                return alternative.convert(value, path)
            except Refusal as e:
                refusals.append(str(e))
        expected = [a.expected for a in self.alternatives if hasattr(a, "expected")]
        if len(expected) != len(self.alternatives):
            raise Refusal("; ".join(dict.fromkeys(refusals)))
        require(False, " or ".join(expected), value, path)


class List(Kind):
    takes_null = False
    expected = "a list"

    def __init__(self, kind, item):
        self.kind, self.item = kind, item
        self.tree = {"type": "MList", "args": [item.tree]}

    def convert(self, value, path):
        require(isinstance(value, list), self.expected, value, path)
        return _collected(self.kind, (self.item.convert(v, f"{path}[{i}]") for i, v in enumerate(value)), path)


class Tuple(Kind):
    """Of a fixed length."""
    takes_null = False

    def __init__(self, items):
        self.items = items
        self.expected = f"a list of {len(items)}"
        self.tree = {"type": "MList", "args": [dict(Kind.tree)], "items": [item.tree for item in items]}

    def convert(self, value, path):
        require(isinstance(value, list) and len(value) == len(self.items), self.expected, value, path)
        return tuple(item.convert(v, f"{path}[{i}]") for i, (item, v) in enumerate(zip(self.items, value)))


class Map(Kind):
    takes_null = False
    expected = "an object"

    def __init__(self, kind, key, value):
        self.kind, self.key, self.value = kind, key, value
        self.tree = {"type": "MMap", "args": [key.tree, value.tree]}

    def convert(self, value, path):
        require(isinstance(value, dict), self.expected, value, path)
        made = self.kind()
        for k, v in value.items():
            key = self.key.convert(k, f"{path}.{k}")
            if key in made:
                raise Refusal(f"Invalid field {path}.{k}: another key has this value")
            made[key] = self.value.convert(v, f"{path}.{k}")
        return made


class Object(Kind):
    """Named fields: a dataclass, a TypedDict, a NamedTuple."""
    takes_null = False
    expected = "an object"

    def __init__(self, make, fields):
        self.make, self.fields = make, fields
        self.tree = {"type": "MObj", "fields": {f.name: f.tree() for f in fields}, "closed": True}

    def convert(self, value, path):
        require(isinstance(value, dict), self.expected, value, path)
        known = {f.name for f in self.fields}
        for name in value:
            if name not in known:
                raise Refusal(f"Invalid field {path}.{name}: there is no such field")
        values = convert_fields(self.fields, value, path + ".")
        try:
            return self.make(**values)
        except Exception as e:  # the class's own check of its values (__post_init__)
            raise Refusal(f"Invalid field {path}: {type(e).__name__}: {words_of(e)}") from e


class Again(Kind):
    """A type within itself: the tree has an end there, the values have not."""
    takes_null = False

    def __init__(self, annotation, again):
        self.annotation = annotation
        self.tree = {"type": "MAny", "again": again}

    def convert(self, value, path):
        return kind_of(self.annotation).convert(value, path)


@dataclasses.dataclass
class Field:
    """An argument, or a field of an object."""
    name: str
    annotation: object
    has_default: bool
    positional_only: bool = False
    above: tuple = ()

    def __post_init__(self):
        self.kind = kind_of(self.annotation, self.above)

    @property
    def is_required(self):
        return not self.has_default and not self.kind.is_optional

    def tree(self):
        return option_of(self.kind.tree) if self.has_default else self.kind.tree


def convert_fields(fields, given, prefix):
    """The values by name; those with a default that are absent or null are left to it."""
    values = {}
    for field in fields:
        path = prefix + field.name
        value = given.get(field.name)
        if value is not None:
            values[field.name] = field.kind.convert(value, path)
        elif field.has_default:
            continue
        elif field.is_required and not (field.kind.takes_null and field.name in given):
            raise Refusal(f"Invalid field {path}: it is missing and has no default")
        else:
            values[field.name] = None
    return values


def _collected(kind, values, path):
    try:
        return kind(values)
    except TypeError:
        raise Refusal(f"Invalid field {path}: expected values that can stand in a {kind.__name__}") from None


def hints_of(target):
    try:
        return typing.get_type_hints(target)
    except NameError as e:
        raise Refusal(f"the annotations of {getattr(target, '__name__', target)} cannot be read: {e}") from None
    except TypeError:
        return {}  # a callable object without annotations


def kind_of(annotation, above=()):
    """`above` are the types around: one that contains itself has no end."""
    for way in ("__supertype__", "__value__"):  # NewType, type X = …
        while hasattr(annotation, way) and not inspect.isclass(annotation):
            inner = getattr(annotation, way)
            if not inspect.isclass(inner):  # type X = list[X]: of a class, Again tells
                if any(annotation is a for a in above):
                    return Kind()
                above = (*above, annotation)
            annotation = inner
    if isinstance(annotation, dataclasses.InitVar):
        annotation = annotation.type
    origin = typing.get_origin(annotation)
    if origin is getattr(typing, "Annotated", None) and origin is not None:
        return kind_of(typing.get_args(annotation)[0], above)
    if origin in (getattr(typing, "Required", None), getattr(typing, "NotRequired", None)) and origin is not None:
        return kind_of(typing.get_args(annotation)[0], above)
    if origin in UNIONS:
        return _union(typing.get_args(annotation), above)
    if origin is typing.Literal:
        return _literal(typing.get_args(annotation))
    if annotation is NONE:
        return Optional(Kind())
    if inspect.isclass(annotation) and origin is None:
        made = _of_class(annotation, above)
        if made is not None:
            return made
    whole = origin or annotation
    is_hashable = isinstance(whole, collections.abc.Hashable)
    return is_hashable and _of_many(whole, typing.get_args(annotation), above) or Kind()


def _of_class(annotation, above):
    if annotation in Plain.NAMES:
        return Plain(annotation)
    if annotation in TEXTS:
        return TEXTS[annotation]
    if issubclass(annotation, enum.Flag):
        return Flags(annotation)
    if issubclass(annotation, enum.Enum):
        return _enum(annotation)
    if issubclass(annotation, pathlib.PurePath):
        return Path(annotation)
    if annotation in above:
        return Again(annotation, sum(map(inspect.isclass, above[above.index(annotation) + 1:])))
    above = (*above, annotation)
    if dataclasses.is_dataclass(annotation):
        return Object(annotation, _fields_of_dataclass(annotation, above))
    if issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        hints = hints_of(annotation)
        return Object(annotation, [Field(n, hints.get(n, typing.Any), n in annotation._field_defaults, above=above)
                                   for n in annotation._fields])
    if issubclass(annotation, dict) and hasattr(annotation, "__total__"):
        hints = hints_of(annotation)
        return Object(annotation, [Field(n, t, n not in annotation.__required_keys__, above=above)
                                   for n, t in hints.items()])
    return None


def _of_many(origin, args, above):
    if origin in LISTS:
        kind = LISTS[origin]
        if kind is tuple and args and Ellipsis not in args:
            return Tuple([kind_of(a, above) for a in args if a != ()])
        inner = [a for a in args if a is not Ellipsis]
        return List(kind, kind_of(inner[0], above) if len(inner) == 1 else Kind())
    if origin in MAPS:
        key, value = args if len(args) == 2 else (str, typing.Any)
        return Map(MAPS[origin], _key(key, above), kind_of(value, above))
    return None


def _key(annotation, above):
    """JSON's names are texts; what can be made of one can be a key."""
    if annotation is int:
        return INTEGER_KEY
    kind = kind_of(annotation, above)
    if isinstance(kind, Text):
        return Text(kind.tree["format"], kind.expected, kind.make)
    return kind if isinstance(kind, (Values, Path)) else Plain(str)


def _union(alternatives, above):
    kinds = [kind_of(a, above) for a in alternatives if a is not NONE]
    is_optional = len(kinds) < len(alternatives) or any(k.is_optional for k in kinds)
    kinds = [k.inner if isinstance(k, Optional) else k for k in kinds]
    if any(type(k) is Kind for k in kinds):
        made = Kind()
    else:
        made = kinds[0] if len(kinds) == 1 else Union(kinds)
    return Optional(made) if is_optional else made


def _literal(values):
    """None among them makes it optional."""
    shown = []
    for value in values:
        if isinstance(value, enum.Enum):
            shown += [(s, v) for s, v in _enum(type(value)).by_json if v is value]
        elif value is not None:
            shown.append((value, value))
    if not all(_is_in_json(s) for s, _ in shown):
        return Kind()
    made = Values(shown)
    return Optional(made) if None in values else made


def _is_in_json(value):
    """Whether the gateway's JSON has this very value."""
    if type(value) is int:
        return -2 ** 63 <= value < 2 ** 63
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or (type(value) is str and not FOREIGN.search(value))


def _enum(kind):
    """By their values; those whose value is none of JSON's, by their names."""
    shown = []
    for name, member in kind.__members__.items():
        plain = next((t for t in (bool, int, float, str) if isinstance(member.value, t)), None)
        value = plain(member.value) if plain else None
        if not _is_in_json(value):
            value = name
        if all(value != s or type(value) is not type(s) for s, _ in shown):
            shown.append((value, member))
    return Values(shown) if shown else Kind()


def _fields_of_dataclass(kind, above):
    """What its constructor takes."""
    hints, told = hints_of(kind), {f.name: f for f in dataclasses.fields(kind)}
    made = []
    for parameter in list(inspect.signature(kind).parameters.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = hints.get(parameter.name, parameter.annotation)
        if annotation is parameter.empty or isinstance(annotation, str):
            annotation = told[parameter.name].type if parameter.name in told else typing.Any
        has_default = parameter.default is not parameter.empty
        made.append(Field(parameter.name, annotation, has_default, above=above))
    return made


def convert(function, arguments):
    """The values by name, for Function.call(). Raises a Refusal that names the argument. Extra names are left out,
    unless the function takes **kwargs: then they arrive as they are."""
    values = convert_fields(function.parameters, arguments, "")
    if function.takes_extra:
        known = {p.name for p in function.parameters}
        values.update((name, value) for name, value in arguments.items()
                      if name not in known and not (function.context and name == function.context.name))
    return values
