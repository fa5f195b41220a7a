"""Single values written as bare text."""

from __future__ import annotations

_WORDS = {"true": True, "false": False, "none": None}


def read_scalar(word: str) -> int | float | bool | str | None:
    """Read an int, a float, true, false or none; anything else is a string.

    Example:
        >>> read_scalar("1e-3"), read_scalar("True"), read_scalar("adam")
        (0.001, True, 'adam')
    """
    for read in (int, float):
        try:
            return read(word)
        except ValueError:
            continue
    return _WORDS.get(word.lower(), word)
