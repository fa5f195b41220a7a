"""Kill training processes at drawn moments, during writes too, and let the next one go on.

After each kill no checkpoint may be broken, and the newest one at most an interval old, or two where files are written
beside the run; what a killed writer left goes with the next file. In the end the weights, the averages and the state of
the optimizer are, bit for bit, those of a run that nobody disturbed. Processes are forked: a kill costs no start
of Python.

    python tests/chaos/killing.py --kills 300 --size 100
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import chaos_worker as worker

from mmhooks.checkpoint import read_checkpoint

Run = tuple[str, str, str]
RUNS: list[Run] = [
    (driver, unit, write)
    for driver in ("native", "lightning")
    for unit in ("epochs", "iters")
    for write in ("sync", "async")
]
PAUSE = 0.01


def begin(driver: str, unit: str, write: str, folder: Path, size: int) -> int:
    """Fork a process that trains; what it says goes to a file."""
    sys.stdout.flush()
    for name in ("said", "errors"):
        (folder / name).write_bytes(b"")  # here: a child may be killed before it does anything
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for stream, name in ((1, "said"), (2, "errors")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_APPEND), stream)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        options = ["--pause", str(PAUSE), "--slow-writes", str(PAUSE), "--size", str(size)]
        options += ["--async-save"] if write == "async" else []
        worker.main([driver, unit, str(folder), *options])
        code = 0
    except BaseException as error:
        (folder / "error").write_text(repr(error))
    finally:
        os._exit(code)


def finished(folder: Path) -> int:
    """Tell how many iterations the last process had finished."""
    lines = [line.split() for line in (folder / "said").read_text().splitlines() if line.startswith("at ")]
    return int(lines[-1][1]) if lines and len(lines[-1]) == 2 else 0


def check_files(folder: Path, unit: str, write: str) -> None:
    """See that no file is broken, and that the newest is not too old: one may still be written beside the run."""
    interval = worker.INTERVAL[unit] * (worker.BATCHES if unit == "epochs" else 1)
    reached = [read_checkpoint(path)["mmhooks"]["position"]["iters"] for path in folder.glob("*.pth")]
    at = finished(folder)
    due = at // interval - (write == "async")
    assert max(reached, default=0) >= due * interval, f"at {at}, and the files are of {reached}"


def same(one: Any, other: Any) -> bool:
    """Compare what two runs end with."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def campaign(kills: int, seed: int = 0, size: int = 0) -> Counter[str]:
    """Kill so many processes; give the counts.

    Raises:
        AssertionError: a file was broken or too old, a process failed by itself, or a run ended otherwise.
    """
    draw, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        wholes = {run: whole(run, Path(place), size) for run in RUNS}
        for number in range(kills * 2):
            if counts["kills"] >= kills and number % len(RUNS) == 0:
                break
            run = RUNS[number % len(RUNS)]
            folder = Path(place, str(number))
            folder.mkdir()
            harass(run, folder, wholes[run], draw, counts, size, limit=max(1, min(8, kills // len(RUNS) // 2)))
    return counts


def whole(run: Run, place: Path, size: int) -> tuple[Any, float]:
    """Train without a disturbance; give the end, and how long it took."""
    folder = place / "-".join(run)
    folder.mkdir()
    start = time.monotonic()
    _, status = os.waitpid(begin(*run, folder, size), 0)
    assert status == 0, (folder / "error").read_text()
    return torch.load(folder / "end0.pt"), time.monotonic() - start


def harass(
    run: Run, folder: Path, end: tuple[Any, float], draw: random.Random, counts: Counter[str], size: int,
    limit: int,
) -> None:  # fmt: skip
    """Kill the processes of one run up to so many times, then let one come to the end."""
    for attempt in range(limit + 1):
        child = begin(*run, folder, size)
        if attempt < limit:
            time.sleep(draw.uniform(0, end[1] * 0.8))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert not (folder / "error").exists(), (folder / "error").read_text()
        if status == 0:
            break
        counts["kills"] += 1
        counts[f"kills of {run[0]} by {run[1]}, {run[2]}"] += 1
        counts["kills during a write"] += any(folder.glob(".*.tmp"))
        check_files(folder, *run[1:])
    assert same(torch.load(folder / "end0.pt"), end[0]), f"{run}: another end"
    assert not list(folder.glob(".*.tmp")), f"{run}: what a killed process left is still there"
    counts["runs that ended as if nobody had disturbed them"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=100, help="MB of each checkpoint, more or less")
    options = parser.parse_args()
    for what, count in campaign(options.kills, options.seed, options.size).items():
        print(f"{count:5} {what}")


if __name__ == "__main__":
    main()
