"""What a report comes to, in words that its page and its Markdown share."""

from __future__ import annotations

from collections import Counter

from mmhooks.report.page import Badge
from mmhooks.report.plots import Panel
from mmhooks.report.text import number
from mmhooks_lightning.migration.rows import Report, Verdict, Walked

#: The sides of a plot, in words short enough for its legend.
SIDES = ("MMCV's loop", "migrated run")

BADGES = {
    Verdict.EXACT: Badge(Verdict.EXACT.value, "good", "✓"),
    Verdict.EQUIVALENT: Badge(Verdict.EQUIVALENT.value, "fair", "≈"),
    Verdict.DIFFERS: Badge(Verdict.DIFFERS.value, "warn", "≠"),
    Verdict.CARRIED: Badge(Verdict.CARRIED.value, "info", "→"),
    Verdict.BUILDERS: Badge(Verdict.BUILDERS.value, "plain", "⌂"),
    Verdict.HELPER: Badge(Verdict.HELPER.value, "plain", "·"),
    Verdict.COMMAND_LINE: Badge(Verdict.COMMAND_LINE.value, "plain", ">"),
    Verdict.NOT_MAPPED: Badge(Verdict.NOT_MAPPED.value, "bad", "✕"),
}

#: Not asked for, and said so: a report without a proof must not read as one.
UNASKED = (
    "Not checked. Nothing was run to compare both sides; what this report says follows from the config alone. "
    "Migrate with --verify to walk the schedules and hooks of both sides, iteration by iteration."
)


def counts(report: Report) -> list[tuple[Badge, int]]:
    """Count the keys by verdict, those verdicts that occur, in the order of `Verdict`."""
    found = Counter(row.verdict for row in report.rows)
    return [(BADGES[verdict], found[verdict]) for verdict in Verdict if found[verdict]]


def summary(report: Report) -> str:
    """Say in a line how many keys there are, and what became of them: ``"3 keys: 2 exact, 1 not mapped"``."""
    keys = f"{number(len(report.rows))} key{'' if len(report.rows) == 1 else 's'}"
    parts = ", ".join(f"{number(count)} {badge.text}" for badge, count in counts(report))
    return f"{keys}: {parts}" if parts else keys


def agrees(walked: Walked) -> bool:
    """Tell whether both sides did the same, bit for bit."""
    same = walked.lr_difference == 0 and walked.momentum_difference == 0
    return same and walked.points_equal is not False and walked.files_equal and not walked.differences


def conclusion(report: Report) -> tuple[str, str]:
    """Say what the proof shows.

    Returns:
        The kind of badge that it would have, and the sentences.
    """
    if not report.proof:
        return "plain", UNASKED
    total = number(sum(walked.iterations for walked in report.proof))
    differing = sum(not agrees(walked) for walked in report.proof)
    unwalked = any(walked.unwalked for walked in report.proof)
    if not differing:
        hooked = any(walked.points_equal for walked in report.proof)
        points = ", the points at which hooks are called" if hooked else ""
        text = (
            f"Both sides are equal in all {total} iterations that were compared: learning rates and momenta bit for "
            f"bit{points}, and the {'files' if points else 'epochs or iterations of the files'} that are kept."
        )
    else:
        times = "the only walk" if len(report.proof) == 1 else f"{differing} of {len(report.proof)} walks"
        text = f"The sides differ in {times}; {total} iterations were compared. The differences are below."
    if unwalked:
        text += " Some hooks could not be walked; they are named below."
    return ("warn" if differing or unwalked else "good"), f"{text} {_paramwise(report)}"


def _paramwise(report: Report) -> str:
    if report.covers_paramwise:
        return "The param groups of the real model were compared, those that paramwise_cfg makes included."
    return "The param groups of the real model were not compared: what paramwise_cfg makes of it is not covered."


def unwalked(report: Report) -> list[str]:
    """List what could not be walked, each thing once."""
    return list(dict.fromkeys(one for walked in report.proof for one in walked.unwalked))


def panels(report: Report) -> list[Panel]:
    """Give the curves of a report that have values, for a plot."""
    curves = [curve for curve in report.curves if curve.before or curve.after]
    return [Panel(curve.name, curve.before, curve.after, curve.epoch_len) for curve in curves]
