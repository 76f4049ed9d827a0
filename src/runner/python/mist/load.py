# SPDX-License-Identifier: Apache-2.0
"""From an artifact's path and a className to a Function. What is elsewhere is fetched first (fetch.py).

A .py file becomes a module of its own, under a name nothing else has, and is imported anew when its content has
changed: an edited file is used by the next job, and the jobs that run keep what they have. Its byte code is not
cached, since the cache tells files apart by whole seconds. The module must be in sys.modules while it is the newest
(pickle and dataclasses look there), and it is registered to be pickled by value, because no Spark executor could
import it by its name.

Of a .zip, .whl or .egg className is package.module.function. Each content is a package of its own (artifacts.py); with
Spark the executors are given it too. One that was replaced goes when its last job has ended.

Whether a file has changed its content says, and what stat() tells is trusted to say that it has not only when it is
older than the clock of the file system is coarse: a file that was written twice within one tick looks the same.

Any thread; one lock for each path, so that a slow import holds up only the jobs that need it."""

import dataclasses
import hashlib
import importlib
import inspect
import linecache
import os
import sys
import threading
import time
import types
import zipfile

from mist import artifacts, compat, fetch, spark
from mist.errors import Cancelled, Refusal, explain
from mist.function import Function

PACKED = (".zip", ".whl", ".egg")
NAMES_SHOWN = 20
PIECE = 1 << 20
SETTLED_NS = 2_000_000_000  # FAT, the coarsest, counts in these


@dataclasses.dataclass
class Content:
    """What a file held when it was looked at last."""
    stamp: tuple
    is_settled: bool  # a change from now on shows in the stamp
    digest: str


@dataclasses.dataclass
class Loaded:
    content: Content
    module: types.ModuleType = None       # of a .py file
    package: artifacts.Package = None     # of a packed one
    functions: dict = dataclasses.field(default_factory=dict)  # className → Function


class Loader:
    def __init__(self):
        self._lock = threading.Lock()
        self._fetcher = fetch.Fetcher()
        self._locks = {}     # path → lock
        self._loaded = {}    # path → Loaded
        self._replaced = []  # packages that jobs may still use
        self._changing = threading.Lock()  # a package comes or goes; before _lock
        self._n_modules = 0
        compat.make_importable()

    def load(self, path, class_name, holder=None):
        """The Function. Raises a Refusal that says what is wrong with the file or the name. A replaced archive whose
        code the `holder` (a job's id) was given stays importable until release(holder)."""
        name = fetch.name_of(path).lower()
        is_packed = name.endswith(PACKED)
        if not is_packed and not name.endswith(".py"):
            raise Refusal(f"{path} is no Python artifact: expected a .py, .zip, .whl or .egg file")
        path = self.fetch(path)
        with self._lock:
            lock = self._locks.setdefault(path, threading.RLock())
        with lock:
            loaded = self._packed(path) if is_packed else self._file(path)
            if loaded.package and holder:
                loaded.package.holders.add(holder)
            function = self._function(loaded, path, class_name)
        artifacts.enter(loaded.package.name if is_packed else loaded.module.__name__)
        return function

    def release(self, holder):
        """Not in a thread that may be interrupted: half of it done would be a leak."""
        with self._lock:
            packages = [loaded.package for loaded in list(self._loaded.values()) if loaded.package]
            for package in packages + self._replaced:
                package.holders.discard(holder)
        self._sweep()

    def fetch(self, path):
        """Where it is on this machine; load() takes that, too."""
        return self._fetcher.fetch(path)

    def _file(self, path):
        loaded = self._loaded.get(path)
        with _opened(path) as f:
            content, data = _look(f, path, loaded and loaded.content)
            if loaded is None or content.digest != loaded.content.digest:
                fresh = Loaded(content, module=self._import_file(path, f.read() if data is None else data))
                if loaded:
                    sys.modules.pop(loaded.module.__name__, None)
                    artifacts.forget_file(loaded.module.__name__)
                    spark.pickle_by_reference(loaded.module)
                self._loaded[path] = loaded = fresh
        loaded.content = content
        return loaded

    def _import_file(self, path, data):
        with self._lock:
            self._n_modules += 1
            n = self._n_modules
        stem = "".join(c if c.isalnum() else "_" for c in os.path.splitext(os.path.basename(path))[0])
        name = f"mist_{stem}_{artifacts.path_hash(path)}_{n}"
        module = types.ModuleType(name)
        module.__file__ = path
        linecache.checkcache(path)
        importlib.invalidate_caches()  # for libraries that were installed meanwhile
        sys.modules[name] = module
        artifacts.adopt_file(name)
        try:
            exec(compile(data, path, "exec", dont_inherit=True), module.__dict__)
        except BaseException as e:
            sys.modules.pop(name, None)
            artifacts.forget_file(name)
            raise _import_refusal(path, e)
        spark.pickle_by_value(module)
        return module

    def _packed(self, path):
        loaded = self._loaded.get(path)
        with _opened(path) as f:
            content, _ = _look(f, path, loaded and loaded.content)
            if loaded is None or content.digest != loaded.content.digest:
                f.seek(0)
                with self._changing:
                    package = self._package(path, content.digest, f)
                    with self._lock:  # an interruption between two of these costs a copy, no package in use
                        before, loaded = loaded, Loaded(content, package=package)
                        self._replaced = [p for p in self._replaced if p is not package]
                        self._loaded[path] = loaded
                        if before:
                            self._replaced.append(before.package)
        loaded.content = content
        spark.give(loaded.package)
        return loaded

    def _package(self, path, digest, f):
        """A content that is back while jobs still run with it is the same package: a second one would have its name."""
        package = artifacts.Package(path, digest, fetch.own_folder())
        known = next((p for p in self._replaced if p.name == package.name), None)
        if known:
            return known
        try:
            package.open(f)
        except (zipfile.BadZipFile, ValueError, EOFError) as e:
            raise Refusal(f"cannot import from {path}: it is no archive: {e}") from None
        except OSError as e:
            raise Refusal(f"{path} cannot be copied: {e.strerror}") from None
        return package

    def _sweep(self):
        """Replaced packages without jobs go."""
        with self._lock:
            if all(p.holders for p in self._replaced):
                return  # and does not wait for an archive that is being copied
        with self._changing:
            with self._lock:
                unused = [p for p in self._replaced if not p.holders]
                self._replaced = [p for p in self._replaced if p.holders]
            for package in unused:
                spark.take_back(package)
                package.close()

    def _function(self, loaded, path, class_name):
        function = loaded.functions.get(class_name)
        if function is None:
            where, module, name = os.path.basename(path), loaded.module, class_name
            if loaded.package:
                module_name, _, name = class_name.rpartition(".")
                if not module_name:
                    raise Refusal(f'{where}: the class name is "package.module.function", not "{class_name}"')
                module = _import_packed(loaded.package, module_name)
                where = f"{module_name} in {where}"
            function = loaded.functions[class_name] = _find(module, name, where)
        return function


def _import_packed(package, module_name):
    top = module_name.partition(".")[0]
    what = f"{module_name} of {package.shown}"
    if top not in package.tops:
        raise Refusal(f"cannot import {what}\nModuleNotFoundError: No module named '{module_name}'")
    try:
        importlib.invalidate_caches()  # for libraries that were installed meanwhile
        __import__(f"{package.name}.{module_name}")
        return sys.modules[f"{package.name}.{module_name}"]
    except BaseException as e:
        raise _import_refusal(what, e)


def _opened(path):
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise Refusal(f"no such file: {path}") from None
    except OSError as e:
        raise Refusal(f"cannot read {path}: {e.strerror}") from None


def _look(f, path, known):
    """The Content of an open file, and its bytes if it was small and had to be read."""
    s = os.fstat(f.fileno())
    stamp = (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    is_settled = time.time_ns() - max(s.st_mtime_ns, s.st_ctime_ns) > SETTLED_NS
    if known and known.is_settled and known.stamp == stamp:
        return known, None
    digest, data = hashlib.sha256(), None
    try:
        while piece := f.read(PIECE):
            digest.update(piece)
            data = piece if data is None and len(piece) < PIECE else b""
    except OSError as e:
        raise Refusal(f"cannot read {path}: {e.strerror}") from None
    if data == b"":
        data = None
        f.seek(0)
    return Content(stamp, is_settled, digest.hexdigest()), data


def _import_refusal(what, error):
    """A cancel that comes during an import stays a cancel; anything else is the file's fault."""
    if isinstance(error, Cancelled):
        return error
    # Of a library it matters in which Python it is missing.
    where = f" (Python: {sys.executable})" if isinstance(error, ModuleNotFoundError) else ""
    return Refusal(f"cannot import {what}\n{explain(error)}{where}")


def _find(module, name, where):
    target = _target(module, name, where)
    kind = compat.MistpyFunction if compat.is_mistpys(target) else Function
    return kind(target)


def _target(module, name, where):
    marked = _marked(module)
    target = marked.get(name)
    if target is None:
        target = getattr(module, name, None)
    if callable(target) and not inspect.isclass(target):
        return target
    names = sorted(marked) or sorted(n for n, v in vars(module).items() if inspect.isfunction(v)
                                     and v.__module__ == module.__name__ and not n.startswith("_"))
    if not names:
        raise Refusal(f'no function "{name}" in {where}: it has no functions')
    shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
    raise Refusal(f'no function "{name}" in {where}; the functions there are: {shown}')


def _marked(module):
    """By the name that jobs use: the one given to @mist.function, or of a function of mistpy's the module's own."""
    marked = {}
    for name, value in list(vars(module).items()):
        if callable(value) and isinstance(getattr(value, "__mist__", None), dict):
            marked[value.__mist__["name"]] = value
        elif inspect.isfunction(value) and compat.is_mistpys(value):
            marked[name] = value
    return marked
