"""`--cfg-options key=value ...` for argparse, with MMCV's values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mmhooks.config.limits import MAX_DEPTH
from mmhooks.errors import ConfigError


class DictAction(argparse.Action):
    """An argparse action that makes a dict of `key=value` arguments, as MMCV's action of this name does.

    A value is an int, a float, true or false, None, a list `[a,b]` or `a,b`, a tuple `(a,b)`, these inside each
    other, or else a string. Quotes around a value and all spaces in it are dropped, as in MMCV; `parse_option` keeps
    them. Options of several occurrences add up.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--cfg-options", nargs="+", action=DictAction)
        >>> parser.parse_args(["--cfg-options", "lr=0.1", "data.sizes=[(1,2),3]"]).cfg_options
        {'lr': 0.1, 'data.sizes': [(1, 2), 3]}
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add what one occurrence of the argument names."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for text in [values] if isinstance(values, str) else values or ():
            key, equals, value = str(text).partition("=")
            if not equals:
                raise argparse.ArgumentError(self, f"{text!r} has no '='; write key=value, such as optimizer.lr=0.01")
            try:
                options[key] = read_mmcv_value(value)
            except ConfigError as error:
                raise argparse.ArgumentError(self, f"{text!r}: {error}") from error
        setattr(namespace, self.dest, options)


def read_mmcv_value(text: str, depth: int = 0) -> Any:
    """Read a value as MMCV's DictAction does.

    Args:
        text: the value.
        depth: how many brackets it stands in.

    Raises:
        ConfigError: brackets that do not match, or commas in brackets inside of a word.
    """
    if depth > MAX_DEPTH:
        raise ConfigError(f"brackets are nested more than {MAX_DEPTH} deep")
    text = text.strip("'\"").replace(" ", "")
    bracketed = text[:1] + text[-1:]
    if len(text) > 1 and bracketed in ("()", "[]"):
        pieces = _split(text[1:-1])
    elif "," not in text:
        return _scalar(text)
    else:
        pieces = _split(text)
        if pieces == [text]:
            raise ConfigError(f"{text!r} has brackets inside of a word; write a list as [a,b], a tuple as (a,b)")
    values = [read_mmcv_value(piece, depth + 1) for piece in pieces]
    return tuple(values) if bracketed == "()" else values


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets; a comma at the end closes the last piece."""
    pieces: list[str] = []
    start = 0
    opened = {"(": 0, "[": 0}
    for place, character in enumerate(text):
        if character in opened:
            opened[character] += 1
        elif character in ")]":
            opened["(" if character == ")" else "["] -= 1
        elif character == "," and not any(opened.values()):
            pieces.append(text[start:place])
            start = place + 1
    if any(opened.values()):
        raise ConfigError(f"the brackets of {text!r} do not match")
    return pieces + [text[start:]] if start < len(text) else pieces


def _scalar(word: str) -> int | float | bool | str | None:
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            continue
    words = {"true": True, "false": False}
    return None if word == "None" else words.get(word.lower(), word)
