"""What four real configs say of their run, written out; their models and pipelines are left out."""

from __future__ import annotations

from typing import Any

COMMON: dict[str, Any] = {
    "dist_params": {"backend": "nccl"},
    "log_level": "INFO",
    "load_from": None,
    "resume_from": None,
    "workflow": [("train", 1)],
    "optimizer_config": {"grad_clip": None},
}
DATA: dict[str, Any] = {"train": {"type": "Some", "pipeline": []}, "val": {"type": "Some"}, "test": {"type": "Some"}}
WARMUP: dict[str, Any] = {"policy": "step", "warmup": "linear", "warmup_iters": 500, "warmup_ratio": 0.001}
SGD: dict[str, Any] = {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.0001}


def _log(interval: int, **arguments: Any) -> dict[str, Any]:
    return {"interval": interval, "hooks": [{"type": "TextLoggerHook", **arguments}]}


CONFIGS: dict[str, dict[str, Any]] = {
    "mmcls": COMMON
    | {
        "model": {"type": "ImageClassifier"},
        "data": DATA | {"samples_per_gpu": 16, "workers_per_gpu": 2},
        "optimizer": SGD | {"lr": 0.1},
        "lr_config": {"policy": "step", "step": [100, 150]},
        "runner": {"type": "EpochBasedRunner", "max_epochs": 200},
        "checkpoint_config": {"interval": 1},
        "log_config": _log(100),
    },
    "mmdet": COMMON
    | {
        "model": {"type": "FasterRCNN"},
        "data": DATA | {"samples_per_gpu": 2, "workers_per_gpu": 2},
        "optimizer": SGD,
        "lr_config": WARMUP | {"step": [8, 11]},
        "runner": {"type": "EpochBasedRunner", "max_epochs": 12},
        "checkpoint_config": {"interval": 1},
        "log_config": _log(50),
        "evaluation": {"interval": 1, "metric": "bbox"},
        "custom_hooks": [{"type": "NumClassCheckHook"}],
        "auto_scale_lr": {"enable": False, "base_batch_size": 16},
    },
    "mmpose": COMMON
    | {
        "model": {"type": "TopDown"},
        "data": DATA
        | {
            "samples_per_gpu": 64,
            "workers_per_gpu": 2,
            "val_dataloader": {"samples_per_gpu": 32},
            "test_dataloader": {"samples_per_gpu": 32},
        },
        "optimizer": {"type": "Adam", "lr": 0.0005},
        "lr_config": WARMUP | {"step": [170, 200]},
        "total_epochs": 210,
        "checkpoint_config": {"interval": 10},
        "log_config": _log(50),
        "evaluation": {"interval": 10, "metric": "mAP", "save_best": "AP"},
    },
    "mmseg": COMMON
    | {
        "model": {"type": "EncoderDecoder"},
        "data": DATA | {"samples_per_gpu": 4, "workers_per_gpu": 4},
        "optimizer": SGD | {"lr": 0.01, "weight_decay": 0.0005},
        "optimizer_config": {},
        "lr_config": {"policy": "poly", "power": 0.9, "min_lr": 0.0001, "by_epoch": False},
        "runner": {"type": "IterBasedRunner", "max_iters": 20000},
        "checkpoint_config": {"by_epoch": False, "interval": 2000},
        "log_config": _log(50, by_epoch=False),
        "evaluation": {"interval": 2000, "metric": "mIoU", "pre_eval": True},
        "cudnn_benchmark": True,
    },
}
