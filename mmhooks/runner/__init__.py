"""The native runners, and the base that every driver shares."""

from mmhooks.runner.base import BaseRunner
from mmhooks.runner.builder import build_runner
from mmhooks.runner.epoch import EpochBasedRunner
from mmhooks.runner.iteration import IterBasedRunner, IterLoader

__all__ = ["BaseRunner", "EpochBasedRunner", "IterBasedRunner", "IterLoader", "build_runner"]
