"""A run as an HTML page that needs nothing but itself, before it is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmhooks.config.writing import write_python
from mmhooks.hook import POINTS
from mmhooks.plan import RunPlan
from mmhooks.recipes.keys import Fate
from mmhooks.report.extra import has
from mmhooks.report.overview_words import run_lines, total_rows
from mmhooks.report.page import Badge, render
from mmhooks.report.plots import Panel, caption, curves_svg
from mmhooks.report.schedule import Schedule, named_curves, schedule_of, wants_zoom
from mmhooks.report.timeline import timeline
from mmhooks.walk import Act, Run
from mmhooks.walk.runners import points_of

_BADGES = {
    Fate.RUN: Badge("run", "good", "✓"),
    Fate.BUILD: Badge("model or data", "fair", "→"),
    Fate.HELPER: Badge("helper", "plain", "·"),
    Fate.COMMAND_LINE: Badge("command line", "info", ">"),
    Fate.UNREAD: Badge("not read", "warn", "✕"),
}


def inspect_page(plan: RunPlan, seen: Mapping[str, Any], epoch_len: int | None = None) -> str:
    """Write what a config makes of a run as one HTML page: its hooks as a timeline, its schedule, its keys.

    The page holds its style, its pictures and its script, and fetches nothing. All that comes from the config is
    escaped. Without matplotlib it says in the place of the plot how to get it.

    Args:
        plan: the run.
        seen: what `mmhooks.walk.overview` says of it.
        epoch_len: train iterations an epoch, where somebody said it.

    Raises:
        ConfigError: Jinja2 is not installed.

    Example:
        >>> plan = plan_run(Config.fromfile("config.py"))  # doctest: +SKIP
        >>> Path("run.html").write_text(inspect_page(plan, overview(plan)), encoding="utf-8")  # doctest: +SKIP
    """
    schedule = schedule_of(plan, epoch_len, world_size=seen["world_size"])
    panels = list(_panels(schedule))
    acts = [Act(**one) for one in seen["acts"]]
    counts = Counter(one["fate"] for one in seen["keys"])
    values = plan.source.values
    return render(
        "inspect.html",
        name=Path(seen["config"]).name,
        codebase=seen["codebase"],
        lines=list(run_lines(seen)),
        totals=list(total_rows(seen, schedule.assumed)),
        unwalked=[f"{one['key'] or 'the run'}: {one['what']}: {one['reason']}" for one in seen["unwalked"]],
        notes=[f"{key}: {note}" for key, note in seen["notes"].items()],
        kept=seen["kept"],
        counts=[(badge, counts[fate.value]) for fate, badge in _BADGES.items() if counts[fate.value]],
        badges={fate.value: badge for fate, badge in _BADGES.items()},
        keys=[
            {**one, "value": _written(values, one["key"]), "hooks": _hooks(acts, one["key"])} for one in seen["keys"]
        ],
        unreached=_unreached(plan),
        summary=schedule.summary(),
        plots=_plots(panels, seen["config"]),
        captions=[caption(panel) for panel in panels],
        hooks=len({(act.hook, act.key) for act in acts}),
        acts=len(acts),
        timeline=Markup(timeline(acts, by_epoch=plan.by_epoch, label=f"Hooks of {Path(seen['config']).name}")),
    )


def _hooks(acts: list[Act], key: str) -> str:
    """Name the hooks that a key asks for."""
    return ", ".join(
        dict.fromkeys(act.hook for act in acts if act.key == key or act.key.startswith((f"{key}.", f"{key}[")))
    )


def _unreached(plan: RunPlan) -> list[str]:
    """List those of the ten points that the run does not come to."""
    validates = any(mode == "val" for mode, _ in plan.workflow)
    reached = points_of(Run(plan.by_epoch, plan.length, plan.workflow))
    return [point for point in POINTS if point not in reached or ("val" in point and not validates)]


def _written(values: Mapping[str, Any], key: str) -> str:
    """Write the value of a key as it would stand in a config; ``data.samples_per_gpu`` is one inside another."""
    found: Any = values
    for part in [key] if key in values else key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return ""
        found = found[part]
    return write_python({"value": found}, strict=False).removeprefix("value = ").rstrip()


def _panels(schedule: Schedule) -> Iterator[Panel]:
    """Give the curves: of the lr, of its warmup where that is too short to be seen, of a momentum that moves."""
    for key in ("lr", "momentum"):
        for name, values in named_curves(schedule, key):
            if key == "momentum" and len(set(values[:: max(len(values) // 1000, 1)])) == 1:
                continue
            label = f"{key} {name}".strip()
            yield Panel(label, (), values.tolist(), schedule.epoch_len)
            if wants_zoom(schedule):
                yield Panel(f"{label}, warmup", (), values[: 2 * schedule.warmup].tolist(), schedule.epoch_len)


def _plots(panels: list[Panel], config: str) -> dict[str, Markup]:
    """Draw the schedule for a wide and for a narrow screen; text must not shrink with the picture."""
    if not panels or not has("matplotlib"):
        return {}
    title = f"Schedule of {Path(config).name}"
    widths = {"wide": 1080, "narrow": 380}
    return {name: Markup(curves_svg(panels, title=title, width=width)) for name, width in widths.items()}
