"""The param groups of a generated project, against those of the constructor."""

import pytest
import torch
from torch import nn

from mmhooks import build_optimizer
from mmhooks_lightning.migration import plain
from tests.lightning.migration.projects import planned


class DeformConv2d(nn.Module):
    """Named as mmcv's, which need not be installed."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.bias = nn.Parameter(torch.zeros(2))
        self.conv_offset = nn.Conv2d(2, 2, 1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4))
        self.backbone[0].weight.requires_grad_(False)
        self.deform = DeformConv2d()
        self.neck = nn.ModuleDict({"norm": nn.LayerNorm(4), "instance": nn.InstanceNorm2d(4, affine=True)})
        self.head = nn.Linear(4, 2)
        self.aux_head = nn.Linear(4, 2)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(2, 2)
        self.other = nn.Sequential(self.one)


def groups_of_project(model, optimizer):
    files = plain.project_files([planned(optimizer=optimizer)], ["one"])
    names = {"__name__": "param_groups"}
    exec(compile(files["param_groups.py"], "param_groups.py", "exec", dont_inherit=True), names)
    rules = optimizer["paramwise_cfg"]
    arguments = {key: value for key, value in optimizer.items() if key not in ("type", "paramwise_cfg")}
    kind = getattr(torch.optim, optimizer["type"])
    return kind(names["param_groups"](model, arguments, rules), **arguments).param_groups


CUSTOM = {"head": {"lr_mult": 10}, "aux_head": {"lr_mult": 2.0, "decay_mult": 0.5}, ".norm": {"decay_mult": 0.0}}


@pytest.mark.parametrize(
    "rules",
    [
        {"custom_keys": CUSTOM},
        {"norm_decay_mult": 0.0},
        {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0},
        {"dwconv_decay_mult": 0.3, "norm_decay_mult": 0.1},
        {"dcn_offset_lr_mult": 0.1, "bias_lr_mult": 2},
        {"custom_keys": CUSTOM, "bias_lr_mult": 2.0, "bias_decay_mult": 0.1, "norm_decay_mult": 0.2},
    ],
    ids=lambda rules: "-".join(rules),
)
@pytest.mark.parametrize(
    "optimizer",
    [
        {"type": "SGD", "lr": 0.03, "momentum": 0.9, "weight_decay": 1e-4},
        {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05},
    ],
    ids=lambda optimizer: optimizer["type"],
)
def test_the_groups_are_those_of_the_constructor(optimizer, rules):
    model = Net()
    config = {**optimizer, "paramwise_cfg": rules}
    ours, theirs = groups_of_project(model, config), build_optimizer(model, config).param_groups
    assert len(ours) == len(theirs) == len(list(model.parameters()))
    for our, their in zip(ours, theirs, strict=True):
        assert our["params"][0] is their["params"][0]
        assert {**our, "params": 0} == {**their, "params": 0}


def test_without_a_weight_decay_the_rules_of_lr_remain():
    config = {"type": "SGD", "lr": 0.1, "paramwise_cfg": {"bias_lr_mult": 2.0, "custom_keys": {"neck": {"lr_mult": 3}}}}
    model = Net()
    ours, theirs = groups_of_project(model, config), build_optimizer(model, config).param_groups
    assert [one["lr"] for one in ours] == [one["lr"] for one in theirs]


def test_a_shared_parameter_is_passed_over():
    config = {"type": "SGD", "lr": 0.1, "paramwise_cfg": {"bypass_duplicate": True, "custom_keys": {}}}
    model = Shared()
    with pytest.warns(UserWarning, match="bypass_duplicate"):
        theirs = build_optimizer(model, config).param_groups
    assert len(groups_of_project(model, config)) == len(theirs) == 2
