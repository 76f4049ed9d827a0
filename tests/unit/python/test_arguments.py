# SPDX-License-Identifier: Apache-2.0
import collections
import dataclasses
import datetime
import decimal
import enum
import pathlib
import uuid
from typing import (AbstractSet, Annotated, Any, Deque, Dict, List, Literal, NamedTuple, NewType, Optional, OrderedDict, Set,
                    Tuple, TypedDict, Union)

import pytest

from mist.arguments import convert
from mist.errors import Refusal
from mist.function import Function


@dataclasses.dataclass
class Range:
    low: float
    high: float = 1.0

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError("low is above high")


def call(target, **arguments):
    function = Function(target)
    return function.call(None, convert(function, arguments))


def test_values_of_the_right_type_pass_through():
    def f(a: int, b: float, c: str, d: bool, e: List[int], g: Dict[str, int], h):
        return a, b, c, d, e, g, h
    given = {"a": 1, "b": 2.5, "c": "x", "d": True, "e": [1, 2], "g": {"k": 3}, "h": [None]}
    assert call(f, **given) == tuple(given.values())


def test_a_whole_number_is_an_int_and_an_int_is_a_float():
    def f(a: int, b: float):
        return a, b
    a, b = call(f, a=2.0, b=3)
    assert (a, type(a), b, type(b)) == (2, int, 3.0, float)


def test_lists_become_what_is_annotated():
    def f(a: Set[int], b: Tuple[str, ...], c: List[float]):
        return a, b, c
    assert call(f, a=[1, 1], b=["x"], c=[1]) == ({1}, ("x",), [1.0])


def test_defaults_stand_for_what_is_absent_or_null():
    def f(a: int = 10, b: Optional[str] = "x", c: Optional[int] = None):
        return a, b, c
    assert call(f) == (10, "x", None)
    assert call(f, a=None, b=None, c=None) == (10, "x", None)
    assert call(f, a=1, b="y", c=2) == (1, "y", 2)


def test_an_optional_without_default_is_none_when_absent():
    assert call(lambda_of(Optional[int])) is None


def lambda_of(annotation):
    def f(a):
        return a
    f.__annotations__ = {"a": annotation}
    return f


def test_a_dataclass_is_constructed_with_its_defaults():
    def f(r: Range, rs: List[Range]):
        return r, rs
    assert call(f, r={"low": 0}, rs=[{"low": 0.5, "high": 2}]) == (Range(0.0, 1.0), [Range(0.5, 2.0)])


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Options(TypedDict, total=False):
    limit: int


class Pair(NamedTuple):
    x: int
    y: datetime.date = datetime.date(2020, 1, 2)


@dataclasses.dataclass
class Node:
    at: datetime.date
    below: "List[Node]" = dataclasses.field(default_factory=list)
    seed: dataclasses.InitVar[int] = 0


UTC = datetime.timezone.utc
DAY, ID = datetime.date(2019, 10, 7), "0190f0a0-0000-7000-8000-00000000abcd"


@pytest.mark.parametrize("annotation, value, expected", [
    (datetime.date, "2019-10-07", DAY),
    (datetime.datetime, "2019-10-07T12:48:23", datetime.datetime(2019, 10, 7, 12, 48, 23)),
    (datetime.datetime, "2019-10-07", datetime.datetime(2019, 10, 7)),
    (datetime.datetime, "2019-10-07T12:48:23.123+0000", datetime.datetime(2019, 10, 7, 12, 48, 23, 123000, UTC)),
    (datetime.datetime, "2019-10-07 12:48:23.123456000Z", datetime.datetime(2019, 10, 7, 12, 48, 23, 123456, UTC)),
    (datetime.datetime, "1850-01-01T00:00-04:56:02",
     datetime.datetime(1850, 1, 1, tzinfo=datetime.timezone(-datetime.timedelta(hours=4, minutes=56, seconds=2)))),
    (datetime.time, "12:48", datetime.time(12, 48)),
    (datetime.timedelta, "P1DT2H3M4.5S", datetime.timedelta(1, 7384, 500000)),
    (datetime.timedelta, "-PT0.000001S", -datetime.timedelta(microseconds=1)),
    (datetime.timedelta, 90, datetime.timedelta(seconds=90)),
    (decimal.Decimal, "1.10", decimal.Decimal("1.10")), (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
    (uuid.UUID, ID, uuid.UUID(ID)), (bytes, "AP8=", b"\0\xff"), (bytearray, "AP8=", bytearray(b"\0\xff")),
    (pathlib.Path, "a/b", pathlib.Path("a/b")),
    (Colour, "red", Colour.RED), (Colour, "PAIR", Colour.PAIR), (Level, 1, Level.LOW),
    (Literal["x", 2], 2, 2), (Optional[Literal["x"]], None, None),
    (Union[int, float], 2.0, 2.0), (Union[int, float], 2, 2), (Union[float, int], 2, 2),
    (Union[datetime.date, str], "2019-10-07", DAY), (Union[datetime.date, str], "today", "today"),
    (Union[int, str, None], None, None), (Union[bool, int], True, True), (Union[int, bool], True, True),
    (Tuple[int, str], [1, "x"], (1, "x")), (Dict[int, datetime.date], {"1": "2019-10-07"}, {1: DAY}),
    (Dict[Colour, int], {"red": 1}, {Colour.RED: 1}), (List[datetime.date], ["2019-10-07"], [DAY]),
    (Options, {}, {}), (Options, {"limit": 1}, {"limit": 1}),
    (Pair, {"x": 1}, Pair(1)), (Pair, {"x": 1, "y": "2019-10-07"}, Pair(1, DAY)),
    (Node, {"at": "2019-10-07", "below": [{"at": "2019-10-07", "seed": 1}]}, Node(DAY, [Node(DAY)])),
    (Rights, 3, Rights.READ | Rights.WRITE), (Deque[int], [1], collections.deque([1])), (AbstractSet[int], [1, 1], {1}),
    (OrderedDict[str, float], {"b": 1, "a": 2}, collections.OrderedDict(b=1.0, a=2.0)),
    (Annotated[int, "a note"], 1, 1), (NewType("Id", str), "x", "x"),
])
def test_a_value_becomes_what_is_annotated(annotation, value, expected):
    made = call(lambda_of(annotation), a=value)
    assert made == expected and type(made) is type(expected)


def test_extra_names_are_left_out_unless_the_function_takes_them():
    def narrow(a: int):
        return a

    def wide(ctx, a: int, **more):
        return a, more
    assert call(narrow, a=1, b=2) == 1
    assert call(wide, a=1, b=2, ctx="not the context") == (1, {"b": 2})


def test_null_is_a_value_for_any_and_missing_is_not():
    assert call(lambda_of(Any), a=None) is None
    with pytest.raises(Refusal, match="Invalid field a: it is missing"):
        call(lambda_of(Any))


@pytest.mark.parametrize("annotation, value, sentence", [
    (int, "ten", 'Invalid field a: expected an integer, got "ten"'),
    (int, 1.5, "Invalid field a: expected an integer, got 1.5"),
    (int, True, "Invalid field a: expected an integer, got true"),
    (float, "1", 'Invalid field a: expected a number, got "1"'),
    (float, False, "Invalid field a: expected a number, got false"),
    (bool, 1, "Invalid field a: expected true or false, got 1"),
    (str, 1, "Invalid field a: expected a string, got 1"),
    (str, None, "Invalid field a: it is missing and has no default"),
    (list, {"x": 1}, 'Invalid field a: expected a list, got {"x": 1}'),
    (List[int], [1, "b"], r'Invalid field a\[1\]: expected an integer, got "b"'),
    (List[int], [1, None], r"Invalid field a\[1\]: expected an integer, got null"),
    (dict, [], r"Invalid field a: expected an object, got \[\]"),
    (Dict[str, int], {"k": "v"}, 'Invalid field a.k: expected an integer, got "v"'),
    (Range, {"high": 2}, "Invalid field a.low: it is missing"),
    (Range, {"low": "x"}, 'Invalid field a.low: expected a number, got "x"'),
    (Range, {"low": 3}, "Invalid field a: ValueError: low is above high"),
    (Optional[int], "x", 'Invalid field a: expected an integer, got "x"'),
    (Range, {"low": 0, "extra": 1}, "Invalid field a.extra: there is no such field"),
    (Options, {"limits": 1}, "Invalid field a.limits: there is no such field"),
    (datetime.date, "2023-02-29", 'expected a date as 2019-10-07, got "2023-02-29"'),
    (datetime.date, "2019-10-07T00:00", "expected a date"), (datetime.date, 20191007, "expected a date"),
    (datetime.datetime, "2019-10-07T12:48:23.1234567", "expected a time"),
    (datetime.datetime, "2019-10-07T24:00", "expected a time"), (datetime.datetime, True, "expected a time"),
    (datetime.timedelta, "P1Y", "expected a duration"), (datetime.timedelta, "P", "expected a duration"),
    (datetime.timedelta, 1e300, "expected a duration"), (datetime.timedelta, True, "expected a duration"),
    (decimal.Decimal, "NaN", "expected a decimal number"), (decimal.Decimal, "1e99999", "expected a decimal number"),
    (uuid.UUID, "{" + ID + "}", "expected a UUID"), (bytes, "A-_A", "expected bytes"), (bytes, "A", "expected bytes"),
    (Colour, "RED", 'expected one of "red", "PAIR", got "RED"'), (Level, True, "expected 1, got true"),
    (Rights, 8, "expected a sum of values of Rights, got 8"), (Rights, "READ", "expected an integer"),
    (Literal[1], True, "expected 1, got true"), (Literal["x"], None, "it is missing"),
    (Union[int, str], [1], r"Invalid field a: expected an integer or a string, got \[1\]"),
    (Tuple[int, str], [1], r"Invalid field a: expected a list of 2, got \[1\]"),
    (Tuple[int, str], [1, 2], r"Invalid field a\[1\]: expected a string, got 2"),
    (Dict[int, int], {"x": 1}, 'Invalid field a.x: expected an integer, got "x"'),
    (Dict[int, int], {"1": 1, "01": 2}, "Invalid field a.01: another key has this value"),
    (Set[list], [[1]], "Invalid field a: expected values that can stand in a set"),
])
def test_a_wrong_value_is_refused_by_name(annotation, value, sentence):
    with pytest.raises(Refusal, match=sentence):
        call(lambda_of(annotation), a=value)


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(Refusal) as refusal:
        call(lambda_of(int), a="x" * 100000)
    assert len(str(refusal.value)) < 250
