"""DistSamplerSeedHook, EmptyCacheHook, ClosureHook and CheckInvalidLossHook."""

import math

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

from mmhooks import (
    CheckInvalidLossHook,
    ClosureHook,
    ConfigError,
    DistSamplerSeedHook,
    EmptyCacheHook,
    InvalidLossError,
    IterBasedRunner,
    MMHooksError,
    ModelError,
)
from mmhooks.hook import POINTS

TRAIN = [("train", 1)]
BOTH = [("train", 1), ("val", 1)]


# DistSamplerSeedHook ------------------------------------------------------------------------------------------


def dict_loader(**arguments):
    data = [{"x": torch.randn(3), "y": torch.tensor(i % 2)} for i in range(6)]
    return DataLoader(data, **arguments)


def sampler():
    return DistributedSampler(range(6), num_replicas=2, rank=0, shuffle=True)


def test_the_sampler_hears_of_each_epoch(make_runner, at):
    own, other = sampler(), sampler()
    loader = dict_loader(sampler=own, batch_size=2)
    val = dict_loader(batch_sampler=BatchSampler(other, 2, drop_last=False))
    seen = []
    runner = make_runner(max_epochs=3)
    runner.register_hook(DistSamplerSeedHook())
    runner.register_hook(at(before_epoch=lambda r: seen.append((r.mode, own.epoch, other.epoch))), "LOW")
    runner.run([loader, val], BOTH)
    assert seen == [("train", 0, 0), ("val", 0, 1), ("train", 1, 1), ("val", 1, 2), ("train", 2, 2), ("val", 2, 3)]


def test_epochs_differ_in_their_order(make_runner):
    first = sampler()
    orders = []
    for epoch in range(2):
        first.set_epoch(epoch)
        orders.append(list(first))
    assert orders[0] != orders[1]

    seen = []
    loader = DataLoader([{"x": torch.randn(3), "y": torch.tensor(0), "i": i} for i in range(6)], sampler=sampler())
    runner = make_runner(max_epochs=2)
    runner.register_hook(DistSamplerSeedHook())
    runner.register_hook(ClosureHook("before_train_iter", lambda r: seen.append(r.data_batch["i"].item())))
    runner.run([loader], TRAIN)
    assert seen == orders[0] + orders[1]


def test_loaders_without_such_a_sampler(make_runner, batches):
    for loader in (batches, dict_loader(sampler=SequentialSampler(range(6)))):
        runner = make_runner(max_epochs=1)
        runner.register_hook(DistSamplerSeedHook())
        runner.run([loader], TRAIN)
        assert runner.epoch == 1


def test_an_iteration_based_run_tells_its_samplers_itself(make_runner):
    own = sampler()
    seen = []
    runner = make_runner(IterBasedRunner, max_iters=7)
    runner.register_hook(DistSamplerSeedHook())
    runner.register_hook(ClosureHook("before_train_iter", lambda r: seen.append(own.epoch)))
    runner.run([dict_loader(sampler=own)], TRAIN)
    assert seen == [0, 0, 0, 1, 1, 1, 2]


# EmptyCacheHook -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "epoch_points", "iter_points"),
    [
        ({}, ["after_train_epoch", "after_val_epoch"], []),
        ({"before_epoch": True, "after_epoch": False}, ["before_train_epoch", "before_val_epoch"], []),
        ({"after_epoch": False, "after_iter": True}, [], ["after_train_iter", "after_val_iter"]),
        ({"after_epoch": False}, [], []),
    ],
)
def test_the_cache_is_emptied_where_asked(make_runner, batches, monkeypatch, arguments, epoch_points, iter_points):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(None))
    hook = EmptyCacheHook(**arguments)
    assert sorted(hook.get_triggered_stages()) == sorted(epoch_points + iter_points)
    runner = make_runner(max_epochs=2)
    runner.register_hook(hook)
    runner.run([batches, batches[:3]], BOTH)
    assert len(calls) == 2 * len(epoch_points) + (14 if iter_points else 0)


def test_a_subclass_may_override_the_points_of_the_cache_hook(make_runner, batches, monkeypatch):
    class Own(EmptyCacheHook):
        def before_train_epoch(self, runner):
            seen.append("before_train_epoch")

        def after_epoch(self, runner):
            seen.append("after_epoch")
            super().after_epoch(runner)

    seen = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: seen.append("emptied"))
    runner = make_runner(max_epochs=1)
    runner.register_hook(Own(before_epoch=True, after_iter=True))
    runner.run([batches[:1], batches[:1]], BOTH)
    train, val = seen[:4], seen[4:]
    assert train == ["before_train_epoch", "emptied", "after_epoch", "emptied"]
    assert val == ["emptied", "emptied", "after_epoch", "emptied"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_unused_memory_goes_back(make_runner, make_model, batches):
    reserved = []
    runner = make_runner(model=make_model().cuda(), max_epochs=1)
    runner.register_hook(ClosureHook("after_train_iter", lambda r: torch.empty(64 << 20, device="cuda") is None))
    runner.register_hook(ClosureHook("after_epoch", lambda r: reserved.append(torch.cuda.memory_reserved())), "HIGH")
    runner.register_hook(EmptyCacheHook())
    runner.register_hook(ClosureHook("after_epoch", lambda r: reserved.append(torch.cuda.memory_reserved())), "LOW")
    runner.run([batches], TRAIN)
    assert reserved[0] - reserved[1] >= 64 << 20


@pytest.mark.parametrize("point", ["before_epoch", "after_epoch", "after_iter"])
def test_only_true_or_false(point):
    with pytest.raises(ConfigError, match=f"EmptyCacheHook's {point} must be True or False, not 'yes'"):
        EmptyCacheHook(**{point: "yes"})


# ClosureHook --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [*POINTS, "before_epoch", "after_epoch", "before_iter", "after_iter"])
def test_a_function_at_any_point(make_runner, batches, point):
    calls = []
    hook = ClosureHook(point, calls.append)
    runner = make_runner(max_epochs=2)
    runner.register_hook(hook)
    runner.run([batches, batches], BOTH)
    once = {"run": 1, "epoch": 2, "iter": 8}[point.rpartition("_")[2]]
    both = 1 if point in POINTS else 2
    assert calls == [runner] * once * both
    assert len(hook.get_triggered_stages()) == both


def test_what_is_no_closure():
    with pytest.raises(ConfigError, match=r"must be one of before_run, .*, not 'after_iters'; did you mean 'after_it"):
        ClosureHook("after_iters", print)
    with pytest.raises(ConfigError, match=r"must be one of before_run, .*, not 3"):
        ClosureHook(3, print)
    with pytest.raises(ConfigError, match="ClosureHook's fn must be a function of the runner, not 'print'"):
        ClosureHook("after_iter", "print")


# CheckInvalidLossHook -----------------------------------------------------------------------------------------


def spoil(when, loss=math.nan, **log_vars):
    """A hook that makes the outputs of an iteration invalid."""

    def change(runner):
        if runner.iter == when:
            runner.outputs["loss"] = runner.outputs["loss"].detach() * 0 + loss
            runner.outputs["log_vars"] = {"loss_box": 1.5, **log_vars}

    return ClosureHook("after_train_iter", change)


def test_an_invalid_loss_ends_the_run_and_says_where(make_runner, batches):
    runner = make_runner(max_epochs=5)
    runner.register_hook(spoil(5, loss_cls=torch.tensor(math.inf), loss_mask=math.nan, name="x"), "HIGH")
    runner.register_hook(CheckInvalidLossHook(interval=3))
    with pytest.raises(InvalidLossError) as caught:
        runner.run([batches], TRAIN)
    assert str(caught.value).startswith(
        "the loss is nan at iteration 6 (epoch 2, its iteration 2); not finite among the log_vars: "
        "loss_cls = inf, loss_mask = nan. Try a lower learning rate"
    )
    assert isinstance(caught.value, FloatingPointError)
    assert isinstance(caught.value, MMHooksError)
    assert runner.iter == 5


def test_an_infinite_loss_whose_log_vars_are_fine(make_runner, batches):
    runner = make_runner(IterBasedRunner, max_iters=5)
    runner.register_hook(spoil(1, -math.inf), "HIGH")
    runner.register_hook(CheckInvalidLossHook(1))
    with pytest.raises(InvalidLossError, match=r"the loss is -inf at iteration 2 .* among the log_vars: none"):
        runner.run([batches], TRAIN)


def test_a_loss_of_several_values(make_runner, batches):
    runner = make_runner(max_epochs=1)
    runner.register_hook(spoil(0, torch.tensor([1.0, math.nan, math.inf])), "HIGH")
    runner.register_hook(CheckInvalidLossHook(1))
    with pytest.raises(InvalidLossError, match="the loss is a tensor with 2 such values at iteration 1"):
        runner.run([batches], TRAIN)


def test_between_the_intervals_nobody_looks(make_runner, batches):
    class Watched(torch.Tensor):
        looks = 0

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            cls.looks += function in (torch.isfinite, torch.Tensor.isfinite)
            return super().__torch_function__(function, types, args, kwargs or {})

    runner = make_runner(max_epochs=3)
    runner.register_hook(
        ClosureHook("after_train_iter", lambda r: r.outputs.update(loss=torch.ones(()).as_subclass(Watched))), "HIGH"
    )
    runner.register_hook(CheckInvalidLossHook(5))
    runner.register_hook(spoil(10), "HIGHEST")  # is healthy again by the time of a look
    runner.run([batches], TRAIN)
    assert Watched.looks == 2
    assert runner.iter == 12
    assert CheckInvalidLossHook().interval == 50


def test_no_loss_to_look_at(make_runner, batches):
    runner = make_runner(max_epochs=1)
    runner.register_hook(ClosureHook("after_train_iter", lambda r: r.outputs.pop("loss")), "HIGH")
    runner.register_hook(CheckInvalidLossHook(1))
    with pytest.raises(ModelError, match="CheckInvalidLossHook finds no 'loss' in what Net's train step returned"):
        runner.run([batches], TRAIN)


@pytest.mark.parametrize("interval", [0, -1, 2.5, True, None])
def test_bad_intervals(interval):
    with pytest.raises(ConfigError, match="CheckInvalidLossHook's interval must be a positive integer, not"):
        CheckInvalidLossHook(interval)


def test_all_are_registered(make_runner):
    runner = make_runner(max_epochs=1)
    for name in ("DistSamplerSeedHook", "EmptyCacheHook", "CheckInvalidLossHook", "SyncBuffersHook", "ProfilerHook"):
        runner.register_hook({"type": name})
        assert type(runner.hooks[-1]).__name__ == name
    runner.register_hook({"type": "ClosureHook", "fn_name": "after_run", "fn": print})
