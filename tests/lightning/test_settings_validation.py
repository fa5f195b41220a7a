"""When the Trainer validates, and when it ends: by its settings, by a workflow, by should_stop."""

from datetime import timedelta

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from mmhooks import CheckpointHook, ConfigError, Hook
from mmhooks_lightning import HookedModule

VAL = {"workflow": [("train", 4), ("val", 2)]}
TIMES = ["00:00:00:01", timedelta(seconds=1)]


def workflow(by_epoch):
    return {} if by_epoch else VAL


# when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        *({"val_check_interval": value} for value in (1, 2, 0.4, *TIMES)),
        {"val_check_interval": 7, "check_val_every_n_epoch": None},
    ],
    ids=str,
)
def test_val_check_interval_is_refused_where_a_workflow_says_when(kit, by_epoch, settings):
    one = kit.setup("hooked", by_epoch, bridge=workflow(by_epoch), **settings)
    with pytest.raises(ConfigError, match=r"Trainer\(val_check_interval=.*leave that out of the Trainer"):
        one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.seen == []


@pytest.mark.parametrize(("interval", "times"), [(1, 10), (2, 4), (0.4, 4), (1.0, 2), *((time, 0) for time in TIMES)])
def test_val_check_interval_of_an_ordinary_module(kit, interval, times):
    one = kit.setup("ordinary", val_check_interval=interval)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    if isinstance(interval, (int, float)):
        assert one.points.count("before_val_epoch") == times
    assert one.points.count("after_train_epoch") == 2


def test_validation_counted_over_epochs_of_an_ordinary_module(kit, by_epoch):
    one = kit.setup("ordinary", by_epoch, val_check_interval=4, check_val_every_n_epoch=None)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.count("after_val_iter") == (10 if by_epoch else 15)


@pytest.mark.parametrize("kind_of_run", ["epochs of a HookedModule", "epochs of an ordinary one"])
def test_check_val_every_n_epoch(kit, kind_of_run):
    one = kit.setup("hooked" if "Hooked" in kind_of_run else "ordinary", check_val_every_n_epoch=2, max_epochs=4)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    epochs = [epoch for point, epoch, _ in one.points.seen if point == "before_val_epoch"]
    assert epochs == [2, 4]


def test_check_val_every_n_epoch_beside_a_workflow(kit, kind):
    agree = {"workflow": [("train", 2), ("val", 1)]}
    one = kit.setup(kind, bridge=agree, check_val_every_n_epoch=2, max_epochs=3)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert [epoch for point, epoch, _ in one.points.seen if point == "before_val_epoch"] == [2, 3]
    assert one.trainer.check_val_every_n_epoch == 2  # as it was
    for by_epoch, bridge in ((True, {"workflow": [("train", 3), ("val", 1)]}), (False, VAL)):
        one = kit.setup(kind, by_epoch, bridge=bridge, check_val_every_n_epoch=2)
        with pytest.raises(ConfigError, match="check_val_every_n_epoch=2\\) too"):
            one.trainer.fit(one.module, kit.loader, kit.loader)


# the end -----------------------------------------------------------------------------------------------------


class Stop(L.Callback):
    """Sets should_stop in the third iteration, or in the first validation."""

    def __init__(self, where):
        self.where = where

    def stop(self, trainer, where, batch_idx=2):
        trainer.should_stop = trainer.should_stop or (self.where == where and batch_idx == 2)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.stop(trainer, "batch_start", batch_idx)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.stop(trainer, "batch_end", batch_idx)

    def on_validation_end(self, trainer, pl_module):
        self.stop(trainer, "validation_end")


class StopHook(Hook):
    def after_train_iter(self, runner):
        if runner.iter == 2:
            runner.stop("enough")


class Stopping:
    """A step that tells the Trainer to stop in the third iteration."""

    def training_step(self, batch, batch_idx):
        if batch_idx == 2:
            self.trainer.should_stop = True
        return super().training_step(batch, batch_idx)


def stopping(kit, kind, by_epoch, who, **settings):
    hooks = [(StopHook(), "HIGHEST")] if who == "hook" else []
    hooks.append(CheckpointHook(by_epoch=by_epoch))
    callbacks = [] if who in ("hook", "module") else [Stop(who)]
    module = None
    if who == "module":
        base = HookedModule if kind == "hooked" else kit.Lit
        cls = type("Cls", (Stopping, base), {})
        module = cls(kit.Model(), {"type": "SGD", "lr": 0.1}) if kind == "hooked" else cls()
    one = kit.setup(kind, by_epoch, hooks, callbacks, module=module, bridge=workflow(by_epoch), **settings)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    one.files = sorted(path.name for path in kit.folder.rglob("*.pth"))
    return one


@pytest.mark.parametrize("who", ["hook", "module", "batch_start", "batch_end"])
def test_should_stop_in_the_middle_of_an_epoch(kit, kind, by_epoch, who):
    """The epoch is closed, then the val that is next follows, whoever asks and whenever."""
    names = stopping(kit, kind, by_epoch, who).points.names()
    iterations = ["before_train_iter", "after_train_iter"] * 3
    if by_epoch:
        val = ["before_val_epoch", *["before_val_iter", "after_val_iter"] * 5, "after_val_epoch"]
        expected = ["before_run", "before_train_epoch", *iterations, "after_train_epoch", *val, "after_run"]
    else:
        expected = ["before_run", *iterations, *["before_val_iter", "after_val_iter"] * 2, "after_run"]
    assert names == expected


def test_hooks_know_that_the_run_ends(kit, kind, by_epoch):
    """CheckpointHook saves what is the last epoch or iteration, whoever has asked before it."""
    file = "epoch_1.pth" if by_epoch else "iter_3.pth"
    for who in ("hook", "module", "batch_start"):
        assert stopping(kit, kind, by_epoch, who).files == [file, "latest.pth"]


def test_the_end_of_a_stopped_epoch_has_the_model_in_train_mode(kit, kind):
    class See(Hook):
        seen = ()

        def after_train_epoch(self, runner):
            self.seen = (runner.model.training, torch.is_grad_enabled())

        def before_val_iter(self, runner):
            assert not runner.model.training

    one = kit.setup(kind, hooks=[see := See()], callbacks=[Stop("batch_end")])
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert see.seen == (True, True)


def test_should_stop_in_a_validation(kit, kind, by_epoch):
    names = stopping(kit, kind, by_epoch, "validation_end", num_sanity_val_steps=0).points.names()
    assert names.count("after_train_iter") == (5 if by_epoch else 4)
    assert names[-2:] == (["after_val_epoch", "after_run"] if by_epoch else ["after_val_iter", "after_run"])


@pytest.mark.parametrize(("settings", "iterations"), [({"min_steps": 4}, 5), ({"min_epochs": 2}, 10)], ids=str)
def test_min_steps_and_min_epochs(kit, kind, settings, iterations):
    """Nothing takes an iteration for the last one while the Trainer goes on."""
    one = kit.setup(kind, hooks=[(StopHook(), "HIGHEST"), CheckpointHook(by_epoch=False)], max_epochs=3, **settings)
    one.trainer.fit(one.module, kit.loader)
    assert one.points.count("after_train_iter") == iterations
    assert list(kit.folder.rglob("*.pth")) == []
    assert one.runner.stop_reason == "enough"


def test_max_time(kit, kind, by_epoch):
    one = kit.setup(kind, by_epoch, bridge=workflow(by_epoch), max_time=timedelta(microseconds=1))
    one.trainer.fit(one.module, kit.loader, kit.loader)
    names = one.points.names()
    assert names.count("after_train_iter") == 1
    if by_epoch:
        assert names.index("after_train_epoch") < names.index("before_val_epoch")
    assert names[-1] == "after_run"


def test_early_stopping(kit, kind):
    """It sees what an ordinary module logs, and what the val_step of a model puts into log_vars."""
    monitor = EarlyStopping("loss" if kind == "hooked" else "v", patience=1, min_delta=9.0)
    one = kit.setup(kind, callbacks=[monitor], max_epochs=9)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.names().count("after_train_epoch") == one.trainer.current_epoch == 2
    assert one.points.names()[-1] == "after_run"


def test_model_checkpoint_beside_a_checkpoint_hook(kit, kind, by_epoch):
    saver = ModelCheckpoint(kit.folder / "own", monitor="val_loss" if kind == "hooked" else "v", save_last=True)
    one = kit.setup(
        kind, by_epoch, [CheckpointHook(interval=1 if by_epoch else 4, by_epoch=by_epoch)], [saver],
        bridge=workflow(by_epoch), enable_checkpointing=True,
    )  # fmt: skip
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert len(list((kit.folder / "own").glob("*.ckpt"))) == 2
    assert len(list((kit.folder / "mmhooks").glob("*_*.pth"))) == (2 if by_epoch else 3)
    assert saver.best_model_score is not None
