"""Logger hooks: one file a service, over one base."""

from mmhooks.hooks.loggers.base import LoggerHook
from mmhooks.hooks.loggers.clearml import ClearMLLoggerHook
from mmhooks.hooks.loggers.dvclive import DvcliveLoggerHook
from mmhooks.hooks.loggers.mlflow import MlflowLoggerHook
from mmhooks.hooks.loggers.neptune import NeptuneLoggerHook
from mmhooks.hooks.loggers.retired import PaviLoggerHook, RetiredLoggerHook, SegmindLoggerHook
from mmhooks.hooks.loggers.service import ServiceLoggerHook
from mmhooks.hooks.loggers.tensorboard import TensorboardLoggerHook
from mmhooks.hooks.loggers.text import TextLoggerHook
from mmhooks.hooks.loggers.wandb import WandbLoggerHook

__all__ = [
    "ClearMLLoggerHook",
    "DvcliveLoggerHook",
    "LoggerHook",
    "MlflowLoggerHook",
    "NeptuneLoggerHook",
    "PaviLoggerHook",
    "RetiredLoggerHook",
    "SegmindLoggerHook",
    "ServiceLoggerHook",
    "TensorboardLoggerHook",
    "TextLoggerHook",
    "WandbLoggerHook",
]
