# SPDX-License-Identifier: Apache-2.0
"""libconfig's text of a Python dict."""
import re

NAME = re.compile(r"[A-Za-z*][-A-Za-z0-9_*]*\Z")


def dumps(settings):
    """The text of a whole file. Groups whose keys libconfig's own names cannot spell are written as Mist's lists."""
    return "".join(f"{key} = {value(v)};\n" for key, v in settings.items())


def value(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, int):
        return str(v) if -2**31 <= v < 2**31 else f"{v}L"
    if isinstance(v, float):
        return repr(v)
    if isinstance(v, dict):
        return group(v)
    if isinstance(v, (list, tuple)):
        return "( " + ", ".join(value(item) for item in v) + " )"
    return string(str(v))


def group(members):
    if all(NAME.match(key) for key in members):
        return "{ " + "".join(f"{key} = {value(v)}; " for key, v in members.items()) + "}"
    if all(isinstance(v, dict) for v in members.values()):  # contexts = ( { name = "a.b"; … } )
        return value([{"name": key, **v} for key, v in members.items()])
    return value([f"{key}={plain(v)}" for key, v in members.items()])  # spark-conf = ( "spark.master=local[2]" )


def plain(v):
    return value(v) if isinstance(v, (bool, int)) else str(v)


def string(text):
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
    return '"' + "".join(escapes.get(c, c if c >= " " else f"\\x{ord(c):02x}") for c in text) + '"'
