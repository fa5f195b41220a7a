"""``${key}`` in a config stands for the value of another key, in code bases that say so."""

from __future__ import annotations

import re
from typing import Any

from mmhooks.config.source import Source
from mmhooks.errors import ConfigError, nearest

_REFERENCE = re.compile(r"\$\{([a-zA-Z\d_.]*)\}")


def substituted(source: Source) -> Source:
    """Fill in ``${key}`` and ``${key.inner}``: alone it is the value, in a longer text its text.

    A ``model_wrapper`` then takes the place of ``model``, as in mmdet.

    Raises:
        ConfigError: there is no such key, or a dict or a list is to become a part of a text.
    """
    values = _filled(source.values, source)
    if values.get("model_wrapper") is not None:
        values["model"] = values.pop("model_wrapper")
    return Source(values, source.name)


def _filled(value: Any, source: Source) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, source) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(item, source) for item in value)
    if not isinstance(value, str) or "${" not in value:
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole is not None:
        return _value(whole[1], source)
    return _REFERENCE.sub(lambda found: _text(found[1], source), value)


def _value(path: str, source: Source) -> Any:
    found: Any = source.values
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            known = map(str, found) if isinstance(found, dict) else ()
            raise ConfigError(f"{source.name}: ${{{path}}} stands for a key that is not there{nearest(part, known)}")
        found = found[part]
    return found


def _text(path: str, source: Source) -> str:
    value = _value(path, source)
    if isinstance(value, (dict, list, tuple)):
        raise ConfigError(
            f"{source.name}: ${{{path}}} is a part of a text and stands for a {type(value).__name__}: write it alone, "
            f"'${{{path}}}'"
        )
    return str(value)
