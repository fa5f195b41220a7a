"""Momentum updaters; their numbers are in tests/test_golden.py, their formulas in test_schedules.py."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import (
    ConfigError,
    CosineAnnealingMomentumUpdaterHook,
    CyclicMomentumUpdaterHook,
    HookError,
    IterBasedRunner,
    LinearAnnealingMomentumUpdaterHook,
    MomentumUpdaterHook,
    OneCycleMomentumUpdaterHook,
    RegistryError,
    StepMomentumUpdaterHook,
)

TRAIN = [("train", 1)]


def momenta(runner, hook, batches, at, **points):
    seen = []
    runner.register_momentum_hook(hook)
    runner.register_hook(at(before_train_iter=lambda r: seen.append(r.current_momentum()), **points))
    runner.run([batches], TRAIN)
    return seen


def test_the_momentum_of_sgd_and_the_defaults(make_runner, batches, at):
    runner = make_runner(max_epochs=2)  # momentum 0.9
    hook = StepMomentumUpdaterHook(step=1, warmup="constant", warmup_iters=1)
    assert momenta(runner, hook, batches[:2], at) == [[0.9 / 0.9], [0.9], [0.9 * 0.5], [0.9 * 0.5]]
    assert (hook.base_momentum, hook.regular_momentum) == ([0.9], [0.45])
    assert runner.optimizer.param_groups[0]["initial_momentum"] == 0.9


def test_the_first_beta_of_adam_and_of_those_with_more(make_runner, make_model, batches, at):
    model = make_model()
    adam = torch.optim.Adam(model.first.parameters(), betas=(0.8, 0.95))
    several = torch.optim.SGD(model.last.parameters(), lr=0.1)
    several.param_groups[0]["betas"] = (0.6, 0.7, 0.8)
    del several.param_groups[0]["momentum"]
    several.step = lambda: None  # stands for an optimizer with three betas, such as Adan
    runner = make_runner(model=model, optimizer={"adam": adam, "several": several}, max_epochs=2)
    seen = momenta(runner, StepMomentumUpdaterHook(step=1), batches[:1], at)
    assert seen == [{"adam": [0.8], "several": [0.6]}, {"adam": [0.4], "several": [0.3]}]
    assert adam.param_groups[0]["betas"] == (0.4, 0.95)
    assert several.param_groups[0]["betas"] == (0.3, 0.7, 0.8)


def test_the_initial_momentum_of_a_resumed_optimizer_is_the_base(make_runner, batches, at):
    runner = make_runner(max_epochs=1)
    runner.optimizer.param_groups[0]["initial_momentum"] = 0.5
    assert momenta(runner, LinearAnnealingMomentumUpdaterHook(min_momentum=0.1), batches[:1], at) == [[0.5]]


def test_a_policy_of_ones_own(make_runner, batches, at):
    class Halving(MomentumUpdaterHook):
        def get_momentum(self, runner, base_momentum):
            return base_momentum * 0.5**runner.iter

        def get_warmup_momentum(self, cur_iters):
            return [0.0 for _ in self.regular_momentum]

    hook = Halving(by_epoch=False, warmup="linear", warmup_iters=1)
    assert momenta(make_runner(max_epochs=1), hook, batches[:3], at) == [[0.0], [0.45], [0.225]]

    class Forgotten(MomentumUpdaterHook):
        pass

    with pytest.raises(NotImplementedError, match="Forgotten must define get_momentum"):
        momenta(make_runner(max_epochs=1), Forgotten(), batches, at)


def test_one_cycle_keeps_its_bounds_in_the_groups(make_runner, batches, at):
    runner = make_runner(max_epochs=1)
    hook = OneCycleMomentumUpdaterHook(
        base_momentum=[0.5], max_momentum={"SGD": [0.7]}, pct_start=0.5, anneal_strategy="linear"
    )
    started = []
    seen = momenta(runner, hook, batches, at, before_run=lambda r: started.extend(r.current_momentum()))
    assert started == [0.7]
    assert seen == [[0.7], [0.5], pytest.approx([0.6]), pytest.approx([0.7])]
    group = runner.optimizer.param_groups[0]
    assert (group["base_momentum"], group["max_momentum"]) == (0.5, 0.7)
    assert "initial_momentum" not in group


def test_one_cycle_in_three_phases_stays_up(make_runner, batches, at):
    hook = OneCycleMomentumUpdaterHook(pct_start=0.25, three_phase=True)
    runner = make_runner(max_epochs=2)
    seen = momenta(runner, hook, batches, at)
    assert seen[:2] == [[0.95], [0.85]]
    assert seen[2:] == [[0.95]] * 6


def test_one_cycle_refuses_a_group_that_came_later(make_runner, batches, at):
    def add(runner):
        runner.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})

    with pytest.raises(HookError, match="without base_momentum and max_momentum: it was added, or loaded"):
        momenta(make_runner(max_epochs=1), OneCycleMomentumUpdaterHook(), batches, at, after_train_iter=add)


def test_cyclic_goes_down_and_up(make_runner, batches, at):
    hook = CyclicMomentumUpdaterHook(target_ratio=(0.5, 1), step_ratio_up=0.5, cyclic_times=2, anneal_strategy="linear")
    assert momenta(make_runner(max_epochs=2), hook, batches, at) == [
        pytest.approx([value]) for value in (0.9, 0.675, 0.45, 0.675) * 2
    ]


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"policy": "step", "step": 1}, StepMomentumUpdaterHook),
        ({"policy": "CosineAnnealing", "min_momentum_ratio": 0.5}, CosineAnnealingMomentumUpdaterHook),
        ({"policy": "LinearAnnealing", "min_momentum": 0.5}, LinearAnnealingMomentumUpdaterHook),
        ({"policy": "cyclic"}, CyclicMomentumUpdaterHook),
        ({"policy": "OneCycle"}, OneCycleMomentumUpdaterHook),
    ],
)
def test_a_policy_names_a_class(make_runner, config, kind):
    runner = make_runner()
    runner.register_momentum_hook(config)
    assert [type(hook) for hook in runner.hooks] == [kind]


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"type": "StepMomentumUpdaterHook", "step": 1}, ConfigError, "momentum_config needs a policy"),
        ({"policy": "poly"}, RegistryError, "PolyMomentumUpdaterHook"),
        ({"policy": "step", "step": 1, "warmup_by_epoch": True}, TypeError, "keyword argument 'warmup_by_epoch'"),
    ],
)
def test_a_config_that_names_nothing(make_runner, config, error, message):
    with pytest.raises(error, match=message):
        make_runner().register_momentum_hook(config)


STEP, ONE, CYCLIC = StepMomentumUpdaterHook, OneCycleMomentumUpdaterHook, CyclicMomentumUpdaterHook


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepMomentumUpdaterHook(step=0), "step must be a positive integer"),
        (lambda: StepMomentumUpdaterHook(step=1, gamma=None), "gamma must be a finite number, not None"),
        (lambda: StepMomentumUpdaterHook(step=1, by_epoch=None), "by_epoch must be True or False, not None"),
        (lambda: ONE(three_phase="yes"), "OneCycleMomentumUpdaterHook's three_phase must be True or False, not 'yes'"),
        (lambda: StepMomentumUpdaterHook(step=1, min_momentum="0"), "min_momentum must be a finite number"),
        (lambda: StepMomentumUpdaterHook(step=1, warmup="cos", warmup_iters=1), "warmup must be"),
        (lambda: StepMomentumUpdaterHook(step=1, warmup="exp", warmup_iters=0), "needs a positive warmup_iters"),
        (lambda: StepMomentumUpdaterHook(step=1, warmup="exp", warmup_iters=1, warmup_ratio=2), "warmup_ratio must be"),
        (lambda: CosineAnnealingMomentumUpdaterHook(), "min_momentum or min_momentum_ratio.*not none"),
        (lambda: LinearAnnealingMomentumUpdaterHook(min_momentum=0, min_momentum_ratio=0), "not both"),
        (lambda: CYCLIC(by_epoch=True), "by_epoch=False"),
        (lambda: CYCLIC(target_ratio=[0.5, 1]), "write it as a tuple"),
        (lambda: CYCLIC(cyclic_times=-1), "cyclic_times must be a finite number above 0"),
        (lambda: CYCLIC(step_ratio_up=-0.1), "step_ratio_up must be"),
        (lambda: CYCLIC(anneal_strategy="exp"), "anneal_strategy must be"),
        (lambda: CYCLIC(gamma="1"), "gamma must be a finite number"),
        (lambda: ONE(by_epoch=True), "by_epoch=False"),
        (lambda: ONE(base_momentum=0), "base_momentum must be a float, a list .*not 0"),
        (lambda: ONE(base_momentum=np.int64(0)), "base_momentum must be a float"),
        (lambda: ONE(base_momentum={"SGD": 0.8}), "base_momentum must have a list of numbers for the optimizer 'SGD'"),
        (lambda: CYCLIC(target_ratio=np.int64(1)), "target_ratio must be a float or a tuple"),
        (lambda: ONE(max_momentum=(0.9,)), "max_momentum must be a float, a list"),
        (lambda: ONE(pct_start=1), "pct_start must be a float"),
        (lambda: ONE(anneal_strategy="exp"), "anneal_strategy must be"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, np.float32("inf"), np.bool_(True), 10**400])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("warmup_iters", lambda value: STEP(step=1, warmup="exp", warmup_iters=value)),
        ("warmup_iters", lambda value: STEP(step=1, warmup_iters=value)),
        ("warmup_ratio", lambda value: STEP(step=1, warmup="exp", warmup_iters=1, warmup_ratio=value)),
        ("gamma", lambda value: STEP(step=1, gamma=value)),
        ("min_momentum", lambda value: STEP(step=1, min_momentum=value)),
        ("min_momentum", lambda value: CosineAnnealingMomentumUpdaterHook(min_momentum=value)),
        ("min_momentum_ratio", lambda value: LinearAnnealingMomentumUpdaterHook(min_momentum_ratio=value)),
        ("target_ratio", lambda value: CYCLIC(target_ratio=value)),
        ("target_ratio[1]", lambda value: CYCLIC(target_ratio=(0.5, value))),
        ("cyclic_times", lambda value: CYCLIC(cyclic_times=value)),
        ("step_ratio_up", lambda value: CYCLIC(step_ratio_up=value)),
        ("gamma", lambda value: CYCLIC(gamma=value)),
        ("base_momentum", lambda value: ONE(base_momentum=value)),
        ("base_momentum[1]", lambda value: ONE(base_momentum=[0.5, value])),
        ("max_momentum", lambda value: ONE(max_momentum=value)),
        ("max_momentum['SGD'][0]", lambda value: ONE(max_momentum={"SGD": [value]})),
        ("pct_start", lambda value: ONE(pct_start=value)),
    ],
)
def test_what_is_no_finite_number(name, make, value):
    message = rf"^\w+UpdaterHook's {re.escape(name)} must be .* not {re.escape(repr(value))}$"
    with pytest.raises(ConfigError, match=message):
        make(value)


@pytest.mark.parametrize(
    ("make", "numpy", "python"),
    [
        (STEP, {"step": np.int64(1), "gamma": np.float32(0.3)}, {"step": 1, "gamma": float(np.float32(0.3))}),
        (
            STEP,
            {"step": 1, "warmup": "linear", "warmup_iters": np.int64(3), "warmup_ratio": np.float32(0.3)},
            {"step": 1, "warmup": "linear", "warmup_iters": 3, "warmup_ratio": float(np.float32(0.3))},
        ),
        (
            CYCLIC,
            {"target_ratio": np.float32(0.7), "gamma": np.float32(0.9), "cyclic_times": np.int64(2)},
            {"target_ratio": float(np.float32(0.7)), "gamma": float(np.float32(0.9)), "cyclic_times": 2},
        ),
        (
            ONE,
            {"base_momentum": np.float32(0.7), "max_momentum": [np.float32(0.9)]},
            {"base_momentum": float(np.float32(0.7)), "max_momentum": [float(np.float32(0.9))]},
        ),
    ],
)
def test_numbers_of_numpy(make_runner, batches, at, make, numpy, python):
    theirs = momenta(make_runner(max_epochs=2), make(**numpy), batches, at)
    assert theirs == momenta(make_runner(max_epochs=2), make(**python), batches, at)
    assert {type(momentum) for (momentum,) in theirs} == {float}


def test_a_warmup_of_a_fraction_and_of_nothing(make_runner, batches, at):
    for fraction in (1.5, np.float32(1.5)):  # MMCV takes it, in this family
        hook = STEP(step=9, by_epoch=False, warmup="constant", warmup_iters=fraction, warmup_ratio=0.5)
        assert momenta(make_runner(max_epochs=1), hook, batches, at) == [[1.8], [1.8], [0.9], [0.9]]
    none = STEP(step=9, warmup_iters=None, warmup_ratio=None)
    assert momenta(make_runner(max_epochs=1), none, batches, at) == [[0.9]] * 4


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (lambda: CYCLIC(cyclic_times=5), "cyclic_times=5 is more than the 4 iterations"),
        (lambda: ONE(base_momentum=[0.8, 0.8]), "base_momentum has 2 values for the 1 param groups of SGD"),
        (lambda: ONE(max_momentum={"b": [0.9]}), "max_momentum must have a list of 1 numbers for the optimizer 'SGD'"),
        (lambda: ONE(pct_start=0.25), "too short"),
    ],
)
def test_what_does_not_fit_the_run(make_runner, batches, at, hook, message):
    with pytest.raises(ConfigError, match=message):
        momenta(make_runner(max_epochs=1), hook(), batches, at)


@pytest.mark.parametrize("hook", [lambda: StepMomentumUpdaterHook(step=1), ONE])
def test_an_optimizer_with_neither(make_runner, make_model, batches, at, hook):
    model = make_model()
    runner = make_runner(model=model, optimizer=torch.optim.Adagrad(model.parameters()), max_epochs=1)
    with pytest.raises(ConfigError, match=r"neither momentum nor betas .* has lr, .*leave momentum_config out"):
        momenta(runner, hook(), batches, at)


def test_by_epoch_without_epochs_is_said(make_runner, batches, at, caplog):
    runner = make_runner(IterBasedRunner, max_iters=2)
    assert momenta(runner, {"policy": "step", "step": 1}, batches, at) == [[0.9]] * 2
    assert "StepMomentumUpdaterHook does nothing by epoch in an iteration-based run" in caplog.text


def test_no_optimizer(make_runner, batches, at):
    with pytest.raises(HookError, match="StepMomentumUpdaterHook needs an optimizer"):
        momenta(make_runner(optimizer=None, max_epochs=1), StepMomentumUpdaterHook(step=1), batches, at)
