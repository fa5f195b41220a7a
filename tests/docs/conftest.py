import logging

import pytest


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Let a page run in a folder of its own, at a width of its own, and leave no logger behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    logger = logging.getLogger("mmhooks")
    handlers = list(logger.handlers)
    yield
    logger.handlers[:] = handlers
