import logging
import tempfile

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Let a page run in a folder of its own, at a width of its own, and leave no logger behind.

    The name of the folder is as long as where the pages are made: tables depend on it.
    """
    monkeypatch.setenv("COLUMNS", "100")
    logger = logging.getLogger("mmhooks")
    handlers = list(logger.handlers)
    with tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patch:
        patch.chdir(folder)
        yield
    logger.handlers[:] = handlers
