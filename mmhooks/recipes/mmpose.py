"""mmpose 0.x: pose estimation."""

from __future__ import annotations

from mmhooks.recipes.recipe import Builders, Evaluation, Loaders, Recipe

_POSERS = """
    AssociativeEmbedding CID DetectAndRegress DisentangledKeypointRegressor GestureRecognizer Interhand3D MultiTask
    ParametricMesh PoseLifter PoseWarper TopDown VoxelCenterDetector VoxelSinglePose
"""
_LOADER_KEYS = (
    "samples_per_gpu",
    "workers_per_gpu",
    "shuffle",
    "seed",
    "drop_last",
    "prefetch_num",
    "pin_memory",
    "persistent_workers",
)

MMPOSE = Recipe(
    name="mmpose",
    package="mmpose",
    version="0.29.0",
    model_types=frozenset(_POSERS.split()),
    default_runner="EpochBasedRunner",
    reads_runner=False,
    evaluation=Evaluation("mmpose.core:EvalHook", "mmpose.core:DistEvalHook", priority="NORMAL", by_epoch=False),
    custom_hooks_keys=("custom_hooks", "custom_hooks_config"),
    find_unused_parameters=True,
    loaders=Loaders(
        train={"drop_last": False},
        val={"samples_per_gpu": 1, "workers_per_gpu": 1, "drop_last": False, "shuffle": False},
        reads=_LOADER_KEYS,
        val_reads=("workers_per_gpu",),
    ),
    builders=Builders(
        model="mmpose.models:build_posenet",
        dataset="mmpose.datasets:build_dataset",
        loader="mmpose.datasets:build_dataloader",
        optimizer="mmpose.core:build_optimizers",
        init_weights=False,
    ),
    skips_optimizer_hook="use_adversarial_train",
    command_line=frozenset({"seed", "gpu_ids", "device"}),
    unread={
        "runner": "train_model of mmpose always makes an EpochBasedRunner of total_epochs",
        "auto_resume": "its command line has --resume-from alone",
        "auto_scale_lr": "its command line has --autoscale-lr, which multiplies the lr by gpus / 8",
    },
)
