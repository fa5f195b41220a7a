"""Runners and hooks of projects written for MMCV, which override what MMCV's classes have under those names."""

import sys
import time
from pathlib import Path

import pytest
import torch

from mmhooks import (
    CheckpointHook,
    EMAHook,
    EpochBasedRunner,
    EvalHook,
    HookError,
    IterBasedRunner,
    OptimizerHook,
    TextLoggerHook,
)
from mmhooks.distributed import MMDataParallel
from mmhooks.runner.iteration import IterLoader

sys.path.insert(0, str(Path(__file__).parents[1]))
from containers import DataContainer

TRAIN = [("train", 1)]


def weights(runner):
    return torch.cat([value.flatten() for value in runner.model.state_dict().values()])


def files(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


# runners ------------------------------------------------------------------------------------------------------


class QuietSaves(EpochBasedRunner):
    """Returns nothing, as MMCV's method does."""

    def save_checkpoint(self, *args, **kwargs):
        super().save_checkpoint(*args, **kwargs)


def test_a_save_checkpoint_that_returns_nothing(make_runner, batches, tmp_path):
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    hook = type("Scored", (EvalHook,), {"evaluate": lambda self, runner, results: next(scores)})
    runner = make_runner(QuietSaves, max_epochs=5, meta={})
    runner.register_training_hooks({"policy": "fixed"}, {}, {"interval": 1, "max_keep_ckpts": 2})
    runner.register_hook(hook(batches, save_best="acc"))
    runner.run([batches], TRAIN)
    work = tmp_path / "work"
    assert files(work) == ["best_acc_epoch_2.pth", "epoch_4.pth", "epoch_5.pth", "latest.pth"]
    assert runner.meta["hook_msgs"] == {
        "last_ckpt": str(work / "epoch_5.pth"),
        "best_score": 0.5,
        "best_ckpt": str(work / "best_acc_epoch_2.pth"),
    }


class OwnLoop(EpochBasedRunner):
    """Has a ``run`` of its own, which calls the points itself."""

    def run(self, data_loaders, workflow, max_epochs=None):
        self._max_iters = self._max_epochs * len(data_loaders[0])
        self.logger.info("%s", self.get_hook_info())
        self.call_hook("before_run")
        while self.epoch < self._max_epochs:
            self.train(data_loaders[0])
        self.call_hook("after_run")


@pytest.mark.parametrize("averages", [False, True])
def test_a_run_of_its_own_resumes_the_states_of_hooks(make_runner, batches, tmp_path, averages):
    def make(kind, length, folder):
        runner = make_runner(kind, max_epochs=length, work_dir=tmp_path / folder)
        runner.register_training_hooks({"policy": "fixed"}, {}, {"interval": 1, "max_keep_ckpts": 2})
        if averages:
            runner.register_hook(EMAHook(), "ABOVE_NORMAL")
        return runner

    whole = make(EpochBasedRunner, 6, "whole")
    whole.run([batches], TRAIN)
    make(OwnLoop, 3, "parts").run([batches], TRAIN)
    again = make(OwnLoop, 6, "parts")
    again.resume(tmp_path / "parts" / "epoch_3.pth")
    again.run([batches], TRAIN)
    assert weights(again).equal(weights(whole))
    assert files(tmp_path / "whole") == ["epoch_5.pth", "epoch_6.pth", "latest.pth"]
    assert files(tmp_path / "parts") == ["epoch_3.pth", "epoch_5.pth", "epoch_6.pth", "latest.pth"]  # it went on from 3


class OwnCalls(IterBasedRunner):
    """Calls the hooks itself, as MMCV's runner does."""

    def call_hook(self, fn_name):
        for hook in self._hooks:
            getattr(hook, fn_name)(self)


def test_a_call_hook_of_its_own(make_runner, batches, make_model):
    ends = []
    for kind in (IterBasedRunner, OwnCalls):
        model = make_model()
        runner = make_runner(kind, model=model, max_iters=6)
        runner.register_training_hooks({"policy": "fixed"}, {}, None)
        runner.register_hook(EMAHook(momentum=0.3, warm_up=1))
        runner.run([batches], TRAIN)
        ends.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert ends[0].equal(ends[1])


def test_mmcvs_names_of_a_runners_parts(make_runner, at):
    runner = make_runner(max_epochs=1)
    assert (runner._model_name, runner._rank, runner._world_size) == ("Net", 0, 1)
    seen = []
    first, second = (at(before_run=lambda r, name=name: seen.append(name)) for name in "ab")
    runner.register_hook(first)
    runner.register_hook(second)
    runner._hooks = [second, first]
    runner.call_hook("before_run")
    assert seen == ["b", "a"]
    assert runner.hooks is runner._hooks
    loader = IterLoader([1, 2])
    assert (loader._dataloader, next(loader.iter_loader)) == ([1, 2], 1)


# batches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda model: model, MMDataParallel])
@pytest.mark.parametrize(("kind", "length"), [(EpochBasedRunner, "max_epochs"), (IterBasedRunner, "max_iters")])
def test_hooks_see_the_loaders_batch_and_the_model_its_content(
    make_runner, make_model, batches, at, wrap, kind, length
):
    held = [{"x": DataContainer([batch["x"]]), "y": batch["y"]} for batch in batches]
    ends = []
    for loader in (batches, held):
        runner = make_runner(kind, model=wrap(make_model()), **{length: 2})
        runner.register_training_hooks({"policy": "fixed"}, {}, None)
        seen = []
        runner.register_hook(at(before_iter=lambda r, seen=seen: seen.append(r.data_batch)))
        runner.run([loader, loader], [("train", 1), ("val", 1)])
        assert all(any(one is batch for batch in loader) for one in seen)
        ends.append(weights(runner))
    assert ends[0].equal(ends[1])


class Queue(EpochBasedRunner):
    """Feeds a batch piece by piece, as runners for video do."""

    def run_iter(self, data_batch, train_mode, **kwargs):
        x = data_batch["x"].data[0]
        for piece, label in zip(x, data_batch["y"], strict=True):
            data = {"x": DataContainer([piece[None]]), "y": label[None]}
            self.outputs = self.model.train_step(data, self.optimizer, **kwargs)
        self.log_buffer.update(self.outputs["log_vars"], self.outputs["num_samples"])


def test_a_run_iter_that_opens_the_containers_itself(make_runner, make_model, batches):
    runner = make_runner(Queue, model=MMDataParallel(make_model()), max_epochs=1)
    runner.register_training_hooks({"policy": "fixed"}, {}, None)
    runner.run([[{"x": DataContainer([batch["x"]]), "y": batch["y"]} for batch in batches]], TRAIN)
    assert len(runner.model.module.train_kwargs) == sum(len(batch["y"]) for batch in batches)


@pytest.mark.parametrize(
    ("kind", "length"), [(EpochBasedRunner, {"max_epochs": 1}), (IterBasedRunner, {"max_iters": 4})]
)
def test_another_batch_in_a_hook_is_not_trained_on(make_runner, batches, at, kind, length):
    ends = []
    for change in (lambda r: None, lambda r: setattr(r, "data_batch", batches[0])):
        runner = make_runner(kind, **length)
        runner.register_training_hooks({"policy": "fixed"}, {}, None)
        runner.register_hook(at(before_train_iter=change))
        runner.run([batches], TRAIN)
        ends.append(weights(runner))
    assert ends[0].equal(ends[1])


# hooks --------------------------------------------------------------------------------------------------------


class Noting:
    """Mixed into a hook: notes the calls of a method, and does what it does."""

    method = ""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        inherited = getattr(super(cls, cls), cls.method)

        def noted(self, *args):
            self.calls = getattr(self, "calls", 0) + 1
            return inherited(self, *args)

        setattr(cls, cls.method, noted)


class Saves(Noting, CheckpointHook):
    method = "_save_checkpoint"


class Swaps(Noting, EMAHook):
    method = "_swap_ema_parameters"


class Prints(Noting, TextLoggerHook):
    method = "_log_info"


class Dumps(Noting, TextLoggerHook):
    method = "_dump_log"


@pytest.mark.parametrize(
    ("make", "calls"),
    [
        (lambda: Saves(1), 3),
        (lambda: Swaps(), 6),
        (lambda: Prints(interval=2), 6),
        (lambda: Dumps(interval=2), 7),  # with the first line, the run's meta
    ],
)
def test_methods_that_subclasses_override(make_runner, batches, make, calls):
    runner = make_runner(max_epochs=3, meta={"seed": 0})
    runner.register_training_hooks({"policy": "fixed"}, {}, None)
    hook = make()
    runner.register_hook(hook, "LOW")
    runner.run([batches], TRAIN)
    assert hook.calls == calls


def test_the_folder_of_a_checkpoint_hook(make_runner, batches, tmp_path):
    hook = CheckpointHook(1)
    assert hook.out_dir is None
    elsewhere = CheckpointHook(1, out_dir=str(tmp_path / "elsewhere"), create_symlink=False)
    runner = make_runner(max_epochs=1)
    runner.register_training_hooks({"policy": "fixed"}, {}, hook)
    runner.register_hook(elsewhere)
    for length in (1, 2):
        runner.run([batches], TRAIN, length)
        assert hook.out_dir == str(tmp_path / "work")
        assert elsewhere.out_dir == str(tmp_path / "elsewhere" / "work")


class StepsOther(OptimizerHook):
    """Steps what is not the runner's one optimizer, in its own way."""

    def after_train_iter(self, runner):
        optimizers = runner.optimizer.values() if isinstance(runner.optimizer, dict) else [self.own]
        for optimizer in optimizers:
            optimizer.zero_grad()
        runner.outputs["loss"].backward()
        self.clip_grads(runner.model.parameters())
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize("several", [True, False])
def test_an_optimizer_hook_that_steps_in_its_own_way(make_runner, make_model, batches, several):
    model = make_model()
    before = weights(make_runner(model=model))
    one = torch.optim.SGD(model.parameters(), lr=0.1)
    hook = StepsOther(grad_clip={"max_norm": 1.0})
    hook.own = one
    runner = make_runner(model=model, optimizer={"one": one} if several else None, max_epochs=1)
    runner.register_hook(hook)
    runner.run([batches], TRAIN)
    assert not weights(runner).equal(before)


def test_an_optimizer_hook_that_only_looks(make_runner, batches):
    class Looks(OptimizerHook):
        def after_train_iter(self, runner):
            self.norm = float(runner.model.last.weight.grad.norm())

    runner = make_runner(max_epochs=1)
    runner.register_training_hooks({"policy": "fixed"}, {}, None)
    looks = Looks()
    runner.register_hook(looks)
    runner.run([batches], TRAIN)
    assert looks.norm > 0
    runner.register_hook(type("Steps", (OptimizerHook,), {})())
    with pytest.raises(HookError, match="OptimizerHook and Steps are both registered"):
        runner.run([batches], TRAIN, 2)


def test_an_evaluation_of_its_own_needs_nothing_to_measure(make_runner, batches):
    class Counts(EvalHook):
        def _do_evaluate(self, runner):
            runner.log_buffer.output["count"] = len(self.dataloader)
            runner.log_buffer.ready = True
            self.done = time.perf_counter()

    hook = Counts(batches)
    runner = make_runner(max_epochs=1)
    runner.register_training_hooks({"policy": "fixed"}, {}, None)
    runner.register_hook(hook)
    runner.run([batches], TRAIN)
    assert hook.done
    assert runner.log_buffer.output["count"] == 4
