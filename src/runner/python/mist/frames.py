# SPDX-License-Identifier: Apache-2.0
"""Frames, checked against frames.json: the one description of the worker protocol that every language reads.

The file is looked for in the folder named by MIST_PROTO, next to this module (an installed package), and in the
source tree this module may be part of. It is read once, when first needed."""

import functools
import json
import os
import re

from mist.texts import clean

HERE = os.path.dirname(os.path.abspath(__file__))
NUL = re.compile(r"((?:^|[^\\])(?:\\\\)*)\\u0000")  # not a backslash that is itself escaped
IN_TREE = os.path.join(HERE, "..", "..", "..", "..", "proto")


class ProtocolError(Exception):
    """A sentence for the `error` frame."""

    def __init__(self, reason, code=1002):
        super().__init__(reason)
        self.code = code


def _is_integer(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


KINDS = {
    "string": (lambda value: isinstance(value, str), "a string"),
    "integer": (_is_integer, "an integer"),
    "number": (_is_number, "a number"),
    "boolean": (lambda value: isinstance(value, bool), "a boolean"),
    "object": (lambda value: isinstance(value, dict), "an object"),
    "any": (lambda value: True, "a value"),
}


def find_book():
    folders = [os.environ.get("MIST_PROTO"), HERE, IN_TREE]
    for folder in folders:
        if folder and os.path.isfile(os.path.join(folder, "frames.json")):
            return os.path.join(folder, "frames.json")
    raise FileNotFoundError("frames.json is neither in MIST_PROTO nor in the package mist; install the package again")


@functools.lru_cache(maxsize=None)
def book():
    with open(find_book(), encoding="utf-8") as f:
        return json.load(f)


@functools.lru_cache(maxsize=None)
def _rows(frame_type):
    return [_row(name, kind) for name, kind in book()["frames"][frame_type]["members"].items()]


def _row(name, kind):
    is_optional = kind.endswith("?")
    kind = kind.rstrip("?")
    is_list = kind.startswith("[")
    return name, is_optional, is_list, *KINDS[kind.strip("[]")]


def parse(text, sender):
    """The frame in a message from `sender` ("worker" or "gateway"). Raises ProtocolError."""
    if not isinstance(text, str):
        raise ProtocolError("a frame is a text message, not a binary one")
    try:
        frame = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ProtocolError("frame: nested too deeply") from None
    except ValueError as e:
        raise ProtocolError(f"frame: not JSON: {e}") from None
    check(frame, sender)
    return frame


def _refuse_constant(name):
    raise ValueError(f"{name} is no number")


def check(frame, sender):
    if not isinstance(frame, dict):
        raise ProtocolError(f"a frame is an object, not {kind_of(frame)}")
    frame_type = frame.get("type")
    if not isinstance(frame_type, str):
        raise ProtocolError(f"frame: member type: expected a string, got {_found(frame, 'type')}")
    described = book()["frames"].get(frame_type)
    if described is None:
        raise ProtocolError(f'unknown frame type "{frame_type:.64}"')
    if described["from"] not in (sender, "either"):
        raise ProtocolError(f'a {sender} may not send "{frame_type}"')
    for name, is_optional, is_list, is_kind, kind_name in _rows(frame_type):
        if name in frame:
            _check_member(frame, name, is_list, is_kind, kind_name)
        elif not is_optional:
            raise ProtocolError(f"frame {frame_type}: member {name}: expected "
                                f"{_kind_name(kind_name, is_list)}, got nothing")


def _check_member(frame, name, is_list, is_kind, kind_name):
    value = frame[name]
    if not (isinstance(value, list) if is_list else is_kind(value)):
        raise ProtocolError(f"frame {frame['type']}: member {name}: expected "
                            f"{_kind_name(kind_name, is_list)}, got {kind_of(value)}")
    for i, item in enumerate(value if is_list else ()):
        if not is_kind(item):
            raise ProtocolError(f"frame {frame['type']}: member {name}[{i}]: expected {kind_name}, got {kind_of(item)}")


def _kind_name(kind_name, is_list):
    return f"a list of {kind_name.split()[1]}s" if is_list else kind_name


def _found(frame, name):
    return kind_of(frame[name]) if name in frame else "nothing"


def kind_of(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {dict: "an object", list: "an array", str: "a string", int: "an integer", float: "a real number"}
    return names.get(type(value), type(value).__name__)


def text(frame):
    """The message of one frame. What no frame may have is replaced, wherever the text in it came from."""
    return clean_text(json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def clean_text(message):
    """JSON text that the gateway takes."""
    message = clean(message)
    while "\\u0000" in message:
        cleaned = NUL.sub(lambda match: match[1] + "\ufffd", message)
        if cleaned == message:  # each of them is a backslash and five letters
            break
        message = cleaned
    return message
