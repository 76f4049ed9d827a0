# SPDX-License-Identifier: Apache-2.0
"""A function as Mist sees it: its name, its tags and the types of its arguments.

The decorator only marks: what it returns is the user's own function, which stays callable from a test or a script.
The Function object is made when the function is loaded. It reads the signature once; arguments.py converts by it and
signature() answers `describe` with it.

The types are Mist's: int MInt, float MDouble, str MString, bool MBoolean; lists, tuples and sets MList; dict MMap; a
dataclass MObj; Optional, or anything that has a default, MOption; and MAny for what is not annotated or is none of
these."""

import collections.abc
import dataclasses
import inspect
import types
import typing

from mist.context import Context
from mist.errors import Refusal

PLAIN = {int: "MInt", float: "MDouble", str: "MString", bool: "MBoolean"}
LISTS = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
CONTEXT_NAMES = ("ctx", "context")
ANY = {"type": "MAny"}


def function(target=None, *, name=None, tags=()):
    """Marks a function for Mist: `@mist.function`, or `@mist.function(name="count", tags=["sql"])`."""
    tags = list(tags)
    if isinstance(target, str) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError('write @mist.function, or @mist.function(name="…", tags=["…"])')

    def mark(user_function):
        user_function.__mist__ = {"name": name or user_function.__name__, "tags": tags}
        return user_function

    return mark if target is None else mark(target)


@dataclasses.dataclass
class Parameter:
    name: str
    annotation: object
    has_default: bool
    positional_only: bool

    @property
    def is_required(self):
        return not self.has_default and optional_of(self.annotation) is None

    def tree(self):
        tree = type_tree(self.annotation)
        return option_of(tree) if self.has_default else tree


class Function:
    def __init__(self, target):
        self.target = target
        self.tags = list(getattr(target, "__mist__", {}).get("tags", ()))
        self.takes_extra = False
        self.context = None
        self.parameters = []
        hints = _hints(target)
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
        return {"lang": "python", "execute": {p.name: p.tree() for p in self.parameters}, "tags": self.tags}

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


def _hints(target):
    try:
        return typing.get_type_hints(target)
    except NameError as e:
        raise Refusal(f"the annotations of {getattr(target, '__name__', target)} cannot be read: {e}") from None
    except TypeError:
        return {}  # a callable object without annotations


def _is_context(name, annotation):
    if inspect.isclass(annotation) and issubclass(annotation, Context):
        return True
    return name in CONTEXT_NAMES and annotation is typing.Any


def optional_of(annotation):
    """The T of an Optional[T], else None."""
    if typing.get_origin(annotation) not in UNIONS:
        return None
    inner = [a for a in typing.get_args(annotation) if a is not type(None)]
    if len(inner) == len(typing.get_args(annotation)):
        return None
    return inner[0] if len(inner) == 1 else typing.Any


def item_of(annotation):
    """(kind, T) of list[T] and its like, where kind is the class to make of it; else None."""
    origin = typing.get_origin(annotation) or annotation
    if not any(origin is kind for kind in LISTS):
        return None
    kind = origin if origin in (tuple, set, frozenset) else list
    inner = [a for a in typing.get_args(annotation) if a is not Ellipsis]
    return kind, inner[0] if len(inner) == 1 else typing.Any


def value_of(annotation):
    """The V of dict[str, V], Any for a bare dict, else None."""
    if not any((typing.get_origin(annotation) or annotation) is kind for kind in MAPS):
        return None
    inner = typing.get_args(annotation)
    return inner[1] if len(inner) == 2 else typing.Any


def fields_of(annotation):
    """The Parameters of a dataclass's constructor, else None."""
    if not (inspect.isclass(annotation) and dataclasses.is_dataclass(annotation)):
        return None
    hints = _hints(annotation)
    return [Parameter(f.name, hints.get(f.name, typing.Any),
                      f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING, False)
            for f in dataclasses.fields(annotation) if f.init]


def option_of(tree):
    return tree if tree["type"] == "MOption" else {"type": "MOption", "args": [tree]}


def type_tree(annotation, above=()):
    """Mist's type tree. `above` are the dataclasses around: one that contains itself is MAny there, since a tree has
    an end."""
    if inspect.isclass(annotation) and annotation in PLAIN:
        return {"type": PLAIN[annotation]}
    inner = optional_of(annotation)
    if inner is not None:
        return option_of(type_tree(inner, above))
    item = item_of(annotation)
    if item is not None:
        return {"type": "MList", "args": [type_tree(item[1], above)]}
    value = value_of(annotation)
    if value is not None:
        return {"type": "MMap", "args": [{"type": "MString"}, type_tree(value, above)]}
    if annotation in above:
        return dict(ANY)
    fields = fields_of(annotation)
    if fields is None:
        return dict(ANY)
    trees = {}
    for field in fields:
        tree = type_tree(field.annotation, (*above, annotation))
        trees[field.name] = option_of(tree) if field.has_default else tree
    return {"type": "MObj", "fields": trees}
