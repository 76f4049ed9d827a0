# SPDX-License-Identifier: Apache-2.0
"""configs/mist.conf shows every setting that mistd knows, in its section, set or in a comment, with its default, and none that there is
not. Pages and manuals name no setting that there is not, either."""
import re
import subprocess

from lint.tree import ROOT, files, name, text
from support.mistd import gateway_binary

SECTION = re.compile(r"^([\w-]+)(?:\.NAME(?: of type (\w+))?)?: .*", re.MULTILINE)
SETTING = re.compile(r"^  (\S+)\s+(.*(?:\n {24}.*)*)", re.MULTILINE)
DEFAULT = re.compile(r"; (?:default (.*?)|must be given); (?:live|needs restart)", re.DOTALL)
NAMED = re.compile(r"(?:`|\bSy )(?:(mist|http|workers|limits|context-defaults)|(runtimes|contexts|functions|transports)\.[\w-]+)"
                   r"\.([a-z][a-z-]*)(?![\w.-])")
# What is called mist.NAME and is no setting: files, and the names of the Python package.
OTHER_NAMES = {"conf", "db", "db-wal", "db-shm", "example", "function", "testing", "worker"}
# The first thing of a line, or behind a brace or a semicolon of such a line; `= {` with something in it opens a group.
ASSIGNED = re.compile(r"^(?:#\s*)?(?:\{\s*)?[a-z][\w-]*\s*=.*$", re.MULTILINE)
ONE = re.compile(r"(?:^|[{;])\s*([a-z][\w-]*)\s*=(?!\s*[{(](?!\s*[})]))")
OF_A_LIST = {"type", "name", "settings", "path"}  # of a transport, in whichever way it is read
EMPTY = re.compile(r"\{\s*\}|\(\s*\)")


def known():
    """(section, type) → name → default in text; None: it must be given. As --help-config prints them."""
    printed = subprocess.run([gateway_binary(), "--help-config"], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, check=True).stdout
    heads = list(SECTION.finditer(printed))
    ends = [head.start() for head in heads[1:]] + [len(printed)]
    settings = {}
    for head, end in zip(heads, ends):
        names = settings[head[1], head[2]] = {}
        for name, told in SETTING.findall(printed[head.end():end]):
            default = DEFAULT.search(" ".join(told.split()))
            names[name] = default and default[1] and plain(default[1])
    return settings


def plain(value):
    """A value without its quotes; what is empty in whatever way is "empty"."""
    value = EMPTY.sub("", value.strip())
    return value.strip('"') or "empty"


def shown(conf, sections):
    """Section → its text in the file: from its first line, or the comment above it, to the next section's."""
    head = re.compile(r"(?:^#.*\n)*^(?:#\s?)?(" + "|".join(map(re.escape, sections)) + r")\s*=", re.MULTILINE)
    starts = list(head.finditer(conf))
    ends = [start.start() for start in starts[1:]] + [len(conf)]
    return {start[1]: conf[start.start():end] for start, end in zip(starts, ends)}


def of_type(place, kind):
    """Of a list of groups the one of that type."""
    groups = re.split(r"(?=\btype = )", place)
    return next((group for group in groups if group.startswith(f'type = "{kind}"')), "")


def value_of(name, place):
    """The first value that is shown for it, or None."""
    found = re.search(rf"(?<![\w.-]){re.escape(name)}\s*=\s*(\"[^\"]*\"|\{{\s*\}}|\(\s*\)|[^;,\s]+)", place)
    return found and plain(found[1])


def assigned(place):
    """The names to which a text, commented out or not, gives a value."""
    for line in ASSIGNED.findall(re.sub(r"^[ \t]+", "", place, flags=re.MULTILINE)):
        code = re.sub(r"\s#.*", "", re.sub(r"^#\s*", "", re.sub(r'"[^"]*"', '""', line)))
        yield from ONE.findall(code)


def named(page):
    """(section, setting) as a page names them."""
    for section, section_of_names, setting in NAMED.findall(text(page)):
        if section != "mist" or setting not in OTHER_NAMES:
            yield section or section_of_names, setting


def violations():
    settings = known()
    if len(settings) < 8 or not all(settings.values()):
        yield "mistd --help-config prints no section, or one without settings"
    there = shown(text(ROOT / "configs" / "mist.conf"), {section for section, _ in settings})
    for (section, kind), names in settings.items():
        if section not in there:
            yield f"configs/mist.conf: no section {section}"
            continue
        place = of_type(there[section], kind) if kind else there[section]
        for setting in assigned(place):
            if setting not in names and setting != section and not (kind and setting in OF_A_LIST):
                yield f"configs/mist.conf: {section} shows {setting}{f' for {kind}' if kind else ''}, which is no setting"
        if section == "contexts" and names == settings["context-defaults", None]:
            continue  # shown there
        for setting, default in names.items():
            value = value_of(setting, place)
            if value is None:
                yield f"configs/mist.conf: {section} does not show {setting}"
            elif default is not None and value != default:
                yield f"configs/mist.conf: {section} shows {setting} = {value}, and its default is {default}"
    of_section = {}
    for (section, _), names in settings.items():
        of_section.setdefault(section, set()).update(names)
    for page in [ROOT / "README.md", *files(".md", ".1", ".8")]:
        for section, setting in named(page):
            if setting not in of_section[section]:
                yield f"{name(page)}: there is no setting {section}.{setting}"
