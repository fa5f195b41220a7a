"""as_hook with Lightning's own callbacks: what they save, what the Trainer finds, and what they train."""

from datetime import timedelta
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BasePredictionWriter,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    ModelSummary,
    OnExceptionCheckpoint,
    ProgressBar,
    RichProgressBar,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from mmhooks import (
    CheckpointHook,
    EMAHook,
    EpochBasedRunner,
    Hook,
    HookError,
    OptimizerHook,
    StepLrUpdaterHook,
)
from mmhooks_lightning import HookCallback, HookedModule, as_hook

SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9}


class Lit(L.LightningModule):
    """With batch norm, a backbone and a value to monitor."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.net = nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(self.backbone(batch[0])), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("v", nn.functional.cross_entropy(self.net(self.backbone(batch[0])), batch[1]))

    def predict_step(self, batch, batch_idx):
        return self.net(self.backbone(batch[0])).argmax(1)

    def configure_optimizers(self):
        return torch.optim.SGD(filter(lambda p: p.requires_grad, self.parameters()), lr=0.1, momentum=0.9)


class Worsens(Lit):
    def validation_step(self, batch, batch_idx):
        self.log("v", float(self.current_epoch))


def bridge_of(kit, *hooks, **arguments):
    return HookCallback(list(hooks), work_dir=kit.folder / "work", logger=kit.logger, **arguments)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items() if "ema" not in name}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# stopping -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check_on_train_epoch_end", [None, False])
def test_early_stopping_stops_as_it_does_in_a_trainer(kit, check_on_train_epoch_end):
    def epochs(as_a_hook):
        stopping = EarlyStopping("v", patience=2, check_on_train_epoch_end=check_on_train_epoch_end)
        bridge = bridge_of(kit, *([(as_hook(stopping), "LOW")] if as_a_hook else []), (EMAHook(), "HIGH"))
        trainer = kit.trainer(bridge, *([] if as_a_hook else [stopping]), max_epochs=9)
        trainer.fit(Worsens(), kit.loader, kit.loader)
        assert trainer.early_stopping_callback == stopping
        assert stopping in trainer.callbacks
        return trainer.current_epoch, bridge.runner.epoch, stopping.stopped_epoch

    assert epochs(True) == epochs(False) == (3, 3, 2)


def test_a_timer_ends_the_run(kit):
    timer = Timer(timedelta(0), verbose=False)
    bridge = bridge_of(kit, as_hook(timer))
    trainer = kit.trainer(*bridge.callbacks, max_epochs=None)
    trainer.fit(Lit(), kit.loader)
    assert (trainer.max_epochs, bridge.runner.iter) == (-1, 0)  # before its first iteration

    with pytest.raises(HookError, match="Timer and Timer would save their states under one key"):
        kit.trainer(bridge_of(kit, as_hook(Timer())), max_time={"hours": 1}).fit(Lit(), kit.loader)


# files ----------------------------------------------------------------------------------------------------


def module_of(kit, hooked):
    torch.manual_seed(0)
    return HookedModule(kit.Model(), SGD) if hooked else Lit()


def run(kit, hooked, wrapped, until, ckpt_path=None, **arguments):
    """Train with EarlyStopping and ModelCheckpoint, each plain or wrapped."""
    stopping = EarlyStopping("v" if not hooked else "loss", patience=50, strict=False, check_on_train_epoch_end=False)
    saver = ModelCheckpoint(kit.folder / "files", filename="{epoch}-{step}", save_top_k=-1, **arguments)
    hooks = [(OptimizerHook(), 40)] if hooked else []
    if wrapped:
        hooks += [(as_hook(stopping), "LOW"), (as_hook(saver), "LOWEST")]
    bridge = bridge_of(kit, *hooks, CheckpointHook(interval=1))
    others = [] if wrapped else [stopping, saver]
    settings = {"enable_checkpointing": True} if others else {}
    trainer = kit.trainer(bridge, *others, max_epochs=until, **settings)
    module = module_of(kit, hooked)
    trainer.fit(module, kit.loader, kit.loader, ckpt_path=ckpt_path)
    return module, trainer, stopping, saver, bridge


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize(("saved", "resumed"), [(True, True), (True, False), (False, True)])
def test_a_file_resumes_with_the_callback_wrapped_or_not(kit, hooked, saved, resumed, recwarn):
    monitor = None if hooked else "v"
    whole = run(kit, hooked, resumed, 4, monitor=monitor)
    best = whole[3].state_dict()
    for path in (kit.folder / "files").iterdir():
        path.unlink()
    path = run(kit, hooked, saved, 2, monitor=monitor)[3]._last_checkpoint_saved
    state = torch.load(path, weights_only=True)["callbacks"]
    assert sorted(key.partition("{")[0] for key in state) == ["EarlyStopping", "ModelCheckpoint"]
    module, trainer, after, other, bridge = run(kit, hooked, resumed, 4, path, monitor=monitor)
    assert same(weights(module), weights(whole[0]))
    assert (trainer.global_step, bridge.runner.epoch, bridge.runner.iter) == (20, 4, 20)
    assert after.wait_count == whole[2].wait_count
    assert after.best_score == whole[2].best_score
    assert other.state_dict() == best  # the files of the first half too
    assert len(other.best_k_models) == (0 if hooked else 4)
    assert not [w for w in recwarn if "Please add the following callbacks" in str(w.message)]


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("every", [3, 5])
def test_a_file_saved_after_an_iteration_resumes_as_a_plain_callbacks_does(kit, hooked, every):
    """In the middle of an epoch and at its last batch; with a HookedModule from inside the training step."""

    def halves(wrapped):
        run(kit, hooked, wrapped, 1, every_n_train_steps=every)
        path = kit.folder / "files" / f"epoch=0-step={every}.ckpt"
        content = torch.load(path, weights_only=True)
        again = run(kit, hooked, wrapped, 3, path, every_n_train_steps=every)
        for file in (kit.folder / "files").iterdir():
            file.unlink()
        return content, again

    file, (module, trainer, _, _, bridge) = halves(True)
    plain, (expected, other, _, _, other_bridge) = halves(False)
    assert same(file["state_dict"], plain["state_dict"])
    assert file["loops"]["fit_loop"] == plain["loops"]["fit_loop"]
    for key in ("epoch", "iter"):
        assert file["meta"][key] == plain["meta"][key]
    assert file["mmhooks"]["position"]["iters"] == every
    assert trainer.global_step == other.global_step
    assert (bridge.runner.epoch, bridge.runner.iter) == (other_bridge.runner.epoch, other_bridge.runner.iter)
    assert same(weights(module), weights(expected))


def test_files_of_hooks_hold_the_state_of_wrapped_callbacks(kit):
    stopping = EarlyStopping("v", patience=50)
    bridge = bridge_of(kit, as_hook(stopping), CheckpointHook(interval=1))
    kit.trainer(bridge, max_epochs=2).fit(Worsens(), kit.loader, kit.loader)
    resumed = EarlyStopping("v", patience=50)
    trainer = kit.trainer(resumed, max_epochs=2)
    trainer.fit(Worsens(), kit.loader, kit.loader, ckpt_path=kit.folder / "work" / "epoch_2.pth")
    assert (resumed.wait_count, resumed.best_score) == (0, 0.0)  # of the epoch whose validation was still to come


def test_a_wrapped_checkpoint_is_the_trainers(kit):
    saver = ModelCheckpoint(kit.folder / "files", monitor="v", save_last=True)
    bridge = bridge_of(kit, (as_hook(saver), "LOWEST"))
    trainer = kit.trainer(bridge, enable_checkpointing=True)
    module = Worsens()
    trainer.fit(module, kit.loader, kit.loader)
    assert trainer.checkpoint_callbacks == [saver]  # the one that the Trainer brings has made way
    assert isinstance(trainer.checkpoint_callback, ModelCheckpoint)
    assert trainer.checkpoint_callback.best_model_path == saver.best_model_path
    assert sorted(path.suffix for path in kit.folder.rglob("*.ckpt")) == [".ckpt", ".ckpt"]
    with torch.no_grad():
        module.net.weight.zero_()
    trainer.validate(module, kit.loader, ckpt_path="best", verbose=False)
    assert torch.equal(
        module.net.weight, torch.load(saver.best_model_path, weights_only=True)["state_dict"]["net.weight"]
    )
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, kit.loader, kit.loader, ckpt_path="last")
    assert bridge.runner.iter == 15
    assert trainer.global_step == 15


def test_two_checkpoints_and_the_users_own(kit):
    best = ModelCheckpoint(kit.folder / "best", monitor="v")
    each = ModelCheckpoint(kit.folder / "each", save_top_k=-1, every_n_epochs=1)
    own = ModelCheckpoint(kit.folder / "own", every_n_epochs=2)
    bridge = bridge_of(kit, (as_hook(each), "LOWEST"), as_hook(best))
    trainer = kit.trainer(bridge, own, enable_checkpointing=True)
    trainer.fit(Worsens(), kit.loader, kit.loader)
    assert trainer.checkpoint_callbacks == [best, each, own]
    counts = [len(list((kit.folder / name).iterdir())) for name in ("best", "each", "own")]
    assert counts == [1, 2, 1]


def test_the_first_fit_finds_the_last_file(kit, caplog):
    def fit(show, until, ckpt_path="last"):
        saver = ModelCheckpoint(kit.folder / "files", save_last=True)
        bridge = bridge_of(kit, (as_hook(saver), "LOWEST"))
        callbacks = bridge.callbacks if show else [bridge]
        trainer = kit.trainer(*callbacks, max_epochs=until, enable_checkpointing=True)
        kit.logger.propagate = True
        trainer.fit(Lit(), kit.loader, ckpt_path=ckpt_path)
        kit.logger.propagate = False
        assert trainer.checkpoint_callbacks == [saver]
        said = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
        caplog.clear()
        return bridge.runner.iter, trainer.global_step, [line for line in said if "last.ckpt is there" in line]

    assert fit(False, 1) == (5, 5, [])
    iters, steps, said = fit(False, 1)
    assert (iters, steps, len(said)) == (5, 5, 1)  # it was not found, and that is said
    assert fit(True, 3) == (15, 15, [])
    assert fit(True, 1, None) == (5, 5, [])


def test_a_file_of_an_exception_resumes_with_the_hooks_states(kit):
    class Counts(Hook):
        iters = 0

        def after_train_iter(self, runner):
            self.iters += 1
            if self.iters == self.fails_at:
                raise ZeroDivisionError

        def state_dict(self):
            return {"iters": self.iters}

        def load_state_dict(self, state):
            self.iters = state["iters"]

    def fit(fails_at, *others, **kwargs):
        torch.manual_seed(0)
        counts, module = Counts(), Lit()
        counts.fails_at = fails_at
        saver = OnExceptionCheckpoint(kit.folder)
        bridge = bridge_of(kit, as_hook(saver), counts)
        trainer = kit.trainer(*bridge.callbacks, enable_checkpointing=True)
        trainer.fit(module, kit.loader)
        return counts

    with pytest.raises(ZeroDivisionError):
        fit(8)
    assert (kit.folder / "on_exception.ckpt").exists()
    content = torch.load(kit.folder / "on_exception.ckpt", weights_only=True)
    assert content["mmhooks"]["hooks"] == {"Counts": [{"iters": 8}]}
    assert (content["meta"]["epoch"], content["meta"]["iter"]) == (1, 7)
    assert fit(-1).iters > 8  # found by itself, since it stands in the Trainer's list
    assert not (kit.folder / "on_exception.ckpt").exists()


def test_a_native_runner_resumes_what_a_wrapped_checkpoint_has_saved(kit):
    torch.manual_seed(0)
    model = kit.Model()
    saver = ModelCheckpoint(kit.folder / "files", filename="{step}", save_top_k=-1, every_n_train_steps=5)
    bridge = bridge_of(kit, (OptimizerHook(), 40), (as_hook(saver), "LOWEST"))
    kit.trainer(bridge).fit(HookedModule(model, SGD), kit.loader)
    other = kit.Model()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    runner = EpochBasedRunner(other, optimizer=optimizer, logger=kit.logger, max_epochs=2)
    runner.register_hook(OptimizerHook())
    runner.resume(kit.folder / "files" / "step=5.ckpt")
    assert (runner.epoch, runner.iter) == (0, 5)  # the hooks' after_train_epoch is still to come
    runner.run([kit.loader], [("train", 1)])
    assert (runner.epoch, runner.iter) == (2, 10)
    assert torch.equal(other.net.weight, model.net.weight)


# bars and summaries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bar", [TQDMProgressBar, RichProgressBar])
@pytest.mark.parametrize("hooked", [False, True])
def test_a_progress_bar_is_drawn_once(kit, bar, hooked, capsys):
    def drawn(as_a_hook):
        mine = bar(refresh_rate=1, leave=True)
        hooks = [(OptimizerHook(), 40)] if hooked else []
        bridge = bridge_of(kit, *hooks, *([(as_hook(mine), "VERY_LOW")] if as_a_hook else []))
        others = [] if as_a_hook else [mine]
        trainer = kit.trainer(bridge, *others, enable_progress_bar=True, max_epochs=1)
        trainer.fit(module_of(kit, hooked), kit.loader, kit.loader)
        assert trainer.progress_bar_callback == mine
        assert len([one for one in trainer.callbacks if isinstance(one, ProgressBar)]) == 1
        return capsys.readouterr().out.count("100%")

    assert drawn(True) == drawn(False)


def test_a_model_summary_is_printed_once(kit, capsys):
    bridge = bridge_of(kit, as_hook(ModelSummary(max_depth=2)))
    trainer = kit.trainer(bridge, enable_model_summary=True, max_epochs=1)
    trainer.fit(Lit(), kit.loader)
    assert [one.__class__ for one in trainer.callbacks if isinstance(one, ModelSummary)] == [ModelSummary]


# the lr, and averages -------------------------------------------------------------------------------------


def test_a_learning_rate_monitor_sees_what_an_lr_hook_has_set(kit):
    def logged(priority):
        logger = CSVLogger(kit.folder, flush_logs_every_n_steps=1)
        hooks = [(StepLrUpdaterHook(step=1, gamma=0.5, by_epoch=False), 10), (OptimizerHook(), 40)]
        bridge = bridge_of(kit, *hooks, (as_hook(LearningRateMonitor("step")), priority))
        trainer = kit.trainer(bridge, logger=logger, max_epochs=1, log_every_n_steps=1)
        trainer.fit(HookedModule(kit.Model(), {"type": "SGD", "lr": 0.8}), kit.loader)
        lines = Path(logger.experiment.metrics_file_path).read_text().splitlines()
        column = lines[0].split(",").index("lr-SGD")
        return [float(line.split(",")[column]) for line in lines[1:] if line.split(",")[column]]

    assert logged("NORMAL") == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.05])
    assert logged("HIGHEST") == pytest.approx([0.8, 0.8, 0.4, 0.2, 0.1])  # before it is set


def averaging(kit, callback, wrapped, hooked, first=False, until=4, ckpt_path=None, saver=None):
    hooks = [(OptimizerHook(), 40)] if hooked else []
    bridge = bridge_of(kit, *hooks, *([as_hook(callback)] if wrapped else []))
    others = [] if wrapped else [callback]
    callbacks = [*others, bridge] if first else [bridge, *others]
    settings = {"enable_checkpointing": True} if saver else {}
    trainer = kit.trainer(*callbacks, *([saver] if saver else []), max_epochs=until, **settings)
    module = module_of(kit, hooked)
    trainer.fit(module, kit.loader, kit.loader, ckpt_path=ckpt_path)
    return weights(module), dict(trainer.callback_metrics)


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("average", [WeightAveraging, EMAWeightAveraging])
def test_weight_averaging_averages_as_in_a_trainer(kit, hooked, average):
    plain, metrics = averaging(kit, average(), False, hooked, first=True)
    wrapped, others = averaging(kit, average(), True, hooked)
    assert same(wrapped, plain)
    assert metrics == others
    after, _ = averaging(kit, average(), False, hooked)  # listed after the HookCallback
    assert same(after, plain)


@pytest.mark.parametrize("hooked", [False, True])
def test_weight_averaging_resumes(kit, hooked):
    whole, _ = averaging(kit, EMAWeightAveraging(), True, hooked)
    saver = ModelCheckpoint(kit.folder / "files", filename="half")
    averaging(kit, EMAWeightAveraging(), True, hooked, until=2, saver=saver)
    resumed, _ = averaging(kit, EMAWeightAveraging(), True, hooked, ckpt_path=kit.folder / "files" / "half.ckpt")
    assert same(whole, resumed)


def test_stochastic_weight_averaging_averages_as_in_a_trainer(kit):
    """Batch norm gets an epoch of its own, at whose start the callback changes the fit loop."""
    batches = []

    class Averaging(StochasticWeightAveraging):
        def on_train_batch_end(self, trainer, *args):
            batches.append((trainer.num_training_batches, trainer.is_last_batch))

    plain, _ = averaging(kit, Averaging(0.05, 2), False, False)
    seen = batches.copy()
    batches.clear()
    wrapped, _ = averaging(kit, Averaging(0.05, 2), True, False)
    assert batches == seen
    assert same(wrapped, plain)
    assert [number for number, _ in seen] == [5] * 20 + [6] * 5  # one more than there are: no step is taken


def test_where_stochastic_weight_averaging_is_refused(kit):
    bridge = bridge_of(kit, (OptimizerHook(), 40), as_hook(StochasticWeightAveraging(0.05)))
    with pytest.raises(HookError, match="cannot work with a HookedModule: use EMAHook"):
        kit.trainer(bridge).fit(HookedModule(kit.Model(), SGD), kit.loader)
    bridge = bridge_of(kit, StepLrUpdaterHook(step=1), as_hook(StochasticWeightAveraging(0.05)))
    with pytest.raises(HookError, match="StochasticWeightAveraging and StepLrUpdaterHook would both set the lr"):
        kit.trainer(bridge).fit(Lit(), kit.loader)


# others ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: GradientAccumulationScheduler({0: 1, 1: 2}),
        lambda: BackboneFinetuning(unfreeze_backbone_at_epoch=1),
        lambda: ModelPruning("l1_unstructured", amount=0.5, parameter_names=["weight"]),
    ],
)
def test_what_changes_the_training_changes_it_alike(kit, make):
    def trained(wrapped):
        torch.manual_seed(0)
        module, callback = Lit(), make()
        bridge = bridge_of(kit, *([as_hook(callback)] if wrapped else []))
        trainer = kit.trainer(bridge, *([] if wrapped else [callback]), max_epochs=3)
        trainer.fit(module, kit.loader)
        return weights(module), trainer.global_step

    (plain, steps), (wrapped, others) = trained(False), trained(True)
    assert same(plain, wrapped)
    assert steps == others


@pytest.mark.parametrize("interval", ["batch", "epoch"])
def test_a_prediction_writer_gets_the_batch_indices(kit, interval):
    class Writer(BasePredictionWriter):
        def write_on_batch_end(self, trainer, module, prediction, batch_indices, batch, batch_idx, dataloader_idx):
            got.append(batch_indices)

        def write_on_epoch_end(self, trainer, module, predictions, batch_indices):
            got.append(batch_indices)

    got = []
    kit.trainer(bridge_of(kit, as_hook(Writer(interval)))).predict(Lit(), kit.loader)
    indices = [list(range(start, start + 8)) for start in range(0, 40, 8)]
    assert got == (indices if interval == "batch" else [[indices]])
