"""Schedules of the style `lightning`, against the updater hooks, iteration by iteration."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmhooks import EpochBasedRunner, Hook, IterBasedRunner
from mmhooks.errors import ConfigError
from mmhooks_lightning.migration import plain
from tests.lightning.migration.projects import planned

FACTOR = st.floats(0.05, 0.95)
SHAPE = st.sampled_from(["cos", "linear"])
STEPS = st.one_of(st.integers(1, 9), st.lists(st.integers(1, 12), min_size=1, max_size=4))
PERIODS = st.lists(st.integers(5, 9), min_size=5, max_size=5)
WEIGHTS = st.lists(FACTOR, min_size=5, max_size=5)


def _policy(name, **arguments):
    return st.fixed_dictionaries({"policy": st.just(name), **arguments})


def _ends(name, value, **arguments):
    return st.one_of(
        _policy(name, **arguments, **{value: st.floats(0, 0.01)}),
        _policy(name, **arguments, **{f"{value}_ratio": st.floats(0, 0.5)}),
    )


BY_EITHER = st.one_of(
    _policy("fixed"),
    _policy("step", step=STEPS, gamma=FACTOR),
    _policy("step", step=STEPS, gamma=FACTOR, min_lr=st.floats(0, 0.02)),
    _policy("exp", gamma=FACTOR),
    _policy("poly", power=st.floats(0.5, 3), min_lr=st.floats(0, 0.01)),
    _policy("inv", gamma=st.floats(0, 2), power=st.floats(0.5, 2)),
    _ends("CosineAnnealing", "min_lr"),
    _ends("LinearAnnealing", "min_lr"),
    _ends("FlatCosineAnnealing", "min_lr", start_percent=st.floats(0, 0.9)),
    _ends("CosineRestart", "min_lr", periods=PERIODS, restart_weights=WEIGHTS),
)
BY_ITERATION = st.one_of(
    _policy(
        "cyclic",
        target_ratio=st.tuples(st.floats(1.5, 10), st.floats(1e-4, 0.5)),
        cyclic_times=st.integers(1, 3),
        step_ratio_up=st.floats(0, 0.9),
        anneal_strategy=SHAPE,
        gamma=FACTOR,
    ),
    _policy("OneCycle", max_lr=FACTOR, pct_start=st.floats(0.4, 0.6), anneal_strategy=SHAPE, three_phase=st.booleans()),
)
WARMUP = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "warmup": st.sampled_from(["constant", "linear", "exp"]),
            "warmup_iters": st.integers(1, 9),
            "warmup_ratio": FACTOR,
        }
    ),
)
MOMENTUM = st.one_of(
    _policy("step", step=STEPS, gamma=FACTOR),
    _ends("CosineAnnealing", "min_momentum"),
    _ends("LinearAnnealing", "min_momentum"),
)


class Recorder(Hook):
    """Notes lr and momentum of all param groups in every iteration."""

    def __init__(self):
        self.lrs, self.momenta = [], []

    def after_train_iter(self, runner):
        self.lrs.append(runner.current_lr())
        self.momenta.append(runner.current_momentum())


class Net(nn.Linear):
    def train_step(self, data, optimizer):
        return {"loss": self.weight.sum(), "log_vars": {}, "num_samples": 1}


def recorded(plan, epoch_len, lrs, by_epoch):
    """Let a native runner go through the run with the updater hooks."""
    net = Net(1, len(lrs))
    parameters = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    kind, length = (EpochBasedRunner, "max_epochs") if by_epoch else (IterBasedRunner, "max_iters")
    runner = kind(net, optimizer=optimizer, **{length: plan.length})
    hooks = plan.training_hooks
    runner.register_training_hooks(hooks["lr_config"], momentum_config=hooks.get("momentum_config"))
    recorder = Recorder()
    runner.register_hook(recorder, "LOWEST")
    runner.run([[{}] * epoch_len], [("train", 1)])
    return recorder


@settings(max_examples=200, deadline=None)
@given(
    lr_config=st.one_of(BY_EITHER, BY_ITERATION),
    warmup=WARMUP,
    in_epochs=st.booleans(),
    by_epoch=st.booleans(),
    warmup_by_epoch=st.booleans(),
    length=st.integers(3, 5),
    epoch_len=st.integers(2, 5),
)
def test_every_policy_gives_the_numbers_of_its_hook(
    lr_config, warmup, in_epochs, by_epoch, warmup_by_epoch, length, epoch_len
):
    moves_by_iteration = lr_config["policy"] in ("cyclic", "OneCycle")
    config = {**lr_config, **warmup, "by_epoch": in_epochs and not moves_by_iteration}
    if warmup and warmup_by_epoch and in_epochs:
        config["warmup_by_epoch"] = True
        config["warmup_iters"] = min(config["warmup_iters"], 2)
    runner = {"type": "EpochBasedRunner", "max_epochs": length}
    if not in_epochs:
        runner = {"type": "IterBasedRunner", "max_iters": length * 4}
    if in_epochs and not by_epoch:
        config["by_epoch"] = False
    plan = planned(lr_config=config, runner=runner)
    lrs = [0.1, 0.03, 0.0]
    wanted = recorded(plan, epoch_len, lrs, in_epochs).lrs
    found = list(plain.rates(plan, epoch_len, lrs))
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours == theirs  # to the last bit


@settings(max_examples=50, deadline=None)
@given(momentum=MOMENTUM, warmup=WARMUP, by_epoch=st.booleans(), epoch_len=st.integers(2, 5))
def test_the_momentum_has_the_numbers_of_its_hook(momentum, warmup, by_epoch, epoch_len):
    plan = planned(lr_config={"policy": "fixed"}, momentum_config={**momentum, **warmup, "by_epoch": by_epoch})
    wanted = recorded(plan, epoch_len, [0.1, 0.2], True).momenta
    assert list(plain.momenta(plan, epoch_len, [0.9, 0.9])) == wanted


def test_one_cycle_of_lr_and_momentum_and_lists_of_groups():
    cycle = {"policy": "OneCycle", "pct_start": 0.5, "anneal_strategy": "linear"}
    plan = planned(lr_config={**cycle, "max_lr": [0.5, 0.1], "total_steps": 20}, momentum_config=cycle)
    wanted = recorded(plan, 4, [0.1, 0.1], True)
    assert list(plain.rates(plan, 4, [0.1, 0.1])) == wanted.lrs
    assert list(plain.momenta(plan, 4, [0.9, 0.9])) == wanted.momenta


def test_what_moves_nothing_in_mmcv_moves_nothing_here():
    runner = {"type": "IterBasedRunner", "max_iters": 5}
    plan = planned(lr_config={"policy": "step", "step": 1, "by_epoch": True}, runner=runner)
    assert list(plain.rates(plan, 2, [0.1])) == [[0.1]] * 5
    row = next(row for row in plain.rows(plan) if row.key == "lr_config")
    assert "moves nothing" in row.why


def test_a_policy_of_the_code_base_is_carried():
    plan = planned(lr_config={"policy": "YOLOX", "num_last_epochs": 2})
    with pytest.raises(ConfigError, match="the code base's own"):
        plain.rates(plan, 2, [0.1])
    files = plain.project_files([plan], ["one"])
    assert "register_lr_hook" in files["carried.py"]
    assert "schedule.py" not in files


@pytest.mark.parametrize(
    ("lr_config", "message"),
    [
        ({"policy": "step", "step": 0}, "step must be a positive integer"),
        ({"step": 3}, "needs a policy"),
        ({"policy": "poly", "powr": 2}, "powr"),
    ],
)
def test_what_the_hook_refuses_is_refused(lr_config, message):
    with pytest.raises((ConfigError, TypeError), match=message):
        plain.rows(planned(lr_config=lr_config))
