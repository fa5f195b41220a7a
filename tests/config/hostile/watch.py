"""Read hostile configs in a process that watches itself: what is opened, what happens, what it takes.

It prints one line of JSON, and fails if anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from corpus import Files, corpus
from draw import configs
from hypothesis import HealthCheck, Phase, given, seed, settings

import mmhooks.config.files
from mmhooks.config import Config
from mmhooks.config.limits import MAX_STEPS, Budget
from mmhooks.config.settle import DATA
from mmhooks.errors import ConfigError

MEMORY = 256 << 20  # beside what Python and its libraries have taken before
LARGE = 60_000  # bytes
SECONDS = 60  # of processor time: far from what any needs, so that an endless one ends
# ast.parse is a compile event; a missing base makes the reader look at the folder for near names
HARMLESS = {"open", "compile", "builtins.id", "object.__getattr__", "object.__setattr__", "os.listdir", "os.scandir"}


class Endless(BaseException):
    """A config that takes the processor for too long."""


class Counted(Budget):
    """A budget that is kept to be looked at."""

    last: Budget

    def __init__(self) -> None:
        super().__init__()
        Counted.last = self


class Watch:
    """Reads configs and keeps what was seen.

    Args:
        folder: an empty folder, for the configs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trap = folder / "trap"
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.steps = 0
        self._events: list[tuple[str, str]] | None = None
        sys.addaudithook(self._audit)
        signal.signal(signal.SIGVTALRM, self._endless)

    def read(self, name: str, files: Files) -> None:
        """Read one config, the first of the files, and check all that it may do."""
        case = self.folder / "case"
        case.mkdir()
        for file, content in files.items():
            (case / file).write_bytes(content.replace(b"{trap}", str(self.trap).encode()))
        self._events = events = []
        started = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            outcome = self._outcome(case / next(iter(files)))
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self._events = None
        self.slowest = max(self.slowest, time.process_time() - started)
        self.counts[outcome if outcome in ("read", "refused") else "wrong"] += 1
        if outcome not in ("read", "refused"):
            self.wrong.append(f"{name}: {outcome}")
        self._check(name, events, {str(case / file) for file in files})
        shutil.rmtree(case)

    def _outcome(self, file: Path) -> str:
        try:
            values = Config.fromfile(file).to_dict()
        except ConfigError as error:
            said = str(error)
            self.steps = max(self.steps, MAX_STEPS - max(Counted.last.left, 0))
            return (
                "refused" if len(said) < 3000 and re.search(r"a\.\w+\W|:\d+:", said) else f"a poor message: {said:.300}"
            )
        except Endless:
            return "endless"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        return "read" if is_data(values) else f"no data: {values!r:.300}"

    def _check(self, name: str, events: list[tuple[str, str]], files: set[str]) -> None:
        for event, what in events:
            if event == "open" and what not in files:
                self.wrong.append(f"{name}: it opened {what}")
            elif event not in HARMLESS:
                self.wrong.append(f"{name}: it did {event} {what}")
        if self.trap.exists():
            self.wrong.append(f"{name}: it ran code")
            self.trap.unlink()

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._events is not None:
            self._events.append((event, str(arguments[0]) if arguments and event != "compile" else ""))

    def _endless(self, *_: Any) -> None:
        raise Endless


def is_data(value: Any) -> bool:
    """Tell whether a value is made of plain values alone, and is not too deep to say so."""
    if isinstance(value, dict):
        return all(is_data(key) and is_data(item) for key, item in value.items())
    if type(value) in (list, tuple, set):
        return all(map(is_data, value))
    return type(value) in DATA


def limit_memory() -> None:
    """Let this process have little more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def draw(watch: Watch, number: int, first: int) -> None:
    """Read a number of drawn configs."""

    @seed(first)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(configs())
    def drawn(files: Files) -> None:
        watch.read(f"drawn {files!r}", files)

    drawn()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="an empty folder; a temporary one by default")
    parser.add_argument("--drawn", type=int, default=100)
    parser.add_argument("--light", action="store_true", help="leave out what is large")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    mmhooks.config.files.Budget = Counted  # type: ignore[misc]
    Config.fromstring("a: {b: 2020-01-01}", ".yaml")  # whatever is imported on the way is there now
    Config.fromstring("a = f'{1:>3}'", ".py").dump()
    watch = Watch(arguments.folder or Path(tempfile.mkdtemp()))
    limit_memory()
    for name, files in corpus().items():
        if not arguments.light or sum(map(len, files.values())) < LARGE:
            watch.read(name, files)

    if arguments.drawn:
        draw(watch, arguments.drawn, arguments.seed)
    summary = {"counts": watch.counts, "slowest": round(watch.slowest, 2), "steps": watch.steps, "wrong": watch.wrong}
    print(json.dumps(summary))
    return 1 if watch.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
