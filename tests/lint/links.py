# SPDX-License-Identifier: Apache-2.0
"""Links of the Markdown pages lead to files that are there, and to headings that are there; files that they name in passing are
there, too."""
import re

from lint.tree import ROOT, files, name, text

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?(?:/|\.(?:c|h|py|md|yaml|sql)))`")
CODE = re.compile(r"^ {4}[^\n]*$|```.*?```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(page):
    heads = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def named(page):
    """Paths in backquotes: from the root, from the page's folder, or, what is said of the code, from src."""
    for path in PATH.findall(text(page)):
        if "/" in path.rstrip("/"):
            yield path, any((folder / path).exists() for folder in (ROOT, page.parent, ROOT / "src"))


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
        for path, is_there in named(page):
            if not is_there:
                yield f"{name(page)}: there is no {path}"
