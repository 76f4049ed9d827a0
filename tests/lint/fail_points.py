# SPDX-License-Identifier: Apache-2.0
"""Every fail point of the table stands somewhere in the code, under a name of its own. (One that is not in the table is no C.)"""
import re
from collections import Counter

from lint.tree import ROOT, code, files, name, text

TABLE = ROOT / "src" / "base" / "fail_point_table.h"
ROW = re.compile(r'^FAIL_POINT\((\w+),\s*"([^"]+)"', re.MULTILINE)


def violations():
    rows = ROW.findall(text(TABLE))
    if not rows:
        yield f"{name(TABLE)}: no row"
    used = set()
    for path in files(".c", folders=("src",)):
        used |= set(re.findall(r"\bFAIL_([A-Z_]+)\b", code(path)))
    yield from (f"{name(TABLE)}: FAIL_{row} is passed nowhere" for row, _ in rows if row not in used)
    yield from (f"{name(TABLE)}: {point} stands there twice" for point, n in Counter(p for _, p in rows).items() if n > 1)
    yield from (f"{name(TABLE)}: {point}: expected LAYER.THING or LAYER.THING.STEP" for _, point in rows
                if not re.fullmatch(r"[a-z]+(\.[a-z][a-z-]*){1,3}", point))
