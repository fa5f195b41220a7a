"""What projects write on top of mmcv: subclasses of its hooks, hooks that look around, and what cannot be run."""

import copy
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import lightning as L
import mmcv.runner as mmcv
import pytest
import torch
from mmcv.parallel import DataContainer, MMDataParallel, collate, is_module_wrapper
from real_mmcv import Net, Points, points, sgd, train
from torch import nn
from torch.utils.data import DataLoader, Dataset

import mmhooks
import mmhooks.foreign
from mmhooks import ConfigError, HookError
from mmhooks_lightning import HookCallback, HookedModule

DRIVERS = ("native", "lightning")


def all_three(tmp_path, *args, **kwargs):
    return [train(driver, tmp_path / driver, *args, **kwargs) for driver in ("mmcv", *DRIVERS)]


def assert_same(theirs, *ours):
    for seen in ours:
        state, other = theirs.model.state_dict(), seen.model.state_dict()
        assert sorted(state) == sorted(other)
        assert all(torch.equal(state[name], other[name]) for name in state)
        assert seen.lrs == theirs.lrs
        assert seen.log == theirs.log
        assert sorted(seen.files) == sorted(theirs.files)


class Noisy(mmcv.OptimizerHook):
    """Steps in a way of its own."""

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        (runner.outputs["loss"] * 2).backward()
        for parameter in runner.model.parameters():
            parameter.grad.clamp_(-0.01, 0.01)
        runner.optimizer.step()


class Group(mmcv.GradientCumulativeOptimizerHook):
    def _get_loss_factor(self, runner):
        return 1


class Half(mmcv.Fp16OptimizerHook):
    def after_train_iter(self, runner):
        super().after_train_iter(runner)
        runner.log_buffer.update({"scale": self.loss_scaler.get_scale()})


@pytest.mark.parametrize("make", [Noisy, lambda: Group(3), Half], ids=["plain", "group", "fp16"])
@pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.GradScaler", "ignore:torch.cuda.amp.GradScaler is enabled")
def test_an_optimizer_hook_of_a_projects_own_runs_on_one_device(tmp_path, make):
    runs = all_three(tmp_path, lambda: [(make(), "ABOVE_NORMAL")], training={"optimizer_config": None})
    assert_same(*runs)
    for seen in runs[1:]:
        assert not any("is replaced" in line for line in seen.console)


@pytest.mark.parametrize("settings", [{"precision": "bf16-mixed"}, {"strategy": "ddp", "devices": 1}], ids=str)
def test_an_optimizer_hook_of_a_projects_own_is_refused_past_a_strategy_or_precision(tmp_path, settings):
    with pytest.raises(HookError, match=r"Noisy calls loss\.backward\(\).*derive it from mmhooks\.OptimizerHook"):
        train("lightning", tmp_path, lambda: [Noisy()], training={"optimizer_config": None}, settings=settings)


def test_one_that_is_registered_when_the_run_begins_is_refused_too(tmp_path):
    class Late(mmcv.Hook):
        def before_run(self, runner):
            runner.register_hook(Noisy())

    with pytest.raises(HookError, match="Noisy calls"):
        train("lightning", tmp_path, lambda: [Late()], settings={"precision": "bf16-mixed"})


def test_mmcvs_own_is_replaced_and_goes_with_a_precision(tmp_path):
    hooks = lambda: [mmcv.OptimizerHook()]  # noqa: E731
    seen = train(
        "lightning", tmp_path, hooks, training={"optimizer_config": None}, settings={"precision": "bf16-mixed"}
    )
    assert seen.lrs[-1][1] == 11


class Lit(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(6, 3)

    def training_step(self, batch, batch_idx):
        self.clip = self.trainer.gradient_clip_val
        return nn.functional.cross_entropy(self.net(batch["x"]), batch["y"])

    def configure_optimizers(self):
        optimizer = sgd(self)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def fit(module, hooks, folder):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[HookCallback(hooks, work_dir=folder)], **quiet)
    trainer.fit(module, DataLoader(Points(), batch_size=6))


def test_beside_automatic_optimization(tmp_path):
    module = Lit()
    fit(module, [mmcv.OptimizerHook(grad_clip={"max_norm": 0.5})], tmp_path)
    assert module.clip == 0.5
    with pytest.raises(HookError, match="Noisy has no equal among the Trainer's settings"):
        fit(Lit(), [Noisy()], tmp_path)
    with pytest.raises(HookError, match="FixedLrUpdaterHook and the StepLR of Lit"):
        fit(Lit(), [mmcv.FixedLrUpdaterHook()], tmp_path)


def test_two_that_step_are_told(tmp_path):
    class Same(mmcv.OptimizerHook):
        pass

    with pytest.raises(HookError, match="OptimizerHook and Same are both registered"):
        train("native", tmp_path, lambda: [(Same(), "NORMAL")])


class Every(mmcv.CheckpointHook):
    """Keeps a note of what it has saved."""

    def _save_checkpoint(self, runner):
        super()._save_checkpoint(runner)
        (Path(self.out_dir) / "note.txt").write_text(runner.meta["hook_msgs"]["last_ckpt"])


@pytest.mark.parametrize(("by_epoch", "length"), [(True, 3), (False, 7)])
def test_a_checkpoint_hook_of_a_projects_own(tmp_path, by_epoch, length):
    runs = all_three(tmp_path, lambda: [Every(2, by_epoch=by_epoch)], by_epoch=by_epoch, length=length)
    assert_same(*runs)
    for seen in runs:
        (last,) = Path(seen.runner.work_dir).glob("note.txt")
        assert last.read_text() == str(Path(seen.runner.work_dir) / f"{'epoch' if by_epoch else 'iter'}_{length}.pth")


class Judge(mmcv.EvalHook):
    """An evaluation as code bases write it."""

    def _do_evaluate(self, runner):
        results = self.test_fn(runner.model, self.dataloader)
        runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
        score = self.evaluate(runner, results)
        if self.save_best and score:
            self._save_ckpt(runner, score)


@pytest.mark.parametrize(
    ("arguments", "by_epoch", "length"),
    [({"save_best": "acc", "start": 0}, True, 3), ({"interval": 4, "by_epoch": False, "save_best": "loss"}, False, 11)],
    ids=str,
)
def test_an_eval_hook_of_a_projects_own(tmp_path, arguments, by_epoch, length):
    """By iteration it looks for the loggers, to log what is from training first; here that is ours."""
    hooks = lambda: [(Judge(points(), **arguments), "LOW"), (mmcv.EMAHook(0.1), "HIGH")]  # noqa: E731
    runs = all_three(tmp_path, hooks, by_epoch=by_epoch, length=length)
    assert_same(*runs)
    assert [line["mode"] for line in runs[0].log if "mode" in line].count("val") >= 2


class Book(mmcv.LoggerHook):
    """A service of a project's own."""

    def log(self, runner):
        path = Path(runner.work_dir) / f"{type(self).__name__}.jsonl"
        tags = self.get_loggable_tags(runner)
        with path.open("a") as file:
            file.write(json.dumps([self.get_mode(runner), self.get_epoch(runner), self.get_iter(runner), tags]) + "\n")


class OurBook(mmhooks.LoggerHook):
    def log(self, runner):
        with (Path(runner.work_dir) / "OurBook.jsonl").open("a") as file:
            file.write(json.dumps(dict(runner.log_buffer.output)) + "\n")


def booked(seen, name="Book"):
    lines = [json.loads(line) for line in (Path(seen.runner.work_dir) / f"{name}.jsonl").read_text().splitlines()]
    return [[{k: v for k, v in part.items() if "time" not in k} if isinstance(part, dict) else part for part in line]
            if isinstance(line, list) else line for line in lines]  # fmt: skip


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(("by_epoch", "length"), [(True, 3), (False, 9)])
def test_loggers_of_both_kinds_read_the_same_averages(tmp_path, place, by_epoch, length):
    """The last one clears them, whichever it is."""
    arguments = {"interval": 2, "by_epoch": by_epoch}
    loggers = [{"type": Book, **arguments}, {"type": "TextLoggerHook", **arguments}]
    training = {"log_config": {"interval": 2, "hooks": loggers if place == "before" else loggers[::-1]}}
    interval = {"interval": 1 if by_epoch else 4, "by_epoch": by_epoch}
    hooks = lambda: [(mmcv.EvalHook(points(), **interval), "LOW")]  # noqa: E731
    runs = all_three(tmp_path, hooks, training=training, by_epoch=by_epoch, length=length)
    assert_same(*runs)
    lines = [booked(seen) for seen in runs]
    assert lines[0] == lines[1] == lines[2]
    assert any("val/acc" in line[3] for line in lines[0])


def test_a_logger_derived_from_ours_beside_one_of_mmcv(tmp_path):
    hooks = lambda: [(OurBook(2), "VERY_LOW"), (Book(2), "VERY_LOW"), (Judge(points()), "LOW")]  # noqa: E731
    for driver in DRIVERS:
        seen = train(driver, tmp_path / driver, hooks, training={"log_config": None})
        assert [hook.reset_flag for hook in seen.runner.hooks if isinstance(hook, mmcv.LoggerHook)] == [False, True]
        assert sum("acc" in line for line in booked(seen, "OurBook")) == 3


class Lines(mmcv.TextLoggerHook):
    def _log_info(self, log_dict, runner):
        log_dict["more"] = 1
        super()._log_info(log_dict, runner)


def test_a_text_logger_of_a_projects_own(tmp_path):
    runs = all_three(tmp_path, lambda: [(Lines(interval=2), "VERY_LOW")], training={"log_config": None})
    assert_same(*runs)
    assert runs[0].log[1]["more"] == 1


def test_the_out_dir_of_a_text_logger(tmp_path):
    hooks = lambda: [(mmcv.TextLoggerHook(out_dir=str(tmp_path / "store"), keep_local=False), "VERY_LOW")]  # noqa: E731
    for driver in DRIVERS:
        seen = train(driver, tmp_path / driver, hooks, training={"log_config": None})
        assert any("is replaced" in line for line in seen.console)
        assert len(list((tmp_path / "store" / driver).glob("*.log.json"))) == 1
        assert not list((tmp_path / driver).glob("*.log.json"))


def test_a_logger_whose_service_is_gone(tmp_path):
    hooks = lambda: [(mmcv.PaviLoggerHook(add_last_ckpt=True), "VERY_LOW")]  # noqa: E731
    for driver in DRIVERS:
        seen = train(driver, tmp_path / driver, hooks, training={"log_config": None})
        assert sum("the service Pavi is gone" in line for line in seen.console) == 1


class Slow(mmcv.EMAHook):
    """An average of a project's own."""

    def after_train_iter(self, runner):
        for name, parameter in self.model_parameters.items():
            self.model_buffers[self.param_ema_buffer[name]].mul_(0.75).add_(parameter.data, alpha=0.25)


def test_an_average_of_a_projects_own(tmp_path):
    hooks = lambda: [(Slow(), "HIGH"), mmcv.CheckpointHook(1), (Judge(points(), save_best="acc"), "LOW")]  # noqa: E731
    runs = all_three(tmp_path, hooks)
    assert_same(*runs)
    for seen in runs[1:]:
        mine, theirs = seen.files["epoch_3.pth"]["state_dict"], runs[0].files["epoch_3.pth"]["state_dict"]
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_file_of_mmcv_is_resumed_by_its_own_ema_hook(tmp_path, driver):
    hooks = lambda: [(mmcv.EMAHook(0.3), "HIGH"), mmcv.CheckpointHook(1)]  # noqa: E731
    whole = train("mmcv", tmp_path / "whole", hooks)
    file = str(Path(whole.runner.work_dir) / "epoch_2.pth")
    resuming = lambda: [(mmcv.EMAHook(0.3, resume_from=file), "HIGH"), mmcv.CheckpointHook(1)]  # noqa: E731
    theirs, ours = (train(name, tmp_path / name, resuming) for name in ("mmcv", driver))
    assert_same(theirs, ours)
    assert ours.lrs[0][:2] == (2, 8)


# hooks that look around ---------------------------------------------------------------------------------------


class Look(mmcv.Hook):
    """Looks at all that hooks of code bases look at."""

    def __init__(self):
        self.seen = []

    def _note(self, runner, *more):
        model = runner.model.module if is_module_wrapper(runner.model) else runner.model
        kinds = (mmcv.BaseRunner, mmcv.EpochBasedRunner, mmcv.IterBasedRunner)
        self.seen.append(
            [
                *(runner.epoch, runner.iter, runner.inner_iter, runner._epoch, runner._iter, runner._inner_iter),
                *(runner._max_epochs, runner._max_iters, runner.max_epochs, runner.max_iters, runner.mode),
                *(runner.rank, runner.world_size, runner._rank, runner._model_name, runner.model_name),
                *(isinstance(runner, kind) for kind in kinds),
                *(type(model).__name__, model.training, sorted(runner.meta), runner.logger.name),
                *(Path(runner.work_dir).is_dir(), len(runner.timestamp), isinstance(runner.optimizer, torch.optim.SGD)),
                len(runner.optimizer.param_groups),
                [type(hook).__name__ for hook in runner.hooks] == [type(hook).__name__ for hook in runner._hooks],
                [name for name in ("CheckpointHook", "TextLoggerHook", "LoggerHook", "Hook", "EvalHook")
                 if any(isinstance(hook, getattr(mmcv, name)) for hook in runner._hooks)],
                *more,
            ]
        )  # fmt: skip

    def before_run(self, runner):
        self._note(runner, [line.split() for line in runner.get_hook_info().splitlines() if "Look" in line])
        runner.meta.setdefault("hook_msgs", {})["look"] = "here"

    def before_train_epoch(self, runner):
        self._note(runner, len(runner.data_loader), len(runner.data_loader.dataset), self.is_last_epoch(runner))

    def after_train_iter(self, runner):
        runner.log_buffer.update({"twice": 2 * runner.outputs["log_vars"]["loss"]}, runner.outputs["num_samples"])
        numbers = [runner.log_buffer.n_history["loss"][-1], sorted(runner.log_buffer.val_history)]
        self._note(runner, numbers, len(runner.data_loader), self.end_of_epoch(runner), self.is_last_iter(runner))

    def after_train_epoch(self, runner):
        runner.log_buffer.output["epoch_value"] = runner.epoch
        runner.log_buffer.ready = True
        self._note(runner, sorted(runner.log_buffer.output), runner.meta["hook_msgs"]["look"])

    def after_val_iter(self, runner):
        self._note(runner, runner.outputs["num_samples"], len(runner.data_batch["x"]))

    def after_run(self, runner):
        self._note(runner)


@pytest.mark.parametrize(("by_epoch", "length"), [(True, 2), (False, 7)])
def test_what_hooks_see_of_a_runner(tmp_path, by_epoch, length):
    looks = []

    def hooks():
        looks.append(Look())
        unit = {"by_epoch": by_epoch}
        return [
            looks[-1],
            mmcv.CheckpointHook(1 if by_epoch else 4, **unit),
            (mmcv.EvalHook(points(), interval=4, **unit), "LOW"),
        ]

    workflow = [("train", 1), ("val", 1)] if by_epoch else [("train", 3), ("val", 1)]
    runs = all_three(tmp_path, hooks, by_epoch=by_epoch, length=length, workflow=workflow)
    assert_same(*runs)
    for one, other in zip(looks[0].seen, looks[1].seen, strict=True):
        assert one == other
    for one, other in zip(looks[0].seen, looks[2].seen, strict=True):
        if one is looks[0].seen[0]:  # the Trainer knows the length when training begins, so before_run sees it
            one, other = [*one[:7], *one[10:]], [*other[:7], *other[10:]]
        assert one == other


class Contained(Dataset):
    def __init__(self):
        self.points = Points()

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        point = self.points[index]
        return {"x": DataContainer(point["x"], stack=True, pad_dims=None), "y": point["y"]}


class Peek(mmcv.Hook):
    def __init__(self):
        self.kinds = set()

    def before_train_iter(self, runner):
        self.kinds.add((type(runner.data_batch["x"]).__name__, is_module_wrapper(runner.model)))


def test_data_containers_and_mmdataparallel(tmp_path):
    def loader():
        return DataLoader(Contained(), batch_size=6, collate_fn=lambda batch: collate(batch, samples_per_gpu=6))

    peeks = []

    def hooks():
        peeks.append(Peek())
        return [peeks[-1], (mmcv.EMAHook(0.1), "HIGH"), mmcv.CheckpointHook(1)]

    theirs = train("mmcv", tmp_path / "mmcv", hooks, loader=loader, wrap=MMDataParallel)
    native = train("native", tmp_path / "native", hooks, loader=loader, wrap=MMDataParallel)
    bare = train("native", tmp_path / "bare", hooks, loader=loader)
    bridged = train("lightning", tmp_path / "lightning", hooks, loader=loader)
    for seen in (native, bare, bridged):
        weights, others = theirs.files["epoch_3.pth"]["state_dict"], seen.files["epoch_3.pth"]["state_dict"]
        assert sorted(weights) == sorted(others)
        assert all(torch.equal(weights[name], others[name]) for name in weights)
        assert seen.log == theirs.log
    assert [peek.kinds for peek in peeks] == [{("DataContainer", w)} for w in (True, True, False, False)]


# what is in the place of what ------------------------------------------------------------------------------------


@pytest.fixture
def runner(tmp_path):
    """A runner, and what its log says."""
    model = Net()
    lines = []
    logger = logging.Logger("quiet")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    found = mmhooks.EpochBasedRunner(model, optimizer=sgd(model), work_dir=tmp_path, logger=logger, max_epochs=1)
    found.lines = lines
    return found


def test_the_ways_into_the_list(runner):
    runner.register_hook(mmcv.CheckpointHook(2), "HIGH")
    runner.hooks.insert(0, mmcv.CheckpointHook(3))
    runner._hooks.append(mmcv.CheckpointHook(4))
    runner.hooks[1] = mmcv.CheckpointHook(5)
    assert [(type(hook).__module__, hook.interval) for hook in runner.hooks] == [
        ("mmhooks.hooks.checkpoint", interval) for interval in (3, 5, 4)
    ]
    assert all(isinstance(hook, (mmhooks.CheckpointHook, mmcv.CheckpointHook)) for hook in runner.hooks)
    assert [hook.priority for hook in runner.hooks] == [30, 30, 30]
    assert len(runner.lines) == 4
    runner.hooks[:] = [runner.hooks[0]]
    assert len(runner.lines) == 4
    hook = mmcv.EMAHook()
    runner.register_hook(hook)
    with pytest.raises(HookError, match="priority"):
        runner.register_hook(hook)


def test_hooks_of_ours_are_known_as_mmcvs(runner):
    runner.register_training_hooks(
        {"policy": "fixed"}, {}, {"interval": 1}, {"hooks": [{"type": "TextLoggerHook"}]}, custom_hooks_config=OurBook()
    )
    kinds = {type(hook).__name__: hook for hook in runner.hooks}
    assert isinstance(kinds["CheckpointHook"], mmcv.CheckpointHook)
    assert isinstance(kinds["CheckpointHook"], mmhooks.CheckpointHook)
    assert isinstance(kinds["TextLoggerHook"], mmcv.TextLoggerHook)
    assert isinstance(kinds["OurBook"], mmcv.LoggerHook)
    assert isinstance(kinds["OurBook"], OurBook)
    assert type(kinds["OptimizerHook"]) is mmhooks.OptimizerHook
    assert isinstance(runner, mmcv.EpochBasedRunner)
    assert not isinstance(runner, mmcv.IterBasedRunner)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda hook: pickle.loads(pickle.dumps(hook))])
def test_such_a_hook_can_be_copied(runner, again):
    runner.register_hook(mmcv.CheckpointHook(7, out_dir="s"))
    (hook,) = runner.hooks
    other = again(hook)
    assert type(other) is type(hook)
    assert vars(other) == vars(hook)


def test_without_mmcv_a_pickled_one_is_ours(runner, tmp_path):
    runner.register_hook(mmcv.CheckpointHook(7))
    (tmp_path / "hook").write_bytes(pickle.dumps(runner.hooks[0]))
    code = "hook = pickle.load(open(sys.argv[1], 'rb')); print(type(hook), hook.interval, 'mmcv' in sys.modules)"
    command = [sys.executable, "-c", f"import sys, pickle; {code}", tmp_path / "hook"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "<class 'mmhooks.hooks.checkpoint.CheckpointHook'> 7 False"


MOMENTUM = 0.1  # whose fifth power has a fifth root with another fifth power


def test_arguments_are_read_off_the_object(runner):
    given = {
        "EvalHook": mmcv.EvalHook(
            points(), 2, 3, False, "acc", "less", None, ["a"], ["b"], "o", {"backend": "disk"}, x=1
        ),
        "DistEvalHook": mmcv.DistEvalHook(points(), tmpdir="t", gpu_collect=True, broadcast_bn_buffer=False, y=2),
        "EMAHook": mmcv.EMAHook(MOMENTUM, 5, 7),
        "SyncBuffersHook": mmcv.SyncBuffersHook(False),
        "TextLoggerHook": mmcv.TextLoggerHook(False, 3, False, True, 5),
        "GradientCumulativeOptimizerHook": mmcv.GradientCumulativeOptimizerHook(4, detect_anomalous_params=True),
    }
    for hook in given.values():
        runner.register_hook(hook)
    found = {type(hook).__name__: hook for hook in runner.hooks}
    for name, hook in given.items():
        ours = found[name]
        assert type(ours).__module__.startswith("mmhooks.hooks.")
        kept = {key: value for key, value in vars(hook).items() if key not in ("dataloader", "test_fn", "compare_func")}
        assert {key: getattr(ours, key) for key in kept if hasattr(ours, key)} | {"priority": 50} == {
            key: value for key, value in kept.items() if hasattr(ours, key)
        }
    assert found["EvalHook"].test_fn is mmhooks.single_gpu_test
    assert found["DistEvalHook"].test_fn is mmhooks.multi_gpu_test
    assert found["EvalHook"].eval_kwargs == {"x": 1}


def test_an_average_after_a_checkpoint_hook_of_a_projects_own_is_warned_of(tmp_path):
    hooks = lambda: [(Every(1), "HIGH"), mmcv.EMAHook()]  # noqa: E731
    seen = train("native", tmp_path, hooks)
    assert any(line.startswith("EMAHook runs after CheckpointHook") for line in seen.console)


def test_arguments_that_ours_refuses_are_told(runner):
    with pytest.raises(ConfigError, match="interval") as told:
        runner.register_hook(mmcv.CheckpointHook(interval=0))
    assert told.value.__notes__ == ["while replacing mmcv's CheckpointHook by mmhooks.CheckpointHook"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the loss scaler works")
@pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.GradScaler", "ignore:torch.cuda.amp.GradScaler is enabled")
def test_a_loss_scaler_that_mmcv_has_switched_off(runner):
    runner.register_hook(mmcv.Fp16OptimizerHook(loss_scale="dynamic"))
    assert not runner.hooks[0].loss_scaler.is_enabled()
    assert "register mmhooks.Fp16OptimizerHook(loss_scale='dynamic')" in runner.lines[-1]


@pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.GradScaler", "ignore:torch.cuda.amp.GradScaler is enabled")
def test_the_arguments_of_a_loss_scaler_that_works(runner):
    arguments = {"init_scale": 1024.0, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7}
    hook = mmcv.Fp16OptimizerHook(loss_scale=arguments)
    hook.loss_scaler = torch.amp.GradScaler("cpu", **arguments)  # as with a GPU
    runner.register_hook(hook)
    state = {**runner.hooks[0].loss_scaler.state_dict(), "init_scale": runner.hooks[0].loss_scaler.get_scale()}
    assert {key: state[key] for key in arguments} == arguments


def test_methods_set_on_the_object_are_kept(runner):
    hook = mmcv.OptimizerHook()
    hook.after_train_iter = lambda runner: None
    runner.register_hook(hook)
    assert runner.hooks == [hook]


@pytest.fixture
def opted_out(monkeypatch):
    monkeypatch.setattr(mmhooks.foreign, "enabled", False)


def test_opting_out(tmp_path, opted_out):
    hooks = lambda: [mmcv.CheckpointHook(1), (mmcv.OptimizerHook(), "ABOVE_NORMAL")]  # noqa: E731
    runs = all_three(tmp_path, hooks, training={"optimizer_config": None})
    assert_same(*runs)
    for seen in runs[1:]:
        assert [type(hook) for hook in seen.runner.hooks[1:3]] == [mmcv.OptimizerHook, mmcv.CheckpointHook]
    with pytest.raises(HookError, match="OptimizerHook calls"):
        train("lightning", tmp_path, hooks, training={"optimizer_config": None}, settings={"precision": "bf16-mixed"})


def test_a_module_that_is_attached(tmp_path):
    model = Net()
    callback = HookCallback([mmcv.OptimizerHook(), Look()], work_dir=tmp_path, meta={})
    assert isinstance(callback.runner, mmcv.EpochBasedRunner)
    other = HookCallback([Look()], by_epoch=False, max_iters=1, work_dir=tmp_path)
    assert isinstance(other.runner, mmcv.IterBasedRunner)
    assert not isinstance(other.runner, mmcv.EpochBasedRunner)
    assert isinstance(HookedModule(model, sgd(model)), L.LightningModule)
