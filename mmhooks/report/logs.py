"""Logs: what the ``.log.json`` files of a run say, those of MMCV included."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mmhooks.errors import ConfigError
from mmhooks.report.sampling import Floats

_SUFFIX = ".log.json"
_HEAD = re.compile(r"(Epoch|Iter) \[(\d+)(?:\]\[\d+)?/(\d+)\]")


@dataclass(frozen=True)
class Entry:
    """A line of a log.

    Attributes:
        mode: ``"train"``, ``"val"`` or another.
        epoch: as it was written, from 1.
        iter: likewise: of a val line, how many iterations the evaluation took.
        values: all else. Dicts are unfolded: ``lr.generator``; lists of numbers, too: ``loss[0]``.
        at: where it is in the run: epochs, or iterations where the run counts those.
        file: where it was read,
        line: and in which line of it.
    """

    mode: str
    epoch: int
    iter: int
    values: dict[str, Any]
    at: float = 0.0
    file: str = ""
    line: int = 0


@dataclass
class Log:
    """The log of a run, from all its files.

    Attributes:
        name: what it was read from.
        files: those that were read, in order.
        by_epoch: whether ``at`` counts epochs.
        epoch_len: iterations an epoch, as far as that is known.
        assumed: that is no more than the largest ``iter`` of a train line.
        meta: the first line of the last file.
        entries: the lines, in order.
        problems: lines that could not be read, and lines that a resumed run replaced, in words.
    """

    name: str
    files: list[Path]
    by_epoch: bool = True
    epoch_len: int | None = None
    assumed: bool = False
    meta: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def keys(self, mode: str | None) -> list[str]:
        """List the keys that have numbers in lines of a mode, or of any, in the order in which they come up."""
        found: dict[str, None] = {}
        for entry in self.entries:
            if mode in (None, entry.mode):
                found.update(dict.fromkeys(key for key, value in entry.values.items() if is_number(value)))
        return list(found)

    def series(self, key: str, mode: str = "train") -> tuple[Floats, Floats]:
        """Give where a key has values, and the values.

        Args:
            key: ``"loss"``.
            mode: the lines that count.

        Example:
            >>> x, y = read_log("work_dirs/digits").series("accuracy", "val")  # doctest: +SKIP
        """
        points = [
            (entry.at, float(entry.values[key]))
            for entry in self.entries
            if entry.mode == mode and is_number(entry.values.get(key))
        ]
        both = np.array(points, dtype=np.float64).reshape(-1, 2)
        return both[:, 0], both[:, 1]


def is_number(value: Any) -> bool:
    """Tell whether a value of a log can be plotted; one that is not finite is a number, too."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_log(path: str | Path, *, epoch_len: int | None = None) -> Log:
    """Read the log of a run, written by mmhooks or by MMCV 1.x.

    The files of a folder are one run that was resumed: they are joined in the order of their names, which are times,
    and what a later one says of a part of the run replaces what an earlier one said. A line that cannot be read, such
    as the last one of a run that was killed, is left out and told in ``problems``.

    Where a run counts epochs, a train line says its iteration in the epoch, whose length is looked for in the ``.log``
    beside the file; without one it is taken to be the largest iteration of a train line. The lines of an evaluation
    do not say where they are: by epoch they belong to its end, by iteration to the last train line before them.

    Args:
        path: a work_dir, or one ``.log.json`` file.
        epoch_len: iterations an epoch, if they are known better.

    Raises:
        ConfigError: there is no such file or folder, or no line in it that tells of a run.

    Example:
        >>> log = read_log("work_dirs/digits")  # doctest: +SKIP
        >>> log.by_epoch, log.entries[-1].values  # doctest: +SKIP
        (True, {'lr': 0.01, 'accuracy': 0.97})
    """
    path = Path(path)
    files = _files(path)
    log = Log(str(path), files)
    segments = [segment for file in files for segment in _segments(file, log)]
    if not any(segments):
        problems = "".join(f"; {problem}" for problem in log.problems[:3])
        raise ConfigError(
            f'{path} has no line of a run, such as {{"mode": "train", "epoch": 1, "iter": 10, "loss": 0.5}}{problems}'
        )
    kind, told_len = _told(files)
    entries = [entry for segment in segments for entry in segment]
    log.by_epoch = _counts_epochs(segments, log.meta) if kind is None else kind == "Epoch"
    if log.by_epoch:
        seen = max((entry.iter for entry in entries if entry.mode == "train"), default=0)
        log.epoch_len = epoch_len or told_len or seen or None
        log.assumed = not epoch_len and not told_len
    else:
        log.epoch_len = epoch_len
    log.entries = _joined([_placed(segment, log) for segment in segments], log)
    return log


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(path.glob(f"*{_SUFFIX}"))
        if found:
            return found
        below = sorted({file.parent.name for file in path.glob(f"*/*{_SUFFIX}")})
        hint = f"; these folders in it have some: {', '.join(below[:5])}" if below else ""
        raise ConfigError(f"{path} has no {_SUFFIX} file: name the work_dir of a run{hint}")
    if not path.exists():
        raise ConfigError(f"{path} is not there: name a work_dir, or a {_SUFFIX} file")
    return [path]


def _segments(file: Path, log: Log) -> Iterator[list[Entry]]:
    """Divide a file where a line without a mode, the meta of a run, begins another run."""
    segment: list[Entry] = []
    for index, text in enumerate(file.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError:
            log.problems.append(f"{file.name}:{index} is no JSON, and left out: {text.strip():.60}")
            continue
        if not isinstance(line, dict):
            log.problems.append(f"{file.name}:{index} is no dict, and left out: {text.strip():.60}")
        elif "mode" not in line:
            if segment:
                yield segment
            segment, log.meta = [], line
        elif not (type(line.get("epoch")) is int and type(line.get("iter")) is int):
            log.problems.append(f"{file.name}:{index} has no epoch or iter, and is left out: {text.strip():.60}")
        else:
            rest = {key: value for key, value in line.items() if key not in ("mode", "epoch", "iter")}
            entry = Entry(str(line["mode"]), line["epoch"], line["iter"], _unfolded(rest), 0.0, file.name, index)
            segment.append(entry)
    yield segment


def _unfolded(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= _unfolded(value, f"{prefix}{key}.")
        elif isinstance(value, list) and all(map(is_number, value)):
            found |= {f"{prefix}{key}[{index}]": item for index, item in enumerate(value)}
        else:
            found[f"{prefix}{key}"] = value
    return found


def _told(files: Sequence[Path]) -> tuple[str | None, int | None]:
    """Look into the text logs beside the files: do they count epochs, and of how many iterations?"""
    for file in files:
        text = file.with_name(file.name.removesuffix(".json"))
        if text != file and text.is_file():
            with text.open(encoding="utf-8", errors="replace") as lines:
                found = next(filter(None, map(_HEAD.search, lines)), None)
            if found:
                return found[1], int(found[3]) if found[1] == "Epoch" else None
    return None, None


def _counts_epochs(segments: Sequence[Sequence[Entry]], meta: Mapping[str, Any]) -> bool:
    """Tell from the numbers whether a run counts epochs: iterations begin anew in each."""
    for segment in segments:
        for one, other in pairwise(entry for entry in segment if entry.mode == "train"):
            if other.epoch > one.epoch:
                return other.iter <= one.iter
    return "IterBasedRunner" not in str(meta.get("config", ""))


def _placed(segment: Sequence[Entry], log: Log) -> list[Entry]:
    """Say where in the run each line is."""
    placed: list[Entry] = []
    last = 0.0
    trained: set[int] = set()
    trains = {entry.epoch for entry in segment if entry.mode == "train"}
    for entry in segment:
        if entry.mode == "train":
            trained.add(entry.epoch)
            last = entry.epoch - 1 + entry.iter / (log.epoch_len or 1) if log.by_epoch else float(entry.iter)
            at = last
        elif log.by_epoch:  # one before the first train line of its epoch was made before training
            at = float(entry.epoch - (entry.epoch in trains and entry.epoch not in trained))
        else:
            at = last
        placed.append(replace(entry, at=at))
    return placed


def _joined(segments: Sequence[Sequence[Entry]], log: Log) -> list[Entry]:
    """Put resumed runs together: from where a later one trains, the earlier ones count no more.

    Nor do their evaluations from where a later one evaluates: a run that goes on makes those that were still to come.
    """
    joined: list[Entry] = []
    for segment in segments:
        start = min((entry.at for entry in segment if entry.mode == "train"), default=math.inf)
        first = min((entry.at for entry in segment), default=math.inf)
        kept = [entry for entry in joined if entry.at < (start if entry.mode == "train" else min(start, first))]
        if len(kept) < len(joined):
            lost = len(joined) - len(kept)
            log.problems.append(
                f"{segment[0].file} goes on from an earlier place: {lost} line{'' if lost == 1 else 's'} "
                "of before count no more"
            )
        joined = [*kept, *segment]
    return joined
