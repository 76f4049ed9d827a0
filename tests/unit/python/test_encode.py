# SPDX-License-Identifier: Apache-2.0
import collections
import dataclasses
import datetime
import decimal
import enum
import json
import time

import numpy
import pandas
import pytest
from pyspark.ml.linalg import Vectors
from pyspark.sql import Row

from mist import texts
from mist.results.encode import DEPTH_MAX, Unencodable, encode, text

D = decimal.Decimal
UTC = datetime.timezone.utc


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


class Colour(enum.IntEnum):
    RED = 1


class Opaque:
    pass


@pytest.mark.parametrize("value, expected", [
    (None, None), (True, True), (1, 1), (1.5, 1.5), ("ünï", "ünï"), ([], []), ({}, {}),
    (float("nan"), None), (float("inf"), None), (-float("inf"), None),
    (2 ** 63 - 1, 2 ** 63 - 1), (-2 ** 63, -2 ** 63), (2 ** 63, "9223372036854775808"),
    ((1, 2), [1, 2]), ({3}, [3]), (frozenset([4]), [4]), (Colour.RED, 1),
    (b"\x00\xff", "AP8="), (bytearray(b"a"), "YQ=="),
    (D("1.10"), 1.1), (D("0.1"), 0.1), (D("5"), 5.0), (D("NaN"), None), (D("Infinity"), None),
    (D("0.1234567890123456789"), "0.1234567890123456789"), (D("1E+400"), "1E+400"),
    (D("12345678901234567890"), "12345678901234567890"),
    (datetime.date(2019, 10, 7), "2019-10-07"), (datetime.time(12, 48), "12:48:00"),
    (datetime.datetime(2019, 10, 7, 12, 48, 23, 123456, UTC), "2019-10-07T12:48:23.123456+0000"),
    (datetime.datetime(2019, 10, 7, 12, tzinfo=datetime.timezone(-datetime.timedelta(hours=3, minutes=30))),
     "2019-10-07T12:00:00.000-0330"),
    (Point(1, datetime.date(2020, 1, 2)), {"x": 1, "when": "2020-01-02"}),
    (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ("nul\0 and half \ud83d of a pair", "nul\ufffd and half \ufffd of a pair"), ({"k\0": 1}, {"k\ufffd": 1}),
    (Row(word="a", n=1), {"word": "a", "n": 1}), ([Row(1, 2)], [[1, 2]]), (Row(r=Row(x=D("2.5"))), {"r": {"x": 2.5}}),
    (Vectors.dense([1.0, 2.0]), [1.0, 2.0]), (Vectors.sparse(3, {1: 5.0}), {"type": 0, "size": 3, "indices": [1], "values": [5.0]}),
    (numpy.int64(3), 3), (numpy.float32(0.5), 0.5),
    (numpy.float64("nan"), None), (numpy.bool_(True), True), (numpy.str_("s"), "s"),
    (numpy.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]), (numpy.array([1.0, numpy.nan]), [1.0, None]),
    (numpy.datetime64("2019-10-07"), "2019-10-07"), (numpy.array(7), 7),
    (pandas.NA, None), (pandas.NaT, None), (pandas.Series([1, 2]), [1, 2]), (pandas.Index(["a"]), ["a"]),
    (pandas.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    (pandas.Timestamp("2019-10-07T12:48:23.123456789Z"), "2019-10-07T12:48:23.123456789+0000"),
])
def test_a_value_becomes_json(value, expected):
    encoded = encode(value)
    assert encoded == expected and type(encoded) is type(expected)
    json.dumps(encoded, allow_nan=False)


def test_a_time_without_zone_is_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert encode(datetime.datetime(2019, 10, 7, 12)) == "2019-10-07T12:00:00.000+0530"
        assert encode(pandas.Timestamp("2019-10-07T12:00")) == "2019-10-07T12:00:00.000+0530"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("value, sentence", [
    (Opaque(), r"result is .*test_encode\.Opaque"),
    ({"rows": [{}, {}, {}, {"x": Opaque()}]}, r"result\.rows\[3\]\.x is .*test_encode\.Opaque"),
    ({"f": len}, r"result\.f is builtin_function_or_method"),
    (Opaque, "result is type"),
    ((i for i in "x"), "result is generator"),
    ([1j], r"result\[0\] is complex"),
    ({"a": {"b\0": 1, "b\ufffd": 2}}, r"result\.a: two members are named 'b\ufffd'"),
    ({"rows": numpy.array([1j])}, r"result\.rows\[0\] is complex"),
    ({"a": {1: 2}}, r"result\.a: the key 1 is int"),
    ({("a", "b"): 2}, r"result: the key \('a', 'b'\) is tuple"),
    (numpy.array([1 + 2j]), r"result\[0\] is complex"),
    (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are named 'a'"),
])
def test_what_has_no_form_in_json_is_refused_with_type_and_place(value, sentence):
    with pytest.raises(Unencodable, match=sentence) as refusal:
        encode(value)
    assert isinstance(refusal.value, TypeError)


def loop_of_lists():
    loop = []
    loop.append(loop)
    return loop


def loop_of_dicts():
    loop = {}
    loop["again"] = loop
    return loop


def loop_of_both():
    loop = []
    loop.append({"again": loop})
    return loop


@pytest.mark.parametrize("loop", [loop_of_lists, loop_of_dicts, loop_of_both])
def test_a_value_that_contains_itself_is_refused(loop):
    with pytest.raises(Unencodable, match=f"nested deeper than {DEPTH_MAX}"):
        encode(loop())


def test_deep_values_within_the_limit_pass():
    deep = 1
    for _ in range(DEPTH_MAX):
        deep = [deep]
    assert encode(deep) == deep


class Settings(dict):
    pass


@pytest.mark.parametrize("value", [
    [], {}, 1, "x", [1] * 30000, [[]] * 25001, {"a": [1] * 300, "b": {"c": list(range(12345))}, "d": 1},
    [[i] * 300 for i in range(30)], [1, [2] * 300, 3, {"x": [4] * 300}], {str(i): i for i in range(1000)},
    [{"a": D("1.5")}] * 300 + [{"a": D("0.1234567890123456789")}], [D(1)] * 20001 + [D("0.1234567890123456789")],
    ([1, 2] * 200, "x"), {"s": {1}, "t": (1,) * 300, "n": [None] * 300}, Settings(a=[1] * 300)])
def test_text_is_what_json_writes(value):
    written = json.dumps(encode(value), ensure_ascii=False, separators=(",", ":"))
    assert text(value) == written


@pytest.mark.parametrize("value, place", [
    ([1] * 20000 + [Opaque()], r"result\[20000\] is"), ({"a": [[1] * 300, [2] * 299 + [len]]}, r"result\.a\[1\]\[299\] is"),
    ([{"b": 1}] * 300 + [{"b": {1: 2}}], r"result\[300\]\.b: the key 1")])
def test_a_long_list_names_the_place_as_well(value, place):
    with pytest.raises(Unencodable, match=place):
        text(value)


def test_what_is_too_long_is_refused_before_it_is_written():
    endless = [["x" * 1000] * 300] * 10 ** 3  # 300 MB
    with pytest.raises(Unencodable, match="too large: .* bytes as a frame or more, and the gateway takes 1000000"):
        text(endless, 1000000)


def test_a_loop_is_refused_by_text_too():
    loop = [1] * 300
    loop.append(loop)
    ring = {"n": 1}
    ring["itself"] = {"again": ring}
    with pytest.raises(Unencodable, match="nested deeper"):
        text(ring)
    with pytest.raises(Unencodable, match="nested deeper"):
        text(loop)


def test_other_threads_run_while_a_long_list_is_written():
    import threading
    gaps, done = [], threading.Event()

    def beat():
        last = time.monotonic()
        while not done.is_set():
            time.sleep(0.001)
            now = time.monotonic()
            gaps.append(now - last)
            last = now
    thread = threading.Thread(target=beat)
    thread.start()
    written = text([[]] * 500_000)
    done.set()
    thread.join()
    assert len(written) == 1_500_001 and max(gaps) < 1


@pytest.mark.parametrize("said, expected", [("auto", [1.5, "0.1234567890123456789"]), ("number", [1.5, 0.12345678901234568]),
                                            ("string", ["1.5", "0.1234567890123456789"])])
def test_decimals_are_what_the_context_says(said, expected):
    texts.configure({"spark.mist.decimals": said})
    try:
        assert [encode(D("1.5")), encode(D("0.1234567890123456789"))] == expected
    finally:
        texts.configure({})
    with pytest.raises(ValueError, match="spark.mist.decimals: expected auto, number or string, got text"):
        texts.configure({"spark.mist.decimals": "text"})


def test_many_rows_are_fast_enough_not_to_notice():
    rows = [{"word": "w", "count": i, "share": 0.5} for i in range(100_000)]
    start = time.perf_counter()
    assert encode(rows) == rows
    assert time.perf_counter() - start < 5
