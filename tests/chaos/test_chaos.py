"""The short form of ``make chaos``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from killing import RUNS, campaign


def test_killed_processes_leave_whole_files_and_their_runs_end_as_one(capsys):
    counts = campaign(kills=20)
    with capsys.disabled():
        print(dict(counts))
    assert counts["kills"] >= 20
    assert all(counts[f"kills of {driver} by {unit}, {write}"] for driver, unit, write in RUNS)
