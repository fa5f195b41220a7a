"""Tests with hooks of the real mmcv 1.x; without it there are none (see ``make mmcv``)."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import real_mmcv  # noqa: E402

collect_ignore_glob = [] if real_mmcv.join() else ["test_*.py"]


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch):
    """mmcv sleeps for seconds in each epoch; and torch refuses to read its files, which hold more than tensors."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
