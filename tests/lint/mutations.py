# SPDX-License-Identifier: Apache-2.0
"""Each row of tests/mutate/table names a line that is there, exactly once, and tests that are there, which must notice the edit."""
from collections import Counter

from mutate import table

ROWS_MIN = 80


def violations():
    rows = list(table.edits())
    if len(rows) < ROWS_MIN:
        yield f"tests/mutate/table: {len(rows)} rows, expected {ROWS_MIN} at least"
    for row in rows:
        complaint = row.complaint()
        if complaint:
            yield f"tests/mutate/table/{row.theme}.py: \"{row.why}\": {complaint}"
    for (file, old, new), n in Counter((row.file, row.old, row.new) for row in rows).items():
        if n > 1:
            yield f"tests/mutate/table: {n} rows make the same edit of {file}: {old!r}"
