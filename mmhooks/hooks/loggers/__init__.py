"""Logger hooks: one file a service, over one base."""

from mmhooks.hooks.loggers.base import LoggerHook
from mmhooks.hooks.loggers.mlflow import MlflowLoggerHook
from mmhooks.hooks.loggers.service import ServiceLoggerHook
from mmhooks.hooks.loggers.tensorboard import TensorboardLoggerHook
from mmhooks.hooks.loggers.text import TextLoggerHook
from mmhooks.hooks.loggers.wandb import WandbLoggerHook

__all__ = [
    "LoggerHook",
    "MlflowLoggerHook",
    "ServiceLoggerHook",
    "TensorboardLoggerHook",
    "TextLoggerHook",
    "WandbLoggerHook",
]
