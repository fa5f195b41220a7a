"""Where mmhooks differs on purpose, all of it: see docs/semantics.md. Any other difference is a mismatch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from compare import Record

Config = dict[str, Any]


@dataclass(frozen=True)
class Declared:
    """A difference that is meant.

    Attributes:
        reason: what the summary says.
        applies: tells whether a config and what came of it is such a case.
    """

    reason: str
    applies: Callable[[Config, Record, Record], bool]


#: mmhooks goes on where MMCV breaks off by accident.
RUNS: tuple[Declared, ...] = (
    Declared(
        "an evaluation by iteration before the text logger logs a line without data_time",
        lambda config, theirs, ours: isinstance(theirs.error, KeyError) and theirs.error.args == ("data_time",),
    ),
    Declared(
        "DistSamplerSeedHook has nothing to do in an iteration-based run, where IterLoader tells the sampler",
        lambda config, theirs, ours: (
            config["runner"]["type"] == "IterBasedRunner"
            and any(hook["type"] == "DistSamplerSeedHook" for hook in config["custom"])
            and "no attribute 'data_loader'" in str(theirs.error)
        ),
    ),
    Declared(
        "GradientCumulativeOptimizerHook goes on past the announced length, into which a hook put a longer loader",
        lambda config, theirs, ours: (
            (config["optimizer_config"] or {}).get("type") == "GradientCumulativeOptimizerHook"
            and any(hook.get("deed") == "changes the loader" for hook in config["custom"])
            and isinstance(theirs.error, AssertionError)
            and theirs.stage == "run"
        ),
    ),
)

#: mmhooks refuses what MMCV runs.
REFUSES: tuple[Declared, ...] = (
    Declared(
        "a bad argument is refused at once, also where the run never comes to use it",
        lambda config, theirs, ours: (
            ours.stage == "register"
            and _says(ours, "rule must be 'greater', 'less' or None", "grad_clip needs max_norm")
        ),
    ),
    Declared(
        "a schedule too short for the run is refused at its start, also where the run is stopped in time",
        lambda config, theirs, ours: (
            ours.stage == "run" and _says(ours, "make them last as long as the run", "iterations of this run")
        ),
    ),
)


def _says(seen: Record, *texts: str) -> bool:
    return any(text in str(seen.error) for text in texts)


def forgiven(config: Config, lines: list[str]) -> list[str]:
    """Take out of the lines of a record what is declared to differ."""
    if _counts_iterations_among_epochs(config):
        # MMCV notes a file iter_N.pth in last_ckpt, while what it writes is epoch_N.pth
        lines = [re.sub(r"(, )?last_ckpt: [^,}]*", "", line) for line in lines]
    return lines


def files_agree(config: Config, theirs: list[str], ours: list[str]) -> bool:
    """Compare which files there are, given that max_keep_ckpts follows our own record of what was written.

    MMCV counts numbers back in steps of the interval: where a file is off that count it keeps more.
    """
    if theirs == ours:
        return True
    if not _off_the_count(config) or len(theirs) != len(ours):
        return False
    most = config["checkpoint_config"]["max_keep_ckpts"]
    for their_line, our_line in zip(theirs, ours, strict=True):
        (when, their_names), (our_when, our_names) = (_names(line) for line in (their_line, our_line))
        others = [{name for name in names if not _is_numbered(name)} for names in (their_names, our_names)]
        too_many = len(our_names) - len(others[1]) > most
        if when != our_when or others[0] != others[1] or not our_names <= their_names or too_many:
            return False
    return True


def _is_numbered(name: str) -> bool:
    """Tell a regular checkpoint from the best one, one saved by hand, and the link to the latest."""
    return not any(word in name for word in ("best_", "by_hand", " -> "))


def _names(line: str) -> tuple[str, set[str]]:
    when, _, names = line.partition(": ")
    return when, set(names.split(", "))


def _off_the_count(config: Config) -> bool:
    hook, runner = config["checkpoint_config"], config["runner"]
    if hook is None or hook.get("max_keep_ckpts", -1) < 1:
        return False
    length = runner.get("max_epochs", runner.get("max_iters"))
    last_is_off = hook["interval"] > 0 and length % hook["interval"] != 0 and hook.get("save_last", True)
    return any((_counts_iterations_among_epochs(config), last_is_off, config["again"], _shortens(config)))


def _counts_iterations_among_epochs(config: Config) -> bool:
    hook = config["checkpoint_config"]
    return hook is not None and config["runner"]["type"] == "EpochBasedRunner" and not hook.get("by_epoch", True)


def _shortens(config: Config) -> bool:
    return any(hook.get("deed") == "shortens the run" for hook in config["custom"])


def help_iteration_based_resume(runner: Any) -> None:
    """Let MMCV's IterBasedRunner resume as mmhooks does: without a CUDA device, and keeping the file's meta."""
    resume = runner.resume

    def complete(self: Any, checkpoint: str, resume_optimizer: bool = True, map_location: Any = "cpu") -> None:
        resume(self, checkpoint, resume_optimizer, map_location)
        self.meta = torch.load(checkpoint, map_location="cpu", weights_only=False)["meta"]
        self.meta.setdefault("hook_msgs", {})

    runner.resume = complete
