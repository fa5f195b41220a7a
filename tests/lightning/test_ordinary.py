"""HookCallback on modules that know nothing of hooks: what optimizes them, what they return, what they load."""

import dataclasses
import json

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.optim.lr_scheduler import LinearLR, OneCycleLR, SequentialLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

from mmhooks import (
    CheckInvalidLossHook,
    CheckpointHook,
    ConfigError,
    CosineAnnealingMomentumUpdaterHook,
    EMAHook,
    EpochBasedRunner,
    Fp16OptimizerHook,
    GradientCumulativeFp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    Hook,
    HookError,
    IterTimerHook,
    OptimizerHook,
    StepLrUpdaterHook,
    StepMomentumUpdaterHook,
    TextLoggerHook,
)
from mmhooks.checkpoint import read_checkpoint
from mmhooks_lightning import HookCallback, HookedModule
from mmhooks_lightning.precision import FixedScaler


def data(count=40, size=8):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), size)


def lines(folder):
    (file,) = folder.glob("*.log.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


class Settings(Hook):
    """Keeps what the Trainer is set to in the run."""

    def after_run(self, runner):
        trainer = runner.trainer
        self.clip, self.group = trainer.gradient_clip_val, trainer.accumulate_grad_batches
        self.plugin = trainer.precision_plugin
        self.precision = trainer.precision


# optimizer hooks as settings ------------------------------------------------------------------------------


class Dtypes:
    """Mixed into a module: the type in which it computes."""

    def training_step(self, batch, batch_idx):
        self.dtype_seen = self.net(batch[0]).dtype
        return super().training_step(batch, batch_idx)


def fit(kit, hooks, settings=None, loader=None, module=None, callback=None, **fit_settings):
    torch.manual_seed(0)
    watched = type("Watched", (Dtypes, kit.Lit), {})
    module = module or watched()
    callback = callback or HookCallback([*hooks, settings or Settings()], work_dir=kit.folder, logger=kit.logger)
    trainer = kit.trainer(callback, **fit_settings)
    trainer.fit(module, loader or data())
    return module, trainer, callback


def test_bf16_becomes_the_precision_of_the_trainer(kit, caplog):
    settings = Settings()
    caplog.set_level("INFO", "quiet")
    kit.logger.addHandler(caplog.handler)
    try:
        module, trainer, _ = fit(kit, [Fp16OptimizerHook(dtype="bf16", grad_clip={"max_norm": 1})], settings)
    finally:
        kit.logger.removeHandler(caplog.handler)
    (said,) = [message for message in caplog.messages if "became Trainer" in message]
    assert (
        "Fp16OptimizerHook became Trainer(gradient_clip_val=1, precision='bf16-mixed'); the Trainer autocasts" in said
    )
    assert module.dtype_seen == torch.bfloat16
    assert (settings.precision, settings.clip) == ("bf16-mixed", 1)
    assert (trainer.precision, trainer.gradient_clip_val) == ("32-true", None)
    plain = kit.trainer(precision="bf16-mixed", gradient_clip_val=1)
    torch.manual_seed(0)
    other = type("Watched", (Dtypes, kit.Lit), {})()
    plain.fit(other, data())
    assert torch.equal(other.net.weight, module.net.weight)


@pytest.mark.parametrize(
    ("loss_scale", "state"),
    [
        ("dynamic", {"scale": 65536.0, "growth_interval": 2000}),
        ({"init_scale": 8.0, "growth_interval": 5}, {"scale": 32.0, "growth_interval": 5}),
        (64.0, {"scale": 64.0}),
    ],
)
def test_fp16_brings_a_scaler_as_the_hook_has_it(kit, loss_scale, state):
    settings = Settings()
    hook = Fp16OptimizerHook(loss_scale=loss_scale)
    scaler = hook.loss_scaler
    module, trainer, _ = fit(kit, [hook, CheckpointHook(interval=1)], settings)  # ten steps
    assert module.dtype_seen == torch.float16
    assert isinstance(settings.plugin, MixedPrecision)
    assert state.items() <= settings.plugin.scaler.state_dict().items()
    assert isinstance(settings.plugin.scaler, FixedScaler) == (loss_scale == 64.0)
    assert hook.loss_scaler is scaler
    assert type(trainer.precision_plugin).__name__ == "Precision"
    saved = read_checkpoint(kit.folder / "epoch_2.pth")
    assert state.items() <= saved["meta"]["fp16"]["loss_scaler"].items()
    assert state.items() <= saved["MixedPrecision"].items()


def test_a_fixed_scale_survives_an_overflow(kit):
    class Overflows(kit.Lit):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * float("inf") if batch_idx == 1 else loss

    for scale, left in ((64.0, 64.0), ("dynamic", 32768.0)):
        settings = Settings()
        module, *_ = fit(kit, [Fp16OptimizerHook(loss_scale=scale)], settings, module=Overflows(), max_epochs=1)
        assert settings.plugin.scaler.get_scale() == left
        assert module.net.weight.isfinite().all()


def test_the_scale_goes_on_from_a_file(kit):
    def hooks():
        return [Fp16OptimizerHook(loss_scale={"init_scale": 8.0, "growth_interval": 5}), CheckpointHook(interval=1)]

    fit(kit, hooks(), max_epochs=1)
    settings = Settings()
    callback = HookCallback([*hooks(), settings], work_dir=kit.folder, logger=kit.logger)
    torch.manual_seed(0)
    kit.trainer(callback).fit(kit.Lit(), data(), ckpt_path=kit.folder / "epoch_1.pth")
    assert settings.plugin.scaler.get_scale() == 32.0  # 8, doubled in each epoch
    callback.resume(kit.folder / "epoch_1.pth")
    kit.trainer(callback).fit(kit.Lit(), data())
    assert settings.plugin.scaler.get_scale() == 32.0


def test_accumulation_in_mixed_precision(kit):
    settings = Settings()
    _, trainer, _ = fit(kit, [GradientCumulativeFp16OptimizerHook(cumulative_iters=5, dtype="bf16")], settings)
    assert (settings.group, settings.precision, trainer.global_step) == (5, "bf16-mixed", 2)


class OwnStep(OptimizerHook):
    def after_train_iter(self, runner):
        super().after_train_iter(runner)


class OwnDefaults(GradientCumulativeOptimizerHook):
    def __init__(self):
        super().__init__(cumulative_iters=5)


class OwnClip(OptimizerHook):
    def clip_grads(self, params):
        return None


@pytest.mark.parametrize(
    ("hook", "settings", "says"),
    [
        (OwnStep, {}, "OwnStep has a after_train_iter of its own"),
        (OwnClip, {}, "clip_grads of its own"),
        (lambda: OptimizerHook({"max_norm": 1, "norm_type": "inf"}), {}, "2-norm"),
        (lambda: OptimizerHook({"max_norm": 1, "error_if_nonfinite": True}), {}, "2-norm"),
        (lambda: OptimizerHook({"max_norm": 1}), {"gradient_clip_algorithm": "value"}, "contradict"),
        (lambda: GradientCumulativeOptimizerHook(5), {"accumulate_grad_batches": 2}, "contradict"),
        (Fp16OptimizerHook, {"precision": "bf16-mixed"}, "precision='16-mixed', and replace the hook by OptimizerHook"),
        (Fp16OptimizerHook, {"precision": "64-true"}, "contradict"),
        (lambda: Fp16OptimizerHook(dtype="bf16"), {"plugins": [MixedPrecision("bf16-mixed", "cpu")]}, "contradict"),
        (
            lambda: GradientCumulativeFp16OptimizerHook(5, dtype="bf16"),
            {"precision": "64-true"},
            "by GradientCumulativeOptimizerHook",
        ),
        (
            lambda: GradientCumulativeOptimizerHook(5),
            {"callbacks": [GradientAccumulationScheduler({1: 5})]},
            "GradientAccumulationScheduler would both",
        ),
    ],
)
def test_what_has_no_equal_is_refused(kit, hook, settings, says):
    more = settings.pop("callbacks", []) if "callbacks" in settings else []
    trainer = kit.trainer(HookCallback([hook()], logger=kit.logger), *more, **settings)
    before = (trainer.gradient_clip_val, trainer.accumulate_grad_batches, trainer.precision)
    with pytest.raises((ConfigError, HookError), match=says):
        trainer.fit(kit.Lit(), data())
    assert before == (trainer.gradient_clip_val, trainer.accumulate_grad_batches, trainer.precision)


def test_a_subclass_with_other_arguments_only_is_what_its_base_is(kit):
    _, trainer, _ = fit(kit, [OwnDefaults()])
    assert trainer.global_step == 2


def test_the_trainers_own_precision_may_say_the_same(kit):
    settings = Settings()
    fit(kit, [Fp16OptimizerHook(dtype="bf16")], settings, precision="bf16-mixed")
    assert settings.precision == "bf16-mixed"


def test_accumulation_and_the_length_of_an_iteration_based_run(kit):
    def run(max_iters):
        callback = HookCallback(
            [GradientCumulativeOptimizerHook(5)], by_epoch=False, max_iters=max_iters, logger=kit.logger
        )
        trainer = kit.trainer(callback, max_epochs=-1)
        trainer.fit(kit.Lit(), data())
        return trainer.global_step

    assert run(10) == 2
    with pytest.raises(ConfigError, match="8 iterations are not a multiple of cumulative_iters=5"):
        run(8)
    with pytest.raises(ConfigError, match="3 iterations are not a multiple"):
        run(3)


def test_fits_with_one_trainer_or_one_callback_and_other_hooks(kit):
    first = HookCallback([OptimizerHook({"max_norm": 0.5})], logger=kit.logger)
    trainer = kit.trainer(first, max_epochs=1)
    trainer.fit(kit.Lit(), data())
    settings = Settings()
    trainer.callbacks[trainer.callbacks.index(first)] = HookCallback(
        [OptimizerHook({"max_norm": 2.0}), settings], logger=kit.logger
    )
    trainer.fit_loop.max_epochs = 2
    trainer.fit(kit.Lit(), data())
    assert settings.clip == 2.0
    for _ in range(2):  # the hooks are where they were, for a module of either kind
        kit.trainer(first, max_epochs=1).fit(kit.Lit(), data())
        model = kit.Model()
        weight = model.net.weight.clone()
        kit.trainer(first, max_epochs=1).fit(HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1)), data())
        assert not torch.equal(weight, model.net.weight)


def test_the_order_of_hooks_is_kept_by_a_fit(kit):
    hooks = [IterTimerHook(), OptimizerHook(), Settings(), Settings()]
    callback = HookCallback(hooks, logger=kit.logger)
    for _ in range(2):
        kit.trainer(callback, max_epochs=1).fit(kit.Lit(), data())
        assert callback.runner.hooks == hooks


# lr and momentum ------------------------------------------------------------------------------------------


class Scheduled(L.LightningModule):
    def __init__(self, make):
        super().__init__()
        self.net = nn.Linear(4, 2)
        self.make = make
        self.used = []

    def training_step(self, batch, batch_idx):
        group = self.optimizers().param_groups[0]
        self.used.append((round(group["lr"], 6), round(group["momentum"], 6)))
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        scheduler = self.make(optimizer)
        return optimizer if scheduler is None else {"optimizer": optimizer, "lr_scheduler": scheduler}


def one_cycle(optimizer, **kwargs):
    return {"scheduler": OneCycleLR(optimizer, 0.1, 20, **kwargs), "interval": "step"}


@pytest.mark.parametrize(
    ("make", "hook", "says"),
    [
        (lambda o: StepLR(o, 1), lambda: StepLrUpdaterHook(step=1), "StepLrUpdaterHook and the StepLR .* set the lr"),
        (one_cycle, lambda: CosineAnnealingMomentumUpdaterHook(min_momentum=0.5), "OneCycleLR .* set the momentum"),
        (
            lambda o: SequentialLR(o, [LinearLR(o), OneCycleLR(o, 0.1, 20)], [3]),
            lambda: StepMomentumUpdaterHook(step=1),
            "cycle_momentum=False",
        ),
    ],
)
def test_two_that_set_the_same_value(kit, make, hook, says):
    with pytest.raises(HookError, match=says):
        kit.trainer(HookCallback([hook()], logger=kit.logger)).fit(Scheduled(make), data())


@pytest.mark.parametrize("make", [lambda o: StepLR(o, 1), lambda o: one_cycle(o, cycle_momentum=False)])
def test_a_momentum_hook_beside_a_scheduler_of_the_lr(kit, make):
    module = Scheduled(make)
    kit.trainer(HookCallback([StepMomentumUpdaterHook(step=1, gamma=0.5)], logger=kit.logger)).fit(module, data())
    assert [momentum for _, momentum in module.used] == [0.9] * 5 + [0.45] * 5


def test_updaters_move_the_optimizer_of_the_module(kit):
    module = Scheduled(lambda optimizer: None)
    hooks = [
        StepLrUpdaterHook(step=1, warmup="linear", warmup_iters=2, warmup_ratio=0.5),
        StepMomentumUpdaterHook(step=1, gamma=0.5),
    ]
    callback = HookCallback([*hooks, CheckpointHook(interval=1)], work_dir=kit.folder, logger=kit.logger)
    kit.trainer(callback).fit(module, data())
    assert module.used == [(0.05, 0.9), (0.075, 0.9), *[(0.1, 0.9)] * 3, *[(0.01, 0.45)] * 5]
    resumed = Scheduled(lambda optimizer: None)  # a loaded state has param groups of its own
    kit.trainer(callback).fit(resumed, data(), ckpt_path=kit.folder / "epoch_1.pth")
    assert resumed.used == module.used[5:]


# manual optimization, several optimizers ------------------------------------------------------------------


class Gan(L.LightningModule):
    """Two networks against each other, two optimizers, stepped by hand."""

    def __init__(self, parts=("generator", "discriminator")):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Linear(4, 4)
        self.discriminator = nn.Linear(4, 1)
        self.parts = parts
        self.used = []

    def training_step(self, batch, batch_idx):
        real = batch[0]
        g, d = self.optimizers()
        self.used.append(tuple(round(one.param_groups[0]["lr"], 6) for one in (g, d)))
        noise = (real * 1e3).sin()  # nothing is drawn
        self.toggle_optimizer(g)
        g_loss = -self.discriminator(self.generator(noise)).mean()
        g.zero_grad()
        self.manual_backward(g_loss)
        g.step()
        self.untoggle_optimizer(g)
        self.toggle_optimizer(d)
        d_loss = self.discriminator(self.generator(noise).detach()).mean() - self.discriminator(real).mean()
        d.zero_grad()
        self.manual_backward(d_loss)
        d.step()
        self.untoggle_optimizer(d)
        self.log_dict({"g_loss": g_loss, "d_loss": d_loss}, prog_bar=True)

    def configure_optimizers(self):
        makers = {
            "generator": lambda: torch.optim.SGD(self.generator.parameters(), lr=0.1, momentum=0.5),
            "discriminator": lambda: torch.optim.Adam(self.discriminator.parameters(), lr=0.01),
            "all": lambda: torch.optim.SGD(self.parameters(), lr=0.02),
        }
        return [makers[part]() for part in self.parts]


def train_gan(kit, folder, until, ckpt_path=None):
    torch.manual_seed(0)
    module = Gan()
    hooks = [
        (StepLrUpdaterHook(step=2), "VERY_HIGH"),
        (EMAHook(momentum=0.1), "HIGH"),
        CheckpointHook(interval=1),
        IterTimerHook(),
        (TextLoggerHook(interval=5), "VERY_LOW"),
    ]
    callback = HookCallback(hooks, work_dir=kit.folder / folder, logger=kit.logger)
    trainer = kit.trainer(callback, max_epochs=until)
    trainer.fit(module, data(), ckpt_path=ckpt_path)
    return module, trainer, callback.runner


def test_a_gan_trains_and_resumes(kit):
    whole, trainer, runner = train_gan(kit, "whole", 4)
    assert (runner.epoch, runner.iter, trainer.global_step) == (4, 20, 40)
    assert whole.used == [(0.1, 0.01)] * 10 + [(0.01, 0.001)] * 10
    assert runner.current_lr() == {"generator": [pytest.approx(0.01)], "discriminator": [pytest.approx(0.001)]}
    assert runner.current_momentum() == {"generator": [0.5], "discriminator": [0.9]}
    written = lines(kit.folder / "whole")
    assert [line["epoch"] for line in written] == [1, 2, 3, 4]
    assert written[0]["lr"] == {"generator": 0.1, "discriminator": 0.01}
    assert {"g_loss", "d_loss", "time"} <= set(written[0])
    train_gan(kit, "half", 2)
    resumed, trainer, runner = train_gan(kit, "half", 4, kit.folder / "half" / "epoch_2.pth")
    assert (runner.epoch, runner.iter, trainer.global_step) == (4, 20, 40)
    assert resumed.used == whole.used[10:]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_hooks_do_not_change_what_a_gan_learns(kit):
    torch.manual_seed(0)
    plain = Gan()
    kit.trainer(max_epochs=2).fit(plain, data())
    hooked, *_ = train_gan(kit, "hooked", 2)
    for name, value in plain.state_dict().items():
        ema = hooked.state_dict()[f"ema_{name.replace('.', '_')}"]  # the averages are the model's own at the end
        assert torch.equal(value, ema), name


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        (("discriminator", "generator"), ["discriminator", "generator"]),
        (("generator", "all"), ["0", "1"]),
        (("generator", "generator"), ["0", "1"]),
    ],
)
def test_names_of_several_optimizers(kit, parts, names):
    class Look(Hook):
        def before_run(self, runner):
            self.optimizer = runner.optimizer

    look = Look()
    module = Gan(parts)
    module.training_step = lambda batch, batch_idx: None
    kit.trainer(HookCallback([look], logger=kit.logger), max_epochs=1).fit(module, data())
    assert list(look.optimizer) == names
    assert look.optimizer["0"] is look.optimizer[0] is next(iter(look.optimizer.values()))
    with pytest.raises(KeyError, match="0 to 1"):
        look.optimizer["critic"]


@pytest.mark.parametrize("hook", [OptimizerHook, Fp16OptimizerHook])
def test_a_gan_with_an_optimizer_hook(kit, hook):
    with pytest.raises(HookError, match="would step a second time"):
        kit.trainer(HookCallback([hook()], logger=kit.logger)).fit(Gan(), data())


# what steps return and loaders give -----------------------------------------------------------------------


@dataclasses.dataclass
class Item:
    x: torch.Tensor
    y: torch.Tensor


class Items(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, place):
        return Item(torch.full((4,), float(place)), torch.tensor(place % 2))


def collate(items):
    return Item(torch.stack([item.x for item in items]), torch.stack([item.y for item in items]))


class Outputs(Hook):
    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner):
        self.seen.append(runner.outputs)


def test_steps_that_return_this_and_that(kit):
    class Lit(kit.Lit):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return [
                loss,
                None,
                {"loss": loss, "more": 3},
                {"loss": loss, "log_vars": {"a": 2.0}, "num_samples": 4},
                loss,
            ][batch_idx]

    outputs = Outputs()
    hooks = [outputs, CheckInvalidLossHook(interval=1), TextLoggerHook(interval=5)]
    callback = HookCallback(hooks, work_dir=kit.folder, logger=kit.logger)
    trainer = kit.trainer(callback, max_epochs=1)
    trainer.fit(Lit(), data())
    assert [one["loss"] is None for one in outputs.seen] == [False, True, False, False, False]
    assert [one["num_samples"] for one in outputs.seen] == [8, 8, 8, 4, 8]
    assert outputs.seen[2]["more"] == 3
    assert (callback.runner.iter, callback.runner.max_iters) == (5, 5)
    history = callback.runner.log_buffer.val_history
    assert (len(history["loss"]), history["a"]) == (3, [2.0])


def test_batches_of_other_kinds(kit):
    class Lit(kit.Lit):
        def training_step(self, batch, batch_idx):
            return super().training_step((batch.x, batch.y), batch_idx)

    outputs = Outputs()
    kit.trainer(HookCallback([outputs], logger=kit.logger), max_epochs=1).fit(
        Lit(), DataLoader(Items(), 8, collate_fn=collate)
    )
    assert [one["num_samples"] for one in outputs.seen] == [8, 4]


@pytest.mark.parametrize(
    ("combine", "length"),
    [
        (lambda: {"a": data(16), "b": data(40)}, 5),
        (lambda: CombinedLoader({"a": data(16), "b": data(40)}, "min_size"), 2),
        (lambda: [data(16), {"b": data(40)}], 5),
    ],
)
def test_several_train_loaders(kit, combine, length):
    class Lit(kit.Lit):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch["a"] if isinstance(batch, dict) else batch[0], batch_idx)

    class Ends(Hook):
        def before_train_epoch(self, runner):
            self.batches = sum(1 for _ in runner.data_loader)

        def after_train_iter(self, runner):
            if self.end_of_epoch(runner):
                ends.append((runner.epoch, runner.inner_iter, self.batches))

    ends = []
    callback = HookCallback([Ends()], logger=kit.logger)
    kit.trainer(callback).fit(Lit(), combine())
    assert ends == [(0, length - 1, length), (1, length - 1, length)]
    assert callback.runner.max_iters == 2 * length


def test_limit_train_batches(kit):
    class Ends(Hook):
        def after_train_iter(self, runner):
            if self.end_of_epoch(runner):
                ends.append((runner.epoch, runner.iter, runner.data_loader.batch_size))

    ends = []
    hooks = [Ends(), CheckpointHook(interval=2, by_epoch=False), TextLoggerHook(ignore_last=False)]
    callback = HookCallback([*hooks, IterTimerHook()], work_dir=kit.folder, logger=kit.logger)
    kit.trainer(callback, limit_train_batches=3).fit(kit.Lit(), data())
    assert ends == [(0, 2, 8), (1, 5, 8)]
    assert (callback.runner.iter, callback.runner.max_iters) == (6, 6)
    assert [(line["epoch"], line["iter"]) for line in lines(kit.folder)] == [(1, 3), (2, 3)]


def test_a_val_loader_and_no_validation_step(kit):
    class Lit(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 2)

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Never(Hook):
        def before_val_epoch(self, runner):
            raise AssertionError

    kit.trainer(HookCallback([Never()], logger=kit.logger)).fit(Lit(), data(), data())
    with pytest.raises(ConfigError, match="Lit has no validation_step"):
        kit.trainer(HookCallback(workflow=[("train", 1), ("val", 1)], logger=kit.logger)).fit(Lit(), data(), data())


def test_a_module_that_ends_an_epoch_early(kit):
    class Lit(kit.Lit):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx == 2 else None

    class Points(Hook):
        def __init__(self):
            self.seen = []

        def after_train_iter(self, runner):
            self.seen.append((runner.epoch, runner.inner_iter, runner.iter))

        def after_train_epoch(self, runner):
            self.seen.append("end")

    points = Points()
    callback = HookCallback([points, CheckpointHook(interval=1)], work_dir=kit.folder, logger=kit.logger)
    kit.trainer(callback).fit(Lit(), data())
    assert points.seen == [(0, 0, 0), (0, 1, 1), "end", (1, 0, 2), (1, 1, 3), "end"]
    assert (kit.folder / "epoch_2.pth").exists()


def test_a_file_of_an_ordinary_module_goes_on_natively(kit):
    """The scaler's state, too, is where the hook of a native run looks for it."""
    hooks = [Fp16OptimizerHook(loss_scale={"init_scale": 8.0, "growth_interval": 5}), CheckpointHook(interval=1)]
    fit(kit, hooks, module=kit.Lit(), max_epochs=1)
    model = kit.Model()
    hook = Fp16OptimizerHook(loss_scale="dynamic")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    runner = EpochBasedRunner(model, optimizer=optimizer, logger=kit.logger, max_epochs=2)
    runner.register_hook(hook)
    runner.resume(kit.folder / "epoch_1.pth")
    assert runner.iter == 5
    runner.run([data()], [("train", 1)])
    assert hook.loss_scaler.get_scale() == 32.0
