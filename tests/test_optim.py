"""build_optimizer: one optimizer, several by name, and what is refused."""

import copy

import pytest
import torch
from torch import nn

from mmhooks import ConfigError, RegistryError
from mmhooks.optim import build_optimizer


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = nn.Linear(2, 3), nn.Linear(3, 1)


def parameters(optimizer):
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def test_one_optimizer_has_all_parameters_and_the_config_stays():
    model = Gan()
    cfg = {"type": "SGD", "lr": 0.1, "momentum": 0.9, "paramwise_cfg": None}
    before = copy.deepcopy(cfg)
    optimizer = build_optimizer(model, cfg)
    assert isinstance(optimizer, torch.optim.SGD)
    assert (optimizer.defaults["lr"], optimizer.defaults["momentum"]) == (0.1, 0.9)
    assert [id(p) for p in parameters(optimizer)] == [id(p) for p in model.parameters()]
    assert cfg == before


def test_a_wrapped_model_is_unwrapped():
    model = Gan()
    cfg = {name: {"type": "SGD", "lr": 0.1} for name in ("generator", "discriminator")}
    optimizers = build_optimizer(nn.DataParallel(model), cfg)
    assert isinstance(optimizers, dict)
    assert parameters(optimizers["generator"])[0] is model.generator.weight


def test_a_dict_of_configs_gives_one_optimizer_a_submodule():
    model = Gan()
    optimizers = build_optimizer(
        model, {"generator": {"type": "Adam", "lr": 1e-3}, "discriminator": {"type": "SGD", "lr": 0.1}}
    )
    assert isinstance(optimizers, dict)
    assert {name: type(one).__name__ for name, one in optimizers.items()} == {
        "generator": "Adam",
        "discriminator": "SGD",
    }
    for name, one in optimizers.items():
        own = list(getattr(model, name).parameters())
        assert all(a is b for a, b in zip(parameters(one), own, strict=True))


def test_mmcvs_default_constructor_is_what_is_done_anyway():
    assert build_optimizer(Gan(), {"type": "SGD", "lr": 0.1, "constructor": "DefaultOptimizerConstructor"})


@pytest.mark.parametrize(
    "more", [{"paramwise_cfg": {"norm_decay_mult": 0.0}}, {"constructor": "LearningRateDecayOptimizerConstructor"}]
)
def test_what_is_not_supported_is_refused_by_name(more):
    (key,) = more
    with pytest.raises(ConfigError, match=f"{key}=.*not supported yet.*build the optimizer yourself"):
        build_optimizer(Gan(), {"type": "SGD", "lr": 0.1, **more})


@pytest.mark.parametrize(
    ("cfg", "error", "says"),
    [
        ({"type": "SDG", "lr": 0.1}, RegistryError, "did you mean 'SGD'"),
        ({"generatr": {"type": "SGD", "lr": 0.1}}, ConfigError, "did you mean 'generator'"),
        ({"lr": 0.1}, ConfigError, "'type'"),
        ({}, ConfigError, "'type'"),
        ("SGD", ConfigError, "must be a dict"),
    ],
)
def test_mistakes_say_what_to_write(cfg, error, says):
    with pytest.raises(error, match=says):
        build_optimizer(Gan(), cfg)
