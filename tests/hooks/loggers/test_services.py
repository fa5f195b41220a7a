"""The base of the loggers of services: beginnings, failures, ends, copies and ranks."""

import copy
import json
import pickle
import sys
from pathlib import Path

import lightning as L
import pytest
import torch

from mmhooks import ConfigError, EpochBasedRunner, HookError, IterTimerHook, TextLoggerHook
from mmhooks.hooks import ServiceLoggerHook
from mmhooks_lightning import HookCallback, HookedModule

sys.path.insert(0, str(Path(__file__).parent))

from small_run import DRIVERS, META, Small, loader, same, train


class FolderLoggerHook(ServiceLoggerHook):
    """A service that is a folder, with a file a step; it is down while the folder is away."""

    title, package, extra = "Folder", "json", "folder"
    takes = ("text",)
    retry_after = 0.0

    def __init__(self, folder, **arguments):
        super().__init__(interval=2, **arguments)
        self.folder = folder

    def start(self, runner):
        (self.folder / "begun").write_text("")
        self.ends = []
        return (self.folder / "open").open("w")  # as services do, until the end

    def send_config(self, runner, parameters, config):
        (self.folder / "parameters").write_text(json.dumps(parameters))
        (self.folder / "config").write_text(str(config))

    def send(self, runner, values, step):
        (self.folder / str(step)).write_text(json.dumps(values))

    def send_media(self, runner, media):
        (self.folder / media.name).write_text(media.value)

    def finish(self, runner, failed):
        self.client.close()
        self.ends.append(failed)

    def steps(self):
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())


@pytest.fixture
def hook(tmp_path):
    (tmp_path / "service").mkdir()
    return FolderLoggerHook(tmp_path / "service")


def away(hook, gone):
    """Take the folder of a service away, or bring it back."""
    other = hook.folder.with_name("away")
    if gone:
        hook.folder.rename(other)
    else:
        other.rename(hook.folder)


def kept(folder):
    (file,) = folder.glob("*.folder.log.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


def warnings_of(caplog):
    return [one.getMessage() for one in caplog.records if one.levelname == "WARNING" and one.name == "services"]


def missing(runner, hook, since, until):
    if runner.iter == since - 1:
        away(hook, True)
    elif runner.iter == until - 1:
        away(hook, False)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_failure_in_the_middle(driver, hook, at, tmp_path, logger, caplog):
    undisturbed = train(driver, tmp_path / "other")
    breaks = at(after_train_iter=lambda runner: missing(runner, hook, 3, 7))
    assert same(train(driver, tmp_path / "work", breaks, hook, logger=logger), undisturbed)
    assert hook.steps() == [2, 8, 9]
    assert hook.ends == [False]
    first, last = warnings_of(caplog)
    assert first.startswith("Folder failed at iteration 4 (FileNotFoundError: ")
    assert last.startswith("Folder has not received 3 of the logged lines: they are in ")
    assert "Folder works again, at iteration 8" in caplog.text
    lines = kept(tmp_path / "work")
    assert [(one["mode"], one["epoch"], one["iter"]) for one in lines] == [
        ("train", 1, 4),
        ("val", 1, 4),
        ("train", 2, 2),
    ]
    assert set(lines[0]) == {"mode", "epoch", "iter", "lr", "data_time", "time", "loss"}


def test_a_service_that_failed_is_left_alone_for_a_while(hook, at, tmp_path, logger, caplog):
    hook.retry_after = 3600.0
    train(
        "native",
        tmp_path / "work",
        at(after_train_iter=lambda runner: missing(runner, hook, 3, 5)),
        hook,
        logger=logger,
    )
    assert hook.steps() == [2]
    assert hook.ends == [False]  # at the end it is tried again in any case
    assert len(kept(tmp_path / "work")) == 5
    assert len(warnings_of(caplog)) == 2


@pytest.mark.parametrize(("interval", "own"), [(2, False), (4, True)])
def test_a_text_logger_has_the_values_already(hook, at, tmp_path, interval, own, logger, caplog):
    breaks = at(after_train_iter=lambda runner: missing(runner, hook, 3, 5))
    train("native", tmp_path / "work", TextLoggerHook(interval=interval), breaks, hook, logger=logger)
    assert bool(list((tmp_path / "work").glob("*.folder.log.json"))) is own
    assert len(warnings_of(caplog)) == 2
    assert all((".folder.log.json" in message) is own for message in warnings_of(caplog))


def test_without_a_work_dir(hook, at, logger, caplog):
    train("native", None, at(after_train_iter=lambda runner: missing(runner, hook, 3, 5)), hook, logger=logger)
    assert "there is no work_dir to keep values in" in warnings_of(caplog)[0]


def test_a_full_disk(hook, at, tmp_path, logger, caplog):
    undisturbed = train("native", tmp_path / "other")

    def fill(runner):
        if runner.iter == 2:  # a folder is where the local log would be
            away(hook, True)
            hook.kept_in(runner).mkdir()
            (tmp_path / "work/media").write_text("")
            runner.log_media("text", "hello")

    assert same(train("native", tmp_path / "work", at(after_train_iter=fill), hook, logger=logger), undisturbed)
    assert "values that Folder does not receive cannot be kept: IsADirectoryError" in caplog.text
    assert "log_media('text'): no logger takes it, and it cannot be kept" in caplog.text


# the beginning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_failure_at_the_beginning_is_an_error(driver, hook, tmp_path):
    away(hook, True)
    with pytest.raises(HookError, match=r"FolderLoggerHook could not begin: FileNotFoundError: .*Mend it, or leave"):
        train(driver, tmp_path / "work", hook)


def test_a_run_that_is_resumed_goes_on_without_it(hook, at, tmp_path, make_runner, batches, logger, caplog):
    first = make_runner(max_epochs=1, work_dir=tmp_path / "work")
    first.register_checkpoint_hook({})
    first.run([batches], [("train", 1)])
    away(hook, True)
    runner = make_runner(max_epochs=3, work_dir=tmp_path / "work", logger=logger)
    runner.resume(str(tmp_path / "work/epoch_1.pth"))
    for one in (IterTimerHook(), at(after_train_iter=lambda runner: missing(runner, hook, 0, 8))):
        runner.register_hook(one)
    runner.register_hook(hook, "VERY_LOW")
    runner.run([batches], [("train", 1)])
    assert runner.epoch == 3
    assert hook.steps() == [8, 10, 12]
    assert [one["iter"] for one in kept(tmp_path / "work")] == [2]
    assert warnings_of(caplog)[0].startswith("Folder failed at the beginning (FileNotFoundError")


def test_a_missing_package_is_named_with_its_extra():
    class Missing(FolderLoggerHook):
        package, extra = "no_such_package", "wandb"

    with pytest.raises(ConfigError, match=r'Missing needs no_such_package, .*: pip install "mmhooks\[wandb\]"'):
        Missing(".")


def test_a_folder_that_a_service_leaves_is_no_package(tmp_path, monkeypatch):
    class Left(FolderLoggerHook):
        package, extra = "left_there", "wandb"

    (tmp_path / "left_there").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="Left needs left_there"):
        Left(tmp_path)


def test_arguments():
    with pytest.raises(ConfigError, match=r"FolderLoggerHook's hyper_parameters must be True, False or a dict, not 3"):
        FolderLoggerHook(".", hyper_parameters=3)
    with pytest.raises(ConfigError, match=r"FolderLoggerHook's system_metrics must be True or False, not 'yes'"):
        FolderLoggerHook(".", system_metrics="yes")


def test_under_fast_dev_run_nothing_is_sent(hook, tmp_path):
    callback = HookCallback([hook], work_dir=tmp_path / "work")
    trainer = L.Trainer(
        callbacks=[callback], fast_dev_run=1, logger=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.fit(HookedModule(Small(), {"type": "SGD", "lr": 0.1}), loader())
    assert list(hook.folder.iterdir()) == []


# hyper-parameters and system metrics ------------------------------------------------------------------------

FOUND = {"model.type": "Small", "model.depths": "[1, 2]", "log.0.interval": 2, "seed": 3, "exp_name": "small.py"}


@pytest.mark.parametrize(
    ("given", "sent"), [(True, FOUND), ({"lr": 0.1}, {"lr": 0.1}), (False, None)], ids=["found", "given", "none"]
)
def test_hyper_parameters(hook, tmp_path, given, sent):
    hook.hyper_parameters = given
    train("native", tmp_path / "work", hook, max_epochs=1)
    if sent is None:
        assert not (hook.folder / "parameters").exists()
    else:
        assert json.loads((hook.folder / "parameters").read_text()) == sent
        assert (hook.folder / "config").read_text() == META["config"]


def test_hyper_parameters_of_a_module(hook, tmp_path):
    class Lit(L.LightningModule):
        def __init__(self, width=4, options=None):
            super().__init__()
            self.save_hyperparameters()
            self.small = Small()

        def training_step(self, batch, batch_idx):
            return self.small.train_step(batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = L.Trainer(
        max_epochs=1, callbacks=[HookCallback([IterTimerHook(), hook], work_dir=tmp_path / "work")], logger=False,
        enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(Lit(options={"depth": 2}), loader())
    assert json.loads((hook.folder / "parameters").read_text()) == {"width": 4, "options.depth": 2}
    assert hook.steps() == [2, 4]


@pytest.mark.parametrize("driver", DRIVERS)
def test_samples_per_second(driver, hook, tmp_path):
    hook.system_metrics = True
    seconds = {}

    class TimesLogger(FolderLoggerHook):
        def log(self, runner):
            seconds[runner.iter + 1] = runner.log_buffer.output.get("time")

    train(driver, tmp_path / "work", TimesLogger(tmp_path), hook)
    for step, samples in ((2, 5 + 5), (4, 5 + 2)):
        sent = json.loads((hook.folder / str(step)).read_text())
        assert sent["system/samples_per_second"] == pytest.approx(samples / 2 / seconds[step])
        assert 10 < sent["system/memory_mib"] < 1e6
    assert "system/memory_mib" not in json.loads((hook.folder / "5").read_text())  # an evaluation


# ends, copies and ranks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_error_ends_it_as_failed(driver, hook, at, tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(driver, tmp_path / "work", at(after_val_epoch=lambda runner: 1 / 0), hook)
    assert hook.ends == [True]


def test_an_end_that_fails_does_not_hide_the_error_nor_stop_a_run(hook, at, tmp_path, logger, caplog):
    def end(runner, failed):
        raise OSError("no")

    hook.finish = end
    train("native", tmp_path / "work", hook, logger=logger)
    (message,) = warnings_of(caplog)
    assert message.startswith("Folder failed at the end (OSError: no)")
    vars(hook).pop("priority")
    with pytest.raises(ZeroDivisionError):
        train("native", tmp_path / "work", at(after_val_epoch=lambda runner: 1 / 0), hook, logger=logger)


@pytest.mark.parametrize("of", [copy.copy, copy.deepcopy, lambda hook: pickle.loads(pickle.dumps(hook))])
def test_a_copy_in_the_middle_of_a_run(hook, at, tmp_path, of):
    copies = []
    train("native", tmp_path / "work", at(after_val_epoch=lambda runner: copies.append(of(hook))), hook)
    assert hook.steps() == [2, 4, 5, 6, 8, 9]
    for path in hook.folder.iterdir():
        path.unlink()
    one = copies[0]
    vars(one).pop("priority", None)
    assert one.client is None
    train("native", tmp_path / "work", one)
    assert one.steps() == [2, 4, 5, 6, 8, 9]


def test_two_runs_with_one_hook(hook, tmp_path):
    for _ in range(2):
        vars(hook).pop("priority", None)
        train("native", tmp_path / "work", hook, max_epochs=1)
        assert hook.steps() == [2, 4, 5]
        assert hook.ends == [False]
        (hook.folder / "2").unlink()


def test_rank_0_alone_sends(hook, tmp_path):
    class Second(EpochBasedRunner):
        rank = property(lambda self: 1)

    model = Small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    runner = Second(model, optimizer=optimizer, work_dir=tmp_path / "work", max_epochs=1)
    runner.register_training_hooks(None, {})
    runner.register_hook(hook, "VERY_LOW")
    runner.log_media("text", "hello")
    runner.run([loader()], [("train", 1)])
    assert list(hook.folder.iterdir()) == []
    assert hook.reset_flag
    assert not (tmp_path / "work/media").exists()
