"""HookCallback on ordinary modules, and what it refuses."""

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from mmhooks import (
    CheckpointHook,
    EMAHook,
    EpochBasedRunner,
    GradientCumulativeOptimizerHook,
    Hook,
    OptimizerHook,
    StepLrUpdaterHook,
)
from mmhooks_lightning import HookCallback, HookedModule

TEN = ("before_run", "before_train_epoch", "before_train_iter", "after_train_iter", "after_train_epoch",
       "before_val_epoch", "before_val_iter", "after_val_iter", "after_val_epoch", "after_run")  # fmt: skip


class Points(Hook):
    def __init__(self):
        self.seen = []
        for point in TEN:
            setattr(self, point, lambda runner, point=point: self.seen.append((point, runner.epoch, runner.iter)))

    def count(self, point):
        return sum(entry[0] == point for entry in self.seen)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def names(folder):
    return sorted(path.name for path in folder.glob("*.pth"))


def test_three_lines_attach_hooks_to_an_ordinary_module(kit):
    points = Points()
    hooks = [(EMAHook(momentum=0.1), "HIGH"), CheckpointHook(interval=1, max_keep_ckpts=3), points]
    module = kit.Lit()
    trainer = kit.trainer(HookCallback(hooks, logger=kit.logger), max_epochs=5)
    trainer.fit(module, kit.loader, kit.loader)
    assert names(kit.folder / "mmhooks") == ["epoch_3.pth", "epoch_4.pth", "epoch_5.pth", "latest.pth"]
    assert points.count("after_train_iter") == 25
    assert points.count("after_val_iter") == 25
    assert trainer.global_step == 25
    assert not torch.equal(module.net.weight, module.ema_net_weight)  # swapped: the averages are the model's own now


def test_an_attached_run_goes_on_from_its_file(kit):
    def fit(until, folder, ckpt_path=None):
        torch.manual_seed(0)
        module = kit.Lit()
        hooks = [(EMAHook(momentum=0.1), "HIGH"), CheckpointHook(interval=1), (StepLrUpdaterHook(step=2), "VERY_HIGH")]
        callback = HookCallback(hooks, work_dir=kit.folder / folder, logger=kit.logger)
        kit.trainer(callback, max_epochs=until).fit(module, kit.loader, ckpt_path=ckpt_path)
        return module, callback.runner

    whole, _ = fit(4, "whole")
    fit(2, "half")
    resumed, runner = fit(4, "half", kit.folder / "half" / "epoch_2.pth")
    assert (runner.epoch, runner.iter) == (4, 20)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_hooks_do_not_change_what_lightning_trains(kit):
    def fit(*callbacks):
        torch.manual_seed(0)
        module = kit.Lit()
        kit.trainer(*callbacks).fit(module, kit.loader, kit.loader)
        return module.net.weight

    assert torch.equal(fit(), fit(HookCallback([Points()], logger=kit.logger)))


def test_frozen_parts_stay_in_eval_mode(kit):
    class LeaveEval(Hook):
        def after_train_epoch(self, runner):
            runner.model.eval()

    class Watch(Hook):
        seen: list[tuple[bool, bool]] = []  # noqa: RUF012

        def before_train_iter(self, runner):
            self.seen.append((runner.model.training, runner.model.net.training))

    module = kit.Lit()
    module.net.eval()
    kit.trainer(HookCallback([LeaveEval(), Watch()], logger=kit.logger)).fit(module, kit.loader)
    assert set(Watch.seen) == {(True, False)}


def test_optimizer_hooks_become_trainer_settings(kit):
    class Look(Hook):
        def after_run(self, runner):
            self.seen = (runner.trainer.gradient_clip_val, runner.trainer.accumulate_grad_batches)

    look, stepping = Look(), GradientCumulativeOptimizerHook(5, grad_clip={"max_norm": 0.5})
    callback = HookCallback([stepping, look], logger=kit.logger)
    trainer = kit.trainer(callback)
    trainer.fit(kit.Lit(), kit.loader)
    assert (*look.seen, trainer.global_step) == (0.5, 5, 2)
    assert (trainer.gradient_clip_val, trainer.accumulate_grad_batches) == (None, 1)
    assert callback.runner.hooks == [stepping, look]


@pytest.mark.parametrize("optimizer", ["object", "dict", "callable", "named"])
def test_ways_to_give_an_optimizer(kit, optimizer):
    model = kit.Model()
    source = {
        "object": sgd(model),
        "dict": {"type": "SGD", "lr": 0.1},
        "callable": sgd,
        "named": {"net": {"type": "SGD", "lr": 0.1}},
    }[optimizer]
    callback = HookCallback([] if optimizer == "named" else [OptimizerHook()], logger=kit.logger)
    trainer = kit.trainer(callback)
    trainer.fit(HookedModule(model, source), kit.loader)
    assert trainer.global_step == (0 if optimizer == "named" else 10)
    lr = callback.runner.current_lr()
    assert lr == ({"net": [0.1]} if optimizer == "named" else [0.1])


def test_global_step_and_max_epochs_are_the_trainers(kit):
    model = kit.Model()
    callback = HookCallback([OptimizerHook(), points := Points()], logger=kit.logger)
    trainer = kit.trainer(callback, max_epochs=3)
    trainer.fit(HookedModule(model, sgd(model)), kit.loader)
    assert (trainer.global_step, trainer.current_epoch) == (15, 3)
    assert (callback.runner.epoch, callback.runner.iter, callback.runner.max_iters) == (3, 15, 15)
    assert points.count("before_train_epoch") == 3


def test_weights_keep_the_models_own_names(kit):
    class Inner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = torch.nn.BatchNorm1d(2)  # a child with the very name that HookedModule uses

        def train_step(self, data, optimizer=None):
            return {}

    model = Inner()
    module = HookedModule(model)
    state = module.state_dict()
    assert list(state) == list(model.state_dict())
    assert state._metadata["model"] == {"version": 2}
    state["model.weight"] = torch.full((2,), 3.0)
    assert module.load_state_dict(state).missing_keys == []
    assert model.model.weight.tolist() == [3.0, 3.0]
    nested = torch.nn.ModuleDict({"inside": module})
    nested.load_state_dict(nested.state_dict())


def test_a_file_of_model_checkpoint_resumes_natively(kit):
    torch.manual_seed(0)
    model = kit.Model()
    saver = ModelCheckpoint(kit.folder / "own", filename="{epoch}", save_top_k=-1)
    callback = HookCallback([OptimizerHook()], logger=kit.logger)
    kit.trainer(callback, saver, enable_checkpointing=True).fit(HookedModule(model, sgd(model)), kit.loader)
    other = kit.Model()
    runner = EpochBasedRunner(other, optimizer=sgd(other), logger=kit.logger, max_epochs=2)
    runner.register_hook(OptimizerHook())
    runner.resume(kit.folder / "own" / "epoch=0.ckpt")
    assert (runner.epoch, runner.iter) == (1, 5)
    runner.run([kit.loader], [("train", 1)])
    assert torch.equal(other.net.weight, model.net.weight)


def test_a_hook_may_resume_when_the_run_begins(kit):
    """EMAHook(resume_from=...) moves the Trainer's counters too, and the record of kept files goes on."""

    def fit(until, **ema):
        torch.manual_seed(0)
        model = kit.Model()
        callback = HookCallback(work_dir=kit.folder / "work", logger=kit.logger)
        callback.register_hook(OptimizerHook(), "ABOVE_NORMAL")
        callback.register_hook(EMAHook(momentum=0.1, **ema), "ABOVE_NORMAL")
        callback.register_hook(CheckpointHook(interval=1, max_keep_ckpts=2))
        trainer = kit.trainer(callback, max_epochs=until)
        trainer.fit(HookedModule(model, sgd(model)), kit.loader)
        return model, trainer

    whole, _ = fit(4)
    fit(2)
    resumed, trainer = fit(4, resume_from=kit.folder / "work" / "epoch_2.pth")
    assert (trainer.global_step, trainer.current_epoch) == (20, 4)
    # the file that it went on from stays
    assert names(kit.folder / "work") == ["epoch_2.pth", "epoch_3.pth", "epoch_4.pth", "latest.pth"]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_averages_of_a_tested_file_do_not_reach_the_next_fit(kit):
    def fit(before=None):
        torch.manual_seed(0)
        module = kit.Lit()
        hooks = [(EMAHook(momentum=0.1), "HIGH"), CheckpointHook(interval=1)]
        callback = HookCallback(hooks, work_dir=kit.folder / "work", logger=kit.logger)
        if before is not None:
            kit.trainer(callback).test(before, kit.loader, ckpt_path=kit.folder / "work" / "latest.pth", verbose=False)
        kit.trainer(callback, max_epochs=1).fit(module, kit.loader)
        return module.state_dict()

    class Tested(kit.Lit):
        def test_step(self, batch, batch_idx):
            self.validation_step(batch, batch_idx)

    alone = fit()
    after_a_test = fit(Tested())
    assert all(torch.equal(alone[name], after_a_test[name]) for name in alone)
