"""What reports need besides mmhooks, and what is said where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from mmhooks.errors import ConfigError


def has(module: str) -> bool:
    """Tell whether a module can be imported, without importing it."""
    return find_spec(module) is not None


def check_extra(module: str, what: str) -> None:
    """Check that a module of the extra ``report`` is installed.

    Args:
        module: its name.
        what: what needs it, to begin the message with.

    Raises:
        ConfigError: it is not there; the message names the extra.
    """
    if not has(module):
        raise ConfigError(f'{what} needs {module}, which is not installed: pip install "mmhooks[report]"')
