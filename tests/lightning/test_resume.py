"""One file, both drivers: runs that are cut twice and go on under the other driver end as one that was not cut."""

import logging
from contextlib import nullcontext

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmhooks import (
    CheckpointError,
    CheckpointHook,
    EMAHook,
    EpochBasedRunner,
    EvalHook,
    Hook,
    IterBasedRunner,
    auto_fp16,
)
from mmhooks.checkpoint import load_checkpoint, read_checkpoint, write_checkpoint
from mmhooks.hook import POINTS
from mmhooks_lightning import HookCallback, HookedModule
from tests.lightning.cuts import Cut, SaveAndCut

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())
BATCHES = 5


class Net(nn.Module):
    fp16_enabled = False

    def __init__(self):
        super().__init__()
        self.fp16_enabled = False
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))

    @auto_fp16()
    def forward(self, x):
        return self.body(x)

    def train_step(self, data, optimizer=None, **kwargs):
        x, y = data
        loss = nn.functional.cross_entropy(self(x).float(), y)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(x)}

    val_step = train_step


def samples(batches):
    generator = torch.Generator().manual_seed(batches)
    x = torch.randn(batches * 8 - 3, 4, generator=generator)
    return TensorDataset(x, (x.sum(1) > 0).long())


class Scored(TensorDataset):
    """A data set that scores what a model says of it."""

    def evaluate(self, results, logger=None, **kwargs):
        return {"acc": torch.stack(results).mean().item()}


def measured():
    return DataLoader(Scored(*samples(2).tensors), 8)


def scores(model, loader):
    model.eval()
    with torch.no_grad():
        return [model(x).float().softmax(1)[torch.arange(len(y)), y].mean() for x, y in loader]


class Trace(Hook):
    def __init__(self):
        self.seen = []
        for point in (*POINTS, "before_epoch", "after_epoch"):
            setattr(self, point, lambda runner, point=point: self.seen.append(self.entry(runner, point)))

    def entry(self, runner, point):
        lr = runner.current_lr() if "iter" in point else None
        inner = runner.inner_iter if "iter" in point else None
        return point, runner.epoch, runner.iter, inner, runner.mode, runner.model.training, lr


OPTIMIZERS = {
    "plain": {"grad_clip": {"max_norm": 1.0}},
    "accumulating": {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3},
    "bf16": {"type": "Fp16OptimizerHook", "dtype": "bf16"},
    "accumulating bf16": {"type": "GradientCumulativeFp16OptimizerHook", "cumulative_iters": 3, "dtype": "bf16",
                          "grad_clip": {"max_norm": 1}},
    "accumulating fp16": {"type": "GradientCumulativeFp16OptimizerHook", "cumulative_iters": 2,
                          "loss_scale": {"init_scale": 2.0**10, "growth_interval": 2}},
}  # fmt: skip
WORKFLOWS = {True: [("train", 2), ("val", 1)], False: [("train", 4), ("val", 1)]}


def leg(driver, folder, by_epoch, workflow, optimizer="plain", cut=None, file=None, way="ckpt_path"):
    """Train until the end, or until a cut; give back all that must be equal, and the points."""
    torch.manual_seed(0)
    model, trace = Net(), Trace()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    limit = {"max_epochs": 4} if by_epoch else {"max_iters": 18}
    loaders = [DataLoader(samples(BATCHES), 8), DataLoader(samples(2), 8)][: len(workflow)]
    if driver == "native":
        cls = EpochBasedRunner if by_epoch else IterBasedRunner
        runner = target = cls(model, optimizer=sgd, work_dir=folder, logger=QUIET, **limit)
    else:
        target = HookCallback(work_dir=folder, by_epoch=by_epoch, max_iters=limit.get("max_iters"), logger=QUIET,
                              workflow=workflow)  # fmt: skip
        runner = target.runner
    interval = {"interval": 1} if by_epoch else {"interval": 4}
    target.register_training_hooks(
        {"policy": "CosineAnnealing", "min_lr": 0.001, "warmup": "linear", "warmup_iters": 3},
        OPTIMIZERS[optimizer],
        {**interval, "max_keep_ckpts": 2},
        {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
    )
    target.register_hook(EMAHook(momentum=0.05, swap_interval=None if by_epoch else 4), "ABOVE_NORMAL")
    evaluation = EvalHook(measured(), save_best="acc", by_epoch=by_epoch, test_fn=scores, restore_mode=True, **interval)
    target.register_hook(evaluation, "LOW")
    target.register_hook(trace, "VERY_LOW")
    if cut is not None:
        target.register_hook(SaveAndCut(*cut), "LOWEST")
    with pytest.raises(Cut) if cut is not None else nullcontext():
        if driver == "native":
            if file is not None:
                runner.resume(file)
            runner.run(loaders, workflow)
        else:
            if file is not None and way == "resume":
                target.resume(file)
            trainer = L.Trainer(max_epochs=4 if by_epoch else -1, callbacks=[target], logger=False, accelerator="cpu",
                                enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False)  # fmt: skip
            trainer.fit(HookedModule(model, sgd), *loaders, ckpt_path=file if way == "ckpt_path" else None)
    return state_of(runner, model, sgd), trace.seen


def state_of(runner, model, optimizer):
    messages = runner.meta.get("hook_msgs", {}) if runner.meta else {}
    kept = [hook.state_dict()["kept"] for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    return {
        "weights": model.state_dict(),  # the averages of the EMAHook are among them
        "optimizer": optimizer.state_dict(),
        "lr": runner.current_lr(),
        "counters": (runner.epoch, runner.iter),
        "best": messages.get("best_score"),
        "scaler": dict((runner.meta or {}).get("fp16", {})).get("loss_scaler"),
        "kept": kept,
    }


def assert_equal(one, other, where=""):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}/{i}")
    else:
        assert one == other, where


#: Where the first and the second leg are cut: the point, and the number of finished iterations from which on.
CUTS = {
    (True, "at an epoch's end"): (("after_train_epoch", 5), ("after_train_epoch", 15)),
    (True, "in the middle of an epoch"): (("after_train_iter", 6), ("after_train_iter", 13)),
    (True, "before an iteration"): (("before_train_iter", 3), ("before_train_iter", 11)),
    (True, "after the last iteration of an epoch"): (("after_train_iter", 4), ("after_train_iter", 14)),
    (True, "before and after validation"): (("before_val_epoch", 5), ("after_val_epoch", 10)),
    (False, "at a pass's end"): (("after_train_iter", 4), ("after_train_iter", 14)),
    (False, "in the middle of a pass"): (("after_train_iter", 6), ("after_train_iter", 12)),
    (False, "before an iteration"): (("before_train_iter", 3), ("before_train_iter", 13)),
    (False, "before and after validation"): (("after_train_iter", 7), ("after_val_iter", 12)),
}
ORDERS = [("native", "lightning", "native"), ("lightning", "native", "lightning"), ("lightning",) * 3, ("native",) * 3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The end of a run that is not cut, natively."""
    found = {}

    def run(by_epoch, workflow, optimizer):
        key = by_epoch, str(workflow), optimizer
        if key not in found:
            found[key] = leg("native", tmp_path_factory.mktemp("whole"), by_epoch, workflow, optimizer)
        return found[key]

    return run


def cases():
    for kind in CUTS:
        for order in ORDERS:
            for optimizer in OPTIMIZERS:
                names = (
                    "epochs" if kind[0] else "iterations",
                    kind[1],
                    "".join(one[0].upper() for one in order),
                    optimizer,
                )
                often = order in ORDERS[:2] and optimizer in ("plain", "accumulating bf16")
                yield pytest.param(kind, order, optimizer, id=" ".join(names), marks=() if often else pytest.mark.slow)


@pytest.mark.parametrize(("kind", "order", "optimizer"), list(cases()))
def test_three_legs_end_as_one_run(tmp_path, whole, kind, order, optimizer):
    by_epoch, _ = kind
    workflow = WORKFLOWS[by_epoch]
    if kind == (True, "before and after validation"):
        workflow = [("train", 1), ("val", 1)]
    expected, points = whole(by_epoch, workflow, optimizer)
    file = None
    for driver, cut in zip(order, (*CUTS[kind], None), strict=True):
        end, seen = leg(driver, tmp_path, by_epoch, workflow, optimizer, cut, file)
        file = tmp_path / "cut.pth"
    assert_equal(end, expected)
    begin = next(
        i for i, entry in enumerate(seen) if entry[0] in ("before_train_iter", "before_val_epoch", "after_train_epoch")
    )
    assert len(seen) - begin >= 5
    assert seen[begin:] == points[begin - len(seen) :]


@pytest.mark.parametrize("by_epoch", [True, False])
@pytest.mark.parametrize("driver", ["native", "lightning"])
def test_ckpt_path_and_resume_are_the_same(tmp_path, by_epoch, driver):
    cut = ("after_train_iter", 7)
    leg(driver, tmp_path, by_epoch, WORKFLOWS[by_epoch], "accumulating", cut)
    file = tmp_path / "cut.pth"
    ends = [leg("lightning", tmp_path / way, by_epoch, WORKFLOWS[by_epoch], "accumulating", file=file, way=way)
            for way in ("resume", "ckpt_path")]  # fmt: skip
    ends.append(leg("native", tmp_path / "native", by_epoch, WORKFLOWS[by_epoch], "accumulating", file=file))
    for end, points in ends[1:]:
        assert_equal(end, ends[0][0])
        assert points[2:] == ends[0][1][2:]


class Slim(Net):
    """Draws nothing, and has what a file of MMCV's may lack."""

    CLASSES = ("no", "yes")


def train(trainer, *hooks, ckpt_path=None, model=None, loader=None, **kwargs):
    torch.manual_seed(0)
    model = model or Slim()
    callback = HookCallback([({"type": "OptimizerHook"}, "ABOVE_NORMAL"), *hooks], logger=QUIET, **kwargs)
    loaders = loader or DataLoader(samples(BATCHES), 8)
    fit = trainer(callback)
    fit.fit(HookedModule(model, {"type": "SGD", "lr": 0.1, "momentum": 0.9}), loaders, ckpt_path=ckpt_path)
    return model, callback.runner, fit


@pytest.mark.parametrize("when", ["every_n_train_steps", "on_train_epoch_end", "on_validation_end"])
def test_files_of_lightnings_own_callback_go_on_in_the_middle_too(kit, when):
    """It saves between the points: after on_train_batch_end, after an epoch, after a validation."""
    settings = {
        "every_n_train_steps": {"every_n_train_steps": 3},
        "on_train_epoch_end": {"save_on_train_epoch_end": True},
        "on_validation_end": {"save_on_train_epoch_end": False},
    }[when]
    loader, val = DataLoader(samples(BATCHES), 8), DataLoader(samples(2), 8)

    def fit(folder, ckpt_path=None):
        torch.manual_seed(0)
        model = Slim()
        saver = ModelCheckpoint(kit.folder / folder, filename="{step}", save_top_k=-1, **settings)
        hooks = [({"type": "OptimizerHook"}, "ABOVE_NORMAL"), (EMAHook(momentum=0.1), "ABOVE_NORMAL")]
        callback = HookCallback(hooks, logger=QUIET, work_dir=kit.folder / "work")
        trainer = kit.trainer(callback, saver, enable_checkpointing=True, max_epochs=3)
        trainer.fit(HookedModule(model, sgd(model)), loader, val, ckpt_path=ckpt_path)
        return model.state_dict(), callback.runner, trainer

    whole, _, _ = fit("whole")
    files = sorted((kit.folder / "whole").glob("*.ckpt"))
    assert len(files) == (5 if when == "every_n_train_steps" else 3)
    for file in files[:-1]:
        again, runner, trainer = fit("again", file)
        assert_equal(again, whole, f"ckpt_path={file.name}")
        assert (runner.epoch, runner.iter, trainer.global_step, trainer.current_epoch) == (3, 15, 15, 3)
        model = Slim()
        native = EpochBasedRunner(model, optimizer=sgd(model), logger=QUIET, max_epochs=3)
        native.register_hook({"type": "OptimizerHook"}, "ABOVE_NORMAL")
        native.register_hook(EMAHook(momentum=0.1), "ABOVE_NORMAL")
        native.resume(file)
        native.run([loader, val], [("train", 1), ("val", 1)])
        assert_equal(model.state_dict(), whole, f"native from {file.name}")


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize("swapped", [True, False])
def test_a_hooks_file_is_a_file_of_mmcv_and_of_lightning(kit, swapped):
    """The averages are the model's own weights where they are in their place, and have their own names where not."""
    hooks = [
        (EMAHook(momentum=0.1), "ABOVE_NORMAL"),
        CheckpointHook(interval=1 if swapped else 3, by_epoch=swapped, save_last=False),
    ]
    model, *_ = train(kit.trainer, *hooks, work_dir=kit.folder / "work")
    file = kit.folder / "work" / "epoch_1.pth"
    content = torch.load(file, weights_only=True)
    own = [key for key in content["state_dict"] if not key.startswith("ema_")]
    assert own == list(Slim().state_dict())
    assert set(content) >= {"meta", "state_dict", "optimizer", "loops", "optimizer_states", "pytorch-lightning_version"}
    assert content["meta"]["CLASSES"] == ("no", "yes")
    averages = content["state_dict"]["ema_body_0_weight"]
    assert not torch.equal(content["state_dict"]["body.0.weight"], averages)
    assert content["mmhooks"]["hooks"]["EMAHook"] == [{"swapped": swapped}]
    fresh = Slim()
    load_checkpoint(fresh, file, strict=False)
    assert torch.equal(fresh.body[0].weight, content["state_dict"]["body.0.weight"])
    again, *_ = train(kit.trainer, (EMAHook(momentum=0.1), "ABOVE_NORMAL"), ckpt_path=file)
    assert_equal(again.state_dict(), model.state_dict())


def test_weights_alone_are_no_ckpt_path(kit):
    torch.save(Slim().state_dict(), kit.folder / "weights.pth")
    with pytest.raises(CheckpointError, match=r"weights\.pth does not say where the run was.*load_checkpoint"):
        train(kit.trainer, ckpt_path=kit.folder / "weights.pth")
    torch.save({"state_dict": Slim().state_dict(), "meta": {}}, kit.folder / "half.pth")
    with pytest.raises(CheckpointError, match=r"half\.pth does not say where the run was"):
        train(kit.trainer, ckpt_path=kit.folder / "half.pth")


def test_a_ckpt_path_of_mmcv(kit):
    """Its meta alone says where the run was; a NumPy score is read, a missing optimizer state begins anew."""
    import numpy as np

    model = Slim()
    content = {
        "meta": {"epoch": 1, "iter": 5, "hook_msgs": {"best_score": np.float64(0.5)}},
        "state_dict": {f"module.{name}": value.clone() for name, value in model.state_dict().items()},
    }
    torch.save(content, kit.folder / "mmcv.pth")
    trained, runner, trainer = train(kit.trainer, ckpt_path=kit.folder / "mmcv.pth")
    assert (runner.epoch, runner.iter, trainer.global_step) == (2, 10, 10)
    assert runner.meta["hook_msgs"]["best_score"] == 0.5
    native = EpochBasedRunner(model, optimizer=sgd(model), logger=QUIET, max_epochs=2)
    native.register_hook({"type": "OptimizerHook"})
    native.resume(kit.folder / "mmcv.pth")
    native.run([DataLoader(samples(BATCHES), 8)], [("train", 1)])
    assert_equal(trained.state_dict(), model.state_dict())
    trainer.validate(HookedModule(trained), DataLoader(samples(2), 8), kit.folder / "mmcv.pth", verbose=False)
    assert torch.equal(trained.body[0].weight, content["state_dict"]["module.body.0.weight"])


def test_several_optimizers_by_name(kit):
    class Two(Slim):
        def train_step(self, data, optimizer, **kwargs):
            outputs = super().train_step(data)
            for one in optimizer.values():
                one.zero_grad()
            outputs["loss"].backward()
            for one in optimizer.values():
                one.step()
            return outputs

    def optimizers(model):
        return {"first": sgd(model.body[0]), "last": torch.optim.Adam(model.body[3].parameters(), lr=0.01)}

    loader = DataLoader(samples(BATCHES), 8)
    torch.manual_seed(0)
    model = Two()
    native = EpochBasedRunner(model, optimizer=optimizers(model), logger=QUIET, max_epochs=2, work_dir=kit.folder)
    native.register_hook(CheckpointHook(interval=1))
    native.run([loader], [("train", 1)])
    torch.manual_seed(1)
    again = Two()
    fit = kit.trainer(HookCallback(logger=QUIET))
    fit.fit(HookedModule(again, optimizers), loader, ckpt_path=kit.folder / "epoch_1.pth")
    assert_equal(again.state_dict(), model.state_dict())


class Resumable:
    """A loader that saves and restores its own position, as torchdata's does."""

    def __init__(self):
        self.batches = list(DataLoader(samples(BATCHES), 8))
        self.taken = self.start = 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        start, self.start = self.start, 0
        for place, batch in enumerate(self.batches[start:], start + 1):
            self.taken = place
            yield batch

    def state_dict(self):
        return {"taken": self.taken}

    def load_state_dict(self, state):
        self.start = state["taken"]


def test_a_loader_that_restores_its_own_position(kit):
    """Under ckpt_path the Trainer restores it, so nothing is passed over a second time."""
    whole, *_ = train(kit.trainer, loader=Resumable())
    with pytest.raises(Cut):
        train(kit.trainer, (SaveAndCut("after_train_iter", 6), "LOWEST"), loader=Resumable(), work_dir=kit.folder)
    again, runner, _ = train(kit.trainer, loader=Resumable(), ckpt_path=kit.folder / "cut.pth")
    assert runner.iter == 10
    assert_equal(again.state_dict(), whole.state_dict())
    model = Slim()  # a native runner, and resume(), pass over what is done
    native = EpochBasedRunner(model, optimizer=sgd(model), logger=QUIET, max_epochs=2)
    native.register_hook({"type": "OptimizerHook"})
    native.resume(kit.folder / "cut.pth")
    native.run([Resumable()], [("train", 1)])
    assert_equal(model.state_dict(), whole.state_dict())


@pytest.mark.parametrize("bar", [True, False])
def test_a_validation_that_was_still_to_be_done_comes_first(kit, bar):
    loaders = DataLoader(samples(BATCHES), 8), DataLoader(samples(2), 8)
    model = Slim()
    native = EpochBasedRunner(model, optimizer=sgd(model), logger=QUIET, max_epochs=2, work_dir=kit.folder)
    native.register_hook({"type": "OptimizerHook"}, "ABOVE_NORMAL")
    native.register_hook(SaveAndCut("after_train_epoch", 5), "LOWEST")
    with pytest.raises(Cut):
        native.run(list(loaders), [("train", 1), ("val", 1)])
    trace = Trace()
    callback = HookCallback([({"type": "OptimizerHook"}, "ABOVE_NORMAL"), trace], logger=QUIET)
    model = Slim()
    trainer = kit.trainer(callback, enable_progress_bar=bar)
    trainer.fit(HookedModule(model, sgd(model)), *loaders, ckpt_path=kit.folder / "cut.pth")
    names = [entry[0] for entry in trace.seen]
    assert names[:3] == ["before_run", "before_val_epoch", "before_val_iter"]
    assert (names.count("before_val_epoch"), names.count("before_train_epoch")) == (2, 1)


def test_a_file_with_another_kind_of_run_or_number_of_processes_goes_on_by_its_meta(kit):
    with pytest.raises(Cut):
        train(kit.trainer, (SaveAndCut("after_train_iter", 6), "LOWEST"), work_dir=kit.folder)
    content = read_checkpoint(kit.folder / "cut.pth")
    content["mmhooks"]["position"]["world_size"] = 2
    write_checkpoint(content, kit.folder / "two.pth")
    model = Slim()
    native = EpochBasedRunner(model, optimizer=sgd(model), logger=QUIET, max_epochs=3)
    native.resume(kit.folder / "two.pth")
    assert (native.epoch, native.iter) == (2, 12)  # the rest of the epoch is left out, as in MMCV
    other = IterBasedRunner(model, optimizer=sgd(model), logger=QUIET, max_iters=9)
    other.resume(kit.folder / "cut.pth")
    assert other.iter == 6


def test_the_last_file_of_a_model_checkpoint(kit):
    """``ckpt_path="last"`` knows its files alone; a CheckpointHook's latest.pth is named by its path."""

    def fit(until, ckpt_path=None, **arguments):
        torch.manual_seed(0)
        model = Slim()
        saver = ModelCheckpoint(kit.folder / "own", save_last=True, **arguments)
        hooks = [({"type": "OptimizerHook"}, "ABOVE_NORMAL"), CheckpointHook(interval=1)]
        callback = HookCallback(hooks, logger=QUIET, work_dir=kit.folder / "work")
        trainer = kit.trainer(callback, saver, enable_checkpointing=True, max_epochs=until)
        trainer.fit(HookedModule(model, sgd(model)), DataLoader(samples(BATCHES), 8), ckpt_path=ckpt_path)
        return model.state_dict()

    whole = fit(4)
    fit(2)
    assert_equal(fit(4, "last"), whole)
    fit(2)
    assert_equal(fit(4, kit.folder / "work" / "latest.pth"), whole)


class Fails(Hook):
    """Fails in the middle of an epoch, before the step."""

    def after_train_iter(self, runner):
        if runner.iter == 7:
            raise KeyboardInterrupt


def test_a_file_that_is_saved_when_an_error_has_ended_the_run(kit):
    whole, *_ = train(kit.trainer)
    torch.manual_seed(0)
    model = Slim()
    saver = OnExceptionCheckpoint(kit.folder)
    callback = HookCallback([({"type": "OptimizerHook"}, "ABOVE_NORMAL"), (Fails(), "LOWEST")], logger=QUIET)
    trainer = kit.trainer(callback, saver, enable_checkpointing=True)
    with pytest.raises(SystemExit):  # as a Trainer ends on Ctrl-C
        trainer.fit(HookedModule(model, {"type": "SGD", "lr": 0.1, "momentum": 0.9}), DataLoader(samples(BATCHES), 8))
    content = read_checkpoint(kit.folder / "on_exception.ckpt")
    assert content["mmhooks"]["position"]["in_epoch"] == 3
    again, runner, _ = train(kit.trainer, ckpt_path=kit.folder / "on_exception.ckpt")
    assert (runner.epoch, runner.iter) == (2, 10)
    assert_equal(again.state_dict(), whole.state_dict())
