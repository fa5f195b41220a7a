"""Text from anywhere, made fit to be shown."""

from __future__ import annotations

import math


def clean(text: str) -> str:
    r"""Write out what cannot be seen: control characters, lone surrogates, marks that turn the direction of writing.

    Args:
        text: any text; line ends and tabs stay.

    Example:
        >>> clean("a\x00b\u202ec")
        'a\\x00b\\u202ec'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t\u00a0" else char.encode("unicode_escape").decode() for char in text
    )


def number(value: float) -> str:
    """Write a number with as many digits as tell it from its neighbours in a report.

    Example:
        >>> number(87960), number(0.02), number(1.23456e-9), number(0.0)
        ('87,960', '0.02', '1.23e-09', '0')
    """
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.3g}"


def plural(count: int, unit: str) -> str:
    """Count things.

    Example:
        >>> plural(1, "epoch"), plural(12_000, "iteration")
        ('1 epoch', '12,000 iterations')
    """
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def scientific(value: float) -> str:
    """Write a rate as it is written in a config, and short: what is small or large by its power of ten.

    Example:
        >>> scientific(0.02), scientific(0.00025), scientific(0.5), scientific(0.0)
        ('2e-2', '2.5e-4', '0.5', '0')
    """
    if not math.isfinite(value) or value == 0 or 0.1 <= abs(value) < 1e4:
        return f"{value:.4g}"
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def shortened(text: str, length: int) -> str:
    """Give the beginning of a text in one line, with ``…`` where something is left out."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
