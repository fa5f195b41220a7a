"""EMAHook's options and the small hooks under a Trainer: the weights and the effects of the native runners."""

import logging
import math

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from mmhooks import (
    CheckInvalidLossHook,
    CheckpointHook,
    ClosureHook,
    DistSamplerSeedHook,
    EMAHook,
    EmptyCacheHook,
    EpochBasedRunner,
    InvalidLossError,
    IterBasedRunner,
    ProfilerHook,
    SyncBuffersHook,
)
from mmhooks_lightning import HookCallback, HookedModule

DRIVERS = ("native", "lightning")
QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2))

    def train_step(self, data, optimizer=None, **kwargs):
        loss = nn.functional.cross_entropy(self.body(data[0]), data[1])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data[0])}

    val_step = train_step


def loader(sampler=None):
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=8, sampler=sampler)


def train(driver, folder, hooks, by_epoch=True, length=3, workflow=(("train", 1),), data=None, resume=None):
    """Give the runner and the model; hooks is a list of (hook, priority)."""
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    data, workflow = data or loader(), list(workflow)
    if driver == "native":
        limit = {"max_epochs": length} if by_epoch else {"max_iters": length}
        kind = EpochBasedRunner if by_epoch else IterBasedRunner
        target = runner = kind(model, optimizer=optimizer, work_dir=folder, logger=QUIET, **limit)
    else:
        target = HookCallback(work_dir=folder, by_epoch=by_epoch, max_iters=None if by_epoch else length,
                              workflow=workflow, logger=QUIET)  # fmt: skip
        runner = target.runner
    target.register_training_hooks(lr_config={"policy": "fixed"}, optimizer_config={})
    for hook, priority in hooks:
        target.register_hook(hook, priority)
    if resume is not None:
        target.resume(resume)
    if driver == "native":
        runner.run([data] * len(workflow), workflow)
    else:
        trainer = L.Trainer(max_epochs=length if by_epoch else -1, callbacks=[target], logger=False,
                            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                            use_distributed_sampler=False, accelerator="cpu")  # fmt: skip
        trainer.fit(HookedModule(model, optimizer), data, data if len(workflow) > 1 else None)
    return runner, model


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(one, other):
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("count", [4, 5])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_swapped_file_is_resumed_by_either_driver(tmp_path, driver, count):
    # a run begins its loader anew, so every batch is the same one
    data = DataLoader(loader().dataset, batch_size=40)

    def hooks():
        return [(EMAHook(0.05, swap_interval=4), "ABOVE_NORMAL"), (CheckpointHook(1, by_epoch=False), "NORMAL")]

    _, whole = train("lightning", tmp_path / "whole", hooks(), False, 10, data=data)
    file = tmp_path / "whole" / f"iter_{count}.pth"
    _, resumed = train(driver, tmp_path / "resumed", hooks(), False, 10, data=data, resume=file)
    assert_same(state(resumed), state(whole))


class Lit(L.LightningModule):
    """An ordinary module with automatic optimization."""

    def __init__(self):
        super().__init__()
        self.net = Net()

    def training_step(self, batch, batch_idx):
        return self.net.train_step(batch)["loss"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def test_averages_of_an_ordinary_module(tmp_path):
    _, native = train("native", tmp_path, [(EMAHook(0.05, swap_interval=4), "ABOVE_NORMAL")], False, 10)
    torch.manual_seed(0)
    module = Lit()
    bridge = HookCallback([(EMAHook(0.05, swap_interval=4), "ABOVE_NORMAL")], work_dir=tmp_path, by_epoch=False,
                          max_iters=10, logger=QUIET)  # fmt: skip
    trainer = L.Trainer(max_epochs=-1, callbacks=[bridge], logger=False, enable_checkpointing=False,
                        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(module, loader())
    for name, value in native.named_parameters():
        assert torch.equal(value, module.net.get_parameter(name))


class Counting(EmptyCacheHook):
    calls = 0

    def empty_cache(self, runner):
        super().empty_cache(runner)
        self.calls += 1


@pytest.mark.parametrize("by_epoch", [True, False])
def test_the_small_hooks_in_one_run(tmp_path, by_epoch):
    results = []
    for driver in DRIVERS:
        seen = []
        emptying = Counting(before_epoch=True, after_iter=True)
        sampler = DistributedSampler(range(40), num_replicas=2, rank=1, shuffle=True)
        traces = []
        profiler = ProfilerHook(by_epoch, 2, ["cpu"], on_trace_ready=lambda p, traces=traces: traces.append(
            sum(event.count for event in p.key_averages() if event.key == "aten::tanh")))  # fmt: skip
        hooks = [
            (DistSamplerSeedHook(), "NORMAL"),
            (emptying, "NORMAL"),
            (SyncBuffersHook(), "NORMAL"),
            (CheckInvalidLossHook(1), "NORMAL"),
            (profiler, "NORMAL"),
            (ClosureHook("before_train_iter", lambda r, seen=seen, s=sampler: seen.append(
                (s.epoch, r.data_batch[0].sum().item()))), "NORMAL"),
        ]  # fmt: skip
        length = 3 if by_epoch else 8
        _, model = train(driver, tmp_path / driver, hooks, by_epoch, length, data=loader(sampler))
        results.append((seen, emptying.calls, traces, state(model)))
    native, bridge = results
    assert native[:3] == bridge[:3]
    assert_same(native[3], bridge[3])
    epochs = [epoch for epoch, _ in native[0]]
    assert epochs == ([0, 0, 0, 1, 1, 1, 2, 2, 2] if by_epoch else [0, 0, 0, 1, 1, 1, 2, 2])
    assert native[1] == (3 * (1 + 1 + 3) if by_epoch else 1 + 1 + 8)
    assert native[2] == [6 if by_epoch else 2]


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_invalid_loss_and_the_profile_of_a_run_that_fails(tmp_path, driver):
    spoil = ClosureHook("after_train_iter", lambda r: r.iter == 6 and r.outputs.update(loss=torch.tensor(math.nan)))
    with pytest.raises(InvalidLossError, match=r"the loss is nan at iteration 7 \(epoch 2, its iteration 2\)"):
        train(driver, tmp_path, [(ProfilerHook(activities=["cpu"], profile_iters=3), "NORMAL"), (spoil, "NORMAL"),
                                 (CheckInvalidLossHook(1), "LOW")])  # fmt: skip
    assert not torch.autograd._profiler_enabled()  # or the process would crash at its end
    hook = ProfilerHook(activities=["cpu"])
    train(driver, tmp_path, [(hook, "NORMAL")])
    assert sum(event.count for event in hook.profiler.key_averages() if event.key == "aten::tanh") == 5
    assert not torch.autograd._profiler_enabled()


@pytest.mark.parametrize("driver", DRIVERS)
def test_traces_go_below_the_work_dir(tmp_path, driver):
    hook = ProfilerHook(by_epoch=False, activities=["cpu"], on_trace_ready={"type": "tb_trace"})
    train(driver, tmp_path, [(hook, "NORMAL")], length=1)
    (file,) = (tmp_path / "tf_tracing_logs").iterdir()
    assert file.name.endswith(".pt.trace.json")


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_done_when_a_run_is_left(tmp_path, driver, fails):
    def follow(runner):
        if runner.iter == 2:
            runner.on_leave(lambda: done.append(runner.iter))
        if runner.iter == 4 and fails:
            raise ValueError("stop here")

    done = []
    hooks = [(ClosureHook("after_train_iter", follow), "NORMAL")]
    if fails:
        with pytest.raises(ValueError, match="stop here"):
            train(driver, tmp_path, hooks, False, 6)
    else:
        train(driver, tmp_path, hooks, False, 6)
    assert done == [4 if fails else 6]
