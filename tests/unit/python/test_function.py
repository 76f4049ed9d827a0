# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import pathlib
import typing
import uuid
from typing import Any, Dict, List, Literal, Optional, Union

import pytest

import mist
from mist.function import Function

INT, DOUBLE, STRING, ANY = ({"type": name} for name in ("MInt", "MDouble", "MString", "MAny"))


def option(tree):
    return {"type": "MOption", "args": [tree]}


def execute(target):
    return Function(target).signature()["execute"]


@dataclasses.dataclass
class Point:
    x: int
    y: Optional[float]
    name: str = "p"


@dataclasses.dataclass
class Tree:
    value: int
    children: List[Tree]


def test_plain_annotations_become_mists_types():
    def f(a: int, b: float, c: str, d: bool, e, g: Any):
        pass
    assert execute(f) == {"a": INT, "b": DOUBLE, "c": STRING, "d": {"type": "MBoolean"}, "e": ANY, "g": ANY}


def test_lists_and_maps_carry_their_types():
    def f(a: list, b: List[int], c: dict, d: Dict[str, List[str]], e: list[Optional[int]], g: tuple[int, ...]):
        pass
    of = {"type": "MList", "args": [INT]}
    assert execute(f) == {
        "a": {"type": "MList", "args": [ANY]}, "b": of, "c": {"type": "MMap", "args": [STRING, ANY]},
        "d": {"type": "MMap", "args": [STRING, {"type": "MList", "args": [STRING]}]},
        "e": {"type": "MList", "args": [option(INT)]}, "g": of}


def test_a_default_and_an_optional_are_one_option_not_two():
    def f(a: int = 1, b: Optional[int] = None, c: Optional[int] = 5, d: Union[int, None] = None, e=None):
        pass
    assert execute(f) == {"a": option(INT), "b": option(INT), "c": option(INT), "d": option(INT), "e": option(ANY)}


def test_an_optional_needs_no_default():
    def f(a: Optional[str]):
        pass
    assert execute(f) == {"a": option(STRING)}


def test_a_union_of_several_is_any_for_mist_and_says_which_for_us():
    def f(a: Union[int, str], b: Union[int, str, None], c: Union[int, Any]):
        pass
    either = {"type": "MAny", "anyOf": [INT, STRING]}
    assert execute(f) == {"a": either, "b": option(either), "c": ANY}


def test_a_dataclass_is_an_object():
    def f(p: Point):
        pass
    assert execute(f)["p"] == {"type": "MObj", "closed": True,
                               "fields": {"x": INT, "y": option(DOUBLE), "name": option(STRING)}}


def test_a_dataclass_that_contains_itself_has_an_end():
    def f(t: Tree):
        pass
    assert execute(f)["t"] == {"type": "MObj", "closed": True,
                               "fields": {"value": INT, "children": {"type": "MList", "args": [{"type": "MAny", "again": 0}]}}}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Options(typing.TypedDict, total=False):
    limit: int


Id = typing.NewType("Id", int)


class Pair(typing.NamedTuple):
    x: int
    y: int = 2


def test_an_alias_that_names_itself_has_an_end():
    """As `type Nested = list[Nested]` makes it, where Python has that."""
    class Alias:
        __name__ = "Nested"
    nested = Alias()
    nested.__value__ = typing.List[nested]
    assert mist.arguments.kind_of(nested).tree == {"type": "MList", "args": [{"type": "MAny"}]}
    assert mist.arguments.kind_of(nested).convert([1, ["x"]], "a") == [1, ["x"]]


def test_what_json_has_no_type_for_is_text_of_a_format():
    def f(a: datetime.date, b: datetime.datetime, c: datetime.time, d: datetime.timedelta, e: decimal.Decimal,
          g: uuid.UUID, h: bytes, i: pathlib.Path):
        pass
    formats = {n: (t["type"], t.get("format")) for n, t in execute(f).items()}
    assert formats == {"a": ("MString", "date"), "b": ("MString", "date-time"), "c": ("MString", "time"),
                       "d": ("MAny", "duration"), "e": ("MAny", "decimal"), "g": ("MString", "uuid"),
                       "h": ("MString", "base64"), "i": ("MString", None)}


def test_values_tuples_and_named_fields_say_more_than_mists_types():
    def f(a: Colour, b: Level, c: Literal["x", 1, None], d: tuple[int, str], e: dict[int, float], g: Options, h: Pair,
          i: Id, j: Literal["x", "y"]):
        pass
    assert execute(f) == {
        "a": {"type": "MString", "enum": ["red", "blue", "PAIR"]}, "b": {"type": "MInt", "enum": [1]},
        "c": option({"type": "MAny", "enum": ["x", 1]}),
        "d": {"type": "MList", "args": [ANY], "items": [INT, STRING]},
        "e": {"type": "MMap", "args": [{"type": "MString", "format": "integer"}, DOUBLE]},
        "g": {"type": "MObj", "closed": True, "fields": {"limit": option(INT)}},
        "h": {"type": "MObj", "closed": True, "fields": {"x": INT, "y": option(INT)}},
        "i": INT, "j": {"type": "MString", "enum": ["x", "y"]}}


def test_what_becomes_of_other_arguments_is_said_where_it_is_not_the_gateways_to_say():
    assert "extraArguments" not in Function(lambda a: a).signature()
    assert Function(lambda a, **more: a).signature()["extraArguments"] == "taken"


def test_the_context_is_no_argument_whatever_it_is_called():
    def by_name(ctx, a: int):
        return ctx, a

    def by_other_name(context, a: int):
        return context, a

    def by_type(c: mist.Context, a: int):
        return c, a

    for f in (by_name, by_other_name, by_type):
        function = Function(f)
        assert list(function.signature()["execute"]) == ["a"]
        assert function.call("the context", {"a": 1}) == ("the context", 1)


def test_a_function_without_a_context_works():
    function = Function(lambda a: a)
    assert function.signature()["execute"] == {"a": ANY}
    assert function.call("the context", {"a": 1}) == 1


def test_an_argument_named_context_that_is_annotated_is_an_argument():
    def f(context: str):
        return context
    assert execute(f) == {"context": STRING}


def test_only_the_first_parameter_can_be_the_context():
    def f(a: int, ctx):
        pass
    assert execute(f) == {"a": INT, "ctx": ANY}


def test_positional_only_and_keyword_only_arguments_are_passed():
    def f(ctx, a, /, b, *, c):
        return a, b, c
    assert Function(f).call(None, {"a": 1, "b": 2, "c": 3}) == (1, 2, 3)


def test_the_decorator_leaves_the_function_callable_and_keeps_name_and_tags():
    @mist.function
    def plain(a):
        return a + 1

    @mist.function(name="other", tags=["sql", "hive"])
    def named(a):
        return a + 2

    assert plain(1) == 2 and plain.__mist__ == {"name": "plain", "tags": []}
    assert named(1) == 3 and named.__mist__ == {"name": "other", "tags": ["sql", "hive"]}
    assert Function(named).signature() == {"lang": "python", "execute": {"a": ANY}, "tags": ["sql", "hive"]}


def test_a_decorator_used_wrongly_says_how():
    with pytest.raises(TypeError, match="write @mist.function"):
        mist.function("name")


def test_an_annotation_that_cannot_be_read_is_named():
    def f(a: NoSuchType):  # noqa: F821
        pass
    with pytest.raises(mist.errors.Refusal, match="NoSuchType"):
        Function(f)


def test_a_context_can_be_made_in_a_users_test(caplog):
    context = mist.Context("job", attempt=2)
    context.progress(0.5, "half")
    context.progress(note="on its way")
    context.log.warning("seen")
    assert not context.cancelled and context.attempt == 2 and context.external_id is None
    assert "seen" in caplog.text
    for wrong, shown in (float("nan"), "nan"), ("half", "'half'"), ([1], r"\[1\]"):
        with pytest.raises(ValueError, match=f"^progress is a number from 0 to 1, not {shown}; a note is the second argument$"):
            context.progress(wrong)
    with pytest.raises(TypeError, match="a number from 0 to 1, a note, or both"):
        context.progress()
