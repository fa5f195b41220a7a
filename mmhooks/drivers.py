"""Drivers: what takes a RunSpec through its run. Others than ``native`` are found as entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from mmhooks.build import RunSpec
from mmhooks.errors import ConfigError, nearest
from mmhooks.runner import BaseRunner, EpochBasedRunner, IterBasedRunner

Driver = Callable[[RunSpec], BaseRunner]

GROUP = "mmhooks.drivers"


def native(spec: RunSpec) -> BaseRunner:
    """Run by MMCV's own loops.

    Args:
        spec: the run.

    Returns:
        The runner that the hooks saw, at the end of the run.
    """
    runner_class = EpochBasedRunner if spec.by_epoch else IterBasedRunner
    runner = runner_class(
        spec.model,
        optimizer=spec.optimizer,
        work_dir=spec.work_dir,
        logger=spec.logger,
        meta=spec.meta,
        max_epochs=spec.max_epochs,
        max_iters=spec.max_iters,
    )
    runner.timestamp = spec.timestamp
    spec.register_on(runner)
    if spec.resume_from is not None:
        runner.resume(spec.resume_from)
    elif spec.load_from is not None:
        runner.load_checkpoint(spec.load_from)
    runner.run(spec.loaders, spec.workflow)
    return runner


def find_driver(name: str) -> Driver:
    """Find a driver by its name among the entry points of the group ``mmhooks.drivers``.

    Args:
        name: ``"native"``, ``"lightning"``, or what another package brings.

    Raises:
        ConfigError: there is none of that name, or a package that it needs is not installed.
    """
    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        raise ConfigError(
            f"there is no driver {name!r}; there are {', '.join(sorted(known)) or 'none (is mmhooks installed?)'}"
            f"{nearest(name, known)}"
        )
    try:
        driver: Driver = known[name].load()
    except ImportError as error:
        raise ConfigError(
            f'the driver {name!r} needs a package that is not here ({error}): pip install "mmhooks[{name}]"'
        ) from error
    return driver
