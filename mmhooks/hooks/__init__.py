"""The hooks, one family a file. Importing this package registers all of them in ``HOOKS``."""

from mmhooks.hook import Hook
from mmhooks.hooks.buffers import SyncBuffersHook
from mmhooks.hooks.checkpoint import CheckpointHook
from mmhooks.hooks.closure import ClosureHook
from mmhooks.hooks.dist_evaluation import DistEvalHook
from mmhooks.hooks.ema import EMAHook
from mmhooks.hooks.evaluation import EvalHook
from mmhooks.hooks.fp16 import Fp16OptimizerHook, GradientCumulativeFp16OptimizerHook
from mmhooks.hooks.loggers import LoggerHook, TextLoggerHook
from mmhooks.hooks.loss import CheckInvalidLossHook
from mmhooks.hooks.memory import EmptyCacheHook
from mmhooks.hooks.optimizer import GradientCumulativeOptimizerHook, OptimizerHook
from mmhooks.hooks.preempt import Preempted, PreemptHook
from mmhooks.hooks.profiler import ProfilerHook
from mmhooks.hooks.progress import ProgressBarHook, show_tests
from mmhooks.hooks.sampler import DistSamplerSeedHook
from mmhooks.hooks.timer import IterTimerHook
from mmhooks.hooks.updater import (
    CosineAnnealingLrUpdaterHook,
    CosineAnnealingMomentumUpdaterHook,
    CosineRestartLrUpdaterHook,
    CyclicLrUpdaterHook,
    CyclicMomentumUpdaterHook,
    ExpLrUpdaterHook,
    FixedLrUpdaterHook,
    FlatCosineAnnealingLrUpdaterHook,
    InvLrUpdaterHook,
    LinearAnnealingLrUpdaterHook,
    LinearAnnealingMomentumUpdaterHook,
    LrUpdaterHook,
    MomentumUpdaterHook,
    OneCycleLrUpdaterHook,
    OneCycleMomentumUpdaterHook,
    PolyLrUpdaterHook,
    StepLrUpdaterHook,
    StepMomentumUpdaterHook,
)

__all__ = [
    "CheckInvalidLossHook",
    "CheckpointHook",
    "ClosureHook",
    "CosineAnnealingLrUpdaterHook",
    "CosineAnnealingMomentumUpdaterHook",
    "CosineRestartLrUpdaterHook",
    "CyclicLrUpdaterHook",
    "CyclicMomentumUpdaterHook",
    "DistEvalHook",
    "DistSamplerSeedHook",
    "EMAHook",
    "EmptyCacheHook",
    "EvalHook",
    "ExpLrUpdaterHook",
    "FixedLrUpdaterHook",
    "FlatCosineAnnealingLrUpdaterHook",
    "Fp16OptimizerHook",
    "GradientCumulativeFp16OptimizerHook",
    "GradientCumulativeOptimizerHook",
    "Hook",
    "InvLrUpdaterHook",
    "IterTimerHook",
    "LinearAnnealingLrUpdaterHook",
    "LinearAnnealingMomentumUpdaterHook",
    "LoggerHook",
    "LrUpdaterHook",
    "MomentumUpdaterHook",
    "OneCycleLrUpdaterHook",
    "OneCycleMomentumUpdaterHook",
    "OptimizerHook",
    "PolyLrUpdaterHook",
    "PreemptHook",
    "Preempted",
    "ProfilerHook",
    "ProgressBarHook",
    "StepLrUpdaterHook",
    "StepMomentumUpdaterHook",
    "SyncBuffersHook",
    "TextLoggerHook",
    "show_tests",
]
