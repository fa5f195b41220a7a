"""Values written out as the text of a config, to be read back equal."""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from mmhooks.config.templates import BASE_KEY, DEPRECATION_KEY, TEMPLATE
from mmhooks.config.yaml_files import TUPLE_TAG
from mmhooks.errors import ConfigError

_WIDTH = 100
_BETWEEN_BRACES = re.compile(r"(?<=\{)(?=\{)")
_TWO_BRACES = re.compile(r"\{(?=\{)")
_CALLS = ("float", "range", "set")  # besides dict, what the text of a config calls


def write_python(values: Mapping[Any, Any], strict: bool = True) -> str:
    """Write a `.py` config.

    Args:
        values: the keys of the config.
        strict: whether what could not be read back is an error; if not, it is written as it prints.

    Raises:
        ConfigError: a key or value that cannot be read back.

    Example:
        >>> print(write_python({"lr": 0.1, "model": {"type": "Net", "size": (8, 8)}}), end="")
        lr = 0.1
        model = dict(type='Net', size=(8, 8))
    """
    if strict:
        _check_keys(values)
    writer = _PythonWriter(strict, frozenset(map(str, values)))
    return "".join(
        f"{writer.name(key)} = {writer.value(value, str(key), 0, len(str(key)) + 3)}\n" for key, value in values.items()
    )


def write_value(value: Any) -> str:
    """Write a value as it stands in a `.py` config, on one line; what is no data, as it prints.

    Example:
        >>> write_value({"type": "Net", "size": (8, 8)})
        "dict(type='Net', size=(8, 8))"
    """
    return _PythonWriter(False, frozenset())._on_one_line(value, "")


def write_json(values: Mapping[Any, Any]) -> str:
    """Write a `.json` config; JSON has lists only, so tuples, sets and ranges become lists.

    Raises:
        ConfigError: a key that is no text, or a value that JSON does not have.
    """
    _check_keys(values)
    text = json.dumps(_for_json(values, ""), indent=2)
    return _TWO_BRACES.sub(r"\\u007b", text) + "\n"  # two braces stand in texts only: there they are no template


def write_yaml(values: Mapping[Any, Any]) -> str:
    """Write a `.yaml` config; a tuple has the tag `!!python/tuple`, as MMCV writes it.

    Raises:
        ConfigError: a value that YAML does not have.
    """
    _check_keys(values)
    try:
        text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, width=1 << 30)
    except yaml.representer.RepresenterError as error:
        raise _no_data("the config", error.args[-1], "YAML") from error
    return _TWO_BRACES.sub(r"\\x7b", text)


class _PythonWriter:
    """Writes values as expressions of few lines, broken where they are longer than a line.

    Args:
        strict: whether what could not be read back is an error.
        names: the names that the config assigns, which hide the functions of the same names.
    """

    def __init__(self, strict: bool, names: frozenset[str]) -> None:
        self._strict = strict
        self._names = names

    def name(self, key: Any) -> str:
        """Write a key of the config itself."""
        if self._strict and not (_is_name(key) and not key.startswith("__")):
            raise ConfigError(f"the key {key!r} cannot be a name in a .py config; dump to .yaml instead")
        return str(key)

    def value(self, value: Any, at: str, indent: int, used: int) -> str:
        """Write a value.

        Args:
            value: the value.
            at: its dotted key, for messages.
            indent: how far the lines of what it holds are indented, less four.
            used: how much of the first line is taken.
        """
        line = self._on_one_line(value, at)
        if indent + used + len(line) <= _WIDTH or type(value) not in (dict, list, tuple) or not value:
            return line
        opening, closing, elements = self._parts(value, at)
        inner = indent + 4
        lines = [
            f"{' ' * inner}{before}{self.value(item, place, inner, len(before) + 1)},\n"
            for before, item, place in elements
        ]
        return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"

    def _on_one_line(self, value: Any, at: str) -> str:
        if type(value) in (dict, list, tuple):
            opening, closing, elements = self._parts(value, at)
            inside = ", ".join(before + self._on_one_line(item, place) for before, item, place in elements)
            return f"{opening}{inside}{',' if type(value) is tuple and len(value) == 1 else ''}{closing}"
        return self._atom(value, at)

    def _parts(self, value: Any, at: str) -> tuple[str, str, list[tuple[str, Any, str]]]:
        """Give the brackets of a value, and of each element what stands before it, itself, and its dotted key."""
        if type(value) is not dict:
            opening, closing = "[]" if type(value) is list else "()"
            return opening, closing, [("", item, f"{at}.{index}") for index, item in enumerate(value)]
        if "dict" not in self._names and all(map(_is_name, value)):
            return "dict(", ")", [(f"{key}=", item, f"{at}.{key}") for key, item in value.items()]
        elements = [(f"{self._on_one_line(key, at)}: ", item, f"{at}.{key}") for key, item in value.items()]
        return "{", "}", elements

    def _atom(self, value: Any, at: str) -> str:
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if value is None or isinstance(value, (bool, bytes)):
            return repr(value)
        if isinstance(value, int):
            number = int(value)
            return repr(number) if number.bit_length() < 10_000 else hex(number)
        if isinstance(value, float):
            return float.__repr__(value) if math.isfinite(value) else self._call("float", f"'{float(value)}'", at)
        if type(value) is complex and math.isfinite(value.real) and math.isfinite(value.imag):
            return (
                f"({value.real!r} + {value.imag!r}j)"
                if math.copysign(1, value.imag) > 0
                else f"({value.real!r} - {-value.imag!r}j)"
            )
        if type(value) is range:
            return self._call("range", ", ".join(map(repr, (value.start, value.stop, value.step))), at)
        if type(value) is set:
            inside = ", ".join(sorted(self._on_one_line(item, at) for item in value))
            return f"{{{inside}}}" if value else self._call("set", "", at)
        if self._strict:
            raise _no_data(at, value, "a .py config")
        return repr(value)

    def _call(self, name: str, arguments: str, at: str) -> str:
        if self._strict and name in self._names:
            raise ConfigError(
                f"{at} is written as {name}({arguments}), and the config has a key {name!r}; rename that key"
            )
        return f"{name}({arguments})"

    def _text(self, text: str) -> str:
        """Write a string; what looks like a template in it is written so that it is none."""
        if "{{" not in text or TEMPLATE.search(text) is None:
            return repr(text)
        return f"''.join({_BETWEEN_BRACES.split(text)!r})"


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Writes plain values, each where it stands: no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.Node:
    # in double quotes, `{{` can be written so that it is no template
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "{{" in text else None)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_sequence(TUPLE_TAG, value))


def _check_keys(values: Mapping[Any, Any]) -> None:
    for key in (BASE_KEY, DEPRECATION_KEY):
        if key in values:
            raise ConfigError(f"the key {key!r} would mean something else in a file; take it out of the config")


def _for_json(value: Any, at: str) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(
                    f"{at or 'the config'} has the key {key!r}, and keys in JSON are texts; dump to .yaml"
                )
        return {key: _for_json(item, f"{at}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, range)):
        return [_for_json(item, f"{at}.{index}") for index, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise _no_data(at, value, "JSON")


def _is_name(key: Any) -> bool:
    # names in other alphabets are normalised when they are parsed
    return isinstance(key, str) and key.isascii() and key.isidentifier() and not keyword.iskeyword(key)


def _no_data(at: str, value: Any, where: str) -> ConfigError:
    return ConfigError(
        f"{at}: {value!r:.60} ({type(value).__name__}) cannot be written in {where}; put plain values into the config"
    )
