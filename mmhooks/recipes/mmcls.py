"""mmcls 0.x: image classification."""

from __future__ import annotations

from mmhooks.recipes.recipe import Builders, Evaluation, Loaders, Recipe

MMCLS = Recipe(
    name="mmcls",
    package="mmcls",
    version="0.25.0",
    model_types=frozenset({"ImageClassifier"}),
    default_runner="EpochBasedRunner",
    fp16="loss_scale",
    evaluation=Evaluation("mmcls.core:EvalHook", "mmcls.core:DistEvalHook"),
    loaders=Loaders(train={"round_up": True}, val={"shuffle": False, "sampler_cfg": None, "drop_last": False}),
    builders=Builders(
        model="mmcls.models:build_classifier",
        dataset="mmcls.datasets:build_dataset",
        loader="mmcls.datasets:build_dataloader",
        optimizer="mmcv.runner:build_optimizer",
    ),
    loader_keys={"sampler_cfg": "sampler"},
    command_line=frozenset({"seed", "gpu_ids", "device", "ipu_replicas"}),
    unread={
        "log_level": "train_model makes its logger without it",
        "auto_resume": "its command line has --resume-from alone",
        "auto_scale_lr": "nothing in mmcls 0.25 reads it",
    },
    meta=("CLASSES",),
)
