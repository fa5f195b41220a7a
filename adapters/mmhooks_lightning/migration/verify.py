"""verify: both sides of a migration, walked and compared, iteration by iteration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmhooks.config import Config
from mmhooks.errors import ConfigError
from mmhooks.plan import RunPlan
from mmhooks.recipes import Recipe
from mmhooks.walk import Points, Run, Trace, Unwalked, default_lengths, walk
from mmhooks.walk.hooks import HookSet, import_classes
from mmhooks.walk.runners import QUIET, Walking, noting_calls
from mmhooks.walk.walk import trace_of
from mmhooks_lightning.callback import HookCallback
from mmhooks_lightning.migration import plain
from mmhooks_lightning.migration.bridge import config_values
from mmhooks_lightning.migration.compare import compare
from mmhooks_lightning.migration.plain.walk import plain_side
from mmhooks_lightning.migration.project import config_text
from mmhooks_lightning.migration.rows import Walked
from mmhooks_lightning.runner import EpochBasedLightningRunner, IterBasedLightningRunner, LightningRunner

#: Walks one side of a migration over a length of epoch.
Side = Callable[[int], Trace]


def verify(
    plan: RunPlan,
    style: str = "bridge",
    epoch_lens: Sequence[int] | None = None,
    world_size: int = 1,
    *,
    imports: bool = False,
    after: Side | None = None,
) -> list[Walked]:
    """Walk a run under MMCV's loop and as it was migrated, and compare them.

    MMCV's side is a native runner with the hooks of the config. The migrated side of style ``bridge`` begins with the
    text of the written config: that is read back, its hooks are registered on a `HookCallback`, and its points come in
    the order in which that fires them under a Trainer. Compared are the learning rate and the momentum at every
    iteration, which hooks are called at which point in which order, what files are kept, and when it is evaluated.
    Param groups that depend on the model are not: see `compare_groups`.

    Args:
        plan: the plan of the run, made for as many processes.
        style: ``"bridge"`` or ``"lightning"``.
        epoch_lens: iterations an epoch; see `default_lengths`.
        world_size: the number of processes.
        imports: import the code base and ``custom_imports``, so that their hooks are walked too.
        after: walks the migrated side, in place of what the style makes.

    Raises:
        ConfigError: a hook refuses its arguments, or this run.

    Example:
        >>> [one.lr_difference for one in verify(plan)]  # doctest: +SKIP
        [0.0, 0.0, 0.0]
    """
    if imports:
        import_classes(plan)
    migrated = after or side_of_style(plan, style, world_size)
    lengths = default_lengths(plan) if epoch_lens is None else epoch_lens
    return [compare(walk(plan, length, world_size=world_size), migrated(length)) for length in lengths]


def side_of_style(plan: RunPlan, style: str, world_size: int = 1) -> Side:
    """Give what walks the migrated side of a style.

    Raises:
        ConfigError: a style that cannot be walked.
    """
    if style == "lightning":
        return plain_side(plan, plain.rates, plain.momenta, plain.kept_checkpoints, world_size)
    if style != "bridge":
        raise ConfigError(f"style {style!r} cannot be walked; 'bridge' and 'lightning' can")
    return bridge_side(written_config(plan), plan.recipe, world_size)


def written_config(plan: RunPlan) -> dict[str, Any]:
    """Write the config of a migrated run in style ``bridge``, and read it back.

    Raises:
        ConfigError: a value that is no data.
    """
    return Config.fromstring(config_text(plan, config_values(plan, "run")), ".py").to_dict()


def run_of(config: Mapping[str, Any]) -> Run:
    """Read how long a written run is: by epochs, as long as its Trainer says."""
    run = dict(config["run"])
    return Run.of({**run, "max_epochs": config["trainer"]["max_epochs"]})


def hooks_of(config: Mapping[str, Any], recipe: Recipe, world_size: int = 1) -> HookSet:
    """Collect the hooks of a written config, in the order in which its ``train.py`` registers them."""
    several = world_size > 1
    further: list[tuple[str, Any, Any, str | None]] = []
    if several and config["run"]["by_epoch"]:
        further.append(("", {"type": "DistSamplerSeedHook"}, "NORMAL", None))
    if "evaluation" in config:
        evaluation = dict(config["evaluation"])
        place = recipe.evaluation.dist_hook if several else recipe.evaluation.hook
        if recipe.builders is None:
            further.append(("evaluation", evaluation, evaluation.pop("priority"), None))
        else:
            kind = {"type": place.rpartition(":")[2]}
            further.append(("evaluation", {**evaluation, **kind}, evaluation.pop("priority"), place))
    for index, hook in enumerate(config["hooks"]):
        args = dict(hook)
        further.append((f"hooks[{index}]", args, args.pop("priority", "NORMAL"), None))
    return HookSet(config["training_hooks"], further)


def bridge_side(config: Mapping[str, Any], recipe: Recipe, world_size: int = 1, *, whole: bool = False) -> Side:
    """Give what walks a written run of style ``bridge``.

    Args:
        config: the written config.
        recipe: of the code base, whose evaluation has defaults of its own.
        world_size: the number of processes.
        whole: note the points of the whole run; otherwise of a shortened one.
    """
    run = run_of(config)

    def make() -> tuple[Walking, list[Unwalked]]:
        bridge = HookCallback(
            by_epoch=run.by_epoch, max_iters=config["run"]["max_iters"], workflow=run.workflow, logger=QUIET
        )
        hooks = hooks_of(config, recipe, world_size)
        hooks.register(bridge)
        return walking_bridge(bridge), hooks.unwalked

    def side(epoch_len: int) -> Trace:
        trace = trace_of(make, run, config["optimizer"], epoch_len, world_size, bridge_points, whole)
        trace.unwalked = []  # what is not found here is not found on the other side, where the keys are the user's
        return trace

    return side


class _WalkingBridge(Walking, LightningRunner):
    """The runner of a bridge, without a Trainer."""

    _length: int | None = None

    @property
    def max_epochs(self) -> int | None:  # of no Trainer
        """The length of the run in epochs, where it has one."""
        return self._length

    @max_epochs.setter
    def max_epochs(self, length: int | None) -> None:
        self._length = length


class _WalkingEpochBridge(_WalkingBridge, EpochBasedLightningRunner):
    pass


class _WalkingIterBridge(_WalkingBridge, IterBasedLightningRunner):
    pass


def walking_bridge(bridge: HookCallback) -> Walking:
    """Make a runner that walks with the hooks of a bridge."""
    runner = (_WalkingEpochBridge if bridge.by_epoch else _WalkingIterBridge)(by_epoch=bridge.by_epoch, logger=QUIET)
    runner.call_table = bridge.call_table
    return runner


def bridge_points(runner: Walking, run: Run, epoch_len: int) -> Points:
    """Go through a run as a `HookCallback` does under a Trainer, and note which points it reaches."""
    noted = noting_calls(runner)
    (_epochs if run.by_epoch else _iterations)(runner, run, epoch_len)
    return noted


def _flows(run: Run) -> tuple[int, int]:
    """Give how much is trained before it is validated, and how much is validated then."""
    return run.workflow[0][1], sum(count for mode, count in run.workflow if mode == "val")


def _epochs(runner: Walking, run: Run, epoch_len: int) -> None:
    train, val = _flows(run)
    runner.call_hook("before_run")
    in_flow = 0
    for _ in range(run.length):
        runner.call_hook("before_train_epoch")
        for runner.inner_iter in range(epoch_len):
            runner.call_hook("before_train_iter")
            runner.call_hook("after_train_iter")
            runner.iter += 1
        runner.call_hook("after_train_epoch")
        runner.epoch += 1
        in_flow += 1
        if val and (in_flow == train or runner.epoch == run.length):
            in_flow = 0
            runner.call_hook("before_val_epoch")
            for runner.inner_iter in range(2):
                runner.call_hook("before_val_iter")
                runner.call_hook("after_val_iter")
            runner.call_hook("after_val_epoch")
        in_flow %= train
    runner.call_hook("after_run")


def _iterations(runner: Walking, run: Run, epoch_len: int) -> None:
    train, val = _flows(run)
    runner.call_hook("before_run")
    runner.call_hook("before_epoch")
    in_flow = 0
    while runner.iter < run.length:
        runner.epoch = max(runner.iter - 1, 0) // epoch_len  # the loader's, read before its next batch
        if in_flow == 0:
            runner.inner_iter = 0
        runner.call_hook("before_train_iter")
        runner.call_hook("after_train_iter")
        runner.iter += 1
        runner.inner_iter += 1
        in_flow = (in_flow + 1) % train
        if val and (in_flow == 0 or runner.iter == run.length):
            for runner.inner_iter in range(val):
                runner.call_hook("before_val_iter")
                runner.call_hook("after_val_iter")
            runner.inner_iter, in_flow = val, 0
    runner.call_hook("after_epoch")
    runner.call_hook("after_run")
