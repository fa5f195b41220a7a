"""The same hooks, data and seed under the native runners and under a Trainer: the same trace, weights and files."""

import itertools
import json
import logging
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mmhooks import EMAHook, EpochBasedRunner, EvalHook, Hook, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint
from mmhooks.hook import POINTS
from mmhooks_lightning import HookCallback, HookedModule

sys.path.insert(0, str(Path(__file__).parents[1]))
from containers import DataContainer

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)

    def forward(self, x):
        return self.body(x)

    def train_step(self, data, optimizer=None, **kwargs):
        x, y = data
        loss = nn.functional.cross_entropy(self(x), y)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(x)}

    val_step = train_step


class Trace(Hook):
    def __init__(self, name="", log=None, epoch_points=False):
        self.log = [] if log is None else log
        self.name = name
        for point in (*POINTS, *(("before_epoch", "after_epoch") if epoch_points else ())):
            setattr(self, point, self._recorder(point))

    def _recorder(self, point):
        def record(runner):
            self.log.append(
                (
                    self.name,
                    point,
                    runner.epoch,
                    runner.iter,
                    runner.inner_iter,
                    runner.mode,
                    runner.model.training,
                    torch.is_grad_enabled(),
                    runner.data_loader is None,
                )
            )

        return record


def data(batches=5, **kwargs):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batches * 8 - 3, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=8, **kwargs)


TRAINING = {
    "lr_config": {"policy": "step", "step": [1, 2], "warmup": "linear", "warmup_iters": 3},
    "optimizer_config": {"grad_clip": {"max_norm": 1.0}},
    "checkpoint_config": {"interval": 1, "max_keep_ckpts": 2},
    "log_config": {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
}


def train(driver, folder, workflow, by_epoch=True, length=3, hooks=(), training=TRAINING, loaders=None, kwargs=None):
    """Run one driver and give back the runner and the trained model."""
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loaders = loaders or {"train": data(shuffle=True), "val": data(3)}
    hooks = [(make() if callable(make) else make, priority) for make, priority in hooks]
    if driver == "native":
        limit = {"max_epochs": length} if by_epoch else {"max_iters": length}
        cls = EpochBasedRunner if by_epoch else IterBasedRunner
        runner = cls(model, optimizer=optimizer, work_dir=folder, logger=QUIET, meta={"seed": 0}, **limit)
        target = runner
    else:
        target = HookCallback(
            work_dir=folder,
            by_epoch=by_epoch,
            max_iters=None if by_epoch else length,
            workflow=workflow,
            logger=QUIET,
            meta={"seed": 0},
        )
        runner = target.runner
    if training is not None:
        target.register_training_hooks(**training)
    for hook, priority in hooks:
        target.register_hook(hook, priority)
    if driver == "native":
        runner.run([loaders[mode] for mode, _ in workflow], workflow)
    else:
        trainer = L.Trainer(
            max_epochs=length if by_epoch else -1,
            callbacks=[target],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
            **(kwargs or {}),
        )
        val = loaders["val"] if len(workflow) > 1 else None
        trainer.fit(HookedModule(model, optimizer), loaders["train"], val)
        runner.final_step = trainer.global_step
    return runner, model


def both(tmp_path, *args, make_hooks=lambda: (), make_loaders=lambda: None, **kwargs):
    results = {}
    for driver in ("native", "lightning"):
        hooks = list(make_hooks())
        runner, model = train(driver, tmp_path / driver, *args, hooks=hooks, loaders=make_loaders(), **kwargs)
        results[driver] = (runner, model, [hook for hook, _ in hooks])
    return results["native"], results["lightning"]


def assert_same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


EPOCH_WORKFLOWS = [[("train", 1)], [("train", 1), ("val", 1)], [("train", 2), ("val", 1)]]
ITER_WORKFLOWS = [[("train", 5)], [("train", 5), ("val", 2)], [("train", 1), ("val", 1)], [("train", 12), ("val", 7)]]


@pytest.mark.parametrize("workflow", EPOCH_WORKFLOWS, ids=str)
def test_epoch_based_trace_and_weights(tmp_path, workflow):
    native, bridge = both(tmp_path, workflow, make_hooks=lambda: [(Trace(), "NORMAL")])
    assert native[2][0].log == bridge[2][0].log
    assert len(native[2][0].log) > 30
    assert_same_weights(native[1], bridge[1])


@pytest.mark.parametrize("workflow", ITER_WORKFLOWS, ids=str)
@pytest.mark.parametrize("length", [10, 12])
def test_iteration_based_trace_and_weights(tmp_path, workflow, length):
    training = {**TRAINING, "checkpoint_config": {"interval": 4, "max_keep_ckpts": 2}}
    native, bridge = both(
        tmp_path,
        workflow,
        by_epoch=False,
        length=length,
        training=training,
        make_hooks=lambda: [(Trace(epoch_points=True), "NORMAL")],
    )
    assert native[2][0].log == bridge[2][0].log
    assert {entry[1] for entry in native[2][0].log} & {"before_train_epoch", "before_val_epoch"} == set()
    assert_same_weights(native[1], bridge[1])
    assert bridge[0].final_step == length


def test_order_within_a_point(tmp_path):
    log = {}

    def hooks():
        calls = []
        log[len(log)] = calls
        for name, priority in (("a", 60), ("b", "HIGH"), ("c", "NORMAL"), ("d", 60), ("e", "HIGHEST")):
            yield Trace(name, calls), priority

    both(tmp_path, [("train", 1), ("val", 1)], make_hooks=hooks)
    assert log[0] == log[1]
    assert [entry[0] for entry in log[0][:5]] == ["e", "b", "c", "a", "d"]


@pytest.mark.parametrize("by_epoch", [True, False])
def test_files_logs_and_checkpoints(tmp_path, by_epoch):
    def hooks():
        yield EMAHook(momentum=0.05), "ABOVE_NORMAL"

    training = {**TRAINING, "checkpoint_config": {"interval": 1 if by_epoch else 3, "max_keep_ckpts": 2}}
    native, bridge = both(
        tmp_path,
        [("train", 1 if by_epoch else 4), ("val", 1)],
        by_epoch=by_epoch,
        length=3 if by_epoch else 11,
        training=training,
        make_hooks=hooks,
    )
    names = [
        {p.name for p in (tmp_path / driver).iterdir() if p.suffix == ".pth"} for driver in ("native", "lightning")
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 3
    assert_same_weights(native[1], bridge[1])
    ours, theirs = (read_checkpoint(tmp_path / driver / "latest.pth") for driver in ("native", "lightning"))
    assert list(ours["state_dict"]) == list(theirs["state_dict"])
    assert all(torch.equal(ours["state_dict"][k], theirs["state_dict"][k]) for k in ours["state_dict"])
    for key in ("epoch", "iter", "hook_msgs", "seed"):
        left, right = (str(content["meta"].get(key)).replace(driver, "") for content, driver in
                       ((ours, "native"), (theirs, "lightning")))  # fmt: skip
        assert left == right
    assert ours["mmhooks"] == theirs["mmhooks"]
    lines = [json_lines(tmp_path / driver) for driver in ("native", "lightning")]
    assert lines[0] == lines[1]


def json_lines(folder):
    (file,) = Path(folder).glob("*.log.json")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("time", "data_time", "memory", "hook_msgs")} for line in lines]


def test_a_loader_with_its_own_generator_and_workers(tmp_path):
    def loaders():
        return {
            "train": data(shuffle=True, generator=torch.Generator().manual_seed(5)),
            "val": data(3, shuffle=True, generator=torch.Generator().manual_seed(6), num_workers=1),
        }

    native, bridge = both(tmp_path, [("train", 1), ("val", 1)], make_loaders=loaders)
    assert_same_weights(native[1], bridge[1])


class Stream(IterableDataset):
    """Samples without an end or a length, drawn from the global generator."""

    def __iter__(self):
        while True:
            x = torch.randn(4)
            yield x, int(x.sum() > 0)


class Passes(Stream):
    def __iter__(self):
        return itertools.islice(super().__iter__(), 24)


@pytest.mark.parametrize("dataset", [Stream, Passes])
def test_a_loader_without_a_length(tmp_path, dataset):
    def loaders():
        return {"train": DataLoader(dataset(), 8), "val": data(3)}

    training = {**TRAINING, "lr_config": {"policy": "fixed"}, "checkpoint_config": None}
    native, bridge = both(
        tmp_path,
        [("train", 4), ("val", 1)],
        by_epoch=False,
        length=10,
        training=training,
        make_loaders=loaders,
        make_hooks=lambda: [(Trace(epoch_points=True), "NORMAL")],
    )
    assert native[2][0].log == bridge[2][0].log
    assert_same_weights(native[1], bridge[1])


class Reseed(Hook):
    def before_train_epoch(self, runner):
        torch.manual_seed(runner.epoch)


class Shrink(Hook):
    """Trains one epoch on another, shorter loader."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            runner.data_loader = data(3)


class LeaveEval(Hook):
    def after_train_epoch(self, runner):
        runner.model.eval()


class RegisterMore(Hook):
    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            runner.register_hook(Reseed(), "LOW")


class StopEarly(Hook):
    def after_train_iter(self, runner):
        if runner.iter == 7:
            runner.stop("enough")


@pytest.mark.parametrize("hook", [Reseed, Shrink, LeaveEval, RegisterMore, StopEarly])
@pytest.mark.parametrize("workflow", EPOCH_WORKFLOWS, ids=str)
def test_hooks_that_interfere(tmp_path, hook, workflow):
    native, bridge = both(tmp_path, workflow, make_hooks=lambda: [(hook(), "NORMAL"), (Trace(), "VERY_LOW")])
    assert native[2][1].log == bridge[2][1].log
    assert_same_weights(native[1], bridge[1])


def test_accumulation_spans_validation_and_epochs(tmp_path):
    training = {**TRAINING, "optimizer_config": {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 4}}
    native, bridge = both(tmp_path, [("train", 1), ("val", 1)], training=training)
    assert_same_weights(native[1], bridge[1])
    assert bridge[0].final_step == 4  # 15 iterations in groups of 4, the last one of 3


def test_evaluation_and_best_checkpoint(tmp_path):
    torchmetrics = pytest.importorskip("torchmetrics")

    def hooks():
        metrics = torchmetrics.MetricCollection(
            {"acc": torchmetrics.classification.MulticlassAccuracy(2, average="micro")}
        )
        yield EMAHook(momentum=0.05), "ABOVE_NORMAL"
        yield EvalHook(data(3), save_best="acc", start=0, metrics=metrics, predict=lambda m, b: (m(b[0]), b[1])), "LOW"

    native, bridge = both(tmp_path, [("train", 1)], make_hooks=hooks)
    assert_same_weights(native[1], bridge[1])
    files = [sorted(p.name for p in (tmp_path / driver).glob("*.pth")) for driver in ("native", "lightning")]
    assert files[0] == files[1]
    assert any(name.startswith("best_acc_epoch_") for name in files[0])
    assert json_lines(tmp_path / "native") == json_lines(tmp_path / "lightning")


@pytest.mark.parametrize("origin", ["native", "lightning"])
@pytest.mark.parametrize("way", ["native", "resume", "ckpt_path"])
@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_resumed_run_is_the_run_that_would_have_been(tmp_path, origin, way, by_epoch):
    """Any driver goes on from any driver's file; the data order does not depend on the generator here."""
    if way == "ckpt_path" and origin == "native":
        pytest.skip("a native file holds no state of a Trainer; HookCallback.resume takes it")
    workflow = [("train", 1)] if by_epoch else [("train", 2)]
    length = 4 if by_epoch else 12

    class Plain(Net):
        def __init__(self):
            super().__init__()
            self.body[3] = nn.Identity()  # no dropout: nothing is drawn

    def run(driver, folder, until, resume=None, ckpt_path=None):
        torch.manual_seed(0)
        model = Plain()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        limit = {"max_epochs": until} if by_epoch else {"max_iters": until}
        training = dict(TRAINING, lr_config={"policy": "step", "step": [1, 3] if by_epoch else [3, 6]})
        training["checkpoint_config"] = {"interval": 1, "max_keep_ckpts": 3}
        if driver == "native":
            cls = EpochBasedRunner if by_epoch else IterBasedRunner
            runner = cls(model, optimizer=optimizer, work_dir=folder, logger=QUIET, **limit)
            runner.register_training_hooks(**training)
            runner.register_hook(EMAHook(momentum=0.05), "ABOVE_NORMAL")
            if resume:
                runner.resume(resume)
            runner.run([data(10)], workflow)
        else:
            bridge = HookCallback(work_dir=folder, by_epoch=by_epoch, max_iters=None if by_epoch else until,
                                  workflow=workflow, logger=QUIET)  # fmt: skip
            bridge.register_training_hooks(**training)
            bridge.register_hook(EMAHook(momentum=0.05), "ABOVE_NORMAL")
            if resume:
                bridge.resume(resume)
            trainer = L.Trainer(max_epochs=until if by_epoch else -1, callbacks=[bridge], logger=False,
                                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                                accelerator="cpu")  # fmt: skip
            trainer.fit(HookedModule(model, optimizer), data(10), ckpt_path=ckpt_path)
            assert trainer.global_step == (40 if by_epoch else until)
        return model

    whole = run("native", tmp_path / "whole", length)
    run(origin, tmp_path / "half", length)
    # iteration-based, a loader begins anew after a resume, as in MMCV: so take the file from the end of a pass
    kept = tmp_path / "half" / ("epoch_3.pth" if by_epoch else "iter_10.pth")
    if way == "ckpt_path":
        resumed = run("lightning", tmp_path / "half", length, ckpt_path=kept)
    else:
        resumed = run("native" if way == "native" else "lightning", tmp_path / "half", length, resume=kept)
    assert_same_weights(resumed, whole)


def test_a_model_that_steps_in_train_step_needs_no_optimizer_hook(tmp_path):

    class Stepping(Net):
        def train_step(self, data, optimizer=None, **kwargs):
            outputs = super().train_step(data)
            optimizer.zero_grad()
            outputs["loss"].backward()
            optimizer.step()
            return outputs

    states = []
    for driver in ("native", "lightning"):
        torch.manual_seed(0)
        model = Stepping()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if driver == "native":
            EpochBasedRunner(model, optimizer=optimizer, logger=QUIET, max_epochs=2).run([data()], [("train", 1)])
        else:
            trainer = L.Trainer(max_epochs=2, callbacks=[HookCallback(logger=QUIET)], logger=False, accelerator="cpu",
                                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                                default_root_dir=tmp_path)  # fmt: skip
            trainer.fit(HookedModule(model, optimizer), data())
            assert trainer.global_step == 10
        states.append(model.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


class Contained:
    """A loader whose batches hold the images in a DataContainer."""

    def __init__(self, batches):
        self.batches = [(DataContainer([x]), y) for x, y in data(batches)]

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)


class Look(Hook):
    def __init__(self):
        self.seen = []

    def before_iter(self, runner):
        self.seen.append(runner.data_batch[0].data[0].sum().item())
        runner.data_batch = "another one, which is not trained on"


@pytest.mark.parametrize(("by_epoch", "length"), [(True, 2), (False, 10)])
def test_hooks_see_containers_and_the_model_their_content(tmp_path, by_epoch, length):
    native, bridge = both(
        tmp_path,
        [("train", 1), ("val", 1)],
        by_epoch,
        length,
        make_hooks=lambda: [(Look(), "NORMAL")],
        make_loaders=lambda: {"train": Contained(5), "val": Contained(3)},
    )
    assert native[2][0].seen == bridge[2][0].seen
    assert len(native[2][0].seen) == (16 if by_epoch else 20)
    assert_same_weights(native[1], bridge[1])


class SaveAround(Hook):
    """Saves by hand before the iterations and after the run, and stops the run."""

    def save(self, runner, name):
        runner.save_checkpoint(runner.work_dir, f"{name}.pth", create_symlink=False)

    def before_train_iter(self, runner):
        if runner.iter == 3:
            self.save(runner, "before")

    def after_train_iter(self, runner):
        if runner.iter == 6:
            self.save(runner, "at")
            runner.stop("enough")

    def after_run(self, runner):
        self.save(runner, "after")


def test_what_files_say_of_a_stopped_iteration_based_run(tmp_path):
    training = {**TRAINING, "checkpoint_config": {"interval": 50}}
    both(
        tmp_path,
        [("train", 5)],
        by_epoch=False,
        length=20,
        training=training,
        make_hooks=lambda: [(SaveAround(), "VERY_HIGH")],
    )
    for driver in ("native", "lightning"):
        finished = {
            path.stem: read_checkpoint(path)["mmhooks"]["finished_iters"] for path in (tmp_path / driver).glob("*.pth")
        }
        assert finished == {"before": 3, "at": 7, "iter_7": 7, "latest": 7, "after": 7}, driver
