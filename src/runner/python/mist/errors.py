# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a user's function, and the text the user reads about it.

A Refusal is a sentence that needs no traceback: a file that is not there, an argument of the wrong type, a result
that is no JSON. Everything else is the user's own exception and is told as Python tells it, without the frames of
this package and of mistpy: they say nothing about the user's mistake."""

import os
import re
import traceback

from mist import artifacts, texts

TEXT_MAX = 64 * 1024
SOURCE_MAX = 200  # characters of a line of the user's code in a sentence
FRAME = re.compile(r' *File "(.+)", line (\d+)')
MISTPY = os.path.join("mistpy", "decorators.py")  # wherever it comes from
OUR_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Refusal(Exception):
    """str() of it is all there is to say."""


class Cancelled(BaseException):
    """Raised in the thread of a job that is to stop. Like KeyboardInterrupt it is no Exception, so that `except
    Exception` in a loop does not keep a cancelled job alive."""


def is_ours(filename):
    return filename.startswith((OUR_FOLDER, "<frozen ")) or filename.endswith(os.sep + MISTPY)


def words_of(error):
    """str() of an exception, which is the user's code."""
    try:
        return shorten(str(error))
    except Exception as e:
        return f"(its text cannot be told: {type(e).__name__})"


def explain(error):
    """The text of `error` for the user: bounded, and without our own frames. Never raises."""
    try:
        return texts.clean(_explain(error))
    except Exception as e:  # an exception whose parts are not what they should be
        return f"{type(error).__name__} (its text cannot be told: {type(e).__name__})"


def _explain(error):
    if isinstance(error, Refusal):
        return shorten(str(error))
    told = traceback.TracebackException.from_exception(error)
    _drop_our_frames(told, set())
    text = artifacts.shown_text("".join(told.format()).rstrip("\n"))
    if isinstance(error, SystemExit):
        text += "\nThe function called sys.exit(); a function ends by returning or raising."
    return shorten(text)


def sentence(error):
    """The same in one line, for callers who wrote no Python: what was tried, where and what went wrong, no traceback."""
    lines = [line for line in explain(error).splitlines() if line.strip()]
    return lines[0] if len(lines) < 2 else f"{lines[0]}{_place(lines)}: {lines[-1]}"


def _place(lines):
    """Of a traceback the innermost line of the file that the first line names, " (line 3: import pandas)", or of any file."""
    frames = [(frame, after) for line, after in zip(lines, [*lines[1:], ""]) if (frame := FRAME.match(line))]
    of_this = [(frame, after) for frame, after in frames if os.path.basename(frame[1]) in lines[0]]
    if not frames:
        return ""
    frame, after = (of_this or frames)[-1]
    file = "" if of_this else os.path.basename(frame[1]) + ", "
    source = f": {after.strip()[:SOURCE_MAX]}" if after.startswith("    ") else ""
    return f" ({file}line {frame[2]}{source})"


def _drop_our_frames(told, seen):
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    if told.stack is not None:
        told.stack[:] = [frame for frame in told.stack if not is_ours(frame.filename)]
        for frame in told.stack:
            frame.filename = artifacts.shown_path(frame.filename)
    if isinstance(getattr(told, "filename", None), str):  # of a SyntaxError
        told.filename = artifacts.shown_path(told.filename)
    _drop_our_frames(told.__cause__, seen)
    _drop_our_frames(told.__context__, seen)
    for inner in getattr(told, "exceptions", None) or ():
        _drop_our_frames(inner, seen)


def shorten(text, limit=TEXT_MAX):
    """Keeps the beginning and, since that is where a traceback says what happened, more of the end."""
    if len(text) <= limit:
        return text
    head = limit // 4
    tail = limit - head
    return f"{text[:head]}\n… {texts.counted(len(text) - limit, 'character')} left out …\n{text[-tail:]}"
