# SPDX-License-Identifier: Apache-2.0
"""From an artifact's path and a className to a Function. What is elsewhere is fetched first (fetch.py).

A .py file becomes a module of its own, under a name nothing else has, and is read again when its time or size has
changed: an edited file is used by the next job, and the jobs that run keep what they have. Its byte code is not
cached, since the cache tells files apart by whole seconds. The module must be in sys.modules while it is the newest
(pickle and dataclasses look there), and it is registered to be pickled by value, because no Spark executor could
import it by its name.

A .zip, .whl or .egg goes on sys.path and className is package.module.function. When another artifact brings a package
of the same name, or the file was changed, what was imported from the old one is forgotten first; with Spark the file
is given to the executors too.

Any thread; one lock for each path, so that a slow import holds up only the jobs that need it."""

import dataclasses
import hashlib
import importlib
import inspect
import linecache
import os
import sys
import threading
import types
import zipimport

from mist import compat, fetch, spark
from mist.errors import Cancelled, Refusal, explain
from mist.function import Function

PACKED = (".zip", ".whl", ".egg")
NAMES_SHOWN = 20


@dataclasses.dataclass
class Loaded:
    stamp: tuple
    module: types.ModuleType
    functions: dict  # className → Function


class Loader:
    def __init__(self):
        self._lock = threading.Lock()
        self._fetcher = fetch.Fetcher()
        self._locks = {}     # path → lock
        self._loaded = {}    # path → Loaded; of a packed file: (path, module name) → Loaded
        self._packed = {}    # path → stamp of the packed files on sys.path
        self._n_modules = 0
        compat.make_importable()

    def load(self, path, class_name):
        """The Function. Raises a Refusal that says what is wrong with the file or the name."""
        name = fetch.name_of(path).lower()
        is_packed = name.endswith(PACKED)
        if not is_packed and not name.endswith(".py"):
            raise Refusal(f"{path} is no Python artifact: expected a .py, .zip, .whl or .egg file")
        path = self.fetch(path)
        with self._lock:
            lock = self._locks.setdefault("packed" if is_packed else path, threading.RLock())
        with lock:
            stamp = _stamp(path)
            return self._from_packed(path, stamp, class_name) if is_packed else self._from_file(path, stamp, class_name)

    def fetch(self, path):
        """Where it is on this machine; load() takes that, too."""
        return self._fetcher.fetch(path)

    def _from_file(self, path, stamp, class_name):
        loaded = self._loaded.get(path)
        if loaded is None or loaded.stamp != stamp:
            fresh = Loaded(stamp, self._import_file(path), {})
            if loaded:
                sys.modules.pop(loaded.module.__name__, None)
            self._loaded[path] = loaded = fresh
        return _find(loaded, class_name, os.path.basename(path))

    def _import_file(self, path):
        with self._lock:
            self._n_modules += 1
            n = self._n_modules
        stem = "".join(c if c.isalnum() else "_" for c in os.path.splitext(os.path.basename(path))[0])
        name = f"mist_{stem}_{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}_{n}"
        module = types.ModuleType(name)
        module.__file__ = path
        linecache.checkcache(path)
        sys.modules[name] = module
        try:
            with open(path, "rb") as f:
                exec(compile(f.read(), path, "exec", dont_inherit=True), module.__dict__)
        except BaseException as e:
            sys.modules.pop(name, None)
            raise _import_refusal(path, e)
        spark.pickle_by_value(module)
        return module

    def _from_packed(self, path, stamp, class_name):
        module_name, _, name = class_name.rpartition(".")
        if not module_name:
            raise Refusal(f'{os.path.basename(path)}: the class name is "package.module.function", not "{class_name}"')
        if self._packed.get(path) != stamp:
            self._forget(path)
            self._packed[path] = stamp
            spark.add_file(path)
        key = (path, module_name)
        loaded = self._loaded.get(key)
        if loaded is None or sys.modules.get(module_name) is not loaded.module:
            self._loaded[key] = loaded = Loaded(stamp, self._import_packed(path, module_name), {})
        return _find(loaded, name, f"{module_name} in {os.path.basename(path)}")

    def _forget(self, path):
        zipimport._zip_directory_cache.pop(path, None)
        sys.path_importer_cache.pop(path, None)
        for key in [k for k in self._loaded if k[0] == path]:
            del self._loaded[key]
        for name in [n for n, m in list(sys.modules.items()) if _is_from(m, path)]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def _import_packed(self, path, module_name):
        top = module_name.partition(".")[0]
        standing = sys.modules.get(top)
        for other in self._packed:
            if other != path and standing is not None and _is_from(standing, other):
                for name in [n for n in sys.modules if n == top or n.startswith(top + ".")]:
                    del sys.modules[name]
        if path in sys.path:
            sys.path.remove(path)
        sys.path.insert(0, path)
        try:
            return importlib.import_module(module_name)
        except BaseException as e:
            raise _import_refusal(f"{module_name} of {path}", e)


def _is_from(module, path):
    origin = getattr(module, "__file__", None) or ""
    if not origin:  # a package without __init__.py has no file, only places
        origin = next(iter(getattr(module, "__path__", ()) or ()), "")
    return origin == path or origin.startswith(path + os.sep)


def _stamp(path):
    try:
        s = os.stat(path)
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise Refusal(f"no such file: {path}") from None
    except OSError as e:
        raise Refusal(f"cannot read {path}: {e.strerror}") from None
    return s.st_mtime_ns, s.st_size, s.st_ino


def _import_refusal(what, error):
    """A cancel that comes during an import stays a cancel; anything else is the file's fault."""
    if isinstance(error, Cancelled):
        return error
    return Refusal(f"cannot import {what}\n{explain(error)}")


def _find(loaded, name, where):
    function = loaded.functions.get(name)
    if function is None:
        target = _target(loaded.module, name, where)
        kind = compat.MistpyFunction if compat.is_mistpys(target) else Function
        function = loaded.functions[name] = kind(target)
    return function


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
