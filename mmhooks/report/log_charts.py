"""The charts of logs: losses, rates and metrics of one run, or of several on top of each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from mmhooks.errors import ConfigError, nearest
from mmhooks.report.figures import PALETTE, Chart, Curve
from mmhooks.report.logs import Log
from mmhooks.report.text import plural

_NOT_CURVES = ("time", "data_time", "memory", "eta")
_MOST = 6  # charts of one figure


def chosen_keys(logs: Sequence[Log], wanted: Sequence[str] = ()) -> list[str]:
    """Choose what to show: the loss, the rates, and what evaluations say.

    Args:
        logs: the runs.
        wanted: names or patterns in place of that: ``["loss*", "acc"]``.

    Raises:
        ConfigError: a name that no log has.
    """
    every = list(dict.fromkeys(key for log in logs for key in log.keys(None)))
    if wanted:
        for name in wanted:
            if not any(fnmatchcase(key, name) or key == name for key in every):
                raise ConfigError(f"no log has {name!r}{nearest(name, every) or f'; they have {chr(44).join(every)}'}")
        return [key for name in wanted for key in every if fnmatchcase(key, name) or key == name]
    train = list(dict.fromkeys(key for log in logs for key in log.keys("train")))
    losses = ["loss"] if "loss" in train else [key for key in train if "loss" in key]
    others = [key for log in logs for mode in _modes(log) if mode != "train" for key in log.keys(mode)]
    rates = [key for key in train if _family(key) == "lr"]
    return list(dict.fromkeys(key for key in (*losses, *rates, *others) if key not in _NOT_CURVES))


def _modes(log: Log) -> list[str]:
    return list(dict.fromkeys(entry.mode for entry in log.entries))


def _family(key: str) -> str:
    """Give what a key has in common with its like: the loss of ``loss_bbox``, the bbox of ``bbox_mAP_50``."""
    return re.split(r"[._\-/\[]", key, maxsplit=1)[0]


def log_charts(logs: Sequence[Log], keys: Sequence[str], names: Sequence[str]) -> tuple[list[Chart], list[str]]:
    """Make the charts of logs.

    Args:
        logs: the runs.
        keys: what to show. Those of one run share a chart with their like; several runs have a chart for each.
        names: what the runs are called.

    Returns:
        The charts, and what was left out, in words.
    """
    unit = "epoch" if all(log.by_epoch for log in logs) else "iteration"
    charts = list(_of_several(logs, keys, names, unit) if len(logs) > 1 else _of_one(logs[0], keys, unit))
    told = [f"not drawn: {chart.name}; --keys chooses" for chart in charts[_MOST:]]
    for chart in charts[:_MOST]:
        left = ", ".join(curve.name for curve in chart.curves[len(PALETTE) :])
        told += [f"not drawn: {left}; --keys chooses"] if left else []
    return [replace(chart, curves=chart.curves[: len(PALETTE)]) for chart in charts[:_MOST]], told


def _of_one(log: Log, keys: Sequence[str], unit: str) -> Iterator[Chart]:
    families: dict[str, list[str]] = {}
    for key in keys:
        families.setdefault(_family(key), []).append(key)
    for family, own in families.items():
        curves: list[Curve] = []
        for key in own:
            modes = modes_of(log, key)
            for mode in modes:
                other = mode != modes[0]
                label = f"{key} ({mode})" if other else key
                curves.append(_curve(log, key, mode, label, len(curves), "dashed" if other else "points", unit))
        if curves:
            yield Chart(own[0] if len(own) == 1 else family, curves, unit=unit)


def _of_several(logs: Sequence[Log], keys: Sequence[str], names: Sequence[str], unit: str) -> Iterator[Chart]:
    for key in keys:
        modes = list(dict.fromkeys(mode for log in logs for mode in modes_of(log, key)))
        for mode in modes:
            curves = [
                _curve(log, key, mode, names[index], index, "points", unit)
                for index, log in enumerate(logs)
                if mode in modes_of(log, key)
            ]
            yield Chart(key if mode == modes[0] else f"{key} ({mode})", curves, unit=unit)


def modes_of(log: Log, key: str) -> list[str]:
    """List the modes in which a key has values; of a rate, train alone where there is that: others repeat it."""
    modes = [mode for mode in _modes(log) if len(log.series(key, mode)[0])]
    return ["train"] if _family(key) == "lr" and "train" in modes else modes


def _curve(log: Log, key: str, mode: str, name: str, colour: int, look: str, unit: str) -> Curve:
    x, y = log.series(key, mode)
    if unit == "iteration" and log.by_epoch:
        x = x * (log.epoch_len or 1)
    order = np.argsort(x, kind="stable")
    return Curve(name, x[order], np.where(np.isfinite(y[order]), y[order], np.nan), colour, look)


def axis_note(log: Log) -> str:
    """Say how a log was laid out over its run."""
    if not log.by_epoch:
        return f"{plural(len(log.entries), 'line')}, by iteration"
    if not log.epoch_len:
        return f"{plural(len(log.entries), 'line')}, by epoch"
    told = " (the largest in the log: set --epoch-len)" if log.assumed else ""
    return f"{plural(len(log.entries), 'line')}, by epoch of {plural(log.epoch_len, 'iteration')}{told}"
