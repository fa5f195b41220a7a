"""mmseg 0.x: semantic segmentation."""

from __future__ import annotations

from mmhooks.recipes.recipe import Builders, Evaluation, Loaders, Recipe

MMSEG = Recipe(
    name="mmseg",
    package="mmseg",
    version="0.30.0",
    model_types=frozenset({"EncoderDecoder", "CascadeEncoderDecoder"}),
    default_runner="IterBasedRunner",
    fp16="ignored",
    evaluation=Evaluation("mmseg.core:EvalHook", "mmseg.core:DistEvalHook"),
    custom_hooks="after",
    loaders=Loaders(train={"drop_last": True}, val={"samples_per_gpu": 1, "shuffle": False}),
    builders=Builders(
        model="mmseg.models:build_segmentor",
        dataset="mmseg.datasets:build_dataset",
        loader="mmseg.datasets:build_dataloader",
        optimizer="mmseg.core:build_optimizer",
        model_arguments=("train_cfg", "test_cfg"),
        alone="mmcv.cnn.utils:revert_sync_batchnorm",
    ),
    command_line=frozenset({"seed", "gpu_ids", "device", "auto_resume"}),
    unread={"auto_scale_lr": "nothing in mmseg 0.30 reads it"},
    meta=("CLASSES", "PALETTE"),
)
