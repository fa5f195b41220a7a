"""What run_ranks does with processes that fail: the tests of several ranks rely on it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from processes import run_ranks

WAITS = "import os, sys, time; sys.exit('the cause') if os.environ['RANK'] == '1' else time.sleep(1000)"
MEETS = "import torch.distributed as d; d.init_process_group('gloo'); print(d.get_rank(), d.get_world_size())"


def test_ranks_meet(tmp_path):
    assert run_ranks([tmp_path, tmp_path], "-c", MEETS) == ["0 2\n", "1 2\n"]


def test_the_first_failure_ends_all_and_is_told(tmp_path):
    with pytest.raises(AssertionError, match=r"rank 1 ended with 1\nrank 0: \nrank 1: the cause"):
        run_ranks([tmp_path, tmp_path], "-c", WAITS)


def test_ranks_that_wait_without_end(tmp_path):
    with pytest.raises(AssertionError, match=r"not all ranks have ended after 0.5 s: \[None, None\]"):
        run_ranks([tmp_path, tmp_path], "-c", "import time; time.sleep(1000)", timeout=0.5)
