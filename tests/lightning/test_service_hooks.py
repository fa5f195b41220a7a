"""Neptune and DVCLive, the real packages without a network, read back from their files, under both drivers."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from dvclive import Live
from PIL import Image

from mmhooks import ConfigError, DvcliveLoggerHook, Hook, NeptuneLoggerHook, TextLoggerHook
from tests.lightning.two_drivers import DRIVERS, train

QUIET = {
    "mode": "offline",
    "capture_stdout": False,
    "capture_stderr": False,
    "capture_hardware_metrics": False,
    "git_ref": False,
    "source_files": [],
}
META = {"seed": 3, "config": "model = dict(type='Net')\noptimizer = dict(lr=0.1)\n"}


@pytest.fixture(autouse=True)
def quiet(tmp_path, monkeypatch):
    """Work in a folder of one's own, and let no package call its maker."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_NO_ANALYTICS", "DVC_STUDIO_OFFLINE", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "1")


class Draw(Hook):
    """Logs one thing of each kind."""

    def after_train_epoch(self, runner):
        if runner.epoch == 0:
            figure = plt.figure(figsize=(1, 1))
            for name, value in (
                ("pictures/grey", np.full((4, 6), 200, np.uint8)),
                ("pictures/figure", figure),
                ("weights", np.arange(5.0)),
                ("note", "fine"),
            ):
                runner.log_media(name, value)
            plt.close(figure)


def lines(folder, mode):
    (file,) = folder.glob("*.log.json")
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in found if line.get("mode") == mode]


# Neptune ----------------------------------------------------------------------------------------------------


def operations(folder):
    (file,) = Path(folder, ".neptune", "offline").glob("run__*/data-1.log")
    return [json.loads(line)["obj"] for line in file.read_text().splitlines()]


def series(found):
    """Give the (step, value) pairs of every series of numbers."""
    values = {}
    for one in found:
        if one["type"] == "LogFloats":
            values.setdefault("/".join(one["path"]), []).extend((v["step"], v["value"]) for v in one["values"])
    return values


@pytest.mark.parametrize("by_epoch", [True, False])
def test_neptune(tmp_path, monkeypatch, by_epoch):
    seen = {}
    for driver in DRIVERS:
        (tmp_path / driver).mkdir()
        monkeypatch.chdir(tmp_path / driver)
        hooks = [TextLoggerHook(by_epoch, interval=2), Draw(), NeptuneLoggerHook(QUIET, interval=2, by_epoch=by_epoch)]
        train(driver, tmp_path / driver / "work", hooks, by_epoch=by_epoch, meta=META)
        seen[driver] = operations(tmp_path / driver)
    values = series(seen["native"])
    assert values == series(seen["lightning"])
    assert [step for step, _ in values["train/loss"]] == [2, 4, 6, 8]
    written = lines(tmp_path / "native" / "work", "train")
    assert [round(value, 5) for _, value in values["train/loss"]] == [line["loss"] for line in written]
    assert values["learning_rate"][-1][1] == pytest.approx(0.01)
    assert {value for _, value in values["momentum"]} == {0.9}
    for pairs in values.values():
        assert [step for step, _ in pairs] == sorted({step for step, _ in pairs})  # as Neptune wants them
    if by_epoch:
        assert values["val/acc"] == [(5, 0.5), (9, 0.6)]
        assert [step for step, _ in values["val/loss"]] == [5, 9]


def test_fields_and_media_of_neptune(tmp_path):
    train("native", tmp_path / "work", [Draw(), NeptuneLoggerHook(QUIET)], meta=META)
    found = operations(tmp_path)
    fields = {"/".join(one["path"]): one.get("value") for one in found if one["type"].startswith("Assign")}
    assert fields["hyper_parameters/optimizer.lr"] == 0.1
    assert fields["hyper_parameters/model.type"] == "Net"
    assert fields["hyper_parameters/seed"] == 3
    kinds = {"/".join(one["path"]): one["type"] for one in found}
    assert kinds["pictures/grey"] == kinds["pictures/figure"] == "LogImages"
    assert kinds["note"] == "LogStrings"
    assert kinds["config"].startswith("UploadFile")
    assert (tmp_path / "work" / "media" / "weights" / "5.json").is_file()  # a histogram, which it does not take


def test_neptune_without_steps(tmp_path):
    train("native", tmp_path / "work", [NeptuneLoggerHook(QUIET, interval=2, with_step=False)])
    values = series(operations(tmp_path))
    assert [step for step, _ in values["train/loss"]] == [None] * 4
    assert len(values["learning_rate"]) == 4 + 2 + 2  # with the evaluations and the val epochs


def test_a_service_that_is_gone_is_told_when_the_run_begins(tmp_path, monkeypatch):
    monkeypatch.delenv("NEPTUNE_API_TOKEN", raising=False)
    with pytest.raises(Exception, match=r"NeptuneLoggerHook could not begin .*closed in 2026.*mode='offline'"):
        train("native", tmp_path / "work", [NeptuneLoggerHook({"project": "me/mine"})])


# DVCLive ----------------------------------------------------------------------------------------------------


def metrics(folder):
    """Read all metrics: (step, value) pairs by name."""
    place = Path(folder, "plots", "metrics")
    found = {}
    for file in place.rglob("*.tsv"):
        name = file.relative_to(place).with_suffix("").as_posix()
        with file.open() as opened:
            found[name] = [(int(row["step"]), float(row[file.stem])) for row in csv.DictReader(opened, delimiter="\t")]
    return found


LIVE = {"save_dvc_exp": False, "dvcyaml": None}


def test_dvclive_has_a_step_an_epoch(tmp_path):
    seen = {}
    for driver in DRIVERS:
        folder = tmp_path / driver
        hook = DvcliveLoggerHook(interval=2, dir=str(folder / "live"), **LIVE)
        train(driver, folder / "work", [TextLoggerHook(interval=2), Draw(), hook], meta=META)
        seen[driver] = metrics(folder / "live")
    assert seen["native"] == seen["lightning"]
    written = lines(tmp_path / "native" / "work", "train")
    assert [line["iter"] for line in written] == [2, 4, 2, 4]  # each interval once
    found = {name: [(step, round(value, 5)) for step, value in pairs] for name, pairs in seen["native"].items()}
    assert found["train/loss"] == [(1, written[1]["loss"]), (2, written[3]["loss"])]
    assert found["val/acc"] == [(1, 0.5), (2, 0.6)]
    assert found["learning_rate"] == [(1, 0.1), (2, 0.01)]
    assert found["momentum"] == [(1, 0.9), (2, 0.9)]
    assert [step for step, _ in found["val/loss"]] == [1, 2]
    live = tmp_path / "native" / "live"
    summary = json.loads((live / "metrics.json").read_text())
    assert summary["step"] == 2
    assert summary["val"]["acc"] == 0.6
    parameters = yaml.safe_load((live / "params.yaml").read_text())
    assert (parameters["optimizer.lr"], parameters["seed"]) == (0.1, 3)
    assert (live / "config.txt").read_text() == META["config"]
    with Image.open(live / "plots" / "images" / "pictures" / "grey" / "5.png") as image:
        assert (image.size, image.getpixel((0, 0))) == ((6, 4), 200)
    assert (live / "plots" / "images" / "pictures" / "figure" / "5.png").is_file()
    assert (tmp_path / "native" / "work" / "media" / "note" / "5.txt").read_text() == "fine"


def test_dvclive_by_iteration(tmp_path):
    seen = {}
    for driver in DRIVERS:
        hook = DvcliveLoggerHook(interval=2, by_epoch=False, dir=str(tmp_path / driver), **LIVE)
        train(driver, tmp_path / "work", [hook], by_epoch=False)
        seen[driver] = metrics(tmp_path / driver)
    assert seen["native"] == seen["lightning"]
    assert set(seen["native"]) == {"train/loss", "learning_rate", "momentum"}
    for pairs in seen["native"].values():
        assert [step for step, _ in pairs] == [2, 4, 6, 8]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_live_of_ones_own_stays_open_and_the_model_is_saved(tmp_path, driver):
    live = Live(str(tmp_path / "live"), **LIVE)
    hook = DvcliveLoggerHook(str(tmp_path / "models" / "model.pth"), 2, dvclive=live)
    assert hook.dvclive is live
    train(driver, tmp_path / "work", [hook], val=False)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["model.pth"]
    live.step = 7
    live.log_metric("mine", 1.0)
    assert [step for step, _ in metrics(tmp_path / "live")["mine"]] == [7]


def test_a_disk_that_fails_in_the_middle(tmp_path, caplog):
    class Spoil(Hook):
        def after_train_epoch(self, runner):
            if runner.epoch == 1:
                place = tmp_path / "live" / "plots" / "metrics" / "train"
                for file in place.iterdir():
                    file.unlink()
                place.rmdir()
                place.write_text("a file in the place of a folder")

    hook = DvcliveLoggerHook(interval=2, dir=str(tmp_path / "live"), **LIVE)
    runner = train("native", tmp_path / "work", [Spoil(), hook], val=False)
    assert runner.iter == 8
    (kept,) = lines(tmp_path / "work", "train")
    assert (kept["epoch"], {"loss", "lr", "time"} <= set(kept)) == (2, True)
    assert caplog.text.count("DVCLive failed at iteration") == 1


def test_bad_arguments(tmp_path):
    for init_kwargs in ("offline", [("mode", "offline")], {3: 4}):
        with pytest.raises(ConfigError, match="init_kwargs must be a dict of arguments, or None"):
            NeptuneLoggerHook(init_kwargs)
    with pytest.raises(ConfigError, match="with_step must be True or False"):
        NeptuneLoggerHook(with_step=1)
    with pytest.raises(ConfigError, match="model_file is an empty name"):
        DvcliveLoggerHook("")
    with pytest.raises(ConfigError, match=r"not both: leave out \['dir'\]"):
        DvcliveLoggerHook(dvclive=object(), dir="x")
    with pytest.raises(ConfigError, match=r"unexpected keyword argument 'dri'; a dvclive.Live takes .*dir"):
        train("native", tmp_path / "work", [DvcliveLoggerHook(dri="x")])


# ClearML ----------------------------------------------------------------------------------------------------


def offline_tasks(folder, how, *runs, events=0):
    """Train in a process of its own, since the package changes others, and read what each task holds."""
    places = {name: str(folder / name) for name in ("CLEARML_CACHE_DIR", "CLEARML_CONFIG_FILE")}
    places["CLEARML_OFFLINE_MODE"] = "1"
    # a reporter of its own may hold git's output open, for which ClearML waits when a task is closed
    (folder / "CLEARML_CONFIG_FILE").write_text("sdk.development.report_use_subprocess: false\n")
    with (folder / "said.txt").open("wb") as said:  # no pipe: a process that reports would hold it open
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("clearml_worker.py")), how, *runs],
            cwd=folder,
            env={**os.environ, **places, "EVENTS": str(events)},
            stdout=said,
            stderr=said,
            timeout=240,
        )
    assert done.returncode == 0, (folder / "said.txt").read_text()
    found = {}
    for run, (place, as_wanted) in json.loads((folder / "said.json").read_text()).items():
        assert as_wanted, run  # closed, or left open
        written = Path(place, "metrics.jsonl").read_text().splitlines()
        task = Path(place, "task.json")
        events = [event for line in written for event in json.loads(line)]
        found[run] = (events, json.loads(task.read_text()) if task.exists() else {})
    return found


def scalars(events):
    """Give the (step, value) pairs of every plot."""
    values = {}
    for event in events:
        if event["type"] == "training_stats_scalar":
            values.setdefault(event["metric"], []).append((event["iter"], event["value"]))
    return values


def assert_scalars(values):
    assert [step for step, _ in values["train/loss"]] == [2, 4, 6, 8]
    assert values["val/acc"] == [(5, 0.5), (9, 0.6)]
    assert values["learning_rate"][0] == (2, 0.1)


def test_clearml(tmp_path):
    events, _ = offline_tasks(tmp_path, "open", *DRIVERS, events=2 * EVENTS)["both"]
    assert len(events) == 2 * EVENTS
    values = scalars(events[:EVENTS])
    assert_scalars(values)
    assert values == scalars(events[EVENTS:])


#: With lr and momentum: four losses, two evaluations of a score and a count of batches, two losses of val epochs.
EVENTS = 4 * 3 + 2 * 4 + 2 * 3


@pytest.mark.slow
def test_tasks_of_clearml(tmp_path):
    found = {}
    for run in (*DRIVERS, "media"):  # a process each, which must end by itself
        (tmp_path / run).mkdir()
        found |= offline_tasks(tmp_path / run, "whole", run)
    for driver in DRIVERS:
        events, task = found[driver]
        assert_scalars(scalars(events))
        assert (task["project_name"], task["name"]) == ("digits", "cnn")
        assert task["hyperparams"]["hyper_parameters"]["optimizer.lr"]["value"] == "0.1"
        assert task["configuration"]["config"]["value"] == "optimizer = dict(lr=0.1)\n"
    kinds = {(event["metric"], event["type"]) for event in found["media"][0]}
    assert {("grey", "training_debug_image"), ("figure", "training_debug_image"), ("weights", "plot")} <= kinds
