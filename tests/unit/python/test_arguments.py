# SPDX-License-Identifier: Apache-2.0
import dataclasses
from typing import Any, Dict, List, Optional, Set, Tuple

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
    assert call(f, r={"low": 0, "extra": 1}, rs=[{"low": 0.5, "high": 2}]) == (Range(0.0, 1.0), [Range(0.5, 2.0)])


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
])
def test_a_wrong_value_is_refused_by_name(annotation, value, sentence):
    with pytest.raises(Refusal, match=sentence):
        call(lambda_of(annotation), a=value)


def test_a_long_value_is_not_repeated_whole():
    with pytest.raises(Refusal) as refusal:
        call(lambda_of(int), a="x" * 100000)
    assert len(str(refusal.value)) < 250
