"""Tests with mmcls itself, beside the real mmcv; without them there are none (see ``make mmcls``)."""

import sys
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PLACES = [str(TESTS / "foreign"), str(TESTS / "zoo"), str(Path(__file__).parent)]
sys.path[:0] = PLACES

import codebases  # noqa: E402
import real_mmcv  # noqa: E402

collect_ignore_glob = []
if not (real_mmcv.join() and codebases.is_there("mmcls")):
    collect_ignore_glob.append("test_*.py")
    sys.path[:] = [place for place in sys.path if place not in PLACES]
else:
    codebases.join("mmcls")


@pytest.fixture(autouse=True)
def _as_mmcv_needs_it(monkeypatch):
    """mmcv sleeps for seconds in each epoch; and torch refuses to read its files, which hold more than tensors."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
