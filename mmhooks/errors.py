"""The errors of mmhooks: each is also the built-in error that a caller would expect."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MMHooksError(Exception):
    """Base of every error that mmhooks raises on purpose."""


class ConfigError(MMHooksError, ValueError):
    """A config, or an argument of a hook or runner, that cannot be used; says where and what to write instead."""


class RegistryError(MMHooksError, KeyError):
    """A type that no registry holds, or a name that is taken."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class HookError(MMHooksError, RuntimeError):
    """Hooks that cannot work together, or a hook at a place where it cannot work."""


class ModelError(MMHooksError, TypeError):
    """A model that lacks what a runner calls, or returns something else than a runner reads."""


class InvalidLossError(MMHooksError, FloatingPointError):
    """A loss that is infinite or not a number."""


class CheckpointError(MMHooksError, RuntimeError):
    """A checkpoint that cannot be written, read or trusted."""


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """A checkpoint that is not there."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Name the known words closest to a misspelt one, as the tail of an error message.

    Args:
        name: what was written.
        known: what could have been written.
        limit: how many suggestions at most.

    Returns:
        ``"; did you mean 'A' or 'B'?"``, or an empty string when nothing is near.

    Example:
        >>> nearest("EMAhok", ["EMAHook", "CheckpointHook"])
        "; did you mean 'EMAHook'?"
    """
    by_folded = {word.casefold(): word for word in known}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=limit, cutoff=0.5)
    if not matches:
        return ""
    return "; did you mean " + " or ".join(repr(by_folded[match]) for match in matches) + "?"
