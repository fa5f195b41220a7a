"""LightningLoggerHook: the values of hooks in Lightning's loggers, read back from their files, under both drivers."""

import csv
import sqlite3
from pathlib import Path

import lightning.pytorch.loggers as loggers
import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmhooks import HOOKS, ConfigError, Hook, TextLoggerHook
from mmhooks_lightning import LightningLoggerHook
from tests.lightning.two_drivers import DRIVERS, train

META = {"seed": 3, "config": "optimizer = dict(lr=0.1)\n"}


class Draw(Hook):
    """Logs one thing of each kind."""

    def after_train_epoch(self, runner):
        figure = plt.figure(figsize=(1, 1))
        for name, value in (
            ("grey", np.full((4, 6), 200, np.uint8)),
            ("figure", figure),
            ("weights", np.arange(5.0)),
            ("note", "fine"),
        ):
            runner.log_media(name, value)
        plt.close(figure)


def rows(folder):
    """Read a CSVLogger's file: (step, value) pairs by name."""
    found = {}
    for row in csv.DictReader(Path(folder, "metrics.csv").read_text().splitlines()):
        step = int(row.pop("step"))
        for name, value in row.items():
            if value:
                found.setdefault(name, []).append((step, float(value)))
    return found


def test_the_same_rows_under_both_drivers(tmp_path):
    seen = {}
    for driver in DRIVERS:
        logger = loggers.CSVLogger(tmp_path / driver, name="", version="")
        train(driver, tmp_path / driver / "work", [TextLoggerHook(interval=2), LightningLoggerHook(logger, 2)])
        seen[driver] = rows(tmp_path / driver)
        settings = yaml.safe_load((tmp_path / driver / "hparams.yaml").read_text())
        assert settings == {"seed": 3, "exp_name": "digits"}
    assert seen["native"] == seen["lightning"]
    values = seen["native"]
    assert [step for step, _ in values["train/loss"]] == [2, 4, 6, 8]
    assert values["val/acc"] == [(5, 0.5), (9, 0.6)]
    assert values["learning_rate"][0] == (2, 0.1)
    assert set(values) == {"train/loss", "val/loss", "val/acc", "learning_rate", "momentum"}


@pytest.mark.parametrize("driver", DRIVERS)
def test_from_a_config(tmp_path, driver):
    config = {"type": "LightningLoggerHook", "interval": 2, "by_epoch": False}
    config["logger"] = {"type": "CSVLogger", "name": "mine"}
    train(driver, tmp_path / "work", [HOOKS.build(config)], by_epoch=False)
    assert [step for step, _ in rows(tmp_path / "work" / "mine" / "version_0")["train/loss"]] == [2, 4, 6, 8]


@pytest.mark.parametrize("alike", [False, True])
def test_a_logger_of_the_trainer_gets_no_value_twice(tmp_path, alike, caplog):
    theirs = loggers.TensorBoardLogger(tmp_path, name="", version="")
    ours = loggers.TensorBoardLogger(tmp_path, name="", version="") if alike else theirs
    hooks = [Draw(), LightningLoggerHook(ours, interval=2)]
    train("lightning", tmp_path / "work", hooks, trainer={"logger": theirs}, meta=META)
    theirs.finalize("success")
    found = EventAccumulator(str(tmp_path)).Reload()
    assert {"loss", "val_loss", "acc", "lr"} <= set(found.Tags()["scalars"])
    assert not {"train/loss", "learning_rate"} & set(found.Tags()["scalars"])
    assert [event.step for event in found.Scalars("loss")] == [1, 3, 5, 7]  # as the Trainer counts
    assert found.Tags()["images"] == ["grey", "figure"]
    assert "one of the Trainer's" in caplog.text


def test_beside_a_logger_of_the_trainer(tmp_path):
    theirs, ours = (loggers.CSVLogger(tmp_path / name, name="", version="") for name in ("theirs", "ours"))
    train("lightning", tmp_path / "work", [LightningLoggerHook(ours, interval=2)], trainer={"logger": theirs})
    assert [value for _, value in rows(tmp_path / "theirs")["loss"]] == [
        value for _, value in rows(tmp_path / "ours")["train/loss"]
    ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_media_in_tensorboard(tmp_path, driver):
    config = {"type": "TensorBoardLogger", "name": "", "version": ""}
    train(driver, tmp_path / "work", [Draw(), LightningLoggerHook(config, interval=2)], meta=META)
    found = EventAccumulator(str(tmp_path / "work"), {"images": 0, "tensors": 0}).Reload()
    assert [event.step for event in found.Scalars("train/loss")] == [2, 4, 6, 8]
    assert [(event.step, event.width, event.height) for event in found.Images("grey")] == [(5, 6, 4), (9, 6, 4)]
    assert found.Tags()["distributions"] == ["weights"]
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    assert texts["note/text_summary"] == "fine"
    assert texts["config/text_summary"] == META["config"]
    assert not (tmp_path / "work" / "media").exists()


def test_what_a_logger_does_not_take_is_kept(tmp_path):
    train("native", tmp_path / "work", [Draw(), LightningLoggerHook({"type": "CSVLogger"})])
    assert {path.name for path in (tmp_path / "work" / "media").iterdir()} == {"grey", "figure", "weights", "note"}


@pytest.mark.slow  # making the tables takes long
def test_mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    monkeypatch.chdir(tmp_path)
    place = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "artifact_location": f"file:{tmp_path}/kept"}
    hook = LightningLoggerHook({"type": "MLFlowLogger", "experiment_name": "digits", **place}, interval=2)
    train("native", tmp_path / "work", [Draw(), hook])
    with sqlite3.connect(tmp_path / "mlflow.db") as base:
        found = base.execute("select step from metrics where key = 'train/loss' order by step").fetchall()
        assert [step for (step,) in found] == [2, 4, 6, 8]
        assert base.execute("select status from runs").fetchall() == [("FINISHED",)]
        assert ("seed", "3") in base.execute("select key, value from params").fetchall()
    names = {path.relative_to(tmp_path / "kept").parts[2:] for path in (tmp_path / "kept").rglob("*.*")}
    assert {("grey", "5.png"), ("figure", "5.png"), ("note", "5.txt")} <= names


def test_log_files_go_to_the_out_dir_of_a_text_logger(tmp_path):
    for driver, settings in (("native", {}), ("lightning", {}), ("tried", {"fast_dev_run": True})):
        hook = TextLoggerHook(interval=2, out_dir=str(tmp_path / "out"), keep_local=False)
        train("native" if driver == "native" else "lightning", tmp_path / driver, [hook], trainer=settings)
    kept = sorted(path.relative_to(tmp_path).parts[:-1] for path in tmp_path.rglob("*.log.json"))
    assert kept == [("out", "lightning"), ("out", "native"), ("tried",)]  # fast_dev_run writes no file elsewhere


def test_an_error_is_told_to_the_logger(tmp_path):
    class Noting(loggers.CSVLogger):
        def finalize(self, status):
            said.append(status)
            super().finalize(status)

    class Fail(Hook):
        def after_train_epoch(self, runner):
            raise ZeroDivisionError

    said = []
    with pytest.raises(ZeroDivisionError):
        train("native", tmp_path / "work", [Fail(), LightningLoggerHook(Noting(tmp_path / "logs"))])
    assert said == ["failed"]


def test_bad_arguments(tmp_path):
    with pytest.raises(ConfigError, match=r"takes a logger of Lightning's, or dict\(type='CSVLogger'"):
        LightningLoggerHook(loggers.CSVLogger)
    with pytest.raises(ConfigError, match=r"has the type 'CsvLogger'; Lightning has .* did you mean 'CSVLogger'"):
        LightningLoggerHook({"type": "CsvLogger"})
    with pytest.raises(ConfigError, match=r"has the type None; .*Write dict\(type='CSVLogger', name='digits'\)"):
        LightningLoggerHook({"save_dir": "x"})
    with pytest.raises(ConfigError, match=r"unexpected keyword argument 'nam'; CSVLogger takes save_dir, name"):
        train("native", tmp_path / "work", [LightningLoggerHook({"type": "CSVLogger", "nam": "x"})])
    with pytest.raises(ConfigError, match=r"has the type 'NeptuneLogger'; Lightning has CSVLogger"):
        LightningLoggerHook({"type": "NeptuneLogger"})  # gone, with the service
