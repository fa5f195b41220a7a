"""The logger of a run that brings none of its own."""

from __future__ import annotations

import logging
import sys
from pathlib import Path


def get_logger(log_file: str | Path | None = None, level: int | str = logging.INFO) -> logging.Logger:
    """Give the logger ``mmhooks``, which writes to the terminal and, if wanted, to a file.

    Args:
        log_file: a file that gets every line as well.
        level: the lowest level that is written.

    Returns:
        The logger. A handler that the application has set on it (or on the root logger) is left alone.
    """
    logger = logging.getLogger("mmhooks")
    if logger.level == logging.NOTSET:
        logger.setLevel(level)
    form = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")
    if not logger.hasHandlers():
        terminal = logging.StreamHandler(sys.stdout)
        terminal.setFormatter(form)
        logger.addHandler(terminal)
    if log_file is not None:
        wanted = str(Path(log_file).absolute())
        if all(getattr(handler, "baseFilename", None) != wanted for handler in logger.handlers):
            file = logging.FileHandler(wanted)
            file.setFormatter(form)
            logger.addHandler(file)
    return logger
