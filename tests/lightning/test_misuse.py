"""What cannot work is refused before training, with words that say what to write instead."""

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from mmhooks import (
    CheckInvalidLossHook,
    ConfigError,
    EMAHook,
    Fp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    Hook,
    HookError,
    ModelError,
    OptimizerHook,
    RegistryError,
    StepLrUpdaterHook,
)
from mmhooks_lightning import HookCallback, HookedModule

VAL = [("train", 1), ("val", 1)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"workflow": [("train", 1), ("val", 2)]}, r"write \[\('train', n\)\] or \[\('train', n\), \('val', 1\)\]"),
        ({"workflow": [("val", 1), ("train", 1)]}, "no equal"),
        ({"workflow": ["train"]}, "no equal"),
        ({"workflow": [("train", 1), ("val", 0)], "by_epoch": False, "max_iters": 5}, "no equal"),
        ({"max_iters": 5}, "add by_epoch=False"),
        ({"max_iters": "5", "by_epoch": False}, "max_iters must be 0 or a positive integer"),
        ({"max_iters": -1, "by_epoch": False}, "max_iters must be 0 or a positive integer"),
        ({"work_dir": 3}, "work_dir must be a path"),
    ],
)
def test_arguments_without_an_equal(arguments, says):
    with pytest.raises(ConfigError, match=says):
        HookCallback(**arguments)


@pytest.mark.parametrize(
    ("hooks", "says"),
    [
        (EMAHook(), r"write HookCallback\(\[MyHook\(\), \.\.\.\]\)"),
        (EMAHook, "takes a list of hooks, not EMAHook"),
        ([EMAHook], r"write EMAHook\(\)"),
        (["EMAHook"], r"write dict\(type='EMAHook'\)"),
        ([(EMAHook(), "HIGH", 3)], r"write \(MyHook\(\), 'HIGH'\)"),
        ([EarlyStopping("loss")], "EarlyStopping is a callback of Lightning: register as_hook"),
        ([torch.nn.Linear(1, 1)], "Linear is no hook"),
    ],
)
def test_what_is_no_list_of_hooks(hooks, says):
    with pytest.raises(TypeError, match=says):
        HookCallback(hooks)


def test_a_name_that_is_no_hook():
    with pytest.raises(RegistryError, match="'EMAHook'"):
        HookCallback([{"type": "EMAHok"}])


def test_a_model_without_train_step():
    with pytest.raises(ModelError, match="has no train_step"):
        HookedModule(torch.nn.Linear(1, 1))


def test_a_hooked_module_alone(kit):
    with pytest.raises(HookError, match="needs a HookCallback"):
        kit.trainer().fit(HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1}), kit.loader)


def test_two_callbacks(kit, kind):
    one = kit.setup(kind, callbacks=[HookCallback()])
    for run in (one.trainer.fit, one.trainer.validate):
        with pytest.raises(HookError, match="two HookCallbacks"):
            run(one.module, kit.loader)


def test_the_trainer_of_another_package(kit):
    other = type("Trainer", (), {"__module__": "pytorch_lightning.trainer"})()
    with pytest.raises(ConfigError, match="import lightning as L"):
        HookCallback().setup(other, kit.Lit(), "fit")


@pytest.mark.parametrize("hook", [OptimizerHook, lambda: GradientCumulativeOptimizerHook(2)])
def test_two_hooks_that_step(kit, kind, hook):
    one = kit.setup(kind, hooks=[hook(), *([] if kind == "hooked" else [OptimizerHook()])])
    with pytest.raises(HookError, match="OptimizerHook are both registered"):
        one.trainer.fit(one.module, kit.loader)
    assert one.points.count("before_train_iter") == 0


@pytest.mark.parametrize(
    ("hook", "module", "settings", "says"),
    [
        (lambda: OptimizerHook({"max_norm": 1, "norm_type": 1}), {}, {}, "2-norm"),
        (lambda: GradientCumulativeOptimizerHook(2), {}, {}, "not a multiple of cumulative_iters=2"),
        (lambda: OptimizerHook({"max_norm": 1}), {}, {"gradient_clip_val": 2}, "contradict"),
        (lambda: OptimizerHook(detect_anomalous_params=True), {}, {}, "looks at the graph of the loss"),
        (OptimizerHook, {"manual": True}, {}, "steps its optimizers itself"),
        (lambda: StepLrUpdaterHook(step=1), {"scheduler": True}, {}, "would both set the lr"),
    ],
)
def test_hooks_beside_lightnings_own_optimization(kit, hook, module, settings, says):
    one = kit.setup("ordinary", hooks=[hook()], module=kit.Lit(**module), **settings)
    with pytest.raises((ConfigError, HookError), match=says):
        one.trainer.fit(one.module, kit.loader)
    assert one.points.count("before_train_iter") == 0


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-true", "bf16-true"])
def test_mixed_precision_of_a_hook_and_of_the_trainer(kit, precision):
    module = HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1})
    one = kit.setup("ordinary", hooks=[Fp16OptimizerHook()], module=module, precision=precision)
    with pytest.raises(HookError, match="would both bring mixed precision: keep the hook"):
        one.trainer.fit(module, kit.loader)
    assert one.points.count("before_train_iter") == 0


def test_validation_without_what_it_needs(kit, kind):
    one = kit.setup(kind, bridge={"workflow": VAL})
    with pytest.raises(ConfigError, match="has no val loader: pass one to fit"):
        one.trainer.fit(one.module, kit.loader)
    model = type("OnlyTrains", (torch.nn.Linear,), {"train_step": kit.Model.train_step})(4, 2)
    one = kit.setup("ordinary", bridge={"workflow": VAL}, module=HookedModule(model, {"type": "SGD", "lr": 0.1}))
    with pytest.raises(ConfigError, match="OnlyTrains has no val_step"):
        one.trainer.fit(one.module, kit.loader, kit.loader)


def test_an_iteration_based_run_needs_its_length_and_when_to_validate(kit, kind):
    one = kit.setup(kind, bridge={"by_epoch": False})
    with pytest.raises(ConfigError, match=r"HookCallback\(by_epoch=False, max_iters=N\)"):
        one.trainer.fit(one.module, kit.loader)
    one = kit.setup("hooked", False)
    with pytest.raises(ConfigError, match=r"workflow=\[\('train', 1000\), \('val', 50\)\]"):
        one.trainer.fit(one.module, kit.loader, kit.loader)


class Wants(Hook):
    def after_train_iter(self, runner):
        runner.outputs["scores"]


def test_a_hook_that_wants_outputs_which_an_ordinary_step_has_not(kit):
    one = kit.setup("ordinary", hooks=[Wants()])
    with pytest.raises(ModelError, match=r"runner\.outputs\['scores'\].*Return it: dict\(loss=loss, scores=\.\.\.\)"):
        one.trainer.fit(one.module, kit.loader)
    with pytest.raises(KeyError):
        one.trainer.fit(one.module, kit.loader)

    class Manual(kit.Lit):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.manual_backward(loss)
            self.optimizers().step()

    one = kit.setup("ordinary", hooks=[CheckInvalidLossHook(interval=1)], module=Manual(manual=True))
    with pytest.raises(ModelError, match="finds no 'loss' in what Manual's train step returned"):
        one.trainer.fit(one.module, kit.loader)
