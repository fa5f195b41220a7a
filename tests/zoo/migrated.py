"""Migrate every config that has a runtime, and verify each distinct schedule once."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from packages import Case
from planned import RECIPES

from mmhooks.config import Config
from mmhooks.plan import RunPlan, plan_run
from mmhooks_lightning.migration.migration import STYLES
from mmhooks_lightning.migration.rows import Verdict, Walked
from mmhooks_lightning.migration.trained import verify_with_trainer
from mmhooks_lightning.migration.verify import verify

#: What may differ in a learning rate that is said to be exact, relative to it.
RELATIVE = {"bridge": 0.0, "lightning": 1e-12}
_LENGTH = ("runner", "total_epochs", "total_iters")


@dataclass
class Migrated:
    """What was migrated so far.

    Attributes:
        plans: one plan for each distinct schedule.
        shortest: for each code base and type of runner, the plan with the fewest iterations.
        unmapped: how many keys are not mapped, by name, by their key.
    """

    plans: dict[str, RunPlan] = field(default_factory=dict)
    shortest: dict[tuple[str, bool], RunPlan] = field(default_factory=dict)
    unmapped: dict[tuple[str, str], int] = field(default_factory=dict)

    def step(self, case: Case, cfg: Config) -> str | None:
        """Migrate one config in all styles; a part of others, without a runtime, has nothing to migrate."""
        if not has_runtime(case, cfg):
            return ""
        plan = plan_run(cfg, RECIPES.get(case.package, case.package))
        self.plans.setdefault(schedule_of(plan), plan)
        place = (plan.recipe.name, plan.by_epoch)
        if place not in self.shortest or plan.length < self.shortest[place].length:
            self.shortest[place] = plan
        return "; ".join(filter(None, (self._migrate(plan, style) for style in STYLES))) or None

    def _migrate(self, plan: RunPlan, style: str) -> str:
        rows = STYLES[style].rows(plan)
        if style == "bridge":
            for row in rows:
                if row.verdict is Verdict.NOT_MAPPED:
                    key = (plan.recipe.name, row.key)
                    self.unmapped[key] = self.unmapped.get(key, 0) + 1
        lost = (
            {fate.key for fate in plan.keys}
            - {row.key.partition("[")[0] for row in rows}
            - {row.key.partition(".hooks[")[0] for row in rows}
        )
        silent = [row.key for row in rows if row.verdict in (Verdict.NOT_MAPPED, Verdict.DIFFERS) and not row.why]
        for name, text in STYLES[style].project_files([plan], ["run"]).items():
            if name.endswith(".py"):
                ast.parse(text)
        return "".join(
            f"{style}: {what} {sorted(keys)}"
            for what, keys in (("no row for", lost), ("no reason for", silent))
            if keys
        )


def has_runtime(case: Case, cfg: Config) -> bool:
    """Tell whether a config describes a run, and is no part of others."""
    return "_base_" not in case.file.parts and any(key in cfg for key in _LENGTH)


def schedule_of(plan: RunPlan) -> str:
    """Write what the learning rate and the momentum depend on."""
    optimizer = {key: value for key, value in (plan.optimizer or {}).items() if key != "paramwise_cfg"}
    updaters = [plan.training_hooks.get(key) for key in ("lr_config", "momentum_config")]
    return repr((plan.by_epoch, plan.length, plan.workflow, updaters, optimizer))


def verify_all(migrated: Migrated) -> bool:
    """Verify each distinct schedule in each style, let a Trainer run the shortest, and print what was seen."""
    good = True
    for style in STYLES:
        good &= _verified(style, list(migrated.plans.values()), lambda plan, style=style: verify(plan, style))
    runs = [shortened(migrated.shortest[place]) for place in sorted(migrated.shortest)]
    good &= _verified("bridge, with a Trainer", runs, lambda plan: [verify_with_trainer(plan, 5)])
    print("\nkeys that are not mapped, by name, in style bridge:")
    for (codebase, key), count in sorted(migrated.unmapped.items()):
        print(f"  {codebase:8}{key:32}{count:6,}")
    return good


def shortened(plan: RunPlan) -> RunPlan:
    """Shorten a run that would take a Trainer long."""
    return plan if plan.by_epoch else replace(plan, max_iters=min(plan.length, 2000))


def _verified(style: str, plans: list[RunPlan], walk: Callable[[RunPlan], list[Walked]]) -> bool:
    start = time.perf_counter()
    seen = [(plan, walked) for plan in plans for walked in walk(plan)]
    taken = time.perf_counter() - start
    limit = RELATIVE.get(style, 0.0)
    wrong = [(plan, walked) for plan, walked in seen if not _agrees(walked, limit)]
    unwalked = {text for _, walked in seen for text in walked.unwalked if text.startswith(("lr_", "momentum_"))}
    lengths = sorted({walked.epoch_len for _, walked in seen})
    print(
        f"\nstyle {style}: {len(plans)} distinct schedules, epochs of {', '.join(map(str, lengths))} iterations, "
        f"{sum(walked.iterations for _, walked in seen):,} iterations in {taken:.0f} s\n"
        f"  largest difference of a learning rate {_largest(seen, 'lr_difference'):g}, relative "
        f"{_largest(seen, 'lr_relative'):g}, of a momentum {_largest(seen, 'momentum_difference'):g}\n"
        f"  points differ in {sum(walked.points_equal is False for _, walked in seen)}, files in "
        f"{sum(not walked.files_equal for _, walked in seen)}\n"
        f"  schedules of classes that are not there: {len(unwalked)}"
    )
    for plan, walked in wrong[:10]:
        print(f"  wrong: {plan.source.name}, epochs of {walked.epoch_len}: {'; '.join(walked.differences)[:300]}")
    return not wrong


def _agrees(walked: Walked, limit: float) -> bool:
    rates = walked.lr_relative <= limit and walked.momentum_difference <= limit
    return rates and (limit > 0 or (walked.points_equal and walked.files_equal))


def _largest(seen: list[tuple[Any, Walked]], name: str) -> float:
    return max((getattr(walked, name) for _, walked in seen), default=0.0)
