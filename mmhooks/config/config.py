"""The Config object: what a user reads from, and changes by hand or by options."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmhooks.config.argparser import parser_of
from mmhooks.config.configdict import ConfigDict, missing
from mmhooks.config.files import check_reserved, read_config, read_text
from mmhooks.config.merge import merge, nest_options
from mmhooks.config.writing import write_json, write_python, write_yaml
from mmhooks.errors import ConfigError

_WRITERS: dict[str, Callable[[Mapping[Any, Any]], str]] = {
    ".py": write_python,
    ".json": write_json,
    ".yaml": write_yaml,
    ".yml": write_yaml,
}


class Config:
    """An MMCV-style config, with keys as items and as attributes.

    It has the methods of a dict besides (`get`, `keys`, `items`, `values`, `pop`, `setdefault`, `update`), and
    `to_dict`, which makes a deep copy of plain dicts, lists and tuples.

    Args:
        cfg_dict: the values.
        cfg_text: the text they were read from.
        filename: the file they were read from.

    Raises:
        ConfigError: a key that Config needs for itself (`filename`, `text`, `pretty_text`), or no dict.

    Example:
        >>> cfg = Config({"model": {"type": "Net"}})
        >>> cfg.model.type, cfg["model"]["type"], cfg.get("seed", 0)
        ('Net', 'Net', 0)
    """

    _cfg_dict: ConfigDict
    _text: str
    _filename: str | None

    def __init__(
        self,
        cfg_dict: Mapping[str, Any] | None = None,
        cfg_text: str | None = None,
        filename: str | os.PathLike[str] | None = None,
    ) -> None:
        if cfg_dict is not None and not isinstance(cfg_dict, Mapping):
            raise ConfigError(f"Config takes a dict, not {type(cfg_dict).__name__}; for a file: Config.fromfile(path)")
        for key in cfg_dict or {}:
            check_reserved(key)
        self._set_state(ConfigDict(dict(cfg_dict or {})), cfg_text or "", filename)

    def _set_state(self, values: ConfigDict, text: str, filename: str | os.PathLike[str] | None) -> None:
        # past __setattr__, which writes keys
        object.__setattr__(self, "_cfg_dict", values)
        object.__setattr__(self, "_text", text)
        object.__setattr__(self, "_filename", None if filename is None else os.fspath(filename))

    @staticmethod
    def _of(values: ConfigDict, text: str, filename: str | os.PathLike[str] | None) -> Config:
        config = Config.__new__(Config)
        config._set_state(values, text, filename)
        return config

    @staticmethod
    def fromfile(
        filename: str | os.PathLike[str],
        use_predefined_variables: bool = True,
        import_custom_modules: bool = True,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> Config:
        """Read a `.py`, `.yaml`, `.yml` or `.json` config with its bases. Nothing in it is executed or imported.

        Args:
            filename: the path of the config.
            use_predefined_variables: whether `{{ fileDirname }}` and its like are filled in; as in MMCV this goes for
                the file itself, not for its bases.
            import_custom_modules: taken for MMCV's sake; whatever it says, `custom_imports` stays data until the
                training begins.
            environment: what `{{ $NAME:default }}` is looked up in, such as `os.environ`; without it such a template
                stays text, as in MMCV.

        Raises:
            ConfigFileNotFound: the file or one of its bases does not exist.
            ConfigError: it is no data that can be read; says file:line, what it found, and what to write instead.

        Example:
            >>> cfg = Config.fromfile("configs/resnet.py")  # doctest: +SKIP
            >>> cfg.model.type  # doctest: +SKIP
            'ResNet'
        """
        values, text = read_config(os.fspath(filename), use_predefined_variables, environment)
        return Config._of(values, text, filename)

    @staticmethod
    def fromstring(cfg_str: str, file_format: str, *, environment: Mapping[str, str] | None = None) -> Config:
        """Read a config from its text. Bases are looked for from the current folder.

        Args:
            cfg_str: the text.
            file_format: `.py`, `.yaml`, `.yml` or `.json`.
            environment: as for fromfile.

        Raises:
            ConfigError: it is no data that can be read.

        Example:
            >>> Config.fromstring("lr: 0.1", ".yaml").lr
            0.1
        """
        values, text = read_text(cfg_str, file_format, environment)
        return Config._of(values, text, None)

    @staticmethod
    def auto_argparser(description: str | None = None) -> tuple[argparse.ArgumentParser, Config]:
        """Read the config that the command line names first, and make a parser with an option for each of its keys.

        Args:
            description: of the parser.

        Returns:
            The parser, whose options are such as `--optimizer.lr`, and the config.
        """
        first = argparse.ArgumentParser(add_help=False)
        first.add_argument("config", nargs="?")
        file = first.parse_known_args()[0].config
        if file is None:
            parser_of({}, description).parse_args()  # which shows its help, or says that the config is missing
        cfg = Config.fromfile(file)
        return parser_of(cfg.to_dict(), description), cfg

    @property
    def filename(self) -> str | None:
        """The path that fromfile was given."""
        return self._filename

    @property
    def text(self) -> str:
        """The files it was read from, bases first: the path of each, then its text."""
        return self._text

    @property
    def pretty_text(self) -> str:
        """The values as the text of a `.py` config; what is no data in them is written as it prints."""
        return write_python(self.to_dict(), strict=False)

    def dump(self, file: str | os.PathLike[str] | None = None) -> str | None:
        """Write the values as a config that reads back equal; in JSON, tuples come back as lists.

        Args:
            file: where to write, `.py`, `.yaml`, `.yml` or `.json`; without it the text is returned, in the format of
                the file that this config was read from, or else in that of a `.py` file.

        Raises:
            ConfigError: a value that could not be read back, or another suffix. The file is then as it was.

        Example:
            >>> Config({"lr": 0.1, "model": {"type": "Net"}}).dump()
            "lr = 0.1\\nmodel = dict(type='Net')\\n"
        """
        name = self._filename if file is None else os.fspath(file)
        suffix = ".py" if name is None else Path(name).suffix
        if suffix not in _WRITERS:
            raise ConfigError(
                f"{name}: a config cannot be written as {suffix or name!r}; there are {', '.join(_WRITERS)}"
            )
        text = _WRITERS[suffix](self.to_dict())
        if file is None:
            return text
        from mmhooks.checkpoint.durable import atomic_write  # it brings torch, which reading does not need

        with atomic_write(file) as opened:
            opened.write(text.encode())
        return None

    def to_dict(self) -> dict[Any, Any]:
        """Make a deep copy of plain dicts, lists and tuples."""
        return self._cfg_dict.to_dict()

    def merge_from_dict(self, options: Mapping[str, Any], allow_list_keys: bool = True) -> None:
        """Lay options over the config, as `--cfg-options` does. On an error the config stays as it was.

        Args:
            options: dotted keys and their values; an element of a list is named by its index.
            allow_list_keys: whether keys such as '0' reach into lists.

        Raises:
            ConfigError: a key that leads nowhere, such as an index that the list does not have.

        Example:
            >>> cfg = Config({"data": {"pipeline": [{"type": "Load"}, {"type": "Crop"}]}})
            >>> cfg.merge_from_dict({"data.pipeline.1.type": "Flip", "seed": 1})
            >>> cfg.data.pipeline[1].type, cfg.seed
            ('Flip', 1)
        """
        nested = nest_options(options)
        for key in nested:
            check_reserved(key)
        merged = merge(ConfigDict(nested), self._cfg_dict, list_keys=allow_list_keys)
        object.__setattr__(self, "_cfg_dict", merged)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_cfg_dict":  # copy and pickle ask before there is any state
            raise AttributeError(name)
        try:
            return getattr(self._cfg_dict, name)
        except AttributeError:
            raise AttributeError(missing("Config", name, self._cfg_dict)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        check_reserved(name)
        setattr(self._cfg_dict, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._cfg_dict, name)

    def __getitem__(self, key: str) -> Any:
        return self._cfg_dict[key]

    def __setitem__(self, key: str, value: Any) -> None:
        check_reserved(key)
        self._cfg_dict[key] = value

    def __delitem__(self, key: str) -> None:
        del self._cfg_dict[key]

    def __contains__(self, key: object) -> bool:
        return key in self._cfg_dict

    def __iter__(self) -> Iterator[str]:
        return iter(self._cfg_dict)

    def __len__(self) -> int:
        return len(self._cfg_dict)

    def __repr__(self) -> str:
        return f"Config (path: {self.filename}): {self._cfg_dict!r}"

    def __copy__(self) -> Config:
        return Config._of(self._cfg_dict.copy(), self._text, self._filename)

    def __getstate__(self) -> tuple[ConfigDict, str, str | None]:
        return self._cfg_dict, self._text, self._filename

    def __setstate__(self, state: tuple[ConfigDict, str, str | None]) -> None:
        self._set_state(*state)
