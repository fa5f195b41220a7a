"""Random configurations, each run by MMCV 1.7.2 and by mmhooks and compared bit for bit: ``make oracle``."""

from __future__ import annotations

import argparse
import ast
import collections
import itertools
import pprint
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import compare
import mmcv  # type: ignore[import-not-found]
import mmcv.runner  # type: ignore[import-not-found]
import subjects
import torch
from compare import Record, record
from declared import REFUSES, RUNS, files_agree, forgiven, help_iteration_based_resume
from draw.runs import configs
from hypothesis import HealthCheck, Phase, assume, given, seed, settings

import mmhooks
from mmhooks.errors import MMHooksError

Config = dict[str, Any]


class Mismatch(AssertionError):
    """A config for which the two differ in a way that nobody declared."""

    def __init__(self, config: Config, differences: list[str]) -> None:
        super().__init__(differences[0])
        self.config, self.differences = config, differences


class Campaign:
    """Runs configs and counts what was seen."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="campaign-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.number = itertools.count()
        self.counts: collections.Counter[str] = collections.Counter()
        self.drawn: collections.Counter[str] = collections.Counter()
        self.agreeing: set[str] = set()

    def close(self) -> None:
        """Remove what the runs have left."""
        shutil.rmtree(self.folder)

    def check(self, config: Config) -> None:
        """Run one config with both.

        Raises:
            Mismatch: they differ.
        """
        folder = self.folder / str(next(self.number))
        folder.mkdir()
        try:
            differences = self._differences(config, folder)
        finally:
            shutil.rmtree(folder)
        if differences:
            raise Mismatch(config, differences)
        self.counts["configurations"] += 1
        self.agreeing.add(repr(config))
        self.drawn.update(_features(config))
        if self.counts["configurations"] % 250 == 0:
            print(f"{self.counts['configurations']:,} configurations agree", flush=True)

    def _differences(self, config: Config, folder: Path) -> list[str]:
        theirs = record(mmcv.runner, config, folder / "theirs")
        ours = record(mmhooks, config, folder / "ours")
        self.counts["refused by both"] += theirs.error is not None and ours.error is not None
        found = self._compared(config, theirs, ours)
        if found or config["resume"] is None or theirs.error or ours.error:
            return found
        return self._differences_after_resuming(config, folder)

    def _differences_after_resuming(self, config: Config, folder: Path) -> list[str]:
        """Go on from a file: both from MMCV's, and MMCV from ours."""
        their_files, our_files = (compare.checkpoints(folder / name) for name in ("theirs", "ours"))
        names = sorted(their_files.keys() & our_files.keys())
        if not names:
            return []
        name = names[config["resume"]["file"] % len(names)]
        config = compare.continued(config)
        shutil.copytree(folder / "theirs", folder / "kept", symlinks=True)  # a better score deletes what it betters
        theirs = record(mmcv.runner, config, folder / "theirs again", their_files[name])
        shutil.rmtree(folder / "theirs")
        (folder / "kept").rename(folder / "theirs")
        self.counts["continued from a file"] += 1
        for title, lib, file in (
            ("mmhooks goes on from MMCV's file", mmhooks, their_files[name]),
            ("MMCV goes on from the file of mmhooks", mmcv.runner, our_files[name]),
        ):
            found = self._compared(config, theirs, record(lib, config, folder / title, file))
            if found:
                return [f"{title}, {name}:", *found]
        return []

    def _compared(self, config: Config, theirs: Record, ours: Record) -> list[str]:
        if theirs.error is None and ours.error is None:
            return [line for part in Record.parts for line in self._part(config, part, theirs, ours)]
        declared = RUNS if theirs.error is not None else REFUSES
        reason = next((one.reason for one in declared if one.applies(config, theirs, ours)), None)
        if reason is not None:
            self.counts[f"declared: {reason}"] += 1
            return []
        both = [*_refusal("MMCV", theirs), *_refusal("mmhooks", ours)]
        if ours.error is None:
            return ["MMCV refuses and mmhooks runs:", *both]
        if theirs.error is None:
            return ["mmhooks refuses and MMCV runs:", *both]
        return self._refusals(config, theirs, ours, both)

    def _refusals(self, config: Config, theirs: Record, ours: Record, both: list[str]) -> list[str]:
        """Both refuse; mmhooks must do so on purpose, no later than MMCV, and not in the middle of other iterations."""
        same = type(ours.error) is type(theirs.error) and str(ours.error) == str(theirs.error)  # torch's own, say
        meant = (MMHooksError,) if ours.stage == "run" else (MMHooksError, TypeError, ValueError)
        if not same and not isinstance(ours.error, meant):
            return ["mmhooks refuses by accident:", *both]
        if ours.how_far > theirs.how_far:
            return ["mmhooks refuses later:", *both]
        finished = max((i for i, line in enumerate(ours.trace, 1) if line.startswith("after_run")), default=0)
        started = any(line.startswith("before_train_iter") for line in ours.trace[finished:])
        same_so_far = ours.trace[:finished] == theirs.trace[:finished]  # of a first run, where the second is refused
        if not same_so_far or (started and ours.trace != theirs.trace):
            return ["they refuse at different points:", *both, *self._part(config, "trace", theirs, ours)]
        return []

    def _part(self, config: Config, part: str, theirs: Record, ours: Record) -> list[str]:
        two = [forgiven(config, getattr(seen, part)) for seen in (theirs, ours)]
        self.counts["comparisons"] += len(two[0])
        if two[0] == two[1] or (part == "present" and files_agree(config, *two)):
            return []
        pairs = itertools.zip_longest(*two, fillvalue="(nothing)")
        place, (one, other) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
        return [f"{part}, line {place}:", f"  MMCV     {one}", f"  mmhooks  {other}"]


def _refusal(name: str, seen: Record) -> list[str]:
    return [f"  {name:8} {seen.stage} after {len(seen.trace)} calls: {type(seen.error).__name__}: {seen.error}"]


def _features(config: Config) -> list[str]:
    """What the summary counts."""
    hooks = [config["optimizer_config"], config["checkpoint_config"], *config["custom"]]
    defaults = ("OptimizerHook", "CheckpointHook")
    named = [hook.get("type", default) for hook, default in itertools.zip_longest(hooks, defaults) if hook is not None]
    return [
        f"runner {config['runner']['type']}",
        f"model {config['model']}",
        f"optimizer {config['optimizer']['kind']}",
        *([f"lr {config['lr_config'].get('policy')}"] if config["lr_config"] else []),
        *([f"momentum {config['momentum_config'].get('policy')}"] if config["momentum_config"] else []),
        *(f"hook {name}" for name in named),
        *(["hook EvalHook"] if config["eval"] else []),
        *(["hook TextLoggerHook"] if config["log_config"] else []),
        *(f"deed {hook['deed']}" for hook in config["custom"] if hook["type"] == "Meddler"),
        *([f"warmup {config['lr_config']['warmup']}"] if (config["lr_config"] or {}).get("warmup") else []),
        *(["workflow with val"] if any(mode == "val" for mode, _ in config["workflow"]) else []),
        *([f"resume by {config['resume']['by']}"] if config["resume"] else []),
    ]


def prepare() -> None:
    """Make both quiet, quick and comparable."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    time.sleep = lambda seconds: None  # MMCV waits 2 s before each epoch
    mmcv.ProgressBar = type("Silent", (), {"__init__": lambda self, *a: None, "update": lambda self: None})
    help_iteration_based_resume(mmcv.runner.IterBasedRunner)
    mmcv.runner.HOOKS.register_module(module=subjects.invalid_loss_hook(mmcv.runner))


def run(examples: int, number: int, every: bool) -> int:
    """Draw and check; gives the exit status."""
    campaign = Campaign()
    mismatches: list[Mismatch] = []

    @seed(number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
    )
    @given(configs())
    def check(config: Config) -> None:
        assume(repr(config) not in campaign.agreeing)  # hypothesis draws some twice
        try:
            campaign.check(config)
        except Mismatch as mismatch:
            if not every:
                raise
            mismatches.append(mismatch)

    start = time.perf_counter()
    try:
        check()
    except Mismatch as mismatch:
        mismatches.append(mismatch)
    finally:
        campaign.close()
    for one in mismatches:
        tell(one)
    summarise(campaign, number, len(mismatches), time.perf_counter() - start)
    return 1 if mismatches else 0


def replay(file: Path) -> int:
    """Run the config of a file again; gives the exit status."""
    campaign = Campaign()
    try:
        campaign.check(ast.literal_eval(file.read_text()))
    except Mismatch as mismatch:
        tell(mismatch)
        return 1
    finally:
        campaign.close()
    print("no mismatch")
    return 0


def tell(mismatch: Mismatch) -> None:
    """Print a failing config, ready for --replay, and what differs."""
    print("\nMISMATCH", *mismatch.differences, sep="\n")
    print("config:")
    pprint.pprint(mismatch.config, width=120, sort_dicts=False)


def summarise(campaign: Campaign, number: int, mismatches: int, seconds: float) -> None:
    """Print what was seen."""
    print("\ndrawn:")
    for group, features in itertools.groupby(sorted(campaign.drawn.items()), key=lambda item: item[0].split()[0]):
        print(f"  {group}: " + ", ".join(f"{name.partition(' ')[2]} {count}" for name, count in features))
    print()
    for name, count in sorted(campaign.counts.items()):
        print(f"{count:9,} {name}")
    print(f"{mismatches:9,} mismatches (seed {number}, {seconds:.0f} s)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000, help="how many configurations")
    parser.add_argument("--seed", type=int, default=None, help="which ones; printed at the end")
    parser.add_argument("--every", action="store_true", help="go on after a mismatch, and do not shrink")
    parser.add_argument("--replay", type=Path, help="a file with one config, as printed")
    arguments = parser.parse_args()
    prepare()
    if arguments.replay is not None:
        return replay(arguments.replay)
    number = arguments.seed if arguments.seed is not None else time.time_ns() % 2**32
    return run(arguments.examples, number, arguments.every)


if __name__ == "__main__":
    sys.exit(main())
