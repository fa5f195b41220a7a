"""Hostile and broken configs, read in a process that watches what is opened and done, and has little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WATCH = Path(__file__).with_name("hostile") / "watch.py"


def watched(folder, *arguments):
    command = [sys.executable, str(WATCH), "--folder", str(folder), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=WATCH.parents[3])
    assert run.stdout, run.stderr
    return json.loads(run.stdout)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much memory is taken is read from /proc")
@pytest.mark.parametrize(
    "arguments",
    [["--light", "--drawn", "100"], pytest.param(["--drawn", "1000"], marks=pytest.mark.slow)],
    ids=["short", "long"],
)
def test_hostile_configs_do_nothing_and_end_soon(tmp_path, arguments):
    seen = watched(tmp_path, *arguments)
    assert seen["wrong"] == []
    assert seen["counts"]["refused"] > 250  # and not because of the folder, or the like:
    assert seen["counts"]["read"] > 20
    assert sum(seen["counts"].values()) >= 250 + int(arguments[-1])
