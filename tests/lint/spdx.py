# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence in its first line, a script in its second."""
from lint.tree import ROOT, files, name, text

LICENCE = "SPDX-License-Identifier: Apache-2.0"
LEADS = {".c": "/* {} */", ".h": "/* {} */", ".py": "# {}", ".sh": "# {}", ".sql": "-- {}", ".java": "/* {} */",
         ".ts": "// {}", ".mts": "// {}", ".tsx": "// {}", ".css": "/* {} */"}


def violations():
    for path in [*files(), ROOT / ".ci" / "run"]:
        first = text(path).splitlines()[:2]
        is_script = bool(first) and (first[0].startswith("#!") or first[0].startswith("# shellcheck shell="))
        if path.suffix not in LEADS and not is_script:
            continue
        expected = LEADS.get(path.suffix, "# {}").format(LICENCE)
        if first[is_script:][:1] != [expected]:
            yield f"{name(path)}:{1 + is_script}: expected {expected}"
