# SPDX-License-Identifier: Apache-2.0
"""The packages of packed artifacts (.zip, .whl, .egg), kept apart from each other.

Several artifacts live in one process, may bring packages of the same name, and are replaced while their jobs run. So
each content of an artifact is a package of its own, with a name nothing else has, over a private copy of the file:
`sharedlib.tool` of app.zip is the module `mist_app_<path>_<content>.sharedlib.tool`. Import statements of its code find
the artifact's own packages first, whenever they run; what it does not bring comes from outside, and so does the
standard library, PySpark, mistpy and this package, whoever brings them.

The name is also how Spark's executors tell contents apart: closures refer to functions by it. They are given the
private copy under a name with its hash, and a tiny archive that makes the package there; both are new files for a new
content, so neither Spark's cache of files nor a Python process that is used again can mistake one for the other. This
module runs there, too: it imports nothing of the rest of this package.

Code that imports by a name it computes (importlib.import_module, a pickle from elsewhere, importlib.resources) is
served by a finder behind all others: an Alias stands for the module of that name of whichever artifact the calling
code, or else the job, belongs to. An old name of a replaced content leads to the same module in the present one.

Any thread."""

import builtins
import contextvars
import errno
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import os
import re
import shutil
import sys
import threading
import types
import zipfile
import zipimport

NEVER_OURS = frozenset(("mist", "mistpy", "pyspark", "py4j")) | frozenset(
    getattr(sys, "stdlib_module_names", sys.builtin_module_names))
NATIVE = (".so", ".pyd", ".dylib")
NAME = re.compile(r"mist_\w+_[0-9a-f]{8}_(?:[0-9a-f]{12}|\d+)")
PREFIX = re.compile(NAME.pattern + r"\.(?=[A-Za-z_])")
FRAMES_MAX = 200

# Name of a package made here → the packages in it. A module of a .py artifact has none.
_tops = {}
_shown = {}    # path of a private copy → path of the artifact
_lock = threading.Lock()
_imports = []  # ours, the newest last
_current = contextvars.ContextVar("mist_package", default=None)


class Package:
    """One content of one artifact. `name` is its package's."""

    def __init__(self, path, content, folder):
        stem, suffix = os.path.splitext(os.path.basename(path))
        stem = "".join(c if c.isascii() and c.isalnum() else "_" for c in stem)[:40] or "artifact"
        self.name = f"mist_{stem}_{path_hash(path)}_{content[:12]}"
        self.path = os.path.join(folder, f"{stem}-{path_hash(path)}-{content[:12]}{suffix}")
        self.shown = path
        self.holders = set()     # jobs that were given its code
        self.given_to = None     # the SparkContext whose executors have it, and the files it was given
        self.given = ()

    def open(self, source):
        """Copies the artifact from the open file. Raises OSError, zipfile.BadZipFile."""
        part = self.path + ".part"
        with open(part, "wb") as f:
            shutil.copyfileobj(source, f, 1 << 20)
        try:
            self.tops = tops_of(part)
        except Exception:
            os.unlink(part)
            raise
        os.replace(part, self.path)
        _shown[self.path] = self.shown
        adopt(self.name, self.path, self.tops)

    def close(self):
        """No job uses it any more."""
        _tops.pop(self.name, None)
        _shown.pop(self.path, None)
        zipimport._zip_directory_cache.pop(self.path, None)
        for name in [n for n in list(sys.modules) if n == self.name or n.startswith(self.name + ".")]:
            sys.modules.pop(name, None)
        for path in (self.path, *self.given):
            _empty(path, self.given_to is not None)

    def stub(self, folder):
        """A file that makes the package in an executor, where the private copy lies beside it."""
        path = os.path.join(folder, self.name + ".zip")
        code = (f"from mist import artifacts\n"
                f"artifacts.adopt_beside(__name__, __file__, {os.path.basename(self.path)!r}, {sorted(self.tops)!r})\n")
        with zipfile.ZipFile(path, "w") as z:
            z.writestr(f"{self.name}/__init__.py", code)
        return path


def _empty(path, is_served):
    """Spark cannot be told to forget a file: an executor that starts later fetches it still, so it stays, empty."""
    try:
        if is_served:
            os.truncate(path, 0)
        else:
            os.unlink(path)
    except OSError:
        pass


def path_hash(path):
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def tops_of(path):
    """The packages and modules that an archive brings."""
    tops, native = set(), set()
    with zipfile.ZipFile(path) as z:
        for name in z.namelist():
            top, slash, rest = name.partition("/")
            if name.endswith(NATIVE):
                native.add(top)
            elif name.endswith((".py", ".pyc")):
                tops.add(top if slash else os.path.splitext(name)[0])
    # What has native code cannot be imported from an archive: the installed one is meant.
    return frozenset(t for t in tops - native if t.isidentifier() and t not in NEVER_OURS)


def adopt(name, path, tops):
    """Makes the package `name` of the archive at `path`."""
    package = types.ModuleType(name)
    package.__path__ = [path]
    package.__package__ = name
    package.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    package.__spec__.submodule_search_locations = package.__path__
    importlib.invalidate_caches()
    sys.path_importer_cache.pop(path, None)
    _install()
    _tops[name] = frozenset(tops)
    sys.modules[name] = package


def adopt_beside(name, stub, file, tops):
    """The same in an executor, while the package is imported from its stub."""
    package = sys.modules[name]
    package.__path__[:] = [os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(stub))), file)]
    _install()
    _tops[name] = frozenset(tops)


def adopt_file(name):
    """A module that is an artifact by itself and sees no packages of others."""
    _tops[name] = frozenset()


def forget_file(name):
    _tops.pop(name, None)


def enter(name):
    """The calling job's artifact is `name`'s."""
    _current.set(name)


def shown_path(path):
    """A file's path as the artifact's owner knows it."""
    for copy, artifact in list(_shown.items()):
        if path.startswith(copy):
            return artifact + path[len(copy):]
    return path


def shown_text(text):
    """`text` with the modules' names as the artifact's owner knows them."""
    return PREFIX.sub("", text) if "mist_" in text else text


def _install():
    with _lock:
        if builtins.__import__ not in _imports:  # somebody's own, which may call what was there before
            _imports.append(_over(builtins.__import__))
            builtins.__import__ = _imports[-1]
        if not any(isinstance(finder, Finder) for finder in sys.meta_path):
            sys.meta_path.append(Finder())


def _over(plain):
    """An __import__ that finds an artifact's own packages first, and asks `plain` for the rest."""
    def imported(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0 and globals is not None:
            importer = globals.get("__name__")
            if type(importer) is str and importer.startswith("mist_"):
                package = importer.partition(".")[0]
                top = name.partition(".")[0]
                # An empty list comes from C code, pickle's for one, which goes on in sys.modules: that is the finder's
                # case.
                if top in _tops.get(package, ()) and fromlist != []:
                    return _import_own(plain, package, top, name, globals, locals, fromlist)
        return plain(name, globals, locals, fromlist, level)
    return imported


def _import_own(plain, package, top, name, globals, locals, fromlist):
    try:
        found = plain(f"{package}.{name}", globals, locals, fromlist, 0)
        return found if fromlist else sys.modules[f"{package}.{top}"]
    except ModuleNotFoundError as e:
        is_shared = getattr(sys.modules.get(f"{package}.{top}"), "__file__", None) is None  # a namespace package
        if is_shared and (e.name or "").startswith(f"{package}.{top}"):
            return plain(name, globals, locals, fromlist, 0)
        if (e.name or "").startswith(package + "."):
            e.name = e.name[len(package) + 1:]
            e.msg = shown_text(str(e.msg))
        raise


def _package_in_force():
    """Of the code that calls, else of the job; None: of no artifact."""
    frame = sys._getframe(1)
    for _ in range(FRAMES_MAX):
        if frame is None:
            break
        importer = frame.f_globals.get("__name__")
        if type(importer) is str and importer.startswith("mist_"):
            package = importer.partition(".")[0]
            if package in _tops:
                return package
        frame = frame.f_back
    package = _current.get()
    return package if package in _tops else None


class Alias(types.ModuleType):
    """Stands under a name that several artifacts may have a module of."""

    def __getattr__(self, name):
        module = module_in_force(self.__name__)
        if module is None:
            raise AttributeError(f"module {self.__name__!r} is of an artifact that this code does not belong to")
        return getattr(module, name)

    def __dir__(self):
        module = module_in_force(self.__name__)
        return dir(module) if module is not None else []


def module_in_force(name):
    """The module of that name of the artifact that is in force, or None. `name` may begin with a former package."""
    package = _package_in_force()
    match = NAME.match(name)
    natural = name[match.end() + 1:] if match else name
    if package is None or natural.partition(".")[0] not in _tops[package]:
        return None
    full = f"{package}.{natural}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as e:
        if full == e.name or full.startswith(f"{e.name}."):
            return None
        raise


class Finder:
    @staticmethod
    def find_spec(fullname, path=None, target=None):
        match = NAME.match(fullname)
        if match and fullname.partition(".")[0] in _tops:
            return None
        if match and match.end() == len(fullname):
            is_known = _package_in_force() is not None
        else:
            is_known = module_in_force(fullname) is not None
        return importlib.machinery.ModuleSpec(fullname, Finder, is_package=True) if is_known else None

    @staticmethod
    def create_module(spec):
        alias = Alias(spec.name)
        alias.__path__ = []  # what is below it is the finder's, too
        return alias

    @staticmethod
    def exec_module(module):
        pass

    @staticmethod
    def get_resource_reader(fullname):
        module = module_in_force(fullname)
        return module.__spec__.loader.get_resource_reader(module.__name__) if module is not None else None

    @staticmethod
    def get_data(path):
        copy = next((copy for copy in list(_shown) if path.startswith(copy + os.sep)), None)
        if copy is None:
            raise OSError(errno.ENOENT, "it is in no artifact", path)
        return zipimport.zipimporter(copy).get_data(path)

    @staticmethod
    def find_distributions(context=importlib.metadata.DistributionFinder.Context()):
        package = _package_in_force()
        places = list(getattr(sys.modules.get(package), "__path__", ())) if package else []
        inner = importlib.metadata.DistributionFinder.Context(name=context.name, path=places)
        return importlib.metadata.MetadataPathFinder.find_distributions(inner) if places else iter(())
