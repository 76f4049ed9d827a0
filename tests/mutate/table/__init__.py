# SPDX-License-Identifier: Apache-2.0
"""Single wrong edits in what matters, by theme, each with the tests that must notice it.

An edit is as small as a slip: one condition, one constant, one call left out. Whoever changes such a line gives the row what stands
there now. Whoever finds that no test notices an edit writes the test."""
from mutate.table import durability, encodings, limits, order, permissions, resuming, times

THEMES = (durability, order, limits, permissions, times, resuming, encodings)


def edits():
    for theme in THEMES:
        for edit in theme.EDITS:
            edit.theme = theme.__name__.rsplit(".", 1)[1]
            yield edit
