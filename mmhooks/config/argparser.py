"""A command line with an option for each key of a config."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

_FLAGS = {"1": True, "true": True, "0": False, "false": False}


def parser_of(values: Mapping[Any, Any], description: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of a config.

    Args:
        values: the config's values, as plain dicts.
        description: of the parser.

    Returns:
        A parser that takes the path of the config, and `--key`, `--key.key` and so on for each text, number, flag and
        list of these. Other values have no option.

    Example:
        >>> parser = parser_of({"lr": 0.1, "data": {"sizes": [1, 2]}})
        >>> vars(parser.parse_args(["a.py", "--lr", "2", "--data.sizes", "3"]))
        {'config': 'a.py', 'lr': 2.0, 'data.sizes': [3]}
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", help="path of the config")
    _add(parser, values, "")
    return parser


def _add(parser: argparse.ArgumentParser, values: Mapping[Any, Any], prefix: str) -> None:
    for key, value in values.items():
        option = f"--{prefix}{key}"
        if option in ("--help", "--config"):  # the parser's own
            continue
        if isinstance(value, Mapping):
            _add(parser, value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            kinds = {type(item) for item in value}
            if len(kinds) == 1 and (kind := _READERS.get(kinds.pop())):
                parser.add_argument(option, type=kind, nargs="+")
        elif type(value) in _READERS:
            parser.add_argument(option, type=_READERS[type(value)])


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return _FLAGS[text.lower()]


_READERS: dict[type, Any] = {str: str, int: int, float: float, bool: _flag}
