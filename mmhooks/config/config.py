"""The Config object: what a user reads from, and changes by hand or by options."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmhooks.config.configdict import ConfigDict, missing
from mmhooks.config.files import check_reserved, read_config
from mmhooks.config.merge import merge, nest_options
from mmhooks.errors import ConfigError


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
        cfg_text: str = "",
        filename: str | os.PathLike[str] | None = None,
    ) -> None:
        if cfg_dict is not None and not isinstance(cfg_dict, Mapping):
            raise ConfigError(f"Config takes a dict, not {type(cfg_dict).__name__}; for a file: Config.fromfile(path)")
        for key in cfg_dict or {}:
            check_reserved(key)
        self._set_state(ConfigDict(dict(cfg_dict or {})), cfg_text, filename)

    def _set_state(self, values: ConfigDict, text: str, filename: str | os.PathLike[str] | None) -> None:
        # past __setattr__, which writes keys
        object.__setattr__(self, "_cfg_dict", values)
        object.__setattr__(self, "_text", text)
        object.__setattr__(self, "_filename", None if filename is None else os.fspath(filename))

    @staticmethod
    def fromfile(filename: str | os.PathLike[str]) -> Config:
        """Read a `.py` config with its bases. Nothing in it is executed or imported.

        Args:
            filename: the path of the config.

        Raises:
            ConfigFileNotFound: the file or one of its bases does not exist.
            ConfigError: it is no data that can be read; says file:line, what it found, and what to write instead.

        Example:
            >>> cfg = Config.fromfile("configs/resnet.py")  # doctest: +SKIP
            >>> cfg.model.type  # doctest: +SKIP
            'ResNet'
        """
        values, text = read_config(os.fspath(filename))
        return Config(values, text, filename)

    @property
    def filename(self) -> str | None:
        """The path that fromfile was given."""
        return self._filename

    @property
    def text(self) -> str:
        """The files it was read from, bases first: the path of each, then its text."""
        return self._text

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
        merged = merge(nested, self._cfg_dict.to_dict(), list_keys=allow_list_keys)
        object.__setattr__(self, "_cfg_dict", ConfigDict(merged))

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
        return Config(self._cfg_dict.copy(), self._text, self._filename)

    def __getstate__(self) -> tuple[ConfigDict, str, str | None]:
        return self._cfg_dict, self._text, self._filename

    def __setstate__(self, state: tuple[ConfigDict, str, str | None]) -> None:
        self._set_state(*state)
