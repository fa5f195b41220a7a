"""Config files and their bases: found, read, and merged from the base up."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmhooks.config.advice import cause_of, located, near, shown
from mmhooks.config.configdict import ConfigDict
from mmhooks.config.evaluate import evaluate
from mmhooks.config.json_files import read_json
from mmhooks.config.limits import MAX_DEPTH, MAX_FILE_BYTES, Budget, Refusal
from mmhooks.config.merge import ConfigKeyError, merge_value
from mmhooks.config.module import Module
from mmhooks.config.settle import settle
from mmhooks.config.templates import BASE_KEY, DEPRECATION_KEY, Pending, Templates, file_variables, resolve, written
from mmhooks.config.yaml_files import read_yaml
from mmhooks.errors import ConfigError

RESERVED_KEYS = ("filename", "text", "pretty_text")
READERS: dict[str, Callable[[str, str, Budget, Templates], Module]] = {
    ".py": evaluate,
    ".json": read_json,
    ".yaml": read_yaml,
    ".yml": read_yaml,
}
_MAX_NAME = 1_000
SUFFIXES = ", ".join(READERS)


class ConfigFileNotFound(ConfigError, FileNotFoundError):
    """A config file, or one of its bases, that does not exist."""


def read_config(
    path: str, use_predefined_variables: bool = True, environment: Mapping[str, str] | None = None
) -> tuple[ConfigDict, str]:
    """Read a config file with all its bases.

    Args:
        path: the file; `~` is the home folder.
        use_predefined_variables: whether `{{ fileDirname }}` and its like are filled in; in the bases they always are.
        environment: the values of `{{ $NAME:default }}`; None leaves those as they are written.

    Returns:
        The merged values, and the text of all the files, bases first.

    Raises:
        ConfigFileNotFound: the file or a base does not exist.
        ConfigError: a file is no config that can be read as data; says the place, and what to write instead.
    """
    full = _absolute(os.path.expanduser(path))  # noqa: PTH111
    return _Reader(environment).read_first(full, lambda reader: reader.read(full, "", use_predefined_variables))


def read_text(source: str, suffix: str, environment: Mapping[str, str] | None = None) -> tuple[ConfigDict, str]:
    """Read a config from its text, as if it stood in a file of the current folder.

    Args:
        source: the text.
        suffix: the kind of file, such as `.py`.
        environment: the values of `{{ $NAME:default }}`; None leaves those as they are written.

    Raises:
        ConfigError: it is no config that can be read as data.
    """
    _check_suffix(suffix, f"{suffix!r}: ")
    path = _absolute(f"<string>{suffix}")
    if len(source) > MAX_FILE_BYTES[suffix]:
        raise ConfigError(f"the text has {len(source):,} characters; a {suffix} config has {_limit(suffix)}")
    return _Reader(environment).read_first(path, lambda reader: reader.read_source(source, path, None))


class _Reader:
    """Reads one config; what it has seen and spent counts for the config and its bases together."""

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self.budget = Budget()
        self._environment = environment
        self._chain: dict[str, tuple[int, int] | None] = {}

    def read_first(self, path: str, read: Callable[[_Reader], tuple[ConfigDict, str]]) -> tuple[ConfigDict, str]:
        """Read the config itself."""
        try:
            return read(self)
        except RecursionError as error:
            raise ConfigError(f"{path}:1: the values are nested too deep to be read") from error

    def read(self, path: str, asked: str, use_predefined_variables: bool = True) -> tuple[ConfigDict, str]:
        """Read one file; `asked` starts the messages about it with the place that names it as a base."""
        source, identity = _open(path, asked)
        if identity in self._chain.values():
            raise ConfigError(f"{asked}the bases form a loop: {' -> '.join([*self._chain, path])}")
        if len(self._chain) > MAX_DEPTH:
            raise ConfigError(f"{asked}more than {MAX_DEPTH} configs are based on one another")
        return self.read_source(source, path, identity, use_predefined_variables)

    def read_source(
        self, source: str, path: str, identity: tuple[int, int] | None, use_predefined_variables: bool = True
    ) -> tuple[ConfigDict, str]:
        """Read the text of a file, and lay it over its bases."""
        self._chain[path] = identity
        try:
            suffix = os.path.splitext(path)[1]  # noqa: PTH122
            self.budget.file(len(source), suffix)
            bases = _Bases(self, path, source)
            variables = file_variables(path) if use_predefined_variables and "{" in source else {}
            templates = Templates(self.budget, variables, self._environment, bases.read)
            module = READERS[suffix](source, path, self.budget, templates)
            _check_reserved(module)
            self._warn_if_deprecated(module)
            return self._over_bases(module, bases)
        except Refusal as error:
            raise located(path, 1, error) from None
        finally:
            del self._chain[path]

    def _over_bases(self, module: Module, bases: _Bases) -> tuple[ConfigDict, str]:
        values, text = module.values, f"{module.path}\n{module.source}"
        if BASE_KEY not in values:
            return ConfigDict.holding(self._settled(module, None)), text
        try:
            merged = bases.read(values.pop(BASE_KEY), module.lines[BASE_KEY])
        except Refusal as error:
            raise located(module.path, module.lines[BASE_KEY], error) from None
        for key, value in self._settled(module, merged).items():
            if isinstance(value, dict) and key in merged:
                try:
                    value = merge_value(value, merged[key], False, str(key))
                except ConfigError as error:
                    raise type(error)(f"{module.place(key)}{error}") from None
            dict.__setitem__(merged, key, value)
        return merged, "\n".join([*bases.texts, text])

    def _settled(self, module: Module, bases: Mapping[Any, Any] | None) -> dict[Any, Any]:
        def look_up(pending: Pending) -> Any:
            if bases is None:
                template = next(written(part) for part in pending.parts if isinstance(part, tuple))
                raise ConfigError(
                    f"{module.path}:{pending.line}: {template} needs a base; write {BASE_KEY} = './base.py'"
                )
            try:
                return resolve(pending, bases, self.budget)
            except Refusal as error:
                raise located(module.path, pending.line, error) from None

        settled: dict[Any, Any] = {}
        for key, value in module.values.items():
            try:
                settled[key] = settle(value, look_up, self.budget)
            except Refusal as error:
                raise ConfigError(f"{module.place(key)}{key!s:.100}: {error}") from cause_of(error)
        return settled

    def _warn_if_deprecated(self, module: Module) -> None:
        notice = module.values.pop(DEPRECATION_KEY, None)
        if notice is None:
            return
        self.budget.weigh(notice)
        text = f"the config {module.path} will go away"
        if isinstance(notice, dict) and "expected" in notice:
            text += f"; use {notice['expected']!s:.300} instead"
        if isinstance(notice, dict) and "reference" in notice:
            text += f"; see {notice['reference']!s:.300}"
        warnings.warn(text, DeprecationWarning, stacklevel=2)


class _Bases:
    """The bases of one file: read once, when a template or the end of the file asks for them."""

    def __init__(self, reader: _Reader, path: str, source: str) -> None:
        self.texts: list[str] = []
        self._reader = reader
        self._path = path
        self._source = source
        self._names: list[str] | None = None
        self._values = ConfigDict()

    def read(self, named: Any, line: int) -> ConfigDict:
        """Give the values of all bases.

        Args:
            named: the value of `_base_`.
            line: the line where it stands.
        """
        names = self._checked(named, line)
        if self._names is None:
            self._names = names
            self._read(names, line)
        elif self._names != names:
            raise Refusal(
                f"{BASE_KEY} changes after {{{{ {BASE_KEY}... }}}} was computed with; write it once, at the top"
            )
        return self._values

    def _checked(self, named: Any, line: int) -> list[str]:
        names = named if isinstance(named, list) else [named]
        for name in names:
            if not isinstance(name, str):
                raise ConfigError(
                    f"{self._path}:{line}: {BASE_KEY} must be a path or a list of paths, not {type(name).__name__}; "
                    f"write {BASE_KEY} = ['./base.py']"
                )
            if len(name) > _MAX_NAME:
                raise ConfigError(f"{self._path}:{line}: {BASE_KEY} names {shown(name)}, which is too long for a path")
        return list(names)

    def _read(self, names: list[str], line: int) -> None:
        folder = os.path.dirname(self._path)  # noqa: PTH120
        owners: dict[Any, str] = {}
        for name in names:
            asked = f"{self._path}:{self._line_of(name, line)}: {BASE_KEY} names {name!r}: "
            values, text = self._reader.read(_absolute(os.path.join(folder, name)), asked)  # noqa: PTH118
            for key in values:
                if key in owners:
                    raise ConfigKeyError(
                        f"{asked}it and the base {owners[key]!r} both define {shown(key)}; a key may come from "
                        "one base only: take it out of one of them, or let one be the base of the other"
                    )
            owners.update(dict.fromkeys(values, name))
            dict.update(self._values, values)
            self.texts.append(text)

    def _line_of(self, name: str, line: int) -> int:
        """Find the line at which one of several bases is named; some names are computed, and in none."""
        lines = self._source.split("\n")
        found = (number for number, text in enumerate(lines, 1) if number >= line and name in text)
        return next(found, line)


def check_reserved(key: Any, where: str = "") -> None:
    """Refuse the keys that are attributes of Config itself.

    Raises:
        ConfigKeyError: the key is one of them.
    """
    if key in RESERVED_KEYS:
        raise ConfigKeyError(
            f"{where}the key {key!r} is reserved: Config has an attribute of that name; choose another"
        )


def _check_reserved(module: Module) -> None:
    for name in RESERVED_KEYS:
        if name in module.values:
            check_reserved(name, module.place(name))


def _absolute(path: str) -> str:
    # `..` goes by the names, as in MMCV; Path.resolve would follow links first
    return os.path.abspath(path)  # noqa: PTH100


def _open(path: str, asked: str) -> tuple[str, tuple[int, int]]:
    """Read a text file; the second value is the same for two names of one file."""
    suffix = os.path.splitext(path)[1]  # noqa: PTH122
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError as error:
        raise ConfigFileNotFound(f"{asked}{path} does not exist{_near_files(path)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{asked}{path} cannot be read: {error}") from error
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{asked}{path} is a folder; name a config in it, such as a .py file")
    _check_suffix(suffix, f"{asked}{path}: ")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{asked}{path} is no regular file, so it is not read")
    if status.st_size > MAX_FILE_BYTES[suffix]:
        raise ConfigError(f"{asked}{path} has {status.st_size:,} bytes; a {suffix} config has {_limit(suffix)}")
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            source = file.read(MAX_FILE_BYTES[suffix])
    except UnicodeDecodeError as error:
        raise ConfigError(f"{asked}{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{asked}{path} cannot be read: {error}") from error
    return source.removeprefix("\ufeff"), (status.st_dev, status.st_ino)  # the mark that some editors put in front


def _check_suffix(suffix: str, where: str) -> None:
    if suffix not in READERS:
        raise ConfigError(f"{where}{suffix or 'a file without a suffix'} is no kind of config; there are {SUFFIXES}")


def _limit(suffix: str) -> str:
    return f"at most {MAX_FILE_BYTES[suffix]:,}; keep what is no config in a file of its own"


def _near_files(path: str) -> str:
    folder = Path(path).parent
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in READERS)
    except OSError:
        return f"; there is no folder {folder}"
    return near(Path(path).name, names) or (f"; that folder holds {', '.join(names[:8])}" if names else "")
