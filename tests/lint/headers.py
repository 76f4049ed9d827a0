# SPDX-License-Identifier: Apache-2.0
"""Of headers all are installed that those of ours need which are installed for a transport outside the tree, and no others."""
import re

from lint.tree import ROOT, text

INCLUDE = re.compile(r'^#include "([\w/.-]+)"', re.MULTILINE)
INSTALLED = re.compile(r"'(?:\.\./)+((?:include|base|domain)/[\w/.-]+\.h)'")


def needed(name, seen):
    path = next((folder / name for folder in (ROOT / "include", ROOT / "src") if (folder / name).exists()), None)
    if path and name not in seen:
        seen.add(name)
        for other in INCLUDE.findall(text(path)):
            needed(other, seen)
    return seen


def violations():
    installed = {name.removeprefix("include/") for name in INSTALLED.findall(text(ROOT / "src" / "mistd" / "meson.build"))}
    wanted = needed("mist/transport.h", set())
    if len(wanted) < 5:
        yield "include/mist/transport.h is not what is installed any more"
    for name in sorted(wanted ^ installed):
        yield f"src/mistd/meson.build: {name} is {'not installed' if name in wanted else 'installed, and mist/transport.h does not need it'}"
