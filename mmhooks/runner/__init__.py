"""The native runners, and the base that every driver shares."""

from mmhooks.checkpoint import (
    CheckpointLoader,
    get_state_dict,
    load_checkpoint,
    load_checkpoint_with_prefix,
    load_state_dict,
    save_checkpoint,
    weights_to_cpu,
)
from mmhooks.runner.base import BaseRunner
from mmhooks.runner.builder import DefaultRunnerConstructor, build_runner, build_runner_constructor
from mmhooks.runner.epoch import EpochBasedRunner, Runner
from mmhooks.runner.iteration import IterBasedRunner, IterLoader

__all__ = [
    "BaseRunner",
    "CheckpointLoader",
    "DefaultRunnerConstructor",
    "EpochBasedRunner",
    "IterBasedRunner",
    "IterLoader",
    "Runner",
    "build_runner",
    "build_runner_constructor",
    "get_state_dict",
    "load_checkpoint",
    "load_checkpoint_with_prefix",
    "load_state_dict",
    "save_checkpoint",
    "weights_to_cpu",
]
