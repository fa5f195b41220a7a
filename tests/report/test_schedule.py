"""Schedules: what is plotted is what a runner's own hooks set, for every kind of policy and for real configs."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import Config, EpochBasedRunner, Hook, IterBasedRunner
from mmhooks.optim import build_optimizer
from mmhooks.plan import plan_run
from mmhooks.report.schedule import comparison, differs, named_curves, schedule_of
from mmhooks.report.schedule_charts import schedule_charts
from mmhooks.walk import walk
from mmhooks.walk.groups import multipliers

ZOO = Path(__file__).parents[2] / ".cache" / "zoo"
QUIET = logging.Logger("quiet", logging.CRITICAL + 1)
EPOCHS = {"type": "EpochBasedRunner", "max_epochs": 6}
ITERS = {"type": "IterBasedRunner", "max_iters": 40}
LINEAR = {"warmup": "linear", "warmup_iters": 4, "warmup_ratio": 0.1}
POLICIES = {
    "step": (EPOCHS, {"policy": "step", "step": [2, 5], **LINEAR}),
    "step, min": (EPOCHS, {"policy": "step", "step": 1, "gamma": 0.5, "min_lr": 0.02}),
    "warmup by epoch": (
        EPOCHS,
        {"policy": "CosineAnnealing", "min_lr_ratio": 0.1, **LINEAR, "warmup_iters": 2, "warmup_by_epoch": True},
    ),
    "exp": (EPOCHS, {"policy": "exp", "gamma": 0.9}),
    "by iteration in epochs": (EPOCHS, {"policy": "poly", "power": 0.9, "by_epoch": False}),
    "poly": (ITERS, {"policy": "poly", "power": 0.9, "min_lr": 1e-4, "by_epoch": False, **LINEAR}),
    "restarts": (
        ITERS,
        {"policy": "CosineRestart", "periods": [15, 25], "restart_weights": [1, 0.5], "min_lr": 0, "by_epoch": False},
    ),
    "constant": (ITERS, {"policy": "fixed", "by_epoch": False, **LINEAR, "warmup": "constant"}),
    "one cycle": (ITERS, {"policy": "OneCycle", "max_lr": 0.3}),
    "never": (ITERS, {"policy": "step", "step": [1], "by_epoch": True}),  # it counts epochs, which do not come
}
REAL = [
    "mmdet/faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py",
    "mmdet/legacy_1.x/ssd300_coco_v1.py",
    "mmdet/detr/detr_r50_8x2_150e_coco.py",
    "mmdet/deformable_detr/deformable_detr_r50_16x2_50e_coco.py",
    "mmdet/yolo/yolov3_d53_mstrain-608_273e_coco.py",
    "mmdet/fcos/fcos_r50_caffe_fpn_gn-head_1x_coco.py",
    "mmdet/centernet/centernet_resnet18_140e_coco.py",
    "mmdet/maskformer/maskformer_r50_mstrain_16x1_75e_coco.py",
    "mmdet/mask2former/mask2former_r50_lsj_8x2_50e_coco-panoptic.py",
    "mmcls/swin_transformer/swin-tiny_16xb64_in1k.py",
    "mmcls/csra/resnet101-csra_1xb16_voc07-448px.py",
    "mmcls/mobilenet_v2/mobilenet-v2_8xb32_in1k.py",
    "mmcls/resnet/resnet50_8xb256-rsb-a1-600e_in1k.py",
    "mmcls/shufflenet_v2/shufflenet-v2-1x_16xb64_in1k.py",
    "mmsegmentation/pspnet/pspnet_r50-d8_512x1024_40k_cityscapes.py",
    "mmsegmentation/segformer/segformer_mit-b0_8x1_1024x1024_160k_cityscapes.py",
    "mmsegmentation/setr/setr_vit-large_mla_8x1_768x768_80k_cityscapes.py",
    "mmsegmentation/cgnet/cgnet_680x680_60k_cityscapes.py",
    "mmpose/body/3d_kpt_sview_rgb_vid/video_pose_lift/h36m/videopose3d_h36m_81frames_fullconv_supervised.py",
    "mmpose/body/2d_kpt_sview_rgb_img/topdown_heatmap/coco/hrnet_w32_coco_256x192.py",
]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

    def train_step(self, data, optimizer, **kwargs):
        return {"loss": self.head(self.backbone(torch.ones(1, 1))).sum(), "num_samples": 1}


def recorded(plan, epoch_len, optimizer):
    """Run the updaters of a plan under a native runner, and note its rates before each iteration."""
    kind, length = (EpochBasedRunner, "max_epochs") if plan.by_epoch else (IterBasedRunner, "max_iters")
    runner = kind(
        Net() if optimizer is None else optimizer.model, optimizer=optimizer, logger=QUIET, **{length: plan.length}
    )
    updaters = {key: plan.training_hooks.get(key) for key in ("lr_config", "momentum_config")}
    runner.register_training_hooks(**updaters)
    seen = []

    class Notes(Hook):
        def before_train_iter(self, runner):
            seen.append((runner.current_lr(), runner.current_momentum()))

    runner.register_hook(Notes(), "LOWEST")
    runner.run([range(epoch_len)], [("train", 1)])
    return seen


def optimizer_of(plan):
    """Build an optimizer over a real model, or one with the same base values where its class is not here."""
    model = Net()
    config = {key: value for key, value in plan.optimizer.items() if key != "constructor"}
    if config["type"] not in ("SGD", "Adam", "AdamW", "RMSprop"):
        config = {"type": "SGD", "lr": config["lr"]}
    config["paramwise_cfg"] = {"custom_keys": {"backbone": {"lr_mult": 0.1}}}
    optimizer = build_optimizer(model, config)
    optimizer.model = model
    return optimizer


def config_of(runner, lr_config, **more):
    optimizer = {"type": "SGD", "lr": 0.1, "momentum": 0.9}
    optimizer["paramwise_cfg"] = {"custom_keys": {"backbone": {"lr_mult": 0.1}, "absent": {"decay_mult": 0}}}
    return Config(
        {"runner": dict(runner), "optimizer": optimizer, "lr_config": dict(lr_config), "optimizer_config": {}, **more}
    )


@pytest.mark.parametrize("name", POLICIES)
def test_plotted_values_are_those_of_a_native_runner(name):
    plan = plan_run(config_of(*POLICIES[name]), "mmcv")
    seen = recorded(plan, 5, optimizer_of(plan))
    schedule = schedule_of(plan, 5)
    head, backbone = (np.array([lr[index] for lr, _ in seen]) for index in (1, 0))
    assert schedule.groups == ["others", "backbone"]
    (chart, *_) = schedule_charts("lr", [schedule])
    drawn = {curve.name: curve for curve in chart.curves}
    if name != "one cycle":  # whose max_lr is one for all groups
        assert drawn["backbone"].y[:-1:2].tolist() == backbone.tolist()
    else:
        drawn = dict.fromkeys(("others",), chart.curves[0])
    assert drawn["others"].y[:-1:2].tolist() == head.tolist()
    assert drawn["others"].x[:-1:2].tolist() == list(range(len(seen)))


def test_a_plotted_momentum_is_that_of_a_native_runner():
    cyclic = {"policy": "cyclic", "target_ratio": (0.85, 1), "step_ratio_up": 0.4, "cyclic_times": 2}
    lr = {**cyclic, "target_ratio": (10, 1e-4)}
    plan = plan_run(config_of(ITERS, lr, momentum_config=cyclic), "mmcv")
    seen = recorded(plan, 5, optimizer_of(plan))
    (chart,) = schedule_charts("momentum", [schedule_of(plan)])
    (curve,) = chart.curves  # both groups have the same, and share a curve
    assert curve.y[:-1:2].tolist() == [momentum[0] for _, momentum in seen]
    assert curve.name == "others, backbone"
    assert len(set(curve.y)) > 10


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REAL)
def test_real_configs_have_the_values_of_their_hooks(name):
    if not (ZOO / name).is_file():
        pytest.skip("the real configs are not here: make zoo")
    cfg = Config.fromfile(ZOO / name)
    if plan_run(cfg).by_epoch is False:
        cfg.merge_from_dict({"runner.max_iters": 700})
    plan = plan_run(cfg)
    schedule = schedule_of(plan, 3)
    own = np.array([lr[1] for lr, _ in recorded(plan, 3, optimizer_of(plan))])
    assert schedule.iterations == len(own) == len(schedule.values["lr"][0])
    assert schedule.values["lr"][0].tolist() == own.tolist()
    assert walk(plan, 3).rates.lr[0].tolist() == own.tolist()
    curve = schedule_charts("lr", [schedule], log=False)[0].curves[0]
    drawn = {pair for pair in zip(curve.x.tolist(), curve.y.tolist(), strict=True) if pair[0] < len(own)}
    true = {(index, value) for index, value in enumerate(own.tolist())}
    falls = {(index, own[index - 1]) for index in range(1, len(own))}  # the upper ends of its stairs
    assert drawn <= true | falls
    assert len(drawn) > 30


def test_factors_of_param_groups():
    custom = {"backbone": {"lr_mult": 0.1}, "neck": {"lr_mult": 0.1}, "head": {"decay_mult": 0.0}}
    config = {"type": "SGD", "lr": 1, "paramwise_cfg": {"custom_keys": custom, "bias_lr_mult": 2.0}}
    assert multipliers(config) == {"others": 1.0, "backbone, neck": 0.1, "bias": 2.0}
    assert multipliers({**config, "constructor": "Own"}) == {"": 1.0}
    assert multipliers({"type": "SGD", "lr": 1, "paramwise_cfg": {"norm_decay_mult": 0}}) == {"": 1.0}


def test_several_optimizers_have_a_curve_each_unless_they_are_equal():
    config = config_of(ITERS, {"policy": "fixed"})
    adam = {"type": "Adam", "lr": 1e-3}
    config["optimizer"] = {"generator": adam, "discriminator": {"type": "SGD", "lr": 2e-3}}
    assert [name for name, _ in named_curves(schedule_of(plan_run(config, "mmcv")), "lr")] == [
        "generator",
        "discriminator",
    ]
    config["optimizer"] = {"generator": adam, "discriminator": adam}
    ((name, values),) = named_curves(schedule_of(plan_run(config, "mmcv")), "lr")
    assert (name, set(values)) == ("generator, discriminator", {1e-3})


def test_a_comparison_says_where_and_by_how_much():
    one, late, longer = (
        schedule_of(plan_run(config_of({**EPOCHS, "max_epochs": epochs}, {"policy": "step", "step": step}), "mmcv"), 5)
        for step, epochs in (([2], 6), ([3], 6), ([2], 8))
    )
    assert comparison("lr", one, late)[0] == (
        "lr others: first apart at iteration 10 (epoch 3): 0.01 and 0.1, 0.09 apart; 5 of 30 iterations differ"
    )
    assert comparison("lr", one, one)[1] == "lr backbone: the same at 30 iterations, bit for bit"
    assert "30 and 40 iterations long, 30 compared" in comparison("lr", one, longer)[0]
    assert (differs("lr", one, late), differs("lr", one, one), differs("lr", one, longer)) == (True, False, True)


def test_a_short_warmup_has_a_panel_of_its_own_and_levels_far_apart_a_logarithmic_axis():
    def charts(iters, steps):
        lr = {"policy": "step", "step": steps, **LINEAR, "warmup_iters": iters}
        return schedule_charts("lr", [schedule_of(plan_run(config_of(EPOCHS, lr), "mmcv"), 100)])

    main, zoom = charts(4, [1, 2, 3])
    assert main.log
    assert not zoom.log
    assert (zoom.title, zoom.window) == ("warmup", (0.0, 8.0))
    (single,) = charts(300, [5])
    assert not single.log
