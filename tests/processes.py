"""Several real processes of one run."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch.distributed import TCPStore  # type: ignore[attr-defined]


def run_ranks(folders: list[Path], *words: object, timeout: float = 300) -> list[str]:
    """Run ``python words...`` once in each folder, with what torchrun would set, and give what each rank printed.

    As under torchrun, the ranks meet in a store that is here already, so that nobody else can take its port. As soon
    as one fails the others are ended, since they may wait for it without end.

    Raises:
        AssertionError: a rank failed, or not all have ended in time; with what the ranks wrote to stderr.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        said = [[Path(folder, f"{name}{rank}") for name in ("stdout", "stderr")] for rank in range(len(folders))]
        try:
            for rank, (cwd, (out, err)) in enumerate(zip(folders, said, strict=True)):
                with out.open("wb") as stdout, err.open("wb") as stderr:  # files: a pipe that nobody reads fills up
                    variables = _variables(rank, len(folders), store.port)
                    command = [sys.executable, *map(str, words)]
                    started.append(subprocess.Popen(command, cwd=cwd, env=variables, stdout=stdout, stderr=stderr))
            trouble = _wait(started, timeout)
        finally:
            for process in started:
                process.kill()
                process.wait()
        texts = [[file.read_text(errors="replace") for file in files] for files in said]
    if trouble:
        raise AssertionError("\n".join([trouble, *(f"rank {i}: {err[-4000:]}" for i, (_, err) in enumerate(texts))]))
    return [out for out, _ in texts]


def _variables(rank: int, world_size: int, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # no rank opens a store of its own
        "TORCHELASTIC_RESTART_COUNT": "0",
        "OMP_NUM_THREADS": "1",
    }


def _wait(started: list[subprocess.Popen[bytes]], timeout: float) -> str:
    """Wait for all to end well, or for the first one that does not; give what went wrong."""
    end = time.monotonic() + timeout
    while True:
        codes = [process.poll() for process in started]
        failed = [f"rank {rank} ended with {code}" for rank, code in enumerate(codes) if code]
        if failed:
            return ", ".join(failed)
        if None not in codes:
            return ""
        if time.monotonic() > end:
            return f"not all ranks have ended after {timeout} s: {codes}"
        time.sleep(0.02)
