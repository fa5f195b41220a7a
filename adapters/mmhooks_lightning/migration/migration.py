"""migrate: an MMCV config becomes what Lightning takes, and a project of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from mmhooks.builders import RunBuilder, builder_of
from mmhooks.config import Config
from mmhooks.errors import ConfigError, nearest
from mmhooks.imports import import_custom
from mmhooks.log import get_logger
from mmhooks.plan import RunPlan, plan_run
from mmhooks.recipes import Recipe
from mmhooks.walk import acts, default_lengths, walk
from mmhooks_lightning.callback import HookCallback
from mmhooks_lightning.migration import bridge, plain
from mmhooks_lightning.migration.compare import curves
from mmhooks_lightning.migration.groups import Groups, compare_groups
from mmhooks_lightning.migration.markdown import markdown
from mmhooks_lightning.migration.page import page
from mmhooks_lightning.migration.project import shared_files, write_files
from mmhooks_lightning.migration.rows import Report, Walked
from mmhooks_lightning.migration.verify import side_of_style, verify, written_config
from mmhooks_lightning.module import HookedModule

STYLES: dict[str, ModuleType] = {"bridge": bridge, "lightning": plain}


class Migration:
    """A run of an MMCV config, as Lightning takes it.

    Args:
        plan: the plan of the run.
        style: ``"bridge"``: the hooks on a `HookCallback`, with MMCV's numbers; ``"lightning"``: plain Lightning.
        world_size: the number of processes that `trainer_kwargs` is for.
        name: what the run is called.

    Attributes:
        report: what became of every key.

    Example:
        >>> migration = migrate("configs/digits_cnn.py")
        >>> trainer = L.Trainer(callbacks=[migration.callback], **migration.trainer_kwargs)
        >>> trainer.fit(migration.module(model), train_loader)
    """

    def __init__(self, plan: RunPlan, style: str = "bridge", world_size: int = 1, name: str = "run") -> None:
        self.plan = plan
        self.style = style
        self.world_size = world_size
        self.name = run_name(name)
        self._trained = nn.Module()  # gets the model when there is one: batches of the evaluation go to its device
        recipe = plan.recipe
        codebase = f"{recipe.name} {recipe.version}".strip()
        self.report = Report(plan.source.name, codebase, style, _style(style).rows(plan), by_epoch=plan.by_epoch)

    @property
    def trainer_kwargs(self) -> dict[str, Any]:
        """The arguments of the Trainer, but for ``callbacks`` and ``devices``.

        Raises:
            ConfigError: the style is not ``"bridge"``: its Trainer is in the project that `write` makes.
        """
        self._check_bridge("trainer_kwargs")
        kwargs = bridge.trainer_kwargs(self.plan)
        if self.world_size > 1:
            kwargs["strategy"] = DDPStrategy(**self.plan.parallel)
        return kwargs

    @property
    def optimizer(self) -> dict[str, Any] | None:
        """The config of the optimizer, as `build_optimizer` takes it."""
        return self.plan.optimizer

    @cached_property
    def callback(self) -> HookCallback:
        """The hooks. The one that evaluates brings its own loader, which is built with the code base's data.

        Raises:
            ConfigError: a module of ``custom_imports``, or the code base, cannot be imported; or the style is not
                ``"bridge"``.
        """
        return self.hooks_for(None)

    def hooks_for(self, val_loader: Any) -> HookCallback:
        """Make the hooks, with a loader for the one that evaluates.

        Args:
            val_loader: what it evaluates over. None: it is built as the config says.

        Raises:
            ConfigError: see `callback`.
        """
        self._check_bridge("callback")
        plan = self.plan
        callback = HookCallback(
            work_dir=plan.work_dir or f"work_dirs/{self.name}",
            by_epoch=plan.by_epoch,
            max_iters=plan.max_iters,
            workflow=plan.workflow,
            meta={"seed": plan.seed, "exp_name": Path(plan.source.name).name},
        )
        callback.register_training_hooks(**plan.training_hooks)
        for hook in plan.hooks:
            config = hook.config
            if hook.key == "evaluation":
                if val_loader is None:
                    config = self._builder.evaluation(hook, plan.seed, self._trained)
                else:
                    config = {**config, "dataloader": val_loader}
            callback.register_hook(config, hook.priority)
        if plan.resume_from is not None:
            callback.resume(plan.resume_from)
        return callback

    @cached_property
    def _builder(self) -> RunBuilder:
        import_custom(self.plan.source.values.get("custom_imports"), self.plan.source.name, get_logger())
        return builder_of(self.plan)

    def module(self, model: nn.Module) -> HookedModule:
        """Make the LightningModule around a model, with the optimizer that the config describes.

        Args:
            model: has ``train_step``.

        Raises:
            ConfigError: the config has no optimizer, or one that cannot be built.
        """
        if self.plan.optimizer is None:
            raise ConfigError(f"{self.plan.source.name} has no 'optimizer': write optimizer=dict(type='SGD', lr=0.1)")
        self._trained.add_module("model", model)
        return HookedModule(model, self._builder.optimizer(model))

    def verify(self, epoch_lens: Sequence[int] | None = None, *, imports: bool = False) -> list[Walked]:
        """Walk both sides without a model, compare them, and note the result in the report.

        Args:
            epoch_lens: iterations an epoch; by default some that show what depends on them.
            imports: import the code base and ``custom_imports``, so that their hooks are walked too.

        Raises:
            ConfigError: a hook refuses its arguments, or this run.

        Returns:
            What was seen, by length of epoch.
        """
        self.report.proof = verify(self.plan, self.style, epoch_lens, self.world_size, imports=imports)
        return self.report.proof

    def compare_groups(self, model: nn.Module | None = None) -> Groups:
        """Compare every param group of the real model on both sides, and note in the report that they are covered.

        Args:
            model: the model. None: it is built as the config says, which imports its code.

        Raises:
            ConfigError: the model or the optimizer cannot be built, or the style is not ``"bridge"``.
        """
        self._check_bridge("compare_groups")
        built = self._builder.model() if model is None else model
        groups = compare_groups(built, self.plan.optimizer or {}, written_config(self.plan)["optimizer"])
        self.report.covers_paramwise = not groups.differences
        return groups

    def complete_report(self) -> Report:
        """Give the report with the schedules and the hooks in it, which take a walk of the run."""
        if not self.report.acts:
            length = self.report.proof[-1].epoch_len if self.report.proof else default_lengths(self.plan)[-1]
            side = side_of_style(self.plan, self.style, self.world_size)
            self.report.curves = curves(walk(self.plan, length, world_size=self.world_size), side(length))
            self.report.acts = acts(self.plan)
        return self.report

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the project: ``train.py``, ``test.py``, ``builders.py``, the config, README and report.

        Args:
            folder: of the project, made when missing. Files that are there with another content are not replaced.

        Raises:
            ConfigError: a file is there already.

        Returns:
            The paths of the files.
        """
        return write_project(folder, [self])

    def _check_bridge(self, what: str) -> None:
        if self.style != "bridge":
            raise ConfigError(
                f"{what} is of style 'bridge'; what style {self.style!r} makes is in the project: write(folder)"
            )


def run_name(name: str) -> str:
    """Give what a run may be called: the name of a file, and a part of the texts that are written.

    Args:
        name: what it would be called.
    """
    return re.sub(r"[^\w.+-]", "_", name)


def migrate(
    config: str | os.PathLike[str] | Config | Mapping[str, Any],
    *,
    style: str = "bridge",
    codebase: str | Recipe | None = None,
    world_size: int = 1,
) -> Migration:
    """Migrate a config to Lightning.

    Args:
        config: its file, or what was read from it. Nothing in it is executed or imported.
        style: ``"bridge"``: the hooks of MMCV on a HookCallback, with the same numbers; ``"lightning"``: plain
            Lightning and torch, as near as they come.
        codebase: whose config it is; see `mmhooks.recipes.find_recipe`.
        world_size: the number of processes it is for.

    Raises:
        ConfigError: a key that cannot be used, an unknown style, or a code base that the config does not tell.

    Example:
        >>> migrate("faster_rcnn_r50_fpn_1x_coco.py").write("faster_rcnn")  # doctest: +SKIP
    """
    _style(style)
    cfg = Config.fromfile(config) if isinstance(config, (str, os.PathLike)) else config
    plan = plan_run(cfg, codebase, world_size=world_size)
    return Migration(
        plan, style, world_size, Path(plan.source.name).stem if plan.source.name != "the config" else "run"
    )


def write_project(folder: str | os.PathLike[str], migrations: Sequence[Migration]) -> list[Path]:
    """Write one project for several runs of one code base and one style: one ``train.py``, a config for each.

    Args:
        folder: of the project, made when missing.
        migrations: the runs, each with a name of its own.

    Raises:
        ConfigError: they are of different code bases or styles, two have one name, or a file is there already.
    """
    first = migrations[0]
    plans, names = [one.plan for one in migrations], [one.name for one in migrations]
    if any(one.style != first.style or one.plan.recipe is not first.plan.recipe for one in migrations):
        raise ConfigError("a project is of one style and of one code base: write one for each")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two configs are called {twice!r}: give one of them another name")
    files = shared_files(plans, names, first.style) | _style(first.style).project_files(plans, names)
    return write_files(Path(folder), files | _reports(migrations))


def _reports(migrations: Sequence[Migration]) -> dict[str, str]:
    several = len(migrations) > 1
    texts: dict[str, str] = {}
    for one in migrations:
        report = one.complete_report()
        place = f"reports/{one.name}" if several else "report"
        texts |= {f"{place}.md": markdown(report), f"{place}.html": page(report)}
    return texts


def _style(style: str) -> ModuleType:
    try:
        return STYLES[style]
    except KeyError:
        raise ConfigError(f"style must be one of {', '.join(STYLES)}, not {style!r}{nearest(style, STYLES)}") from None
