# SPDX-License-Identifier: Apache-2.0
"""The decorators of Mist's functions.

    @with_args(arg("numbers", list_type(int)), arg("by", int, default=2), opt_arg("note", str))
    @on_spark_context
    def multiplied(sc, numbers, by, note):
        ...

They leave on the function what the runner, and Mist's own, looks for: type_choice, which Spark object is its first
parameter; fn_tags; and args_def, the arguments it is given by name. A decorated function can be called as it was
written, and what was declared with a default or as optional may be left out."""

import functools
import inspect

__all__ = ["arg", "list_type", "on_hive_context", "on_hive_session", "on_spark_context", "on_spark_session",
           "on_sql_context", "on_streaming_context", "opt_arg", "with_args"]


class Argument:
    def __init__(self, name, type_hint, default, is_optional):
        self.name = name
        self.type_hint = type_hint
        self.default = default
        self.is_optional = is_optional


class ListType:
    def __init__(self, main_type):
        self.container_type = list
        self.main_type = main_type


def arg(name, type_hint, default=None, optional=False):
    if optional:
        return Argument(name, type_hint, None, True)
    return Argument(name, type_hint, default, default is not None)


def opt_arg(name, type_hint):
    return arg(name, type_hint, optional=True)


def list_type(main_type):
    return ListType(main_type)


def with_args(*arguments):
    def decorate(function):
        @functools.wraps(function)
        def call(*given, **named):
            own = inspect.signature(inspect.unwrap(function)).parameters
            told = set(list(own)[:len(given)]) | set(named)
            for argument in arguments:
                if argument.is_optional and argument.name not in told:
                    has_own = argument.name in own and own[argument.name].default is not inspect.Parameter.empty
                    if argument.default is not None or not has_own:
                        named[argument.name] = argument.default
            return function(*given, **named)

        call.args_def = arguments
        return call

    return decorate


def _on(type_choice, *tags):
    def decorate(function):
        @functools.wraps(function)
        def call(*given, **named):
            return function(*given, **named)

        call.type_choice = type_choice
        call.fn_tags = set(tags)
        return call

    return decorate


on_spark_context = _on("sp_context")
on_spark_session = _on("sp_session", "sql")
on_sql_context = _on("sql_context", "sql")
on_hive_context = _on("hive_context", "hive", "sql")
on_hive_session = _on("hive_session", "hive", "sql")
on_streaming_context = _on("streaming", "streaming")
