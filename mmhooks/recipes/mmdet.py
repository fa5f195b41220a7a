"""mmdet 2.x: object detection."""

from __future__ import annotations

from mmhooks.recipes.recipe import Builders, Evaluation, Loaders, Recipe

_DETECTORS = """
    ATSS AutoAssign CascadeRCNN CenterNet CornerNet DDOD DETR DeformableDETR FCOS FOVEA FSAF FastRCNN FasterRCNN GFL
    GridRCNN HybridTaskCascade KnowledgeDistillationSingleStageDetector LAD Mask2Former MaskFormer MaskRCNN
    MaskScoringRCNN NASFCOS PAA PanopticFPN PointRend QueryInst RPN RepPointsDetector RetinaNet SCNet SOLO SOLOv2
    SingleStageDetector SingleStageInstanceSegmentor SparseRCNN TOOD TridentFasterRCNN TwoStageDetector
    TwoStagePanopticSegmentor VFNet YOLACT YOLOF YOLOV3 YOLOX
"""

MMDET = Recipe(
    name="mmdet",
    package="mmdet",
    version="2.28.2",
    model_types=frozenset(_DETECTORS.split()),
    default_runner="EpochBasedRunner",
    evaluation=Evaluation("mmdet.core:EvalHook", "mmdet.core:DistEvalHook"),
    loaders=Loaders(
        train={"samples_per_gpu": 2, "workers_per_gpu": 2, "persistent_workers": False},
        val={"samples_per_gpu": 1, "workers_per_gpu": 2, "shuffle": False, "persistent_workers": False},
        reads=("samples_per_gpu", "workers_per_gpu", "persistent_workers"),
        val_reads=("workers_per_gpu",),
        data_wins=True,
        tells_runner=True,
    ),
    builders=Builders(
        model="mmdet.models:build_detector",
        dataset="mmdet.datasets:build_dataset",
        loader="mmdet.datasets:build_dataloader",
        optimizer="mmdet.core:build_optimizer",
        model_arguments=("train_cfg", "test_cfg"),
        finish="mmdet.utils:rfnext_init_model",
        batched="mmdet.datasets:replace_ImageToTensor",
    ),
    substitutes=True,
    scales_lr=True,
    command_line=frozenset({"seed", "gpu_ids", "device", "auto_resume"}),
    meta=("CLASSES",),
)
