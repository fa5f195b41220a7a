"""Tests with hooks of the real mmcv 1.x; without it there are none (see ``make mmcv``)."""

import sys
import time
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)

import real_mmcv  # noqa: E402

collect_ignore_glob = []
if not real_mmcv.join():
    collect_ignore_glob.append("test_*.py")
    sys.path.remove(HERE)


@pytest.fixture(autouse=True)
def _as_mmcv_needs_it(monkeypatch):
    """mmcv sleeps for seconds in each epoch; and torch refuses to read its files, which hold more than tensors."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
