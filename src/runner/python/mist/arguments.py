# SPDX-License-Identifier: Apache-2.0
"""From the JSON arguments of a job to the values its function takes.

The gateway has checked the arguments against the signature it knows; the file may be a newer one, so everything is
checked again here. Nothing is coerced from strings. null and absent are the same: the default if there is one, None
for an Optional, else the argument is missing. Extra names are left out, unless the function takes **kwargs: then they
arrive as they are."""

import json
import typing

from mist.errors import Refusal
from mist.function import fields_of, item_of, optional_of, value_of

EXPECTED = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
SHOWN_MAX = 120


def convert(function, arguments):
    """The values by name, for Function.call(). Raises a Refusal that names the argument."""
    values = _convert_fields(function.parameters, arguments, "")
    if function.takes_extra:
        known = {p.name for p in function.parameters}
        values.update((name, value) for name, value in arguments.items()
                      if name not in known and not (function.context and name == function.context.name))
    return values


def _convert_fields(parameters, arguments, prefix):
    values = {}
    for parameter in parameters:
        path = prefix + parameter.name
        value = arguments.get(parameter.name)
        if value is not None:
            values[parameter.name] = _convert(parameter.annotation, value, path)
        elif parameter.has_default:
            continue
        elif parameter.is_required and not _takes_null(parameter.annotation, parameter.name in arguments):
            raise Refusal(f"Invalid field {path}: it is missing and has no default")
        else:
            values[parameter.name] = None
    return values


def _takes_null(annotation, is_present):
    return is_present and (annotation is typing.Any or annotation is object or annotation is type(None))


def _convert(annotation, value, path):
    inner = optional_of(annotation)
    if inner is not None:
        return None if value is None else _convert(inner, value, path)
    if annotation in (int, float, str, bool):
        return _convert_plain(annotation, value, path)
    item = item_of(annotation)
    if item is not None:
        _require(isinstance(value, list), "a list", value, path)
        return item[0](_convert(item[1], v, f"{path}[{i}]") for i, v in enumerate(value))
    of_map = value_of(annotation)
    if of_map is not None:
        _require(isinstance(value, dict), "an object", value, path)
        return {k: _convert(of_map, v, f"{path}.{k}") for k, v in value.items()}
    fields = fields_of(annotation)
    if fields is not None:
        _require(isinstance(value, dict), "an object", value, path)
        return _make(annotation, _convert_fields(fields, value, path + "."), path)
    return value


def _convert_plain(annotation, value, path):
    is_bool = isinstance(value, bool)
    if annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if annotation is float and isinstance(value, int) and not is_bool:
        return float(value)
    _require(isinstance(value, annotation) and is_bool == (annotation is bool), EXPECTED[annotation], value, path)
    return value


def _make(dataclass, values, path):
    try:
        return dataclass(**values)
    except Exception as e:  # the class's own check of its values (__post_init__)
        raise Refusal(f"Invalid field {path}: {type(e).__name__}: {e}") from e


def _require(is_right, expected, value, path):
    if is_right:
        return
    shown = json.dumps(value, ensure_ascii=False)
    if len(shown) > SHOWN_MAX:
        shown = shown[:SHOWN_MAX] + "…"
    raise Refusal(f"Invalid field {path}: expected {expected}, got {shown}")
