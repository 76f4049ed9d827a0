# SPDX-License-Identifier: Apache-2.0
"""Turns openapi.yaml into a header with its JSON as a C string, and the JSON's entity tag: openapi.py INPUT OUTPUT."""
import hashlib
import json
import sys

import yaml

LINE = 100

with open(sys.argv[1], encoding="utf-8") as source:
    text = json.dumps(yaml.safe_load(source), separators=(",", ":"))
tag = hashlib.sha256(text.encode()).hexdigest()[:32]
lines = "\n\t".join(json.dumps(text[i:i + LINE]) for i in range(0, len(text), LINE))
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write(f'static const char openapi_tag[] = "\\"{tag}\\"";\nstatic const char openapi_json[] =\n\t{lines};\n')
