# SPDX-License-Identifier: Apache-2.0
"""Turns schema.sql into a C string: schema.py INPUT OUTPUT. (meson rewrites backslashes in commands, so it is a file.)"""
import json
import sys

with open(sys.argv[1]) as sql, open(sys.argv[2], "w") as out:
    lines = "\n\t".join(json.dumps(line) for line in sql)
    out.write(f"static const char schema_sql[] =\n\t{lines};\n")
