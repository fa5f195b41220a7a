"""The report of a migration as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mmhooks.report.plots import caption
from mmhooks.report.text import clean, number, shortened
from mmhooks_lightning.migration.rows import Report
from mmhooks_lightning.migration.summary import BADGES, SIDES, agrees, conclusion, panels, summary, unwalked

_LONGEST = 200  # of a value in a table, which must stay readable as plain text


def markdown(report: Report) -> str:
    """Write a report as Markdown: what its page says, without pictures, and with long values shortened.

    All that comes from the config is escaped: it can neither end a cell nor become a link or HTML.

    Args:
        report: the report.

    Example:
        >>> Path("report.md").write_text(markdown(migration.report), encoding="utf-8")  # doctest: +SKIP
    """
    sections = [
        [f"# {_plain(report.config)}"],
        [f"Migrated to Lightning from {_plain(report.codebase)}, in the style {_plain(report.style)}."],
        [f"**{_plain(summary(report))}**"],
        ["## Proof"],
        *_proof(report),
        ["## What became of each key"],
        _keys(report),
        ["## Schedules"],
        _schedules(report),
        ["## Hooks, from before_run to after_run"],
        _hooks(report),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


_WORDS = {True: "equal", False: "differ", None: "no hooks"}


def _proof(report: Report) -> Iterable[list[str]]:
    yield [_plain(conclusion(report)[1])]
    if not report.proof:
        return
    heads = ["iterations an epoch", "processes", "iterations compared", "largest lr difference", "relative"]
    heads += ["largest momentum difference", "points", "files", "walk"]
    rows = []
    for one in report.proof:
        figures = [one.epoch_len, one.world_size, one.iterations]
        apart = [one.lr_difference, one.lr_relative, one.momentum_difference]
        same = [one.points_equal, one.files_equal, agrees(one)]
        rows.append([*map(number, [*figures, *apart]), *(_WORDS[equal] for equal in same)])
    yield _table(heads, rows, right=6)
    for one in report.proof:
        if one.differences:
            yield [
                f"The first differences with {number(one.epoch_len)} iterations an epoch, {one.world_size} processes:"
            ]
            yield [f"- {_plain(text)}" for text in one.differences]
    if unwalked(report):
        yield ["Not walked:"]
        yield [f"- {_plain(text)}" for text in unwalked(report)]


def _keys(report: Report) -> list[str]:
    if not report.rows:
        return ["The config has no keys."]
    rows = [
        [
            _code(row.key),
            _code(row.value),
            _code(row.became),
            f"{BADGES[row.verdict].sign} {row.verdict}",
            _plain(row.why),
        ]
        for row in report.rows
    ]
    return _table(["key", "in the config", "became", "verdict", "why"], rows)


def _schedules(report: Report) -> list[str]:
    lines = [f"- {_plain(caption(panel, SIDES))}" for panel in panels(report)]
    return lines or ["No schedule was walked."]


def _hooks(report: Report) -> list[str]:
    if not report.acts:
        return ["No hook acts in this run."]
    rows = [
        [_code(act.point), _code(act.hook), _plain(act.priority), _plain(act.every), _code(act.key)]
        for act in report.acts
    ]
    return _table(["point", "hook", "priority", "how often", "key"], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> list[str]:
    rule = ["---:"] * right + ["---"] * (len(heads) - right)
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]


def _code(text: str) -> str:
    """Write a code span that fits into a cell, in a fence of backticks longer than any inside."""
    line = shortened(clean(text), _LONGEST)
    if not line:
        return ""
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}".replace("|", "\\|")


def _plain(text: str) -> str:
    """Escape what Markdown would read as more than text; underscores within a word mean nothing there."""
    line = " ".join(clean(text).split())
    line = re.sub(r"([\\`*\[\]<>|~&#])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)
