"""Configs in JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from mmhooks.config.advice import located
from mmhooks.config.limits import Budget, Refusal
from mmhooks.config.marks import Marks
from mmhooks.config.module import Module
from mmhooks.config.templates import TEMPLATE, Templates
from mmhooks.errors import ConfigError

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_OR_TEMPLATE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|' + TEMPLATE.pattern, re.DOTALL)


def read_json(source: str, path: str, budget: Budget, templates: Templates) -> Module:
    """Read the text of a `.json` config file.

    Args:
        source: the text.
        path: the absolute path of the file, for messages.
        budget: the work that is left for the config and its bases.
        templates: what its templates stand for; one outside of quotes is a value of its own.

    Raises:
        ConfigError: the text is not JSON, or no object.
    """
    marks = Marks(source, templates)

    def marked(found: re.Match[str]) -> str:
        if found[0].startswith('"'):
            return marks.mark(found[0], found.start())
        mark = marks.bare(found)
        return found[0] if mark is None else f'"{mark}"'

    text = _STRING_OR_TEMPLATE.sub(marked, source) if "{{" in source else source
    try:
        values, places = _read_object(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}:1: the file nests brackets too deep to be read") from error
    except ValueError as error:  # an integer of too many digits
        raise located(path, 1, error) from error
    lines = _lines_of(text, places)
    for key, value in values.items():
        try:
            budget.weigh(value)
        except Refusal as error:
            raise located(path, lines[key], error) from None
    lines = {marks.fill(key): line for key, line in lines.items()}
    values = marks.fill_all(values)
    return Module(path, source, values, lines)


def _read_object(text: str) -> tuple[dict[str, Any], dict[str, int]]:
    """Decode the outermost object key by key, and give the place of each key."""
    decoder = json.JSONDecoder()
    values: dict[str, Any] = {}
    places: dict[str, int] = {}
    place = _skip(text, 0)
    if not text.startswith("{", place):
        raise json.JSONDecodeError("A config is an object: { ... }", text, place)
    place = _skip(text, place + 1)
    while not (text.startswith("}", place) and not values):
        if not text.startswith('"', place):
            raise json.JSONDecodeError("Expecting a key in double quotes", text, place)
        start = place
        key, place = decoder.raw_decode(text, place)
        place = _skip(text, place)
        if not text.startswith(":", place):
            raise json.JSONDecodeError("Expecting ':' behind the key", text, place)
        values[key], place = decoder.raw_decode(text, _skip(text, place + 1))
        places[key] = start
        place = _skip(text, place)
        if text.startswith("}", place):
            break
        if not text.startswith(",", place):
            raise json.JSONDecodeError("Expecting ',' or '}'", text, place)
        place = _skip(text, place + 1)
    end = _skip(text, place + 1)
    if end != len(text):
        raise json.JSONDecodeError("Expecting nothing behind the object", text, end)
    return values, places


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _lines_of(text: str, places: dict[str, int]) -> dict[Any, int]:
    lines: dict[Any, int] = {}
    line, counted = 1, 0
    for key, place in sorted(places.items(), key=lambda item: item[1]):
        line += text.count("\n", counted, place)
        lines[key], counted = line, place
    return lines
