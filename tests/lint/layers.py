# SPDX-License-Identifier: Apache-2.0
"""The order of the rooms: a file includes only what stands in its own room or in one before it."""
import re
from pathlib import PurePath

from lint.tree import ROOT, files, name, text

BEFORE = {"base": "", "proto": "base", "domain": "base", "store": "base domain mist",
          "core": "base domain store mist", "transport": "base domain store core mist",
          "worker": "base domain store core mist proto", "mist": "base domain",
          "runner": "base proto mist", "agent": "base proto", "cli": "base proto",
          "mistd": "base domain store core transport worker mist proto"}
ONLY_IN = {"microhttpd": "src/transport/http", "paho": "src/transport/mqtt", "rdkafka": "src/transport/kafka",
           "sqlite3.h": "src/store", "libpq": "src/store", "wslay": "src/base",
           "curl/curl.h": "src/cli"}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def room_of(path):
    parts = PurePath(path).parts
    return parts[1] if parts[0] in ("src", "include") else parts[0]


def room_of_include(include, path):
    if "/" in include:
        return include.split("/")[0]
    return room_of(name(path)) if (path.parent / include).exists() else "proto"


def violations():
    for path in files(".c", ".h", folders=("src", "include", "proto")):
        here, room = name(path), room_of(name(path))
        for include in INCLUDE.findall(text(path)):
            there = room_of_include(include, path)
            if there != room and there not in BEFORE.get(room, "").split():
                yield f"{here}: {room} may not include \"{include}\""
            door = re.match(r"transport/(\w+)/", include)
            if room == "transport" and door and door[1] != PurePath(here).parts[2] and path.parent.name != "transport":
                yield f"{here}: one door may not include another's \"{include}\""
        yield from (f"{here}: {word} belongs to {folder} only" for word, folder in ONLY_IN.items()
                    if word in text(path) and ROOT / folder not in path.parents)
