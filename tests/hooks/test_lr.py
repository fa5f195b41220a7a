"""Learning rate updaters; their numbers are in tests/test_golden.py, their formulas in test_schedules.py."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import (
    HOOKS,
    ConfigError,
    CosineAnnealingLrUpdaterHook,
    CosineRestartLrUpdaterHook,
    CyclicLrUpdaterHook,
    ExpLrUpdaterHook,
    FixedLrUpdaterHook,
    FlatCosineAnnealingLrUpdaterHook,
    HookError,
    InvLrUpdaterHook,
    IterBasedRunner,
    LinearAnnealingLrUpdaterHook,
    LrUpdaterHook,
    OneCycleLrUpdaterHook,
    PolyLrUpdaterHook,
    RegistryError,
    StepLrUpdaterHook,
)

TRAIN = [("train", 1)]
WARM = {"warmup": "constant", "warmup_iters": 1}


def rates(runner, hook, batches, at, **points):
    seen = []
    runner.register_lr_hook(hook)
    runner.register_hook(at(before_train_iter=lambda r: seen.append(r.current_lr()), **points))
    runner.run([batches], TRAIN)
    return seen


def test_a_policy_of_ones_own(make_runner, batches, at):
    class Halving(LrUpdaterHook):
        def get_lr(self, runner, base_lr):
            return base_lr * 0.5**runner.epoch

    assert rates(make_runner(lr=0.4, max_epochs=2), Halving(), batches[:1], at) == [[0.4], [0.2]]


def test_a_policy_without_get_lr(make_runner, batches, at):
    class Forgotten(LrUpdaterHook):
        pass

    with pytest.raises(NotImplementedError, match=r"Forgotten must define get_lr\(self, runner, base_lr\)"):
        rates(make_runner(max_epochs=1), Forgotten(), batches, at)


def test_a_warmup_of_ones_own(make_runner, batches, at):
    class Zero(FixedLrUpdaterHook):
        def get_warmup_lr(self, cur_iters):
            return [0.0 for _ in self.regular_lr]

    seen = rates(make_runner(lr=0.4, max_epochs=1), Zero(warmup="constant", warmup_iters=2), batches, at)
    assert seen == [[0.0], [0.0], [0.4], [0.4]]


def test_several_optimizers(make_runner, make_model, batches, at):
    model = make_model()
    optimizers = {name: torch.optim.SGD(model.parameters(), lr=lr) for name, lr in (("a", 1.0), ("b", 2.0))}
    hook = StepLrUpdaterHook(step=1, gamma=0.5, warmup_ratio=0.5, **WARM)
    seen = rates(make_runner(model=model, optimizer=optimizers, max_epochs=2), hook, batches[:2], at)
    assert seen == [{"a": [0.5], "b": [1.0]}, *[{"a": [1.0], "b": [2.0]}], *[{"a": [0.5], "b": [1.0]}] * 2]


def test_the_initial_lr_of_a_resumed_optimizer_is_the_base(make_runner, batches, at):
    runner = make_runner(lr=0.001, max_epochs=1)
    runner.optimizer.param_groups[0]["initial_lr"] = 0.5
    hook = FixedLrUpdaterHook()
    assert rates(runner, hook, batches[:1], at) == [[0.5]]
    assert (hook.base_lr, hook.regular_lr) == ([0.5], [0.5])


def test_a_resumed_file_brings_the_base_and_the_way_is_gone_on(make_runner, batches, at, tmp_path):
    config = {"policy": "exp", "gamma": 0.5}
    whole = rates(make_runner(lr=0.4, max_epochs=3), config, batches[:1], at)
    first = make_runner(lr=0.4, max_epochs=1, work_dir=tmp_path)
    first.register_checkpoint_hook({"interval": 1})
    rates(first, config, batches[:1], at)
    second = make_runner(lr=9.0, max_epochs=3)  # the lr of the file counts
    second.resume(tmp_path / "epoch_1.pth")
    assert rates(second, config, batches[:1], at) == whole[1:] == [[0.2], [0.1]]


def test_groups_that_a_load_replaces_go_on(make_runner, batches, at):
    runner = make_runner(lr=0.4, max_epochs=4)

    def reload(runner):
        runner.optimizer.load_state_dict(runner.optimizer.state_dict())

    assert rates(runner, ExpLrUpdaterHook(gamma=0.5), batches[:1], at, after_train_iter=reload) == [
        [0.4], [0.2], [0.1], [0.05],
    ]  # fmt: skip


def test_a_group_that_is_added_is_left_alone(make_runner, batches, at):
    runner = make_runner(lr=0.4, max_epochs=2)

    def add(runner):
        if runner.epoch == 0:
            runner.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 7.0})

    seen = rates(runner, ExpLrUpdaterHook(gamma=0.5), batches[:1], at, after_train_iter=add)
    assert seen == [[0.4], [0.2, 7.0]]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"policy": "fixed"}, FixedLrUpdaterHook),
        ({"policy": "Fixed"}, FixedLrUpdaterHook),
        ({"policy": "step", "step": [1]}, StepLrUpdaterHook),
        ({"policy": "exp", "gamma": 0.5}, ExpLrUpdaterHook),
        ({"policy": "poly"}, PolyLrUpdaterHook),
        ({"policy": "inv", "gamma": 1}, InvLrUpdaterHook),
        ({"policy": "cyclic"}, CyclicLrUpdaterHook),
        ({"policy": "OneCycle", "max_lr": 1}, OneCycleLrUpdaterHook),
        ({"policy": "CosineAnnealing", "min_lr": 0}, CosineAnnealingLrUpdaterHook),
        ({"policy": "FlatCosineAnnealing", "min_lr": 0}, FlatCosineAnnealingLrUpdaterHook),
        ({"policy": "CosineRestart", "periods": [3], "min_lr": 0}, CosineRestartLrUpdaterHook),
        ({"policy": "LinearAnnealing", "min_lr_ratio": 0.1}, LinearAnnealingLrUpdaterHook),
        ({"policy": "step", "type": "what MMCV overwrites", "step": 1}, StepLrUpdaterHook),
    ],
)
def test_a_policy_names_a_class(make_runner, config, kind):
    runner, given = make_runner(), dict(config)
    runner.register_lr_hook(given)
    assert [type(hook) for hook in runner.hooks] == [kind]
    assert given == config


def test_a_registered_policy_of_ones_own(make_runner, batches, at):
    class SlowLrUpdaterHook(LrUpdaterHook):
        def get_lr(self, runner, base_lr):
            return base_lr / 2

    class MySlowLrUpdaterHook(SlowLrUpdaterHook):
        pass

    for cls in (SlowLrUpdaterHook, MySlowLrUpdaterHook):
        HOOKS.register_module(module=cls)
    try:
        for policy, kind in (("slow", SlowLrUpdaterHook), ("MySlow", MySlowLrUpdaterHook)):
            runner = make_runner(lr=0.4, max_epochs=1)
            assert rates(runner, {"policy": policy}, batches[:1], at) == [[0.2]]
            assert type(runner.hooks[0]) is kind
    finally:
        for cls in (SlowLrUpdaterHook, MySlowLrUpdaterHook):
            del HOOKS._module_dict[cls.__name__]


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"step": 1}, ConfigError, r"lr_config needs a policy, such as .*; it has 'step'"),
        ({"policy": 3}, ConfigError, "the policy in lr_config must be a name such as 'step', not 3"),
        ({"policy": "onecycle", "max_lr": 1}, RegistryError, "did you mean 'OneCycle"),
        ({"policy": "step", "step": 1, "gama": 1}, TypeError, "unexpected keyword argument 'gama'"),
    ],
)
def test_a_config_that_names_nothing(make_runner, config, error, message):
    with pytest.raises(error, match=message):
        make_runner().register_lr_hook(config)


COSINE = CosineAnnealingLrUpdaterHook
FLAT = FlatCosineAnnealingLrUpdaterHook
RESTART = CosineRestartLrUpdaterHook


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedLrUpdaterHook(warmup="lineer", warmup_iters=1), "warmup must be 'constant'.*mean 'linear'"),
        (lambda: FixedLrUpdaterHook(warmup="linear"), "needs a positive warmup_iters, not 0"),
        (lambda: FixedLrUpdaterHook(warmup_iters=2.5), "warmup_iters must be an integer, not 2.5"),
        (lambda: FixedLrUpdaterHook(warmup_ratio=0, **WARM), r"warmup_ratio must be a number in \(0, 1\], not 0"),
        (lambda: FixedLrUpdaterHook(warmup_ratio=1.1, **WARM), "not 1.1"),
        (lambda: StepLrUpdaterHook(step=0), "step must be a positive integer or a list"),
        (lambda: StepLrUpdaterHook(step=[1, -2]), "step must be"),
        (lambda: StepLrUpdaterHook(step=(1, 2)), r"step must be .*not \(1, 2\)"),
        (lambda: StepLrUpdaterHook(step=1, gamma="0.1"), "gamma must be a finite number, not '0.1'"),
        (lambda: StepLrUpdaterHook(step=True), "step must be a positive integer or a list of them, not True"),
        (lambda: StepLrUpdaterHook(step=1, gamma=math.nan), "gamma must be a finite number, not nan"),
        (lambda: ExpLrUpdaterHook(gamma=math.inf), "gamma must be a finite number, not inf"),
        (lambda: FixedLrUpdaterHook(by_epoch=1), "FixedLrUpdaterHook's by_epoch must be True or False, not 1"),
        (lambda: FixedLrUpdaterHook(warmup_by_epoch="no"), "warmup_by_epoch must be True or False, not 'no'"),
        (lambda: OneCycleLrUpdaterHook(max_lr=1, three_phase=1), "three_phase must be True or False, not 1"),
        (
            lambda: OneCycleLrUpdaterHook(max_lr=1, total_steps=0),
            "total_steps must be a positive integer, or None for as many as the run, not 0",
        ),
        (lambda: StepLrUpdaterHook(step=1, min_lr="0"), "min_lr must be a finite number"),
        (lambda: ExpLrUpdaterHook(gamma=None), "gamma must be a finite number, not None"),
        (lambda: PolyLrUpdaterHook(power="1"), "power must be a finite number, not '1'"),
        (lambda: PolyLrUpdaterHook(min_lr=None), "min_lr must be a finite number, not None"),
        (lambda: InvLrUpdaterHook(gamma=[1]), "gamma must be a finite number"),
        (lambda: InvLrUpdaterHook(gamma=1, power=None), "power must be a finite number"),
        (lambda: COSINE(), "min_lr or min_lr_ratio.*not none"),
        (lambda: COSINE(min_lr=0, min_lr_ratio=0), "not both"),
        (lambda: COSINE(min_lr="0"), "min_lr must be a finite number, not '0'"),
        (lambda: LinearAnnealingLrUpdaterHook(), "min_lr or min_lr_ratio.*not none"),
        (lambda: FLAT(start_percent=1, min_lr=0), "start_percent must be a float from 0.0 to 1.0, not 1"),
        (lambda: FLAT(start_percent=1.1, min_lr=0), "not 1.1"),
        (lambda: FLAT(), "not none"),
        (lambda: RESTART(periods=[1, 2], min_lr=0), r"restart_weights=\(1,\) must have as many values.*2, not 1"),
        (lambda: RESTART(periods=3, min_lr=0), "periods must be a list of numbers, not 3"),
        (lambda: RESTART(periods=[-3], min_lr=0), r"periods\[0\] must be a finite number of at least 0, not -3"),
        (
            lambda: RESTART(periods=[3], restart_weights=["1"], min_lr=0),
            r"restart_weights\[0\] must be a finite number",
        ),
        (lambda: RESTART(periods=[3]), "not none"),
        (lambda: CyclicLrUpdaterHook(by_epoch=True), "by iteration only: write by_epoch=False"),
        (lambda: CyclicLrUpdaterHook(target_ratio=[10, 1e-4]), "target_ratio must be a float or a tuple.*as a tuple"),
        (lambda: CyclicLrUpdaterHook(target_ratio=10), "target_ratio must be .*not 10"),
        (lambda: CyclicLrUpdaterHook(target_ratio=(1, 2, 3)), "tuple of one or two numbers"),
        (lambda: CyclicLrUpdaterHook(cyclic_times=0), "cyclic_times must be a finite number above 0, not 0"),
        (lambda: CyclicLrUpdaterHook(step_ratio_up=1), r"step_ratio_up must be a number in \[0, 1\), not 1"),
        (lambda: CyclicLrUpdaterHook(anneal_strategy="exp"), "anneal_strategy must be 'cos' or 'linear', not 'exp'"),
        (lambda: CyclicLrUpdaterHook(gamma=2), r"gamma must be a number in \(0, 1\], not 2"),
        (lambda: OneCycleLrUpdaterHook(max_lr=1, by_epoch=True), "by_epoch=False"),
        (lambda: OneCycleLrUpdaterHook(max_lr=(1,)), "max_lr must be a number, a list"),
        (
            lambda: OneCycleLrUpdaterHook(max_lr=1, total_steps=5.0),
            "total_steps must be a positive integer, .*, not 5.0",
        ),
        (lambda: OneCycleLrUpdaterHook(max_lr=1, pct_start=1), "pct_start must be a float"),
        (lambda: OneCycleLrUpdaterHook(max_lr=1, anneal_strategy=None), "anneal_strategy must be"),
        (
            lambda: FixedLrUpdaterHook(warmup_iters=True),
            "FixedLrUpdaterHook's warmup_iters must be an integer, not True",
        ),
        (lambda: FixedLrUpdaterHook(warmup_iters=math.inf), "warmup_iters must be an integer, not inf"),
        (lambda: FixedLrUpdaterHook(warmup=["exp"], warmup_iters=1), r"warmup must be .* or None, not \['exp'\]"),
        (lambda: FixedLrUpdaterHook(warmup_ratio=None, **WARM), "warmup_ratio must be .*, not None"),
        (lambda: StepLrUpdaterHook(step=[1, True]), r"step must be .*not \[1, True\]"),
        (lambda: InvLrUpdaterHook(gamma=-1), "InvLrUpdaterHook's gamma must be a finite number above -1, not -1"),
        (lambda: InvLrUpdaterHook(gamma=-2, power=0.5), "above -1, not -2"),
        (lambda: OneCycleLrUpdaterHook(max_lr=-1), "max_lr must be a finite number of at least 0, not -1"),
        (lambda: OneCycleLrUpdaterHook(max_lr=[1, -1]), r"max_lr\[1\] must be a finite number of at least 0, not -1"),
        (lambda: OneCycleLrUpdaterHook(max_lr=["1"]), r"max_lr\[0\] must be a finite number of at least 0, not '1'"),
        (lambda: OneCycleLrUpdaterHook(max_lr={"SGD": [-1]}), r"max_lr\['SGD'\]\[0\] must be .*, not -1"),
        (
            lambda: OneCycleLrUpdaterHook(max_lr={"SGD": 1.0}),
            "max_lr must have a list of numbers for the optimizer 'SGD', not 1.0",
        ),
        (lambda: OneCycleLrUpdaterHook(max_lr=1, div_factor=0), "div_factor must be a finite number above 0, not 0"),
        (
            lambda: OneCycleLrUpdaterHook(max_lr=1, final_div_factor=0),
            "final_div_factor must be a finite number above 0",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


STEP, ONE, CYCLIC = StepLrUpdaterHook, OneCycleLrUpdaterHook, CyclicLrUpdaterHook
ZERO = {"min_lr": 0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, np.float32("inf"), np.bool_(True), 10**400])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("warmup_ratio", lambda value: FixedLrUpdaterHook(warmup_ratio=value, **WARM)),
        ("warmup_ratio", lambda value: FixedLrUpdaterHook(warmup_ratio=value)),
        ("gamma", lambda value: STEP(step=1, gamma=value)),
        ("min_lr", lambda value: STEP(step=1, min_lr=value)),
        ("gamma", lambda value: ExpLrUpdaterHook(gamma=value)),
        ("power", lambda value: PolyLrUpdaterHook(power=value)),
        ("min_lr", lambda value: PolyLrUpdaterHook(min_lr=value)),
        ("gamma", lambda value: InvLrUpdaterHook(gamma=value)),
        ("power", lambda value: InvLrUpdaterHook(gamma=1, power=value)),
        ("min_lr", lambda value: COSINE(min_lr=value)),
        ("min_lr_ratio", lambda value: LinearAnnealingLrUpdaterHook(min_lr_ratio=value)),
        ("start_percent", lambda value: FLAT(start_percent=value, **ZERO)),
        ("periods[1]", lambda value: RESTART(periods=[1, value], restart_weights=[1, 1], **ZERO)),
        ("restart_weights[0]", lambda value: RESTART(periods=[3], restart_weights=[value], **ZERO)),
        ("target_ratio", lambda value: CYCLIC(target_ratio=value)),
        ("target_ratio[0]", lambda value: CYCLIC(target_ratio=(value, 1))),
        ("target_ratio[1]", lambda value: CYCLIC(target_ratio=(10, value))),
        ("cyclic_times", lambda value: CYCLIC(cyclic_times=value)),
        ("step_ratio_up", lambda value: CYCLIC(step_ratio_up=value)),
        ("gamma", lambda value: CYCLIC(gamma=value)),
        ("max_lr", lambda value: ONE(max_lr=value)),
        ("max_lr[0]", lambda value: ONE(max_lr=[value])),
        ("max_lr['SGD'][1]", lambda value: ONE(max_lr={"SGD": (1, value)})),
        ("pct_start", lambda value: ONE(max_lr=1, pct_start=value)),
        ("div_factor", lambda value: ONE(max_lr=1, div_factor=value)),
        ("final_div_factor", lambda value: ONE(max_lr=1, final_div_factor=value)),
    ],
)
def test_what_is_no_finite_number(name, make, value):
    message = rf"^\w+UpdaterHook's {re.escape(name)} must be .* not {re.escape(repr(value))}$"
    with pytest.raises(ConfigError, match=message):
        make(value)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (FixedLrUpdaterHook, {"warmup": "exp", "warmup_iters": np.int64(3), "warmup_ratio": np.float32(0.1)}),
        (FixedLrUpdaterHook, {"warmup": "linear", "warmup_iters": np.uint8(2), "warmup_by_epoch": True}),
        (STEP, {"step": np.int64(3), "gamma": np.float32(0.1), "min_lr": np.float16(1e-4)}),
        (STEP, {"step": [np.int64(1), 2], "gamma": np.float64(0.1)}),
        (ExpLrUpdaterHook, {"gamma": np.float32(0.9), "by_epoch": False}),
        (PolyLrUpdaterHook, {"power": np.float32(0.9), "min_lr": np.float32(1e-4)}),
        (InvLrUpdaterHook, {"gamma": np.float32(0.1), "power": np.float32(0.75)}),
        (InvLrUpdaterHook, {"gamma": np.uint8(255), "by_epoch": False}),
        (COSINE, {"min_lr": np.float32(1e-3)}),
        (COSINE, {"min_lr_ratio": np.float32(1e-3)}),
        (FLAT, {"start_percent": np.float32(0.3), "min_lr": np.int32(0), "by_epoch": False}),
        (RESTART, {"periods": [np.int64(2), np.int64(9)], "restart_weights": [1, np.float32(0.3)], **ZERO}),
        (CYCLIC, {"target_ratio": np.float32(3), "step_ratio_up": np.float32(0.3), "gamma": np.float32(0.7)}),
        (CYCLIC, {"target_ratio": (np.int64(7), np.float32(0.1)), "cyclic_times": np.int64(3)}),
        (ONE, {"max_lr": np.float32(0.3), "total_steps": np.int64(30), "pct_start": np.float32(0.3)}),
        (ONE, {"max_lr": [np.float32(0.3)], "div_factor": np.float32(7), "final_div_factor": np.float32(1e3)}),
        (ONE, {"max_lr": {"SGD": [np.float32(0.3)]}}),
        (ONE, {"max_lr": np.int64(0)}),
    ],
)
def test_numbers_of_numpy(make_runner, batches, at, make, arguments):
    def plain(value):
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(plain, value))
        return value.item() if isinstance(value, np.generic) else value

    theirs = rates(make_runner(lr=0.4, max_epochs=4), make(**arguments), batches, at)
    assert theirs == rates(make_runner(lr=0.4, max_epochs=4), make(**plain(arguments)), batches, at)
    assert {type(lr) for (lr,) in theirs} == {float}


def test_an_inverse_that_rises(make_runner, batches, at):
    hook = InvLrUpdaterHook(gamma=-0.25)
    assert rates(make_runner(lr=0.1, max_epochs=4), hook, batches[:1], at) == [
        [0.1 * (1 - 0.25 * epoch) ** -1.0] for epoch in range(4)
    ]


def test_a_peak_of_zero(make_runner, batches, at):
    assert rates(make_runner(max_epochs=1), ONE(max_lr=0, pct_start=0.5), batches, at) == [[0.0]] * 4


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (
            lambda: InvLrUpdaterHook(gamma=-0.5),
            r"InvLrUpdaterHook's gamma=-0.5 .* for the 4 epochs of this run: 1 \+ gamma \* 3 must be positive",
        ),
        (lambda: InvLrUpdaterHook(gamma=-0.1, by_epoch=False), "the 16 iterations of this run"),
        (lambda: RESTART(periods=[2, 1], restart_weights=[1, 1], min_lr=0), r"\[2, 1\] last 3 epochs, .* has 4"),
        (lambda: RESTART(periods=[15], min_lr=0, by_epoch=False), "last 15 iterations, and the run has 16"),
        (lambda: CyclicLrUpdaterHook(cyclic_times=17), "cyclic_times=17 is more than the 16 iterations"),
        (lambda: OneCycleLrUpdaterHook(max_lr=1, total_steps=15), "total_steps=15 is less than the 16 iterations"),
        (lambda: OneCycleLrUpdaterHook(max_lr=[1, 2]), "max_lr has 2 values for the 1 param groups of SGD"),
        (lambda: OneCycleLrUpdaterHook(max_lr={"Adam": [1]}), "a list of 1 numbers for the optimizer 'SGD'"),
        (lambda: OneCycleLrUpdaterHook(max_lr=1, pct_start=1 / 16), "is one iteration, too short"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_run(make_runner, batches, at, hook, message):
    with pytest.raises(ConfigError, match=message):
        rates(make_runner(max_epochs=4), hook(), batches, at)


def test_a_run_that_does_not_say_how_long_it_is(make_runner, batches, at):
    runner = make_runner(max_epochs=1)
    runner.register_hook(at(before_train_iter=lambda r: setattr(r, "_max_iters", None)), "HIGHEST")
    hook = COSINE(min_lr=0, by_epoch=False)
    with pytest.raises(ConfigError, match=r"must know how long the run is, .* how many iterations"):
        rates(runner, hook, batches, at)


def test_warmup_by_epoch_needs_epochs(make_runner, batches, at):
    hook = FixedLrUpdaterHook(warmup="linear", warmup_iters=1, warmup_by_epoch=True)
    with pytest.raises(HookError, match="this run has none: give warmup_iters in iterations"):
        rates(make_runner(IterBasedRunner, max_iters=1), hook, batches, at)


def test_by_epoch_without_epochs_is_said(make_runner, make_model, batches, at, caplog):
    assert rates(make_runner(IterBasedRunner, max_iters=2), ExpLrUpdaterHook(gamma=0.5), batches, at) == [[0.1]] * 2
    assert "ExpLrUpdaterHook does nothing by epoch in an iteration-based run: give it by_epoch=False" in caplog.text
    optimizers = {"a": torch.optim.SGD(make_model().parameters(), lr=1.0)}
    runner = make_runner(IterBasedRunner, optimizer=optimizers, max_iters=2)
    with pytest.raises(HookError, match="does nothing by epoch"):
        rates(runner, FixedLrUpdaterHook(**WARM), batches, at)


def test_no_optimizer(make_runner, batches, at):
    with pytest.raises(HookError, match="FixedLrUpdaterHook needs an optimizer"):
        rates(make_runner(optimizer=None, max_epochs=1), FixedLrUpdaterHook(), batches, at)
