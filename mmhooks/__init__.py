"""MMCV-style training hooks that run unchanged under native runners and a Lightning Trainer."""

__version__ = "0.1.0"

from mmhooks.config import Config
from mmhooks.errors import CheckpointError, ConfigError, HookError, MMHooksError, ModelError, RegistryError
from mmhooks.hooks import (
    CheckpointHook,
    CosineAnnealingLrUpdaterHook,
    EMAHook,
    EvalHook,
    FixedLrUpdaterHook,
    GradientCumulativeOptimizerHook,
    Hook,
    IterTimerHook,
    LoggerHook,
    LrUpdaterHook,
    OptimizerHook,
    StepLrUpdaterHook,
    TextLoggerHook,
)
from mmhooks.log_buffer import LogBuffer
from mmhooks.priority import Priority, get_priority
from mmhooks.registry import DATASETS, HOOKS, MODELS, OPTIMIZERS, RUNNERS, Registry, build_from_cfg
from mmhooks.runner import BaseRunner, EpochBasedRunner, IterBasedRunner, IterLoader, build_runner

__all__ = [
    "DATASETS",
    "HOOKS",
    "MODELS",
    "OPTIMIZERS",
    "RUNNERS",
    "BaseRunner",
    "CheckpointError",
    "CheckpointHook",
    "Config",
    "ConfigError",
    "CosineAnnealingLrUpdaterHook",
    "EMAHook",
    "EpochBasedRunner",
    "EvalHook",
    "FixedLrUpdaterHook",
    "GradientCumulativeOptimizerHook",
    "Hook",
    "HookError",
    "IterBasedRunner",
    "IterLoader",
    "IterTimerHook",
    "LogBuffer",
    "LoggerHook",
    "LrUpdaterHook",
    "MMHooksError",
    "ModelError",
    "OptimizerHook",
    "Priority",
    "Registry",
    "RegistryError",
    "StepLrUpdaterHook",
    "TextLoggerHook",
    "build_from_cfg",
    "build_runner",
    "get_priority",
]
