"""More than one fit, and fits that end by an error: everything is left as it was."""

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader

from mmhooks import CheckpointHook, EMAHook, Hook, IterTimerHook, ModelError, OptimizerHook, TextLoggerHook
from mmhooks_lightning import HookCallback, HookedModule

VAL = {"workflow": [("train", 4), ("val", 2)]}


def workflow(by_epoch):
    return {} if by_epoch else VAL


# validate, test, predict -------------------------------------------------------------------------------------


class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 2)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("loss", self.training_step(batch, batch_idx))

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        return self.net(batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_validate_test_and_predict_alone(kit, kind, by_epoch, when):
    """They call no hook and need no run; what they measure is the model as it is."""

    class Model(kit.Model):
        def forward(self, batch):
            return self.net(batch[0])

    hooks = [(EMAHook(momentum=0.5), "HIGH"), CheckpointHook(by_epoch=by_epoch)]
    module = HookedModule(Model(), {"type": "SGD", "lr": 0.1}) if kind == "hooked" else Lit()
    one = kit.setup("ordinary", by_epoch, [OptimizerHook(), *hooks], module=module, bridge=workflow(by_epoch))
    if when == "after":
        one.trainer.fit(module, kit.loader, kit.loader)
    before = list(one.points.seen)
    for run in (one.trainer.validate, one.trainer.test):
        net = module.model.net if kind == "hooked" else module.net
        losses = [torch.nn.functional.cross_entropy(net(x), y).item() for x, y in kit.loader]
        assert run(module, kit.loader, verbose=False)[0]["loss"] == pytest.approx(sum(losses) / 5, abs=1e-6)
    assert len(one.trainer.predict(module, kit.loader)) == 5
    assert one.points.seen == before


def test_predict_needs_a_forward(kit):
    one = kit.setup("hooked")
    with pytest.raises(ModelError, match=r"Model has no forward, which trainer\.predict calls"):
        one.trainer.predict(one.module, kit.loader)


# two fits ----------------------------------------------------------------------------------------------------


def test_two_trainers_with_one_callback(kit, kind, by_epoch):
    """The second run begins anew: counters, meta, and the folder of its own Trainer."""
    one = kit.setup(kind, by_epoch, [CheckpointHook(interval=5, by_epoch=by_epoch)], bridge={"meta": {"a": 1}})
    folders = []
    for name in "ab":
        torch.manual_seed(0)
        module = kit.Lit() if kind == "ordinary" else HookedModule(kit.Model(), {"type": "SGD", "lr": 0.1})
        trainer = kit.trainer(one.bridge, max_epochs=2 if by_epoch else -1, default_root_dir=kit.folder / name)
        trainer.fit(module, kit.loader)
        folders.append(sorted(path.name for path in (kit.folder / name / "mmhooks").iterdir()))
        assert set(one.runner.meta) == {"a", "hook_msgs"}
    half = len(one.points.seen) // 2
    assert one.points.seen[:half] == one.points.seen[half:]
    assert one.points.batches[: half // 4] == one.points.batches[len(one.points.batches) // 2 :][: half // 4]
    assert folders[0] == folders[1]
    assert "latest.pth" in folders[0]


def test_one_trainer_twice(kit, kind, by_epoch):
    """The Trainer's counters go on: a finished run has its two points, a longer one what is left."""
    one = kit.setup(kind, by_epoch, bridge=workflow(by_epoch))
    one.trainer.fit(one.module, kit.loader, kit.loader)
    iterations, start = (10, ("before_run", 2, 10)) if by_epoch else (12, ("before_run", 0, 12))
    del one.points.seen[:]
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.seen == [start, ("after_run", *start[1:])]
    if by_epoch:
        one.trainer.fit_loop.max_epochs = 3
    else:
        one.runner.max_iters = 14
    del one.points.seen[:]
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.count("after_train_iter") == (5 if by_epoch else 2)
    assert one.runner.iter == iterations + one.points.count("after_train_iter")


def test_a_finished_run_has_its_two_points(kit, by_epoch):
    hooks = [CheckpointHook(by_epoch=by_epoch)]
    work = {"work_dir": kit.folder / "work"}
    first = kit.setup("hooked", by_epoch, hooks, bridge=work)
    first.trainer.fit(first.module, kit.loader)
    one = kit.setup("hooked", by_epoch, bridge=work)
    one.trainer.fit(one.module, kit.loader, ckpt_path=kit.folder / "work" / "latest.pth")
    at = (2, 10) if by_epoch else (2, 12)
    assert one.points.seen == [("before_run", *at), ("after_run", *at)]


# left as it was ----------------------------------------------------------------------------------------------


class Fail(Hook):
    def __init__(self, error):
        self.error = error

    def after_train_iter(self, runner):
        if self.error is not None and runner.iter == 7:
            raise self.error


def settings_of(trainer):
    loop = trainer.fit_loop
    return (trainer.check_val_every_n_epoch, trainer.limit_val_batches, loop.max_epochs, dict(vars(trainer.strategy)))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_everything_is_as_it_was_and_a_new_fit_works(kit, kind, by_epoch, error):
    logger = TextLoggerHook(interval=1, by_epoch=by_epoch)
    hooks = [IterTimerHook(), fail := Fail(error()), logger]
    one = kit.setup(kind, by_epoch, hooks, bridge=workflow(by_epoch), check_val_every_n_epoch=1, max_epochs=1000)
    if by_epoch:
        one.trainer.fit_loop.max_epochs = 2
    before = settings_of(one.trainer)
    loader = CombinedLoader(kit.loader)
    with pytest.raises(SystemExit if error is KeyboardInterrupt else error):
        one.trainer.fit(one.module, kit.loader if kind == "hooked" else loader, kit.loader)
    after = settings_of(one.trainer)
    assert after[:3] == before[:3]
    assert "process_dataloader" not in after[3]
    assert type(one.trainer.train_dataloader) in (DataLoader, CombinedLoader)
    assert loader.flattened == [kit.loader]
    model = one.module.model if kind == "hooked" else one.module
    assert not model._load_state_dict_pre_hooks
    assert getattr(one.module, "_bridge", None) is None
    assert logger._file is None
    assert one.points.count("after_run") == 0
    fail.error = None
    del one.points.seen[:]
    another = kit.trainer(one.bridge, max_epochs=2 if by_epoch else -1)
    another.fit(one.module, kit.loader, kit.loader)
    assert one.points.seen[0] == ("before_run", 0, 0)
    assert one.points.count("after_train_iter") == (10 if by_epoch else 12)
    del one.points.seen[:]
    one.trainer.fit(one.module, kit.loader, kit.loader)  # this one's counters go on
    assert one.points.seen[0][::2] == ("before_run", 8)
    assert one.points.names()[-1] == "after_run"


@pytest.fixture(autouse=True)
def signals():
    """A Trainer that was interrupted ignores the signal from then on."""
    import signal

    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_error_while_setting_up_leaves_everything(kit, kind):
    one = kit.setup(kind, bridge={"workflow": [("train", 1), ("val", 1)]})
    before = settings_of(one.trainer)
    with pytest.raises(ValueError, match="no val loader"):
        one.trainer.fit(one.module, kit.loader)
    assert settings_of(one.trainer)[:3] == before[:3]
    assert "process_dataloader" not in vars(one.trainer.strategy)
    one.trainer.fit(one.module, kit.loader, kit.loader)
    assert one.points.names()[-1] == "after_run"


def test_a_trainer_is_left_as_it_was(kit, kind):
    one = kit.setup(kind, bridge={"workflow": [("train", 1)]}, max_epochs=1)
    one.trainer.fit(one.module, kit.loader, kit.loader)  # the workflow does not validate
    assert one.points.count("before_val_epoch") == 0
    assert one.trainer.limit_val_batches == 1.0
    assert one.trainer.train_dataloader is kit.loader
    assert one.trainer.validate(one.module, kit.loader, verbose=False)


def test_one_callback_serves_both_kinds_of_modules(kit):
    bridge = HookCallback([points := EMAHook(momentum=0.5)], logger=kit.logger)
    kit.trainer(bridge).fit(kit.Lit(), kit.loader)
    bridge.register_hook(OptimizerHook(), "ABOVE_NORMAL")
    model = kit.Model()
    kit.trainer(bridge).fit(HookedModule(model, {"type": "SGD", "lr": 0.1}), kit.loader)
    assert points._model is model
