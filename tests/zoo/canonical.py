"""A digest of a config's values that tells 1 from 1.0 and a list from a tuple, and minds the order of keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any


def digest(values: Any) -> str:
    """Give twelve hexadecimal digits for a value of dicts, lists, tuples and plain values."""
    return hashlib.sha256("".join(canonical(values)).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def canonical(value: Any) -> Iterator[str]:
    """Write a value out in pieces, each with its type."""
    if isinstance(value, dict):
        yield "{"
        for key, item in value.items():
            yield from canonical(key)
            yield ":"
            yield from canonical(item)
            yield ","
        yield "}"
    elif isinstance(value, (list, tuple)):
        yield "[" if isinstance(value, list) else "("
        for item in value:
            yield from canonical(item)
            yield ","
        yield "]" if isinstance(value, list) else ")"
    elif isinstance(value, set):
        yield f"set:{sorted(map(repr, value))}"
    else:
        yield f"{type(value).__name__} {value!r}"
