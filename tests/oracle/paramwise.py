"""The param groups that MMCV and mmhooks both build. `lib` is ``mmcv.runner`` or ``mmhooks``."""

from __future__ import annotations

import random
import warnings
from typing import Any

from torch import nn

_COUNT = 80
_KEYS = (
    "backbone",
    "backbone.stem",
    "stem",
    "norm",  # also part of "norms"
    "norms.",
    "bias",
    ".token",
    "head",
    "tail",  # as long as "head": the alphabet decides
    "conv_offset",
    "dcn.conv",
    "body.1",
    "weight",
    "nowhere",
)


class DeformConv2d(nn.Module):
    """The parameters of mmcv's operator of that name, which is not compiled here."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Conv2d(4, 4, 3).weight.detach())


class DeformConv2dPack(DeformConv2d):
    def __init__(self) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(4, 18, 3)


class ModulatedDeformConv2d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Conv2d(4, 4, 3).parameters()


class ModulatedDeformConv2dPack(ModulatedDeformConv2d):
    def __init__(self) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(4, 27, 3)
        self.norm = nn.BatchNorm2d(27)


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.grey = nn.Conv2d(1, 2, 3)  # one channel in, one group: depthwise by the rule
        self.line = nn.Conv1d(4, 4, 3, groups=4)  # not by the rule, which knows Conv2d alone
        self.norms = nn.ModuleList(
            [
                nn.BatchNorm2d(4),
                nn.SyncBatchNorm(4),
                nn.GroupNorm(2, 4),
                nn.LayerNorm(4),
                nn.InstanceNorm2d(4, affine=True),
            ]
        )
        self.dcn = DeformConv2dPack()
        self.dcn_norm = ModulatedDeformConv2dPack()


class Model(nn.Module):
    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.token = nn.Parameter(nn.Linear(3, 1).bias.detach())
        self.backbone = Backbone()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
        self.head_tail = nn.Linear(4, 2)
        self.frozen = nn.Linear(4, 2).requires_grad_(False)
        self.frozen_norm = nn.BatchNorm2d(4)
        self.frozen_norm.bias.requires_grad_(False)
        if shared:
            self.again = nn.Sequential(self.head_tail)
            self.tied = nn.Linear(4, 4)
            self.tied.weight = self.body[0].weight


def cases() -> list[dict[str, Any]]:
    """Draw what `build` takes; with random() alone, which gives the same numbers in every Python."""
    source = random.Random(20)

    def one_of(values: Any) -> Any:
        return values[int(source.random() * len(values))]

    def mult() -> float:
        return one_of((0, 0.0, 0.1, 0.3, 1, 1.7, 2.0))

    drawn: list[dict[str, Any]] = []
    for _ in range(_COUNT):
        optimizer: dict[str, Any] = {"type": one_of(("SGD", "SGD", "AdamW"))}
        for key, values, share in (("lr", (0.1, 3e-4, 1), 0.95), ("weight_decay", (1e-4, 0.05, 0), 0.85)):
            if source.random() < share:
                optimizer[key] = one_of(values)
        rules: dict[str, Any] = {}
        for key, share in (
            ("bias_lr_mult", 0.5),
            ("bias_decay_mult", 0.4),
            ("norm_decay_mult", 0.5),
            ("dwconv_decay_mult", 0.4),
            ("dcn_offset_lr_mult", 0.5),
        ):
            if source.random() < share:
                rules[key] = mult()
        if source.random() < 0.6:
            rules["custom_keys"] = {
                key: {name: mult() for name in ("lr_mult", "decay_mult") if source.random() < 0.7}
                for key in _KEYS
                if source.random() < 0.3
            }
        shared = source.random() < 0.4
        if source.random() < (0.9 if shared else 0.2):
            rules["bypass_duplicate"] = True
        drawn.append({"cfg": {**optimizer, "paramwise_cfg": rules}, "shared": shared})
    return drawn


def build(lib: Any, cfg: dict[str, Any], shared: bool) -> dict[str, Any]:
    """Give the groups in their order, with their rates to the last bit, or that the config was refused."""
    model = Model(shared)
    names = {id(param): name for name, param in model.named_parameters()}
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            groups = lib.build_optimizer(model, cfg).param_groups
        except (TypeError, ValueError):
            return {"refused": True}
    rates: list[str] = []
    shown = []
    for group in groups:
        both = " ".join(float(group[key]).hex() for key in ("lr", "weight_decay"))
        if both not in rates:
            rates.append(both)
        shown.append(f"{'+'.join(names[id(param)] for param in group['params'])}:{rates.index(both)}")
    return {
        "rates": rates,
        "groups": " ".join(shown),
        "skipped": len([one for one in heard if "duplicate" in str(one)]),
    }
