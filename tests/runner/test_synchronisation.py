"""Between log intervals nothing waits for the device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmhooks import CheckInvalidLossHook, EMAHook, EpochBasedRunner, Hook, IterBasedRunner

WAITING = {"_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero"}


class Waits(TorchDispatchMode):
    """Counts what turns a tensor into a number, by the iteration in which it happens."""

    def __init__(self):
        super().__init__()
        self.iteration = 0
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in WAITING:
            self.found.append(self.iteration)
        return function(*args, **(kwargs or {}))


class Tell(Hook):
    """Tells the counter which iteration it is, before all other hooks."""

    def __init__(self, waits):
        self.waits = waits

    def before_train_iter(self, runner):
        self.waits.iteration = runner.iter + 1


OPTIMIZERS = {
    "clipped": {"grad_clip": {"max_norm": 1.0}},
    "accumulated": {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 2, "grad_clip": {"max_norm": 1.0}},
    "bf16": {"type": "Fp16OptimizerHook", "dtype": "bf16", "grad_clip": {"max_norm": 1.0}},
}


def register(runner, interval, optimizer_config):
    runner.register_training_hooks(
        lr_config={
            "policy": "CosineAnnealing",
            "min_lr": 0.0,
            "by_epoch": False,
            "warmup": "linear",
            "warmup_iters": 3,
        },
        optimizer_config=optimizer_config,
        log_config={"interval": interval, "hooks": [{"type": "TextLoggerHook"}]},
        momentum_config={"policy": "CosineAnnealing", "min_momentum": 0.5, "by_epoch": False},
    )
    runner.register_hook(EMAHook(), "ABOVE_NORMAL")
    runner.register_hook(CheckInvalidLossHook(interval))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("kind", "length"), [(EpochBasedRunner, {"max_epochs": 2}), (IterBasedRunner, {"max_iters": 8})]
)
def test_tensors_become_numbers_only_where_a_line_is_logged(make_runner, batches, kind, length, name):
    waits = Waits()
    runner = make_runner(kind, **length)
    runner.register_hook(Tell(waits), "HIGHEST")
    register(runner, 4, OPTIMIZERS[name])
    with waits:
        runner.run([batches], [("train", 1)])
    assert set(waits.found) == {4, 8}


def test_the_counter_sees_a_number(make_runner, batches, at):
    waits = Waits()
    runner = make_runner(max_epochs=1)
    runner.register_hook(Tell(waits), "HIGHEST")
    runner.register_optimizer_hook({})
    runner.register_hook(at(after_train_iter=lambda r: r.iter == 2 and float(r.outputs["loss"])))
    with waits:
        runner.run([batches], [("train", 1)])
    assert set(waits.found) == {3}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["clipped", "accumulated", "bf16"])
def test_no_wait_on_a_gpu(make_runner, make_model, batches, at, name):
    def strict(runner):
        torch.cuda.set_sync_debug_mode("error")

    runner = make_runner(model=make_model().cuda(), max_epochs=3)
    register(runner, 1000, OPTIMIZERS[name])
    # the first epoch sets things up (kernels, buffers); the copies of pinned batches do not wait
    runner.register_hook(at(before_train_iter=lambda r: r.epoch == 1 and strict(r)), "HIGHEST")
    pinned = [{key: value.pin_memory() for key, value in batch.items()} for batch in batches]
    try:
        runner.run([pinned], [("train", 1)])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert runner.iter == 12
