"""A run in words, from what `mmhooks.walk.overview` says of it: for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def run_lines(seen: Mapping[str, Any]) -> Iterator[str]:
    """Say how long a run is, and how it is optimized.

    Args:
        seen: its overview.
    """
    run = seen["run"]
    length = f"{run['max_epochs']:,} epochs" if run["by_epoch"] else f"{run['max_iters']:,} iterations"
    workflow = ", ".join(f"{mode} {count}" for mode, count in run["workflow"])
    processes = f", {seen['world_size']} processes" if seen["world_size"] > 1 else ""
    yield f"{length}, workflow {workflow}{processes}"
    optimizer = seen["optimizer"]
    if optimizer is None:
        yield "no optimizer"
    elif "type" in optimizer:
        yield _optimizer(optimizer)
    else:
        yield from (f"{name}: {_optimizer(one)}" for name, one in optimizer.items() if isinstance(one, Mapping))


def _optimizer(config: Mapping[str, Any]) -> str:
    arguments = [f"{key}={value}" for key, value in config.items() if key not in ("type", "paramwise_cfg")]
    more = " and param groups by paramwise_cfg" if config.get("paramwise_cfg") else ""
    return f"{config['type']} {', '.join(arguments)}{more}"


def total_rows(seen: Mapping[str, Any], assumed: bool) -> Iterator[tuple[str, str]]:
    """Say how much there is of everything, each with its name.

    Args:
        seen: the overview of the run.
        assumed: the length of an epoch is nobody's word.
    """
    totals = seen["totals"]
    iterations = f"{totals['iterations']:,}"
    if totals["epochs"] is not None:
        yield "epochs", f"{totals['epochs']:,}"
        iterations += f" = {totals['epochs']:,} x {seen['epoch_len']:,}"
        if assumed:
            iterations += ", a length that is assumed: set --epoch-len"
    yield "iterations", iterations
    steps = totals["steps"]
    yield "steps", "train_step takes them" if steps is None else f"{steps:,}"
    yield "checkpoints", _files(totals["checkpoints"], seen["kept"])
    yield "evaluations", f"{totals['evaluations']:,}"
    for name in ("lr", "momentum"):
        for one in seen[name]:
            yield f"{name} {one['group']}".strip(), _range(one)
        if not seen[name] and seen["optimizer"] is not None:
            yield name, "set by a class that cannot be found"


def _files(written: int, kept: list[str]) -> str:
    if not kept:
        return f"{written:,}"
    names = kept if len(kept) <= 3 else [kept[0], "...", kept[-1]]
    return f"{written:,}, {len(kept):,} kept: {', '.join(names)}"


def _range(values: Mapping[str, float]) -> str:
    if values["max"] == values["min"]:
        return f"{values['first']:.6g}"
    return ", ".join(f"{name} {values[name]:.6g}" for name in ("first", "max", "min", "last"))
