"""``mmhooks test``: what a checkpoint is worth, by the config's own evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mmhooks.cli.progress import logging_to
from mmhooks.cli.train import read
from mmhooks.cli.values import CfgOptions, CheckpointFile, ConfigFile, Quiet

if TYPE_CHECKING:
    from torch import nn


def evaluate(
    config: ConfigFile,
    checkpoint: CheckpointFile,
    cfg_options: CfgOptions = None,
    quiet: Quiet = False,
) -> None:
    """Evaluate a checkpoint over the config's data.test, or data.val without one.

    Examples:
        mmhooks test config.py work_dirs/config/latest.pth
        mmhooks test config.py best.pth --cfg-options data.samples_per_gpu=64
    """
    from mmhooks.build import model_and_evaluation
    from mmhooks.checkpoint import read_checkpoint
    from mmhooks.hooks import show_tests

    console = Console()
    with logging_to(console, quiet=quiet), nullcontext() if quiet else show_tests(console):
        model, evaluation = model_and_evaluation(read(config, cfg_options))
        logger = logging.getLogger("mmhooks")
        load_weights(model, read_checkpoint(checkpoint)["state_dict"], logger)
        values = evaluation.measure(model, logger)
    table = Table("metric", "value")
    for name, value in values.items():
        table.add_row(name, f"{value:.5f}" if isinstance(value, float) else str(value))
    console.print(table)


def load_weights(model: nn.Module, state: Mapping[str, Any], logger: logging.Logger) -> None:
    """Load all weights of a model, or none: numbers of half a model would mislead.

    Args:
        model: what to judge.
        state: the weights of a checkpoint. The averages that an EMAHook keeps beside them are passed over.
        logger: hears of what else the model has no place for.

    Raises:
        CheckpointError: a weight is missing, or of another shape.
    """
    from mmhooks.checkpoint import get_state_dict, load_state_dict, revised

    own = get_state_dict(model)
    given = revised(state, model)
    unknown = [key for key in given if key not in own and not key.startswith("ema_")]
    if unknown:
        logger.warning("the model has no place for %s of the file", ", ".join(unknown))
    for key in [key for key in given if key not in own]:
        del given[key]
    load_state_dict(model, given, strict=True, logger=logger)
