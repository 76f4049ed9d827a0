# SPDX-License-Identifier: Apache-2.0
"""A function as Mist sees it: its name, its tags and the types of its arguments.

The decorator only marks: what it returns is the user's own function, which stays callable from a test or a script.
The Function object is made when the function is loaded. It reads the signature once; arguments.py says what types
annotations are and converts by it, and signature() answers `describe` with it."""

import inspect
import typing

from mist.arguments import Field, hints_of
from mist.context import Context

CONTEXT_NAMES = ("ctx", "context")
Parameter = Field


def function(target=None, *, name=None, tags=()):
    """Marks a function for Mist: `@mist.function`, or `@mist.function(name="count", tags=["sql"])`."""
    tags = list(tags)
    if isinstance(target, str) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError('write @mist.function, or @mist.function(name="…", tags=["…"])')

    def mark(user_function):
        user_function.__mist__ = {"name": name or user_function.__name__, "tags": tags}
        return user_function

    return mark if target is None else mark(target)


class Function:
    def __init__(self, target):
        self.target = target
        self.tags = list(getattr(target, "__mist__", {}).get("tags", ()))
        self.takes_extra = False      # arguments that it does not name
        self.ignores_extra = False
        self.context = None
        self.parameters = []
        hints = hints_of(target)
        for parameter in inspect.signature(target).parameters.values():
            annotation = hints.get(parameter.name, typing.Any)
            if parameter.kind is parameter.VAR_KEYWORD:
                self.takes_extra = True
            elif parameter.kind is parameter.VAR_POSITIONAL:
                continue
            elif not self.parameters and not self.context and _is_context(parameter.name, annotation):
                is_positional = parameter.kind is not parameter.KEYWORD_ONLY
                self.context = Parameter(parameter.name, annotation, False, is_positional)
            else:
                self.parameters.append(Parameter(parameter.name, annotation, parameter.default is not parameter.empty,
                                                 parameter.kind is parameter.POSITIONAL_ONLY))

    def signature(self):
        told = {"lang": "python", "execute": {p.name: p.tree() for p in self.parameters}, "tags": self.tags}
        if self.takes_extra or self.ignores_extra:
            told["extraArguments"] = "taken" if self.takes_extra else "ignored"
        return told

    def call(self, context, values):
        """`values` are converted arguments by name; the defaults of those left out are Python's business."""
        positional, named = [], dict(values)
        if self.context:
            if self.context.positional_only:
                positional.append(context)
            else:
                named[self.context.name] = context
        for parameter in self.parameters:
            if parameter.positional_only and parameter.name in named:
                positional.append(named.pop(parameter.name))
        return self.target(*positional, **named)


def _is_context(name, annotation):
    if inspect.isclass(annotation) and issubclass(annotation, Context):
        return True
    return name in CONTEXT_NAMES and annotation is typing.Any
