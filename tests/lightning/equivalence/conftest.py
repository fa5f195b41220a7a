"""Makes the helpers of this folder importable, and says at the end how much was compared."""

import logging
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = HERE.parents[1]
sys.path[:0] = [str(HERE), str(TESTS), str(TESTS / "oracle")]  # the last one for its strategies for schedules


def pytest_collection_modifyitems(config, items):
    """Leave the long form to those who ask for it, also where all tests of a folder are run."""
    from both.forms import CASES

    if not CASES:
        left_out = [item for item in items if HERE in item.path.parents and item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def _quiet():
    """Keep Lightning's own lines out: there are hundreds of Trainers here."""
    lightning = logging.getLogger("lightning.pytorch")
    level = lightning.level
    lightning.setLevel(logging.ERROR)
    yield
    lightning.setLevel(level)


def pytest_terminal_summary(terminalreporter):
    from both.compare import DRIVERS, TALLY

    for note in TALLY.notes:
        terminalreporter.write_line(note)
    if TALLY.runs:
        terminalreporter.write_line(
            f"equivalence: {len(TALLY.hooks)} hooks x {len(DRIVERS)} drivers x {len(TALLY.settings)} settings, "
            f"{TALLY.runs} runs, {TALLY.comparisons:,} comparisons, {TALLY.differing} cases differ"
        )
