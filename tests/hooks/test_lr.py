"""Learning rate updaters; their numbers are in tests/test_golden.py."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmhooks import (
    ConfigError,
    CosineAnnealingLrUpdaterHook,
    FixedLrUpdaterHook,
    HookError,
    IterBasedRunner,
    LrUpdaterHook,
    StepLrUpdaterHook,
)
from mmhooks.hooks.updater.schedules import CosineAnnealing, Step, Warmup

TRAIN = [("train", 1)]


def rates(runner, hook, batches, at):
    seen = []
    runner.register_lr_hook(hook)
    runner.register_hook(at(before_train_iter=lambda r: seen.append(r.current_lr())))
    runner.run([batches], TRAIN)
    return seen


def test_a_policy_of_ones_own(make_runner, batches, at):
    class Halving(LrUpdaterHook):
        def get_lr(self, runner, base_lr):
            return base_lr * 0.5**runner.epoch

    assert rates(make_runner(lr=0.4, max_epochs=2), Halving(), batches[:1], at) == [[0.4], [0.2]]


def test_a_warmup_of_ones_own(make_runner, batches, at):
    class Zero(FixedLrUpdaterHook):
        def get_warmup_lr(self, cur_iters):
            return [0.0 for _ in self.regular_lr]

    seen = rates(make_runner(lr=0.4, max_epochs=1), Zero(warmup="constant", warmup_iters=2), batches, at)
    assert seen == [[0.0], [0.0], [0.4], [0.4]]


def test_several_optimizers(make_runner, make_model, batches, at):
    model = make_model()
    optimizers = {name: torch.optim.SGD(model.parameters(), lr=lr) for name, lr in (("a", 1.0), ("b", 2.0))}
    hook = StepLrUpdaterHook(step=1, gamma=0.5, warmup="constant", warmup_iters=1, warmup_ratio=0.5)
    seen = rates(make_runner(model=model, optimizer=optimizers, max_epochs=2), hook, batches[:2], at)
    assert seen == [{"a": [0.5], "b": [1.0]}, *[{"a": [1.0], "b": [2.0]}], *[{"a": [0.5], "b": [1.0]}] * 2]


def test_the_initial_lr_of_a_resumed_optimizer_is_the_base(make_runner, batches, at):
    runner = make_runner(lr=0.001, max_epochs=1)
    runner.optimizer.param_groups[0]["initial_lr"] = 0.5
    hook = FixedLrUpdaterHook()
    assert rates(runner, hook, batches[:1], at) == [[0.5]]
    assert (hook.base_lr, hook.regular_lr) == ([0.5], [0.5])


def test_by_name_and_by_policy(make_runner):
    runner = make_runner()
    for policy in ("step", "Step"):
        runner.register_lr_hook({"policy": policy, "step": [1]})
    runner.register_lr_hook({"policy": "CosineAnnealing", "min_lr": 0})
    assert [type(hook).__name__ for hook in runner.hooks] == [
        "StepLrUpdaterHook", "StepLrUpdaterHook", "CosineAnnealingLrUpdaterHook",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedLrUpdaterHook(warmup="lineer", warmup_iters=1), "warmup must be 'constant', 'linear', 'exp'"),
        (lambda: FixedLrUpdaterHook(warmup="linear"), "needs a positive warmup_iters, not 0"),
        (lambda: FixedLrUpdaterHook(warmup="linear", warmup_iters=1, warmup_ratio=0), r"must be in \(0, 1\], not 0"),
        (lambda: FixedLrUpdaterHook(warmup="linear", warmup_iters=1, warmup_ratio=1.1), "not 1.1"),
        (lambda: StepLrUpdaterHook(step=0), "step must be a positive integer or a list"),
        (lambda: StepLrUpdaterHook(step=[1, -2]), "step must be"),
        (lambda: CosineAnnealingLrUpdaterHook(), "min_lr or min_lr_ratio.*not none"),
        (lambda: CosineAnnealingLrUpdaterHook(min_lr=0, min_lr_ratio=0), "not both"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_warmup_by_epoch_needs_epochs(make_runner, batches):
    runner = make_runner(IterBasedRunner, max_iters=1)
    runner.register_lr_hook(FixedLrUpdaterHook(warmup="linear", warmup_iters=1, warmup_by_epoch=True))
    with pytest.raises(HookError, match="this run has none: give warmup_iters in iterations"):
        runner.run([batches], TRAIN)


def test_no_optimizer(make_runner, batches):
    runner = make_runner(optimizer=None, max_epochs=1)
    runner.register_lr_hook(FixedLrUpdaterHook())
    with pytest.raises(HookError, match="FixedLrUpdaterHook needs an optimizer"):
        runner.run([batches], TRAIN)


LR = st.floats(1e-6, 10)


@given(LR, st.floats(0, 1), st.integers(1, 50))
def test_cosine_falls_from_the_base_to_the_target(base, ratio, end):
    schedule = CosineAnnealing(target_ratio=ratio)
    values = [schedule(base, progress, end) for progress in range(end + 1)]
    assert values[0] == pytest.approx(base)
    assert values[-1] == pytest.approx(base * ratio)
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(values))


@given(LR, st.floats(0.01, 1), st.integers(1, 50), st.sampled_from(["linear", "exp"]))
def test_a_warmup_rises_from_the_ratio_to_the_regular_value(regular, ratio, iterations, kind):
    values = [Warmup(kind, ratio)(regular, i, iterations) for i in range(iterations + 1)]
    assert values[0] == pytest.approx(regular * ratio)
    assert values[-1] == pytest.approx(regular)
    assert all(later >= earlier * (1 - 1e-12) for earlier, later in pairwise(values))


@given(st.lists(st.integers(1, 20), min_size=1, unique=True).map(sorted), st.integers(0, 25))
def test_a_list_of_steps_counts_those_that_are_past(steps, progress):
    past = sum(step <= progress for step in steps)
    assert Step(steps, 0.5)(1.0, progress, 25) == 0.5**past
