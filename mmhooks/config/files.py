"""Config files and their bases: found, read, evaluated, and merged from the base up."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any

from mmhooks.config.advice import cause_of
from mmhooks.config.evaluate import Module, evaluate
from mmhooks.config.limits import MAX_DEPTH, MAX_FILE_BYTES, Budget, Refusal
from mmhooks.config.merge import merge
from mmhooks.config.templates import BaseReference, base_value, settle
from mmhooks.errors import ConfigError, nearest

BASE_KEY = "_base_"
DEPRECATION_KEY = "_deprecation_"
_STEPS_PER_FILE = 2_000
RESERVED_KEYS = ("filename", "text", "pretty_text")


class ConfigFileNotFound(ConfigError, FileNotFoundError):
    """A config file, or one of its bases, that does not exist."""


def read_config(path: str) -> tuple[dict[str, Any], str]:
    """Read a config file with all its bases.

    Args:
        path: the file; `~` is the home folder.

    Returns:
        The merged values, as plain dicts, and the text of all the files, bases first.

    Raises:
        ConfigFileNotFound: the file or a base does not exist.
        ConfigError: a file is no config that can be read as data; says the place, and what to write instead.
    """
    try:
        return _Reader().read_all(_absolute(Path(path).expanduser()))
    except RecursionError as error:
        raise ConfigError(f"{path}: the values are nested too deep to be read") from error


class _Reader:
    def __init__(self) -> None:
        self._budget = Budget()
        self._chain: list[str] = []

    def read_all(self, path: str) -> tuple[dict[str, Any], str]:
        """Read a file and its bases, and see that what they make together is of a sane size."""
        values, text = self.read(path, asked="")
        try:
            self._budget.weigh(values)
        except Refusal as error:
            raise ConfigError(f"{path}: {error}") from None
        return values, text

    def read(self, path: str, asked: str) -> tuple[dict[str, Any], str]:
        """Read one file; `asked` starts the messages about it with the place that names it as a base."""
        source = _read_text(path, asked)
        self._check_chain(path, asked)
        self._chain.append(path)
        try:
            # an empty file costs something too, or bases of bases would multiply for nothing
            self._budget.step(_STEPS_PER_FILE + len(source) // 16)
            module = evaluate(source, path, self._budget)
            return self._over_bases(module, f"{path}\n{source}")
        except Refusal as error:
            raise ConfigError(f"{path}:1: {error}") from None
        finally:
            self._chain.pop()

    def _check_chain(self, path: str, asked: str) -> None:
        if os.path.realpath(path) in map(os.path.realpath, self._chain):
            raise ConfigError(f"{asked}the bases form a loop: {' -> '.join([*self._chain, path])}")
        if len(self._chain) > MAX_DEPTH:
            raise ConfigError(f"{asked}more than {MAX_DEPTH} configs are based on one another")

    def _over_bases(self, module: Module, text: str) -> tuple[dict[str, Any], str]:
        values = module.values
        _check_reserved(module)
        _warn_if_deprecated(module)
        if BASE_KEY not in values:
            return self._settle(module, None), text
        bases, texts = self._read_bases(module, values.pop(BASE_KEY))
        child = self._settle(module, bases)
        merged = bases
        for key, value in child.items():
            try:
                merged = merge({key: value}, merged)
            except ConfigError as error:
                raise ConfigError(f"{module.path}:{module.lines[key]}: {error}") from None
        return merged, "\n".join([*texts, text])

    def _read_bases(self, module: Module, named: Any) -> tuple[dict[str, Any], list[str]]:
        names = named if isinstance(named, list) else [named]
        line = module.lines[BASE_KEY]
        bases: dict[str, Any] = {}
        owners: dict[str, str] = {}
        texts: list[str] = []
        for name in names:
            if not isinstance(name, str):
                raise ConfigError(
                    f"{module.path}:{line}: {BASE_KEY} must be a path or a list of paths, not {type(name).__name__}; "
                    f"write {BASE_KEY} = ['./base.py']"
                )
            asked = f"{module.path}:{module.line_of_text(BASE_KEY, name)}: {BASE_KEY} names {name!r}: "
            values, text = self.read(_absolute(Path(module.path).parent / name), asked)
            for key in values:
                if key in owners:
                    raise ConfigError(
                        f"{asked}it and the base {owners[key]!r} both define {key!r}; a key may come from one base "
                        "only: take it out of one of them, or let one be the base of the other"
                    )
            owners.update(dict.fromkeys(values, name))
            bases.update(values)
            texts.append(text)
        return bases, texts

    def _settle(self, module: Module, bases: dict[str, Any] | None) -> dict[str, Any]:
        def look_up(reference: BaseReference) -> Any:
            if bases is None:
                raise ConfigError(
                    f"{module.path}:{reference.line}: {{{{ _base_.{'.'.join(reference.keys)} }}}} needs a base; "
                    f"write {BASE_KEY} = './base.py'"
                )
            try:
                value = base_value(reference, bases)
                self._budget.weigh(value)
                return value
            except Refusal as error:
                raise ConfigError(f"{module.path}:{reference.line}: {error}") from None

        settled: dict[str, Any] = {}
        for name, value in module.values.items():
            try:
                self._budget.weigh(value)
                settled[name] = settle(value, look_up)
            except Refusal as error:
                raise ConfigError(f"{module.path}:{module.lines[name]}: {name}: {error}") from cause_of(error)
        return settled


def check_reserved(key: Any, where: str = "") -> None:
    """Refuse the keys that are attributes of Config itself.

    Raises:
        ConfigError: the key is one of them.
    """
    if key in RESERVED_KEYS:
        raise ConfigError(f"{where}the key {key!r} is reserved: Config has an attribute of that name; choose another")


def _check_reserved(module: Module) -> None:
    for name in module.values:
        check_reserved(name, f"{module.path}:{module.lines[name]}: ")


def _warn_if_deprecated(module: Module) -> None:
    notice = module.values.pop(DEPRECATION_KEY, None)
    if notice is None:
        return
    text = f"the config {module.path} will go away"
    if isinstance(notice, dict) and "expected" in notice:
        text += f"; use {notice['expected']} instead"
    if isinstance(notice, dict) and "reference" in notice:
        text += f"; see {notice['reference']}"
    warnings.warn(text, DeprecationWarning, stacklevel=2)


def _absolute(path: Path) -> str:
    # `..` goes by the names, as in MMCV; Path.resolve would follow links first
    return os.path.abspath(path)  # noqa: PTH100


def _read_text(path: str, asked: str) -> str:
    try:
        status = Path(path).stat()
    except FileNotFoundError as error:
        raise ConfigFileNotFound(f"{asked}{path} does not exist{_near_files(path)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{asked}{path} cannot be read: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{asked}{path} is a folder; name a .py config in it")
    if Path(path).suffix != ".py":
        raise ConfigError(f"{asked}{path}: only .py configs are read")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{asked}{path} is no regular file, so it is not read")
    if status.st_size > MAX_FILE_BYTES:
        raise ConfigError(f"{asked}{path} has {status.st_size:,} bytes; a config has at most {MAX_FILE_BYTES:,}")
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(MAX_FILE_BYTES).removeprefix("\ufeff")  # the mark that some editors put in front
    except UnicodeDecodeError as error:
        raise ConfigError(f"{asked}{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{asked}{path} cannot be read: {error}") from error


def _near_files(path: str) -> str:
    folder = Path(path).parent
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".py")
    except OSError:
        return f"; there is no folder {folder}"
    return nearest(Path(path).name, names) or (f"; that folder holds {', '.join(names[:8])}" if names else "")
