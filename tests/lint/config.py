# SPDX-License-Identifier: Apache-2.0
"""configs/mist.conf shows every setting that mistd knows, in its section, set or in a comment."""
import re
import subprocess

from lint.tree import ROOT, text
from support.mistd import gateway_binary

SECTION = re.compile(r"^([\w-]+)(?:\.NAME(?: of type \w+)?)?:", re.MULTILINE)
SETTING = re.compile(r"^  (\S+)", re.MULTILINE)


def known():
    """Section → names, as --help-config prints them."""
    printed = subprocess.run([gateway_binary(), "--help-config"], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, check=True).stdout
    heads = list(SECTION.finditer(printed))
    ends = [head.start() for head in heads[1:]] + [len(printed)]
    names = {head[1]: [] for head in heads}
    for head, end in zip(heads, ends):
        names[head[1]] += SETTING.findall(printed[head.end():end])
    return names


def shown(conf, sections):
    """Section → its text in the file: from its first line to the next section's."""
    head = re.compile(r"^(?:#\s?)?(" + "|".join(map(re.escape, sections)) + r")\s*[=:]", re.MULTILINE)
    starts = list(head.finditer(conf))
    ends = [start.start() for start in starts[1:]] + [len(conf)]
    return {start[1]: conf[start.end():end] for start, end in zip(starts, ends)}


def violations():
    settings = known()
    if not settings:
        yield "mistd --help-config prints no section"
    there = shown(text(ROOT / "configs" / "mist.conf"), settings)
    for section, names in settings.items():
        if section not in there:
            yield f"configs/mist.conf: no section {section}"
        # Two sections with the same settings (contexts and their defaults) may share them out.
        places = "".join(there.get(other, "") for other in settings if settings[other] == names)
        for setting in names:
            if not re.search(rf"(?<![\w.-]){re.escape(setting)}\s*[=:]", places):
                yield f"configs/mist.conf: {section} does not show {setting}"
