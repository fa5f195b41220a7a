"""build_optimizer: one optimizer, several by name, their param groups as MMCV builds them, and what is refused."""

import copy
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mmhooks
from mmhooks import (
    OPTIMIZER_BUILDERS,
    ConfigError,
    DefaultOptimizerConstructor,
    ModelError,
    RegistryError,
    build_optimizer,
    build_optimizer_constructor,
)

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE / "golden" / "paramwise.json").read_text(encoding="utf-8"))
_spec = importlib.util.spec_from_file_location("paramwise", HERE / "oracle" / "paramwise.py")
paramwise = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(paramwise)


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


# param groups -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(len(paramwise.cases())))
def test_groups_are_mmcvs(index):
    assert paramwise.build(mmhooks, **paramwise.cases()[index]) == GOLDEN[str(index)]


def test_the_record_has_every_case():
    assert list(GOLDEN) == ["made with", *(str(index) for index in range(len(paramwise.cases())))]
    assert any("refused" in case for case in GOLDEN.values())
    assert any(case.get("skipped") for case in GOLDEN.values())


def groups(model, cfg):
    """Give what the group of each parameter says itself."""
    names = {id(param): name for name, param in model.named_parameters()}
    return {names[id(g["params"][0])]: (g["lr"], g["weight_decay"]) for g in build_optimizer(model, cfg).param_groups}


def test_the_longest_key_wins_and_the_alphabet_among_equals():
    cfg = {"type": "SGD", "lr": 1.0, "weight_decay": 1.0, "paramwise_cfg": {"bias_lr_mult": 9.0, "custom_keys": {
        "gener": {"lr_mult": 0.5}, "generator.w": {"decay_mult": 0.25},
        "tor.bias": {"lr_mult": 3.0}, "ator.bia": {"lr_mult": 2.0},
    }}}  # fmt: skip
    assert groups(Gan(), cfg) == {
        "generator.weight": (1.0, 0.25),
        "generator.bias": (2.0, 1.0),
        "discriminator.weight": (1.0, 1.0),
        "discriminator.bias": (2.0, 1.0),
    }


def test_factors_of_numpy_are_numbers():
    cfg = {"type": "SGD", "lr": 1.0, "weight_decay": 1.0, "paramwise_cfg": {
        "bias_lr_mult": np.float32(0.5), "bias_decay_mult": np.int64(2), "norm_decay_mult": np.float32(0.0),
        "custom_keys": {"generator": {"lr_mult": np.float32(0.25), "decay_mult": np.float64(0.5)}},
    }}  # fmt: skip
    optimizer = build_optimizer(Gan(), cfg)
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.25, 0.5)] * 2 + [(1, 1), (0.5, 2)]
    assert {type(value) for g in optimizer.param_groups for value in (g["lr"], g["weight_decay"])} == {float}


def test_one_of_several_optimizers_has_groups_of_its_own():
    cfg = {
        "generator": {"type": "SGD", "lr": 1.0, "paramwise_cfg": {"bias_lr_mult": 2.0}},
        "discriminator": {"type": "SGD", "lr": 1.0},
    }
    before = copy.deepcopy(cfg)
    optimizers = build_optimizer(Gan(), cfg)
    assert [group["lr"] for group in optimizers["generator"].param_groups] == [1.0, 2.0]
    assert [group["lr"] for group in optimizers["discriminator"].param_groups] == [1.0]
    assert cfg == before


@pytest.mark.parametrize(
    ("rules", "error", "says"),
    [
        ([0.1], TypeError, "paramwise_cfg must be a dict or None, not list"),
        ({"custom_keys": ["generator"]}, TypeError, "custom_keys of paramwise_cfg must be a dict such as"),
        ({"custom_keys": {"generator": 0.1}}, TypeError, r"custom_keys\['generator'\].*must be a dict such as"),
        ({"custom_keys": {"a": {"lr_mult": "1"}}}, TypeError, r"lr_mult of custom_keys\['a'\].*must be a number"),
        ({"norm_decay_mult": None}, TypeError, "norm_decay_mult of paramwise_cfg must be a number, not None"),
        ({"bias_lr_mult": np.bool_(True)}, TypeError, "bias_lr_mult of paramwise_cfg must be a number, not .*True"),
        ({"bias_lr_mult": True}, TypeError, "bias_lr_mult of paramwise_cfg must be a number, not True"),
        ({"dcn_offset_lr_mult": [1]}, TypeError, r"dcn_offset_lr_mult of paramwise_cfg must be a number, not \[1\]"),
        ({"custom_keys": {3: {}}}, ConfigError, "custom_keys of paramwise_cfg .* such as 'backbone', not 3"),
        ({"bypass_duplicate": "no"}, ConfigError, "paramwise_cfg's bypass_duplicate must be True or False, not 'no'"),
    ],
)
def test_rules_that_are_none_are_refused(rules, error, says):
    with pytest.raises(error, match=says):
        build_optimizer(Gan(), {"type": "SGD", "lr": 0.1, "weight_decay": 0.1, "paramwise_cfg": rules})


@pytest.mark.parametrize(
    "rules",
    [
        {"bias_decay_mult": 0.0},
        {"norm_decay_mult": 0.0},
        {"dwconv_decay_mult": 0.0},
        {"custom_keys": {"generator": {"decay_mult": 0.0}}},
    ],
)
def test_a_factor_of_a_weight_decay_needs_one(rules):
    with pytest.raises(ConfigError, match=r"decay_mult.* multiplies weight_decay, and the optimizer's config has none"):
        build_optimizer(Gan(), {"type": "SGD", "lr": 0.1, "paramwise_cfg": rules})


def test_a_factor_of_a_learning_rate_needs_one():
    with pytest.raises(ConfigError, match="multiplies lr, and the optimizer's config has none"):
        build_optimizer(Gan(), {"type": "SGD", "weight_decay": 0.1, "paramwise_cfg": {"bias_lr_mult": 2.0}})


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"norm_decay_mul": 0.0}, "paramwise_cfg has 'norm_decay_mul'.*did you mean 'norm_decay_mult'"),
        ({"custom_keys": {"generator": {"lr_mul": 0.1}}}, r"custom_keys\['generator'\].* has 'lr_mul'.*'lr_mult'"),
    ],
)
def test_an_unknown_rule_is_named(rules, says):
    with pytest.warns(UserWarning, match=says):
        build_optimizer(Gan(), {"type": "SGD", "lr": 0.1, "paramwise_cfg": rules})


def test_a_shared_parameter_that_is_passed_over_is_named():
    model = Gan()
    model.generator = nn.Linear(3, 1)
    model.generator.weight = model.discriminator.weight
    cfg = {"type": "SGD", "lr": 0.1, "paramwise_cfg": {"bypass_duplicate": True}}
    with pytest.warns(UserWarning, match="discriminator shares its weight with another module"):
        optimizer = build_optimizer(model, cfg)
    assert len(parameters(optimizer)) == 3


# constructors -------------------------------------------------------------------------------------------------


@pytest.fixture
def register():
    """Register constructors for a while."""
    before = dict(OPTIMIZER_BUILDERS.module_dict)
    yield OPTIMIZER_BUILDERS.register_module
    OPTIMIZER_BUILDERS.module_dict.clear()
    OPTIMIZER_BUILDERS.module_dict.update(before)


def test_the_default_constructor_may_be_named_or_called():
    cfg = {"type": "SGD", "lr": 0.1}
    assert build_optimizer(Gan(), {**cfg, "constructor": "DefaultOptimizerConstructor"})
    constructor = build_optimizer_constructor({"type": "DefaultOptimizerConstructor", "optimizer_cfg": cfg})
    assert isinstance(constructor, DefaultOptimizerConstructor)
    assert (constructor.base_lr, constructor.base_wd, constructor.paramwise_cfg) == (0.1, None, {})
    assert len(parameters(constructor(nn.DataParallel(Gan())))) == 4


def test_a_constructor_may_override_add_params(register, recwarn):
    @register()
    class LayerDecay(DefaultOptimizerConstructor):
        def add_params(self, params, module, **kwargs):
            for depth, (name, param) in enumerate(module.named_parameters()):
                scale = self.paramwise_cfg["decay_rate"] ** depth
                params.append({"params": [param], "lr": self.base_lr * scale, "name": name})

    cfg = {"type": "SGD", "lr": 1.0, "constructor": "LayerDecay", "paramwise_cfg": {"decay_rate": 0.5}}
    optimizer = build_optimizer(Gan(), cfg)
    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 0.5, 0.25, 0.125]
    assert optimizer.param_groups[0]["name"] == "generator.weight"
    assert not recwarn.list  # the keys are its own


def test_a_constructor_may_add_to_what_the_default_one_does(register):
    @register(name="Frozen")
    class Skipping(DefaultOptimizerConstructor):
        def add_params(self, params, module, prefix="", is_dcn_module=None):
            if prefix != "discriminator":
                super().add_params(params, module, prefix=prefix, is_dcn_module=is_dcn_module)

    cfg = {"type": "SGD", "lr": 1.0, "constructor": "Frozen", "paramwise_cfg": {"bias_lr_mult": 2.0}}
    assert [group["lr"] for group in build_optimizer(Gan(), cfg).param_groups] == [1.0, 2.0]


def test_a_constructor_is_any_class_with_call(register):
    @register()
    class Biases:
        def __init__(self, optimizer_cfg, paramwise_cfg=None):
            self.cfg, self.rules = optimizer_cfg, paramwise_cfg

        def __call__(self, model):
            assert self.rules == {"anything": 1}
            return torch.optim.SGD([model.generator.bias], lr=self.cfg["lr"])

    cfg = {"type": "SGD", "lr": 0.3, "constructor": "Biases", "paramwise_cfg": {"anything": 1}}
    assert len(parameters(build_optimizer(Gan(), cfg))) == 1


def test_an_unknown_constructor_names_the_near_ones():
    with pytest.raises(RegistryError, match="did you mean 'DefaultOptimizerConstructor'"):
        build_optimizer(Gan(), {"type": "SGD", "lr": 0.1, "constructor": "DefaultOptimizerConstructr"})


def test_the_config_of_a_constructor_is_a_dict():
    with pytest.raises(TypeError, match="optimizer_cfg must be a dict, not list"):
        DefaultOptimizerConstructor([])


# mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cfg", "error", "says"),
    [
        ({"type": "SDG", "lr": 0.1}, RegistryError, "did you mean 'SGD'"),
        ({"generatr": {"type": "SGD", "lr": 0.1}}, ConfigError, "did you mean 'generator'"),
        ({"lr": 0.1}, ConfigError, "'type'"),
        ({}, ConfigError, "'type'"),
        ("SGD", ConfigError, "must be a dict"),
        ({1: {"type": "SGD"}}, ConfigError, "an entry 1, but Gan has no submodule .*only generator, discriminator"),
        ({"type": "SGD", "lr": "a"}, ConfigError, "SGD's lr must be a number, not 'a'"),
        ({"type": "SGD", "lr": None}, ConfigError, "SGD's lr must be a number, not None"),
        ({"type": "SGD", "lr": 0.1, "momentum": True}, ConfigError, "SGD's momentum must be a number, not True"),
        ({"type": torch.optim.SGD, "lr": nn.Linear}, ConfigError, "SGD's lr must be a number, not <class"),
        ({"type": "LBFGS", "history_size": None}, ConfigError, "LBFGS's history_size must be a number, not None"),
        (
            {"type": "Adam", "betas": 0.9},
            ConfigError,
            r"Adam's betas must be 2 numbers such as \(0.9, 0.999\), not 0.9",
        ),
        ({"type": "Adam", "betas": "ab"}, ConfigError, "Adam's betas must be 2 numbers such as .*, not 'ab'"),
        ({"type": "Adam", "betas": [0.9]}, ConfigError, r"Adam's betas must be 2 numbers such as .*, not \[0.9\]"),
        ({"type": "Adam", "betas": (0.9, None)}, ConfigError, r"Adam's betas must be 2 numbers .*, not \(0.9, None\)"),
        (
            {"type": "SGD", "lr": -1, "momentum": 0.9},
            ConfigError,
            r"optimizer=dict\(type='SGD', lr=-1, momentum=0.9\) is refused: Invalid learning rate: -1",
        ),
        (
            {"type": "Adam", "betas": (2, 0.9)},
            ConfigError,
            r"dict\(type='Adam', betas=\(2, 0.9\)\) is refused: Invalid",
        ),
        ({"type": "AdamW", "weight_decay": [1]}, ConfigError, r"AdamW's weight_decay must be a number, not \[1\]"),
        ({"type": "SGD", "lrr": 0.1}, TypeError, r"SGD got an .* 'lrr'; did you mean 'lr'\? It takes params, lr, mom"),
    ],
)
def test_mistakes_say_what_to_write(cfg, error, says):
    with pytest.raises(error, match=says):
        build_optimizer(Gan(), cfg)


@pytest.mark.parametrize("wrong", [None, {"type": "Gan"}, Gan])
def test_what_is_no_model(wrong):
    with pytest.raises(ModelError, match=r"build_optimizer's model must be a torch\.nn\.Module, not "):
        build_optimizer(wrong, {"type": "SGD", "lr": 0.1})
    with pytest.raises(ModelError, match=r"DefaultOptimizerConstructor's model must be a torch\.nn\.Module, not "):
        DefaultOptimizerConstructor({"type": "SGD", "lr": 0.1})(wrong)


@pytest.mark.parametrize(
    "cfg",
    [
        {"type": "SGD", "lr": np.float32(0.1), "momentum": np.float64(0.9)},
        {"type": "SGD", "lr": torch.tensor(0.1), "foreach": False},
        {"type": "Adam", "betas": (0, np.float32(0.5)), "amsgrad": True, "foreach": None},
        {"type": "Adafactor", "eps": (None, 0.01)},
    ],
)
def test_numbers_that_torch_takes(cfg):
    optimizer = build_optimizer(Gan(), cfg)
    assert all(optimizer.defaults[key] == value for key, value in cfg.items() if key not in ("type", "eps"))


class Own(torch.optim.SGD):
    """An optimizer for which None and one beta mean something; it cannot do without a momentum."""

    def __init__(self, params, rate, decay=0.5, betas=(0.9, 0.99), momentum=0.5):
        self.own = (decay, betas)
        super().__init__(params, lr=rate, momentum=0.0 + momentum)


def test_an_optimizer_of_ones_own_has_its_own_meanings():
    assert build_optimizer(Gan(), {"type": Own, "rate": 0.1, "decay": None, "betas": 0.9}).own == (None, 0.9)
    with pytest.raises(
        ConfigError, match=r"optimizer=dict\(type=<class .*Own'>, rate=0.1, momentum=None\) is refused: "
    ):
        build_optimizer(Gan(), {"type": Own, "rate": 0.1, "momentum": None})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'rate'"):
        build_optimizer(Gan(), {"type": Own})


class Rated(torch.optim.SGD):
    """An optimizer with no numbers by default."""

    def __init__(self, params, lr, weight_decay=None):
        super().__init__(params, lr=float(lr), weight_decay=float(weight_decay or 0))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"lr": "0.1"}, "paramwise_cfg multiplies the optimizer's lr, which must be a number, not '0.1'"),
        ({"lr": 0.1, "weight_decay": "1"}, "multiplies the optimizer's weight_decay, which must be a number, not '1'"),
    ],
)
def test_only_numbers_are_multiplied(values, says):
    assert build_optimizer(Gan(), {"type": Rated, **values})
    with pytest.raises(ConfigError, match=says):
        build_optimizer(Gan(), {"type": Rated, **values, "paramwise_cfg": {"bias_lr_mult": 2}})
