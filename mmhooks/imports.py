"""The modules that a config names are imported when training begins, and not when it is read."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import Any

from mmhooks.checks import check_flag
from mmhooks.config.source import check_keys
from mmhooks.errors import ConfigError

_KEYS = ("imports", "allow_failed_imports")


def import_custom(custom_imports: Any, where: str, logger: logging.Logger) -> None:
    """Import the modules that register a project's own classes.

    Args:
        custom_imports: a module name, a list of them, or
            ``dict(imports=[...], allow_failed_imports=False)``, with which a failure may be only a warning.
        where: the config, for messages.
        logger: hears of a failure that is allowed.

    Raises:
        ConfigError: a module cannot be imported, or ``custom_imports`` is something else.
    """
    allowed = False
    if isinstance(custom_imports, Mapping):
        check_keys(f"{where}: custom_imports", custom_imports, _KEYS)
        allowed = check_flag(where, "allow_failed_imports", custom_imports.get("allow_failed_imports", False))
        custom_imports = custom_imports.get("imports")
    names = [custom_imports] if isinstance(custom_imports, str) else custom_imports
    if names is None:
        return
    if not isinstance(names, (list, tuple)):
        raise ConfigError(
            f"{where}: custom_imports must be a list such as ['my_package.my_module'], or dict(imports=[...], "
            f"allow_failed_imports=False) with such a list, not {names!r}"
        )
    for name in names:
        if not isinstance(name, str) or not all(name.split(".")):
            raise ConfigError(
                f"{where}: custom_imports takes names of modules such as 'my_package.my_module', not {name!r}"
            )
        try:
            importlib.import_module(name)
        except ImportError as error:
            message = (
                f"{where}: custom_imports names {name!r}, which cannot be imported: {error}. "
                "Is it installed, or its folder on PYTHONPATH?"
            )
            if not allowed:
                raise ConfigError(message) from error
            logger.warning("%s", message)
