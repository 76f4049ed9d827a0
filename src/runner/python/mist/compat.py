# SPDX-License-Identifier: Apache-2.0
"""Functions written for Mist's own Python library, mistpy 1.1, run as they are.

Where the worker's Python has that library, its decorators are the real ones; where it has not, a stand-in for them is
found last on sys.path. Both leave the same marks, on the function or on one of the functions it wraps: type_choice,
fn_tags, args_def. MistpyFunction reads them once. The library's own wrappers do not say what they wrap, so that is
taken from their closures.

The Spark object is the first parameter, all others are given by name: those of with_args, then whatever else the
function was written to take, as MAny. One that was left out has the default it was declared with, else the function's
own, else None."""

import inspect
import os
import sys
import typing

from mist import spark, streaming
from mist.errors import Refusal
from mist.function import Function, Parameter

STAND_IN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stand_in")
PLAIN = (str, bool, int, float)  # bool is an int for Python: it comes first
SPARK_OBJECTS = {
    "sp_context": lambda context: context.spark.sparkContext,
    "sp_session": lambda context: context.spark,
    "sql_context": lambda context: spark.sql_context(context.spark),
    "hive_context": lambda context: spark.hive_context(context.spark),
    "hive_session": lambda context: spark.hive_session(context.spark),
    "streaming": lambda context: streaming.make(context.spark, context.job_id),
}


def make_importable():
    """Last on sys.path: the real library, wherever it comes from, goes before the stand-in."""
    if STAND_IN not in sys.path:
        sys.path.append(STAND_IN)


def is_mistpys(target):
    return any("type_choice" in layer or "args_def" in layer for layer in map(_names_of, _layers(target)))


class MistpyFunction(Function):
    def __init__(self, target):
        layers = list(_layers(target))
        self.target = target
        self.spark_object = _mark(layers, "type_choice", None)
        self.tags = sorted(_mark(layers, "fn_tags", ()))
        self.context = None
        self.takes_extra = False
        self.ignores_extra = True  # as Mist has it
        self.parameters = []
        self._absent = {}  # name → what it is given when the job has no such argument
        if self.spark_object not in SPARK_OBJECTS:
            name = getattr(layers[-1], "__name__", target)
            raise Refusal(f"{name} has with_args, but it has none of on_spark_context, on_spark_session, "
                          "on_sql_context, on_hive_context, on_hive_session and on_streaming_context")
        own = list(inspect.signature(layers[-1]).parameters.values())[1:]
        self._take_declared(_mark(layers, "args_def", ()), {p.name for p in own if p.default is not p.empty})
        self._take_own(own)

    def _take_declared(self, declared, have_own_default):
        for argument in declared:
            is_optional = bool(argument.is_optional)
            self.parameters.append(Parameter(argument.name, annotation_of(argument.type_hint), is_optional, False))
            default = getattr(argument, "default", None)
            if is_optional and (default is not None or argument.name not in have_own_default):
                self._absent[argument.name] = default

    def _take_own(self, own):
        known = {p.name for p in self.parameters}
        for parameter in own:
            if parameter.kind is parameter.VAR_KEYWORD:
                self.takes_extra = True
            elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                if parameter.name not in known:
                    has_default = parameter.default is not parameter.empty
                    self.parameters.append(Parameter(parameter.name, typing.Any, has_default, False))

    def call(self, context, values):
        return self.target(SPARK_OBJECTS[self.spark_object](context), **{**self._absent, **values})


def annotation_of(hint):
    """What Python writes for a hint of mistpy's."""
    if hasattr(hint, "main_type"):
        return typing.List[annotation_of(hint.main_type)]
    if inspect.isclass(hint):
        for kind in (*PLAIN, list):
            if issubclass(hint, kind):
                return kind
    return typing.Any


def _layers(target):
    """`target`, what it wraps, what that wraps, …; the last is the user's own function."""
    seen = set()
    while callable(target) and id(target) not in seen:
        seen.add(id(target))
        yield target
        target = _wrapped_by(target)


def _wrapped_by(function):
    if "__wrapped__" in _names_of(function):
        return function.__wrapped__
    if getattr(function, "__module__", None) == "mistpy.decorators" and inspect.isfunction(function):
        captured = inspect.getclosurevars(function).nonlocals
        return captured.get("fn") or captured.get("f")
    return None


def _names_of(layer):
    return getattr(layer, "__dict__", {})


def _mark(layers, name, otherwise):
    """Of the outermost layer that has it."""
    return next((_names_of(layer)[name] for layer in layers if name in _names_of(layer)), otherwise)
