# SPDX-License-Identifier: Apache-2.0
"""mist.testing, and the page that describes the package."""
import inspect
import logging
import pathlib
import re
import sys
import textwrap
import types

import pytest

import mist
from mist import testing

PAGE = pathlib.Path(__file__).resolve().parents[3] / "src" / "runner" / "python" / "README.md"


@mist.function
def walk(ctx: mist.Context, steps: int, name: str = "a"):
    ctx.log.warning("%d steps", steps)
    ctx.progress(0.5, "half")
    return {"name": name, "stopped": ctx.cancelled, "job": ctx.job_id, "attempt": ctx.attempt, "external": ctx.external_id}


def test_a_context_remembers_what_it_was_told(caplog):
    ctx = testing.Context("j", external_id="e", attempt=2)
    assert walk(ctx, 3) == {"name": "a", "stopped": False, "job": "j", "attempt": 2, "external": "e"}
    assert ctx.logged == [("WARN", "3 steps")] and ctx.progressed == [(0.5, "half")]
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.WARNING, "3 steps")]
    assert testing.Context().logged == []


def test_a_context_can_be_cancelled():
    ctx = testing.Context()
    ctx.cancel()
    assert walk(ctx, 1)["stopped"] is True and not testing.Context().cancelled


def test_progress_is_checked_as_in_a_worker():
    ctx = testing.Context()
    ctx.progress(7)
    assert ctx.progressed == [(1.0, None)]
    with pytest.raises(ValueError):
        ctx.progress(float("nan"))


def test_a_session_can_be_given():
    session = object()
    assert testing.Context(spark=session).spark is session


def test_call_goes_the_way_of_a_job():
    import decimal

    def f(day: "datetime.date", price: decimal.Decimal, many: set = frozenset()):
        return {"day": day, "twice": price * 2, "many": many}

    f.__globals__.setdefault("datetime", __import__("datetime"))
    assert testing.call(f, {"day": "2019-10-07", "price": "1.10", "many": [1, 1]}) == {"day": "2019-10-07", "twice": 2.2, "many": [1]}
    ctx = testing.Context()
    testing.call(walk, {"steps": 1}, ctx)
    assert ctx.logged == [("WARN", "1 steps")]


@pytest.mark.parametrize("arguments,words", [
    ({}, "Invalid field steps: it is missing"), ({"steps": "1"}, 'Invalid field steps: expected an integer, got "1"'),
    ({"steps": 1, "nmae": "b"}, "Invalid field nmae: there is no such argument")])
def test_call_refuses_what_a_job_is_refused_for(arguments, words):
    with pytest.raises(testing.Refusal, match=re.escape(words)):
        testing.call(walk, arguments)


def test_call_refuses_a_result_without_a_form_and_lets_errors_through():
    with pytest.raises(testing.Refusal, match=r"result\[0\] is object"):
        testing.call(lambda: [object()])
    with pytest.raises(ZeroDivisionError):
        testing.call(lambda: 1 / 0)


def test_call_takes_more_arguments_where_the_function_does():
    assert testing.call(lambda **rest: rest, {"a": None, "b": 1}) == {"a": None, "b": 1}


def blocks():
    """The indented Python of the page."""
    text = PAGE.read_text()
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)]


def test_the_examples_of_the_page_pass(monkeypatch):
    source = next(block for block in blocks() if "# shout.py" in block)
    tests = next(block for block in blocks() if "import testing" in block)
    shout = types.ModuleType("shout")
    exec(source, shout.__dict__)
    monkeypatch.setitem(sys.modules, "shout", shout)
    names = {}
    exec(tests, names)
    ran = [names[name]() for name in list(names) if name.startswith("test_")]
    assert len(ran) == 2


def public(thing):
    return {name for name, value in vars(thing).items() if not name.startswith("_") and (callable(value) or isinstance(value, property))}


def test_every_public_name_is_on_the_page_and_has_help():
    text = PAGE.read_text()
    said = set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`]*)`", text))))
    instance = testing.Context()
    names = {f"mist.{name}" for name in mist.__all__} | {f"testing.{name}" for name in testing.__all__}
    names |= {f"ctx.{name}" for name in public(mist.Context) | public(testing.Context) | {n for n in vars(instance) if not n.startswith("_")}}
    assert len(names) > 12 and not names - said
    for function in mist.function, testing.call, testing.Context.__init__, mist.Context.progress:
        assert set(inspect.signature(function).parameters) - {"self", "target"} <= set(re.findall(r"\w+", text))
    for thing in mist.function, mist.Context, mist.Cancelled, testing, testing.Context, testing.call, *(
            getattr(mist.Context, name) for name in public(mist.Context)):
        assert inspect.getdoc(thing)
    for name in ["mist.testing", *(f"mist.{name}" for name in mist.__all__), *(f".{name}" for name in public(mist.Context))]:
        assert name in mist.__doc__
