"""Logged values, from the module to the hooks and from the hooks to the Trainer."""

import csv
import json
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from mmhooks import EvalHook, Hook, IterTimerHook, LoggerHook, OptimizerHook, StepLrUpdaterHook, TextLoggerHook
from mmhooks_lightning import HookCallback, HookedModule


class Base(L.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 2)

    def loss(self, batch):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch, batch_idx):
        return self.loss(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data(count=37):  # the last batch is smaller
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 8)


def lines(folder):
    (file,) = folder.glob("*.log.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


def rows(logger):
    text = Path(logger.log_dir, "metrics.csv").read_text()
    return [{name: value for name, value in row.items() if value} for row in csv.DictReader(text.splitlines())]


class Watch(Hook):
    """Keeps what the buffer holds when an iteration's hooks are called."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner):
        self.seen.append({name: history[-1] for name, history in runner.log_buffer.val_history.items()})


# from the module to the hooks -----------------------------------------------------------------------------


def test_what_a_train_step_logs_is_there_for_the_hooks_of_that_iteration(kit):
    class Lit(Base):
        def __init__(self):
            super().__init__()
            self.acc = MulticlassAccuracy(2, average="micro")

        def training_step(self, batch, batch_idx):
            self.log("index", batch_idx)
            loss = self.loss(batch)
            self.log_dict({"twice": 2 * loss, "half": loss / 2}, on_step=False, on_epoch=True)
            self.log("acc", self.acc(self.net(batch[0]), batch[1]))
            self.log("metric", self.acc)
            return loss

    watch = Watch()
    hooks = [watch, TextLoggerHook(interval=5)]
    kit.trainer(HookCallback(hooks, work_dir=kit.folder, logger=kit.logger), max_epochs=1).fit(Lit(), data())
    assert [float(one["index"]) for one in watch.seen] == [0, 1, 2, 3, 4]
    for one in watch.seen:
        assert all(isinstance(value, torch.Tensor) and not value.requires_grad for value in one.values())
        assert float(one["twice"]) == pytest.approx(2 * float(one["loss"]))
        assert float(one["metric"]) == float(one["acc"])
    (line,) = lines(kit.folder)
    weights = [8, 8, 8, 8, 5]
    mean = sum(float(one["loss"]) * n for one, n in zip(watch.seen, weights, strict=True)) / 37
    assert line["loss"] == pytest.approx(mean, abs=1e-5)
    assert line["half"] == pytest.approx(mean / 2, abs=1e-5)
    assert line["index"] == pytest.approx((8 * (0 + 1 + 2 + 3) + 5 * 4) / 37, abs=1e-5)


def test_a_loss_that_the_module_logs_itself_is_not_counted_twice(kit):
    class Lit(Base):
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            self.log("loss", loss + 1, batch_size=3)
            return {"loss": loss, "log_vars": {"loss": 0.0, "other": 4.0}, "num_samples": 8}

    callback = HookCallback([watch := Watch()], logger=kit.logger)
    kit.trainer(callback, max_epochs=1).fit(Lit(), data())
    history = callback.runner.log_buffer.val_history
    assert len(history["loss"]) == len(history["other"]) == 5
    assert callback.runner.log_buffer.n_history["loss"] == [3] * 5
    assert all(float(one["loss"]) > 1 for one in watch.seen)


class Validates(Base):
    """Logs every kind of value, and finishes one at the end of the epoch."""

    def __init__(self):
        super().__init__()
        self.acc = MulticlassAccuracy(2, average="micro")
        self.mean = MeanMetric()

    def validation_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("val_loss", loss)
        self.log("largest", loss, reduce_fx="max")
        self.log("count", float(len(batch[0])), reduce_fx="sum")
        self.log("weighted", float(batch_idx), batch_size=batch_idx + 1)
        self.acc.update(self.net(batch[0]), batch[1])
        self.log("val_acc", self.acc)
        self.mean.update(loss, len(batch[0]))

    def on_validation_epoch_end(self):
        self.log("finished", self.mean.compute())
        self.mean.reset()


def test_a_val_line_has_the_numbers_of_the_trainer(kit):
    hooks = [TextLoggerHook(interval=5)]
    trainer = kit.trainer(HookCallback(hooks, work_dir=kit.folder, logger=kit.logger), max_epochs=2)
    trainer.fit(Validates(), data(), data())
    written = lines(kit.folder)
    assert [line["mode"] for line in written] == ["val"] * 4  # without a timer, mode says val, as in MMCV
    last = written[-1]
    for name in ("val_loss", "largest", "count", "weighted", "val_acc", "finished"):
        assert last[name] == pytest.approx(float(trainer.callback_metrics[name]), abs=1e-5), name
    assert last["count"] == 37
    assert last["finished"] == pytest.approx(last["val_loss"], abs=1e-5)
    assert last["val_loss"] < last["largest"]
    assert written[1]["val_loss"] != last["val_loss"]  # of its own epoch
    assert "loss" not in last


def test_several_val_loaders(kit):
    class Lit(Base):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("v", float(dataloader_idx))
            self.log(f"own{dataloader_idx}", float(batch_idx), add_dataloader_idx=False)

    class Points(Hook):
        seen: list[object] = []  # noqa: RUF012

        def before_val_epoch(self, runner):
            self.seen.append("epoch")

        def before_val_iter(self, runner):
            self.seen.append((runner.inner_iter, len(runner.data_loader)))

        def after_val_epoch(self, runner):
            self.seen.append("end")

    hooks = [TextLoggerHook(interval=5), Points()]
    trainer = kit.trainer(HookCallback(hooks, work_dir=kit.folder, logger=kit.logger), max_epochs=1)
    trainer.fit(Lit(), data(), [data(16), data(24)])
    line = lines(kit.folder)[-1]
    assert line["v/dataloader_idx_0"] == 0
    assert line["v/dataloader_idx_1"] == 1
    assert (line["own0"], line["own1"]) == (0.5, 1)
    assert Points.seen == ["epoch", (0, 2), (1, 2), (2, 3), (3, 3), (4, 3), "end"]


def test_what_is_logged_at_the_end_of_a_train_epoch_is_a_line_of_its_own(kit):
    class Lit(Base):
        def __init__(self):
            super().__init__()
            self.acc = MulticlassAccuracy(2, average="micro")

        def training_step(self, batch, batch_idx):
            self.acc.update(self.net(batch[0]), batch[1])
            self.log("train_acc", self.acc, on_step=False, on_epoch=True)
            return self.loss(batch)

        def on_train_start(self):
            self.log("start", 5.0)

        def on_train_epoch_end(self):
            self.log("done", float(self.current_epoch))

    hooks = [TextLoggerHook(interval=5), IterTimerHook()]
    trainer = kit.trainer(HookCallback(hooks, work_dir=kit.folder, logger=kit.logger))
    trainer.fit(Lit(), data())
    written = lines(kit.folder)
    assert [(line["mode"], line["epoch"], line.get("done")) for line in written] == [
        ("train", 1, None),
        ("val", 1, 0.0),
        ("train", 2, None),
        ("val", 2, 1.0),
    ]
    assert written[-1]["train_acc"] == pytest.approx(float(trainer.callback_metrics["train_acc"]), abs=1e-5)
    assert [line.get("start") for line in written] == [5.0, None, None, None]


def test_callbacks_log_too(kit):
    class Count(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.log("from_callback", float(batch_idx))

    watch = Watch()
    kit.trainer(Count(), HookCallback([watch], logger=kit.logger), max_epochs=1).fit(Base(), data())
    assert [float(one["from_callback"]) for one in watch.seen] == [0, 1, 2, 3, 4]


def test_nothing_listens_after_a_fit_nor_after_an_error(kit):
    class Fail(Hook):
        def after_train_epoch(self, runner):
            raise ZeroDivisionError

    for hooks in ([], [Fail()]):
        callback = HookCallback(hooks, logger=kit.logger)
        trainer = kit.trainer(callback, max_epochs=1)
        if hooks:
            with pytest.raises(ZeroDivisionError):
                trainer.fit(Validates(), data(), data())
        else:
            trainer.fit(Validates(), data(), data())
        before = dict(callback.runner.log_buffer.val_history)
        places = (
            trainer.fit_loop.epoch_loop._results,
            trainer.fit_loop.epoch_loop.val_loop._results,
            trainer._logger_connector,
        )
        assert not any({"log", "on_epoch_end"} & set(vars(place)) for place in places)
        trainer.validate(Validates(), data(), verbose=False)
        assert callback.runner.log_buffer.val_history == before


# from the hooks to the Trainer ----------------------------------------------------------------------------


def hooked(kit, *hooks, callbacks=(), module=HookedModule, val=None, lr=0.1, **settings):
    torch.manual_seed(0)
    model = kit.Model()
    bridge = HookCallback(work_dir=kit.folder / "work", logger=kit.logger)
    bridge.register_hook(OptimizerHook(grad_clip={"max_norm": 5.0}), "ABOVE_NORMAL")
    for hook, priority in hooks:
        bridge.register_hook(hook, priority)
    trainer = kit.trainer(*callbacks, bridge, **settings)
    trainer.fit(module(model, torch.optim.SGD(model.parameters(), lr=lr)), data(), val)
    return trainer, bridge.runner


def test_a_logger_gets_the_averages_of_the_logger_hooks(kit):
    logger = CSVLogger(kit.folder)
    hooks = ((IterTimerHook(), "LOW"), (TextLoggerHook(interval=2), "VERY_LOW"))
    trainer, _ = hooked(kit, *hooks, val=data(16), logger=logger)
    found = rows(logger)
    train = [row for row in found if "loss" in row]
    assert [(int(row["epoch"]), int(row["step"])) for row in train] == [(0, 1), (0, 3), (1, 6), (1, 8)]
    written = lines(kit.folder / "work")
    for row, line in zip(train, [line for line in written if line["mode"] == "train"], strict=True):
        for name in ("loss", "grad_norm", "time", "lr"):
            assert float(row[name]) == pytest.approx(line[name], abs=1e-5)
    val = [row for row in found if "val_loss" in row]
    assert [(int(row["epoch"]), int(row["step"])) for row in val] == [(0, 4), (1, 9)]
    losses = [line["loss"] for line in written if line["mode"] == "val"]
    assert [float(row["val_loss"]) for row in val] == pytest.approx(losses, abs=1e-5)
    assert len(found) == len(train) + len(val)
    assert trainer.progress_bar_metrics["loss"] == pytest.approx(float(trainer.callback_metrics["loss"]))
    assert trainer.progress_bar_metrics["lr"] == 0.1
    assert {"loss", "grad_norm", "time", "lr", "val_loss"} <= set(trainer.logged_metrics)


def test_without_a_logger_hook_the_trainer_says_when(kit):
    logger = CSVLogger(kit.folder)
    losses = []

    class Keep(Hook):
        def after_train_iter(self, runner):
            losses.append((runner.outputs["loss"].item(), runner.outputs["num_samples"]))

    hooked(kit, (Keep(), "LOW"), logger=logger, log_every_n_steps=3)
    found = [(int(row["step"]), float(row["loss"])) for row in rows(logger)]
    assert [step for step, _ in found] == [2, 5, 8]
    for (step, loss), first in zip(found, (0, 3, 6), strict=True):
        part = losses[first : step + 1]
        assert loss == pytest.approx(sum(a * n for a, n in part) / sum(n for _, n in part))


def test_an_epoch_of_which_nothing_was_logged_has_its_mean_logged(kit):
    logger = CSVLogger(kit.folder)
    trainer, runner = hooked(kit, logger=logger)  # 50 steps are more than both epochs have
    assert [int(row["step"]) for row in rows(logger)] == [4, 9]
    mean = sum(float(v) * n for v, n in zip(runner.log_buffer.val_history["loss"][5:], [8, 8, 8, 8, 5], strict=True))
    assert float(trainer.callback_metrics["loss"]) == pytest.approx(mean / 37)


def evaluation(interval=1, by_epoch=True):
    metrics = MetricCollection({"acc": MulticlassAccuracy(2, average="micro")})
    predict = lambda model, batch: (model.net(batch[0]), batch[1])  # noqa: E731
    return EvalHook(data(24), interval=interval, by_epoch=by_epoch, metrics=metrics, predict=predict)


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["hooked", "ordinary"])
def test_callbacks_monitor_the_score_of_an_evaluation(kit, text, first, kind):
    class Scores(Hook):
        """Makes the score worse from the third epoch on."""

        def after_train_epoch(self, runner):
            if runner.epoch > 1:
                runner.log_buffer.output["acc"] = 0.01 * (5 - runner.epoch)
            self.seen.append(float(runner.log_buffer.output["acc"]))

        seen: list[float] = []  # noqa: RUF012

    scores = Scores()
    scores.seen = []
    logger = CSVLogger(kit.folder)
    hooks = [(evaluation(), "LOW"), (scores, "LOW")]
    if text:
        hooks.append((TextLoggerHook(interval=2), "VERY_LOW"))
        hooks.append((IterTimerHook(), "LOW"))
    bridge = HookCallback([OptimizerHook()], work_dir=kit.folder / "work", logger=kit.logger)
    for hook, priority in hooks:
        bridge.register_hook(hook, priority)
    stop = EarlyStopping("acc", mode="max", patience=2)
    best = ModelCheckpoint(kit.folder / "best", monitor="acc", mode="max", filename="{epoch}-{acc:.3f}")
    callbacks = [stop, bridge, best] if first else [bridge, stop, best]
    trainer = kit.trainer(*callbacks, max_epochs=9, enable_checkpointing=True, logger=logger)
    torch.manual_seed(0)
    model = kit.Model()
    module = HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1)) if kind == "hooked" else Base()
    trainer.fit(module, data())
    top = max(scores.seen)
    epoch = scores.seen.index(top)
    assert len(scores.seen) == epoch + 3  # patience
    assert float(stop.best_score) == pytest.approx(top)
    assert float(best.best_model_score) == pytest.approx(top)
    assert [path.name for path in (kit.folder / "best").iterdir()] == [f"epoch={epoch}-acc={top:.3f}.ckpt"]
    written = [(int(row["epoch"]), float(row["acc"])) for row in rows(logger) if "acc" in row]
    assert written == [(n, pytest.approx(score)) for n, score in enumerate(scores.seen)]


@pytest.mark.parametrize("text", [True, False])
def test_callbacks_monitor_the_val_loss_of_a_hooked_module(kit, text):
    class Scores(Hook):
        seen: list[float] = []  # noqa: RUF012

        def before_val_epoch(self, runner):
            self.values = []

        def after_val_iter(self, runner):
            self.values.append((float(runner.outputs["loss"]), runner.outputs["num_samples"]))

        def after_val_epoch(self, runner):
            self.seen.append(sum(loss * n for loss, n in self.values) / sum(n for _, n in self.values))

    scores = Scores()
    scores.seen = []
    stop = EarlyStopping("val_loss", mode="max", patience=1)  # it falls, so the first one is the best
    best = ModelCheckpoint(kit.folder / "best", monitor="val_loss", filename="{epoch}", mode="min")
    hooks = [(scores, "LOW"), *([(TextLoggerHook(interval=2), "VERY_LOW"), (IterTimerHook(), "LOW")] if text else [])]
    trainer, _ = hooked(kit, *hooks, callbacks=(stop, best), val=data(21), max_epochs=7, enable_checkpointing=True)
    assert len(scores.seen) == 2
    assert scores.seen[1] < scores.seen[0]
    assert float(stop.best_score) == pytest.approx(scores.seen[0])
    assert float(best.best_model_score) == pytest.approx(scores.seen[1])
    assert float(trainer.callback_metrics["val_loss"]) == pytest.approx(scores.seen[1])


def test_callbacks_look_after_the_validations_that_a_workflow_has(kit):
    torch.manual_seed(0)
    model = kit.Model()
    bridge = HookCallback([OptimizerHook()], workflow=[("train", 2), ("val", 1)], logger=kit.logger)
    best = ModelCheckpoint(kit.folder / "best", monitor="val_loss", filename="{epoch}", save_top_k=-1)
    stop = EarlyStopping("val_loss", patience=9)
    trainer = kit.trainer(bridge, stop, best, max_epochs=5, enable_checkpointing=True)
    trainer.fit(HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1)), data(), data(16))
    assert sorted(path.name for path in (kit.folder / "best").iterdir()) == [
        "epoch=1.ckpt",
        "epoch=3.ckpt",
        "epoch=4.ckpt",
    ]


def test_iteration_based_runs(kit):
    logger = CSVLogger(kit.folder)
    torch.manual_seed(0)
    model = kit.Model()
    bridge = HookCallback(
        by_epoch=False, max_iters=8, workflow=[("train", 4), ("val", 2)], work_dir=kit.folder, logger=kit.logger
    )
    bridge.register_hook(OptimizerHook(), "ABOVE_NORMAL")
    bridge.register_hook(evaluation(2, by_epoch=False), "LOW")
    bridge.register_hook(IterTimerHook(), "LOW")
    bridge.register_hook(TextLoggerHook(interval=2, by_epoch=False), "VERY_LOW")
    best = ModelCheckpoint(kit.folder / "best", monitor="val_loss", filename="{step}", save_top_k=-1)
    trainer = kit.trainer(bridge, best, max_epochs=-1, logger=logger, enable_checkpointing=True)
    trainer.fit(HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1)), data(), data(16))
    found = rows(logger)
    assert [int(row["step"]) for row in found if "acc" in row] == [1, 3, 5, 7]
    assert [int(row["step"]) for row in found if "loss" in row] == [1, 3, 5, 7]
    assert [int(row["step"]) for row in found if "val_loss" in row] == [3, 7]
    assert sorted(path.name for path in (kit.folder / "best").iterdir()) == ["step=4.ckpt", "step=8.ckpt"]


def test_a_short_run_without_epochs_is_not_silent(kit):
    logger = CSVLogger(kit.folder)
    model = kit.Model()
    bridge = HookCallback([OptimizerHook()], by_epoch=False, max_iters=3, work_dir=kit.folder, logger=kit.logger)
    trainer = kit.trainer(bridge, max_epochs=-1, logger=logger)
    trainer.fit(HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1)), data())
    assert [set(row) for row in rows(logger)] == [{"loss", "lr", "step", "epoch"}]


def test_a_logger_gets_the_values_of_an_ordinary_module_once(kit):
    class Lit(Base):
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.loss(batch))

    def fit(name, *callbacks):
        logger = CSVLogger(kit.folder, name=name)
        kit.trainer(*callbacks, logger=logger, log_every_n_steps=2).fit(Lit(), data(), data(16))
        return rows(logger)

    plain = fit("plain")
    hooks = [TextLoggerHook(interval=2), IterTimerHook()]
    attached = fit("attached", HookCallback(hooks, work_dir=kit.folder, logger=kit.logger))
    ours = [row for row in attached if "time" in row]
    assert [row for row in attached if "time" not in row] == plain
    assert len(ours) == 4
    assert all(set(row) == {"time", "data_time", "step", "epoch"} for row in ours)
    assert fit("silent", HookCallback([], work_dir=kit.folder, logger=kit.logger)) == plain


def test_the_lr_that_hooks_set_is_logged(kit):
    logger = CSVLogger(kit.folder)
    callback = HookCallback([(StepLrUpdaterHook(step=1), "VERY_HIGH")], logger=kit.logger)
    trainer = kit.trainer(callback, logger=logger, log_every_n_steps=5)
    trainer.fit(Base(), data())
    assert [float(row["lr"]) for row in rows(logger)] == pytest.approx([0.1, 0.01])
    assert trainer.progress_bar_metrics == {"lr": pytest.approx(0.01)}


def test_a_hooked_module_that_logs_itself(kit):
    class Own(HookedModule):
        def training_step(self, batch, batch_idx):
            outputs = super().training_step(batch, batch_idx)
            self.log("loss", outputs["loss"])
            self.log("extra", 3.0)
            return outputs

        def on_validation_epoch_end(self):
            self.log("closing", 7.0)

    logger = CSVLogger(kit.folder)
    hooks = ((IterTimerHook(), "LOW"), (TextLoggerHook(interval=2), "VERY_LOW"))
    hooked(kit, *hooks, module=Own, val=data(16), logger=logger, log_every_n_steps=1)
    assert sum("loss" in row for row in rows(logger)) == 10  # by the Trainer, each step, and by nobody else
    written = lines(kit.folder / "work")
    assert [line["closing"] for line in written if line["mode"] == "val"] == [7, 7]


class Watched(torch.Tensor):
    """A tensor that notes when somebody waits for its value."""

    waits: list[str] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in ("item", "tolist", "__float__", "__bool__", "cpu", "numpy"):
            cls.waits.append(name)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("text", [True, False])
def test_nothing_waits_for_a_value_between_two_log_intervals(kit, text):
    class Model(kit.Model):
        def train_step(self, data, optimizer=None, **kwargs):
            outputs = super().train_step(data)
            outputs["log_vars"] = {"loss": outputs["loss"].detach().as_subclass(Watched)}
            return outputs

    class Count(Hook):
        def after_train_iter(self, runner):
            counts.append(len(Watched.waits))

    counts: list[int] = []
    Watched.waits.clear()
    model = Model()
    hooks = [OptimizerHook(), *([TextLoggerHook(interval=4), IterTimerHook()] if text else [])]
    bridge = HookCallback(hooks, work_dir=kit.folder, logger=kit.logger)
    bridge.register_hook(Count(), "LOWEST")
    trainer = kit.trainer(bridge, max_epochs=1, logger=CSVLogger(kit.folder), log_every_n_steps=4)
    trainer.fit(HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1)), data(64))
    at = 3 if text else 4  # the Trainer's interval comes after all hooks
    assert [later - earlier for earlier, later in zip([0, *counts], counts, strict=False)] == [
        int(place % 4 == at % 4 and place > 0) for place in range(8)
    ]


def test_a_hook_whose_base_is_a_logger_hook_sees_the_averages_of_the_module(kit):
    class Collect(LoggerHook):
        def __init__(self):
            super().__init__(interval=5)
            self.seen = []

        def log(self, runner):
            self.seen.append((self.get_mode(runner), dict(runner.log_buffer.output)))

    collect = Collect()
    kit.trainer(HookCallback([collect, IterTimerHook()], logger=kit.logger), max_epochs=1).fit(
        Validates(), data(), data()
    )
    (first, train), (second, val) = collect.seen
    assert (first, second) == ("train", "val")
    assert set(train) == {"loss", "time", "data_time"}
    assert {"val_loss", "val_acc", "finished"} <= set(val)
    assert all(isinstance(value, float) for value in (*train.values(), *val.values()))


@pytest.mark.parametrize("text", [True, False])
def test_what_hooks_log_in_a_val_epoch(kit, text):
    class Score(Hook):
        def after_val_iter(self, runner):
            runner.log_buffer.update({"iou": float(runner.inner_iter)}, 8)

        def after_val_epoch(self, runner):
            runner.log_buffer.update({"score": 0.5})
            runner.log_buffer.output.update(best=0.75, comment="fine", eval_iter_num=9)
            runner.log_buffer.ready = True

    logger = CSVLogger(kit.folder)
    hooks = [Score(), *([TextLoggerHook(interval=2)] if text else [])]
    trainer = kit.trainer(HookCallback(hooks, work_dir=kit.folder, logger=kit.logger), max_epochs=1, logger=logger)
    trainer.fit(Validates(), data(), data(24))
    found = [row for row in rows(logger) if "val_iou" in row or "score" in row or "best" in row]
    values = {name: float(value) for row in found for name, value in row.items() if name not in ("step", "epoch")}
    assert values == {"val_iou": 1.0, "score": 0.5, "best": 0.75}
    assert sum(map(len, found)) == 3 + 2 * len(found)  # each once
    assert {name: float(trainer.callback_metrics[name]) for name in values} == values


def test_every_process_monitors_the_same(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from processes import run_ranks

    run_ranks([tmp_path, tmp_path], Path(__file__).with_name("logged_worker.py"), tmp_path / "seen")
    for rank in (0, 1):
        seen = torch.load(tmp_path / f"seen{rank}.pt")
        assert seen == {
            "acc": 0.25,
            "best": 0.75,
            "epochs": 4,
            "train": [(rank, 0.5)] * 8,
            "val": [0.5] * 4,
        }
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["epoch=1-acc=0.75.ckpt"]
