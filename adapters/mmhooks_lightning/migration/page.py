"""The report of a migration as an HTML page that needs nothing but itself."""

from __future__ import annotations

from markupsafe import Markup

from mmhooks.report.extra import has
from mmhooks.report.page import render
from mmhooks.report.plots import caption, curves_svg
from mmhooks.report.timeline import timeline
from mmhooks_lightning.migration.rows import Report
from mmhooks_lightning.migration.summary import BADGES, SIDES, agrees, conclusion, counts, panels, summary, unwalked


def page(report: Report) -> str:
    """Write a report as one HTML page: what was checked, what became of each key, the schedules, the hooks.

    The page holds its style, its pictures and its script, and fetches nothing. All that comes from the config is
    escaped. Without matplotlib it says in the place of the plot how to get it.

    Args:
        report: the report.

    Raises:
        ConfigError: Jinja2 is not installed.

    Example:
        >>> Path("report.html").write_text(page(migration.report), encoding="utf-8")  # doctest: +SKIP
    """
    kind, sentences = conclusion(report)
    return render(
        "report.html",
        __package__,
        report=report,
        summary=summary(report),
        counts=counts(report),
        badges=BADGES,
        kind=kind,
        conclusion=sentences,
        agrees=agrees,
        unwalked=unwalked(report),
        plots=_plots(report),
        captions=[caption(panel, SIDES) for panel in panels(report)],
        apart=any(len(panel.after) and panel.before != panel.after for panel in panels(report)),
        timeline=Markup(timeline(report.acts, by_epoch=report.by_epoch)),
    )


def _plots(report: Report) -> dict[str, Markup]:
    """Draw the schedules for a wide and for a narrow screen; text must not shrink with the picture."""
    shown = panels(report)
    if not shown or not has("matplotlib"):
        return {}
    title = f"Schedules of {report.config}"
    widths = {"wide": 1080, "narrow": 380}
    return {name: Markup(curves_svg(shown, title=title, sides=SIDES, width=width)) for name, width in widths.items()}
