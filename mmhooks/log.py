"""The logger of a run that brings none of its own."""

from __future__ import annotations

import logging
import sys

FORMAT = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")


def get_logger() -> logging.Logger:
    """Give the logger ``mmhooks``, which writes to the terminal.

    Returns:
        The logger. A level or a handler that the application has set on it (or on the root logger) is left alone.
    """
    logger = logging.getLogger("mmhooks")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        terminal = logging.StreamHandler(sys.stdout)
        terminal.setFormatter(FORMAT)
        logger.addHandler(terminal)
    return logger
