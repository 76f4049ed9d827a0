# SPDX-License-Identifier: Apache-2.0
"""Functions written for Mist's Python library: against the stand-in, and against a library that marks as the real one
does, without a word on what its wrappers wrap."""

import importlib.util
import os
import sys
import zipfile

import pytest

from mist import compat
from mist.arguments import convert
from mist.errors import Refusal, explain
from mist.load import Loader
from scripted_gateway import ROOT, RUNNER

FUNCTIONS = os.path.join(ROOT, "tests", "support", "mistpy_functions.py")
START_S = 180

INSTALLED = '''
class Named:
    def __init__(self, name, type_hint, is_optional):
        self.name, self.type_hint, self.is_optional = name, type_hint, is_optional

class WithDefault(Named):
    def __init__(self, name, type_hint, default):
        Named.__init__(self, name, type_hint, True)
        self.default = default

class Many:
    def __init__(self, main_type):
        self.container_type, self.main_type = list, main_type

def arg(name, type_hint, default=None, optional=False):
    return Named(name, type_hint, optional) if optional or default is None else WithDefault(name, type_hint, default)

def opt_arg(name, type_hint):
    return arg(name, type_hint, optional=True)

def list_type(main_type):
    return Many(main_type)

def with_args(*arguments):
    def decorate(f):
        def call(*args, **kwargs):
            return f(*args, **kwargs)
        call.__dict__.update(f.__dict__)
        call.args_def = arguments
        return call
    return decorate

class On:
    def __init__(self, type_choice, tags=()):
        self.type_choice, self.tags = type_choice, set(tags)
    def __call__(self, fn):
        def wrapper(*args, **kwargs):
            if len(args) != 1:
                raise TypeError("one positional argument")
            return fn(args[0], **kwargs)
        wrapper.type_choice, wrapper.fn_tags = self.type_choice, self.tags
        return wrapper

on_spark_context = On("sp_context")
on_spark_session = On("sp_session", ["sql"])
on_sql_context = On("sql_context", ["sql"])
on_hive_context = On("hive_context", ["hive", "sql"])
on_hive_session = On("hive_session", ["hive", "sql"])
on_streaming_context = On("streaming", ["streaming"])
'''


def write_installed(folder):
    (folder / "mistpy").mkdir(parents=True)
    (folder / "mistpy" / "__init__.py").write_text("")
    (folder / "mistpy" / "decorators.py").write_text(INSTALLED)
    return str(folder)


@pytest.fixture(params=["stand-in", "installed"])
def loader(request, tmp_path, monkeypatch):
    path, modules = list(sys.path), set(sys.modules)
    if request.param == "installed":
        sys.path.append(write_installed(tmp_path / "site"))
    made = Loader()
    made.kind = request.param
    for kind in compat.SPARK_OBJECTS:
        monkeypatch.setitem(compat.SPARK_OBJECTS, kind, lambda context, kind=kind: kind)
    yield made
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def called(loader, path, name, **arguments):
    function = loader.load(str(path), name)
    return function.call(None, convert(function, arguments))


def optional(tree):
    return {"type": "MOption", "args": [tree]}


def listed(tree):
    return {"type": "MList", "args": [tree]}


MINT, MDOUBLE, MSTRING, MANY = ({"type": name} for name in ("MInt", "MDouble", "MString", "MAny"))


def test_the_library_that_is_there_goes_before_the_stand_in(loader):
    origin = importlib.util.find_spec("mistpy.decorators").origin
    assert origin.startswith(RUNNER) == (loader.kind == "stand-in")


def test_the_types_are_mists(loader):
    told = loader.load(FUNCTIONS, "typed").signature()
    assert told == {"lang": "python", "tags": [], "extraArguments": "ignored", "execute": {
        "flag": {"type": "MBoolean"}, "ratio": optional(MDOUBLE), "words": listed(MANY),
        "names": listed(listed(MSTRING)), "rest": MANY, "any": MANY, "sizes": optional(listed(MDOUBLE))}}
    assert loader.load(FUNCTIONS, "multiplied").signature()["execute"] == {
        "numbers": listed(MINT), "by": optional(MINT), "note": optional(MSTRING)}
    assert loader.load(FUNCTIONS, "undeclared").signature()["execute"] == {"number": MANY, "by": optional(MANY)}


@pytest.mark.parametrize("name, tags", [
    ("multiplied", []), ("either_order", ["sql"]), ("with_sql_context", ["sql"]), ("streamed", ["streaming"]),
    ("with_hive_session", ["hive", "sql"]), ("with_hive_context", ["hive", "sql"])])
def test_the_tags_say_which_spark_object_it_is(loader, name, tags):
    assert loader.load(FUNCTIONS, name).signature()["tags"] == tags


CODE = """
from mistpy.decorators import *

@with_args(arg("a", int), arg("b", str, default="x"), opt_arg("c", float), opt_arg("d", bool), arg("e", int, default=1))
@on_spark_context
def f(sc, a, b, c, d=True, **rest):
    return [sc, a, b, c, d, rest]

@on_spark_session
def g(spark: "NotImported", n, *, by=2):
    return [spark, n, by]

@on_sql_context
def h(*args, **named):
    return [args, named]

@on_spark_context
def fails(sc):
    raise ValueError("the user's own")

@with_args(arg("x", int))
def without(x):
    return x
"""


def test_what_was_left_out_has_its_default(loader, user_file):
    path = user_file(CODE)
    assert called(loader, path, "f", a=1) == ["sp_context", 1, "x", None, True, {"e": 1}]
    assert called(loader, path, "f", a=1, b=None, c=None, d=None) == ["sp_context", 1, "x", None, True, {"e": 1}]
    assert called(loader, path, "f", a=1.0, b="y", c=2, d=False, e=3, more=[4]) == [
        "sp_context", 1, "y", 2.0, False, {"e": 3, "more": [4]}]
    assert called(loader, FUNCTIONS, "either_order") == {"kind": "str", "declared": 1, "own": 5}
    assert called(loader, FUNCTIONS, "either_order", own=6, declared=2) == {"kind": "str", "declared": 2, "own": 6}


def test_arguments_that_were_not_declared_are_the_functions_own(loader, user_file):
    path = user_file(CODE)
    assert called(loader, path, "g", n="any") == ["sp_session", "any", 2]
    assert called(loader, path, "g", n=1, by=[3], extra=1) == ["sp_session", 1, [3]]
    assert called(loader, path, "h", a=1) == [("sql_context",), {"a": 1}]


@pytest.mark.parametrize("arguments, expected", [
    ({}, "Invalid field a: it is missing"), ({"a": "1"}, 'Invalid field a: expected an integer, got "1"'),
    ({"a": 1, "c": "x"}, "Invalid field c: expected a number"), ({"a": True}, "Invalid field a: expected an integer")])
def test_arguments_are_checked_again(loader, user_file, arguments, expected):
    with pytest.raises(Refusal, match=expected):
        called(loader, user_file(CODE), "f", **arguments)


def test_a_function_without_a_spark_object_and_a_wrong_name_are_refused_in_words(loader, user_file):
    path = user_file(CODE)
    with pytest.raises(Refusal, match="^without has with_args, but it has none of on_spark_context, "):
        loader.load(str(path), "without")
    with pytest.raises(Refusal, match='no function "k" in user_code.py; the functions there are: f, fails, g, h, without$'):
        loader.load(str(path), "k")


def test_an_error_is_told_without_the_decorators_frames(loader, user_file):
    with pytest.raises(ValueError) as error:
        called(loader, user_file(CODE), "fails")
    assert explain(error.value).endswith("ValueError: the user's own") and "decorators.py" not in explain(error.value)


def test_decorators_of_the_users_own_may_stand_between(loader, user_file):
    path = user_file("import functools\nfrom mistpy.decorators import *\n"
                     "def noted(f):\n    @functools.wraps(f)\n    def g(*a, **k): return ['noted', f(*a, **k)]\n    return g\n"
                     "@noted\n@with_args(arg('a', int, default=4))\n@noted\n@on_spark_context\n@noted\ndef f(sc, a): return a\n")
    assert called(loader, path, "f") == ["noted", ["noted", ["noted", 4]]]
    assert loader.load(str(path), "f").signature()["execute"] == {"a": optional(MINT)}


@pytest.mark.parametrize("suffix", [".egg", ".zip", ".whl"])
def test_a_packed_function_is_named_by_package_module_function(loader, tmp_path, suffix):
    path = tmp_path / ("packed" + suffix)
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("mistpys_pkg/__init__.py", "")
        z.writestr("mistpys_pkg/job.py", CODE)
    assert called(loader, path, "mistpys_pkg.job.f", a=1) == ["sp_context", 1, "x", None, True, {"e": 1}]


def test_a_function_of_the_stand_in_can_be_called_as_it_was_written(user_file):
    path, modules = list(sys.path), set(sys.modules)
    try:
        module = Loader()._import_file(str(user_file(CODE)), CODE)
        assert module.f("sc", 1) == ["sc", 1, "x", None, True, {"e": 1}]
        assert module.f("sc", a=1, b="y", d=False) == ["sc", 1, "y", None, False, {"e": 1}]
        assert module.f.__name__ == "f"
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            del sys.modules[name]


@pytest.fixture(params=["spark-submit", "python"])
def spark_peer(request, gateway):
    pyspark = pytest.importorskip("pyspark")
    home = os.path.dirname(pyspark.__file__)
    conf = {"spark.master": "local[2]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}
    environment = {"MIST_SPARK": "1", "SPARK_HOME": home, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
                   "PYTHONPATH": RUNNER}
    command = None
    if request.param == "spark-submit":
        environment["PYTHONPATH"] = ""
        command = [os.path.join(home, "bin", "spark-submit"), *(word for k, v in conf.items() for word in ("--conf", f"{k}={v}")),
                   os.path.join(RUNNER, "mist", "worker.py")]
    gateway.start_worker(environment, command, sparkConf=conf, streamingDuration=0.5)
    peer = gateway.peer(START_S)
    peer.welcome()
    return peer


@pytest.mark.spark
def test_every_spark_object(spark_peer, tmp_path):
    def run(name, /, **arguments):
        outcome = spark_peer.run(f"job-{len(spark_peer.seen)}", FUNCTIONS, name, **arguments)
        assert outcome["type"] == "finished", outcome
        return outcome["result"]

    people = tmp_path / "people.json"
    people.write_text('{"name": "Ada"}\n{"name": "Grace"}\n')
    assert run("multiplied", numbers=[1, 2]) == {"result": [2, 4], "note": None}
    assert run("undeclared", number=5) == {"result": 15}
    assert run("either_order")["kind"] == "SparkSession"
    assert run("with_sql_context", path=str(people)) == {"kind": "SQLContext", "names": ["Ada", "Grace"]}
    for kind, name in (("SparkSession", "with_hive_session"), ("HiveContext", "with_hive_context")):
        assert run(name) == {"kind": kind, "rows": [["a", 1], ["b", 2]]}
    assert run("either_order")["kind"] == "SparkSession"
    assert run("no_dict") == [1, "two", None]


@pytest.mark.spark
def test_streams_have_the_contexts_interval_and_end_with_their_job(spark_peer):
    for job in ("one", "two"):
        assert spark_peer.run(job, FUNCTIONS, "streamed", numbers=[1, 2, 3])["result"] == {
            "result": [2, 3, 4], "interval": 0.5}
    spark_peer.start("ever", FUNCTIONS, "streams_for_ever")
    while "a batch of 1" not in str(spark_peer.expect("log")):  # by then it waits for the end
        pass
    spark_peer.send("cancel", job="ever", reason="a test")
    assert spark_peer.outcome()["type"] == "cancelled"
    assert spark_peer.run("three", FUNCTIONS, "streamed", numbers=[5, 6])["result"]["result"] == [6, 7]
    assert spark_peer.run("after", FUNCTIONS, "multiplied", numbers=[3])["result"]["result"] == [6]


@pytest.mark.spark
def test_executors_import_what_a_packed_artifact_imports(spark_peer, tmp_path):
    packed = tmp_path / "packed.egg"
    with zipfile.ZipFile(packed, "w") as z:
        z.writestr("mistpys_pkg/__init__.py", "")
        z.writestr("mistpys_pkg/job.py", "import mist\nfrom mistpy.decorators import *\ndef double(x): return 2 * x\n"
                                         "@on_spark_context\ndef f(sc): return sc.parallelize([1, 2]).map(double).collect()\n")
    spark_peer.send("start", job="packed", function="f", path=str(packed), className="mistpys_pkg.job.f", parameters={},
                    attempt=1)
    outcome = spark_peer.outcome()
    assert outcome["type"] == "finished" and outcome["result"] == [2, 4], outcome
