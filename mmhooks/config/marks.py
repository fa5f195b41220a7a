"""Templates in YAML and JSON: marked in the text before it is parsed, and filled in the strings that come out."""

from __future__ import annotations

import re
from typing import Any

from mmhooks.config.scalars import read_scalar
from mmhooks.config.templates import TEMPLATE, Keys, Templates


class Marks:
    """The templates of one text, each of which is replaced by a word.

    Args:
        source: the text.
        templates: what they stand for.
    """

    def __init__(self, source: str, templates: Templates) -> None:
        word = "template"
        while word in source:
            word += "x"
        self._source = source
        self._templates = templates
        self._word = word
        self._pattern = re.compile(rf"{word}(\d+)e")
        self._values: list[str | Keys] = []
        self._lines: list[int] = []
        self._bare: set[str] = set()
        self._line, self._counted = 1, 0

    def mark(self, text: str, start: int = 0) -> str:
        """Put marks in place of the templates of a piece of the source, which begins at `start`."""
        return TEMPLATE.sub(lambda found: self._put(found, start + found.start()) or found[0], text)

    def bare(self, found: re.Match[str]) -> str | None:
        """Give the mark of a template that is a value of its own; None where it stays as it is."""
        mark = self._put(found, found.start())
        if mark is not None and found["env"] is not None:
            self._bare.add(mark)
        return mark

    def fill(self, text: Any) -> Any:
        """Put into a string what its marks stand for; what is no string stays as it is."""
        if not self._values or not isinstance(text, str) or self._word not in text:
            return text
        parts: list[str | Keys] = []
        place, line = 0, 1
        for found in self._pattern.finditer(text):
            number = int(found[1])
            parts += [text[place : found.start()], self._values[number]]
            place, line = found.end(), self._lines[number]
        parts.append(text[place:])
        filled = self._templates.joined(parts, line)
        return read_scalar(filled) if text in self._bare and isinstance(filled, str) else filled

    def fill_all(self, value: Any) -> Any:
        """Fill the strings in a value, which is not too deep."""
        if not self._values:
            return value
        if isinstance(value, dict):
            return {self.fill(key): self.fill_all(item) for key, item in value.items()}
        return [self.fill_all(item) for item in value] if isinstance(value, list) else self.fill(value)

    def _put(self, found: re.Match[str], place: int) -> str | None:
        value = self._templates.value_of(found)
        if value is None:
            return None
        self._line += self._source.count("\n", self._counted, place)
        self._counted = place
        self._values.append(value)
        self._lines.append(self._line)
        return f"{self._word}{len(self._values) - 1}e"
