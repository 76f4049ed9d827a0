# SPDX-License-Identifier: Apache-2.0
"""Links of the Markdown pages lead to files that are there, and to headings that are there."""
import re

from lint.tree import ROOT, files, name, text

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^ {4}.*$|```.*?```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def violations():
    for page in [ROOT / "README.md", *files(".md")]:
        for target in LINK.findall(CODE.sub("", text(page))):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            to = (page.parent / path).resolve() if path else page
            if not to.exists():
                yield f"{name(page)}: {target} is not there"
            elif anchor and anchor not in anchors(to):
                yield f"{name(page)}: {target}: there is no such heading"
