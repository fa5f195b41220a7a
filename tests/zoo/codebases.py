"""The code bases themselves, beside real MMCV: their wheels' code, and stand-ins for what they only import."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import shutil
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import packages

CODE = packages.ROOT / ".cache" / "code"
#: what the packages are called when they are imported
NAMES = {"mmcls": "mmcls", "mmdet": "mmdet", "mmpose": "mmpose", "mmsegmentation": "mmseg"}
#: Imported at the head of their modules, for evaluations and drawings; nothing here calls them. `mmcv._ext` are MMCV's
#: compiled operators: the Python around them imports, and fails where one is called.
ABSENT = frozenset(
    ("chumpy", "json_tricks", "matplotlib", "munkres", "prettytable", "pycocotools")
    + ("scipy", "six", "terminaltables", "torchvision", "xtcocotools")
)


def fetch() -> None:
    """Unpack the code of the wheels where that has not been done; the wheels come with the configs."""
    packages.fetch()
    for package, checksum in packages.wanted().items():
        folder = CODE / package
        done = folder / ".unpacked"
        if not done.is_file() or done.read_text() != checksum:
            shutil.rmtree(folder, ignore_errors=True)
            wheel = packages.wheel(package)
            assert wheel is not None
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder, [name for name in archive.namelist() if _is_code(name)])
            done.write_text(checksum)


def is_there(package: str) -> bool:
    """Tell whether the code of a package has been unpacked."""
    return (CODE / package / ".unpacked").is_file()


def join(package: str) -> Any:
    """Import a code base's `apis` and give its package; mmcv must be importable.

    Raises:
        ImportError: there is no mmcv, or the code is not unpacked.
    """
    import mmcv

    name = NAMES[package]
    # a code base looks for others: backbones of mmcls in mmdet and mmseg
    sys.path += [str(CODE / other) for other in NAMES if str(CODE / other) not in sys.path]
    version = mmcv.__version__
    with stand_ins(package), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            mmcv.__version__ = "1.7.0"  # mmpose was released before 1.7.2, and refuses it
            importlib.import_module(f"{name}.apis")
        finally:
            mmcv.__version__ = version
    return sys.modules[name]


@contextmanager
def stand_ins(package: str) -> Iterator[None]:
    """Let what is absent be imported; afterwards the names are free again."""
    finder = _Finder(ABSENT if package == "mmcls" else ABSENT | {"mmcv._ext"})  # mmcls can do without the operators
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
            if name != "mmcv._ext":
                del sys.modules[name]


def tool(package: str) -> Any:
    """Give the module of the code base's `tools/train.py`."""
    name = f"{NAMES[package]}_tools_train"
    if name not in sys.modules:
        path = CODE / package / NAMES[package] / ".mim" / "tools" / "train.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


class _StandIn(types.ModuleType):
    """Has any name one asks for: a class that cannot be used."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__name__ == "six.moves":
            return getattr(__import__("builtins"), name)
        return type(name, (), {"__init__": _refuse(f"{self.__name__}.{name}")})


def _refuse(name: str) -> Callable[..., None]:
    def init(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"{name} is not there: something stands in for it, to be imported only")

    return init


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Comes last: a package that is installed is taken."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] in self._names or name in self._names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def _is_code(name: str) -> bool:
    return name.endswith(".py") and "/.mim/configs/" not in name and not name.startswith("tests/")


if __name__ == "__main__":
    fetch()
    print(*(str(Path(CODE / package)) for package in NAMES), sep="\n")
