"""The hooks, one family a file. Importing this package registers all of them in ``HOOKS``."""

from mmhooks.hook import Hook
from mmhooks.hooks.checkpoint import CheckpointHook
from mmhooks.hooks.ema import EMAHook
from mmhooks.hooks.evaluation import EvalHook
from mmhooks.hooks.loggers import LoggerHook, TextLoggerHook
from mmhooks.hooks.optimizer import GradientCumulativeOptimizerHook, OptimizerHook
from mmhooks.hooks.timer import IterTimerHook
from mmhooks.hooks.updater import (
    CosineAnnealingLrUpdaterHook,
    FixedLrUpdaterHook,
    LrUpdaterHook,
    StepLrUpdaterHook,
)

__all__ = [
    "CheckpointHook",
    "CosineAnnealingLrUpdaterHook",
    "EMAHook",
    "EvalHook",
    "FixedLrUpdaterHook",
    "GradientCumulativeOptimizerHook",
    "Hook",
    "IterTimerHook",
    "LoggerHook",
    "LrUpdaterHook",
    "OptimizerHook",
    "StepLrUpdaterHook",
    "TextLoggerHook",
]
