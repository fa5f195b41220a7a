"""`key=value` from a command line, read as MMCV's DictAction reads it, and never evaluated."""

from __future__ import annotations

from typing import Any

from mmhooks.config.limits import MAX_DEPTH
from mmhooks.config.scalars import read_scalar
from mmhooks.errors import ConfigError

_EXAMPLE = "write key=value, such as optimizer.lr=0.01 or data.sizes=[32,64] or model.name='my net'"
_CLOSING = {"[": "]", "(": ")"}
_QUOTES = "'\""


def parse_option(text: str) -> tuple[str, Any]:
    """Read one `key=value` override.

    A value is an int, a float, true, false or none, a list `[a,b]` or `a,b`, a tuple `(a,b)`, these inside each other,
    or else a string. Quotes make a string of anything: `'32'`, `'a, b'`.

    Args:
        text: what was typed.

    Returns:
        The dotted key and the value, as Config.merge_from_dict takes them.

    Raises:
        ConfigError: it is no `key=value`.

    Example:
        >>> parse_option("data.sizes=[32,64]")
        ('data.sizes', [32, 64])
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise ConfigError(f"option {text!r} has no '='; {_EXAMPLE}")
    if not all(key.split(".")):
        raise ConfigError(f"option {text!r} has an empty key, or an empty part of one; {_EXAMPLE}")
    return key, _Values(value.strip(), text).read()


class _Values:
    """A reader of one value, from left to right."""

    def __init__(self, text: str, option: str) -> None:
        self._text = text
        self._option = option
        self._place = 0

    def read(self) -> Any:
        """Read the whole text: one value, or several with commas between them, which make a list."""
        if not self._text:
            return ""
        values, commas = self._elements("", 0)
        return values if commas else values[0]

    def _elements(self, closing: str, depth: int) -> tuple[list[Any], int]:
        """Read up to the closing bracket, or to the end; gives the values and the number of commas."""
        if depth > MAX_DEPTH:
            raise self._malformed(f"brackets nested more than {MAX_DEPTH} deep")
        values: list[Any] = []
        commas = 0
        while self._peek() != closing:
            values.append(self._value(closing, depth))
            if self._peek() == closing:
                break
            if self._peek() != ",":
                raise self._malformed(f"a ',' or {closing!r} is missing" if closing else "brackets do not match")
            self._place += 1
            commas += 1
        return values, commas

    def _value(self, closing: str, depth: int) -> Any:
        start = self._peek()
        if start in _CLOSING:
            self._place += 1
            values, _ = self._elements(_CLOSING[start], depth + 1)
            self._place += 1
            return tuple(values) if start == "(" else values
        if start and start in _QUOTES:
            return self._quoted(start)
        return self._word()

    def _quoted(self, quote: str) -> str:
        end = self._text.find(quote, self._place + 1)
        if end < 0:
            raise self._malformed(f"the quote {quote} is not closed")
        value = self._text[self._place + 1 : end]
        self._place = end + 1
        return value

    def _word(self) -> Any:
        start, opened = self._place, []
        while self._place < len(self._text):
            character = self._text[self._place]
            if character in _CLOSING:  # brackets inside a word belong to it: f(a,b)
                opened.append(_CLOSING[character])
            elif opened and character == opened[-1]:
                opened.pop()
            elif not opened and character in ",])":
                break
            self._place += 1
        word = self._text[start : self._place].strip()
        if not word or opened:
            raise self._malformed("brackets do not match" if opened else "an element is empty")
        return read_scalar(word)

    def _peek(self) -> str:
        while self._text[self._place : self._place + 1].isspace():
            self._place += 1
        return self._text[self._place : self._place + 1]

    def _malformed(self, reason: str) -> ConfigError:
        return ConfigError(f"option {self._option!r}: {reason}; {_EXAMPLE}")
