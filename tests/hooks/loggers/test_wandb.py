"""WandbLoggerHook in offline mode, the run's file read back."""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import wandb
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from mmhooks import ConfigError, Hook, TextLoggerHook, WandbLoggerHook

sys.path.insert(0, str(Path(__file__).parent))

from small_run import META, Shows, check_values, is_red, same, train


def settings(folder, **more):
    """Give arguments of ``wandb.init`` that write into a folder."""
    return {"dir": str(folder), "settings": {"x_disable_stats": True, "console": "off"}, **more}


def records(folder):
    """Read a run's file: records in blocks of 32 KiB, as LevelDB writes its log, after a header of 7 bytes."""
    (file,) = Path(folder).glob("wandb/offline-run-*/run-*.wandb")
    content, part, place = file.read_bytes(), b"", 7
    while place + 7 <= len(content):
        rest = 32768 - place % 32768
        if rest < 7:
            place += rest
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        part += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            yield Record.FromString(part)
            part = b""


def finished(folder):
    """Read a run's file when W&B's process, which writes it, has come to its end."""
    for _ in range(600):
        found = list(records(folder))
        if any(one.HasField("exit") for one in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{folder}: the run has no end")


def named(items):
    """Give values by name, those of media as dicts."""
    found = {}
    for item in items:
        first, *rest = item.nested_key or [item.key]
        value = json.loads(item.value_json)
        if rest:
            found.setdefault(first, {})[rest[0]] = value
        else:
            found[first] = value
    return found


class Run:
    """What a run's file holds."""

    def __init__(self, folder):
        self.rows, self.config, self.artifacts, self.exit_code, self.metrics = [], {}, [], None, {}
        for one in finished(folder):
            if one.HasField("history"):
                self.rows.append(named(one.history.item))
            self.config.update({**named(one.run.config.update), **named(one.config.update)})
            if one.HasField("artifact"):
                self.artifacts.append({entry.path for entry in one.artifact.manifest.contents})
            if one.HasField("exit"):
                self.exit_code = one.exit.exit_code
            if one.HasField("metric"):
                self.metrics[one.metric.name] = one.metric.summary
        (self.folder,) = Path(folder).glob("wandb/offline-run-*/files")

    def values(self, step="_step"):
        found = {}
        for row in self.rows:
            for name, value in row.items():
                if isinstance(value, (int, float)) and not name.startswith("_") and name != "global_step":
                    found.setdefault(name, []).append((row[step], value))
        return found


def test_both_drivers_log_the_same(tmp_path):
    found = {}
    for driver in ("native", "lightning"):
        place = tmp_path / f"of_{driver}"
        place.mkdir()
        hook = WandbLoggerHook(settings(place, config={"seed": 5}), interval=2, define_metric_cfg={"val/loss": "min"})
        train(driver, tmp_path / driver, Shows(), TextLoggerHook(interval=2), hook)
        run = Run(place)
        found[driver] = run.values()
        assert wandb.run is None
        assert run.exit_code == 0
        assert {name: value for name, value in run.config.items() if name != "_wandb"} == {
            "seed": 5, "model.type": "Small", "model.depths": "[1, 2]", "log.0.interval": 2, "exp_name": "small.py",
        }  # fmt: skip
        (log,) = (tmp_path / driver).glob("*.log.json")
        assert run.artifacts == [{log.name}]
        assert run.metrics["val/loss"].min
        (row,) = [row for row in run.rows if "shown/image" in row]
        assert row["_step"] == 4
        assert is_red(Image.open(run.folder / row["shown/image"]["path"]).convert("RGB"))
        assert Image.open(run.folder / row["shown/figure"]["path"]).size == (100, 100)
        assert sum(row["shown/weight"]["values"]) == 12
        assert "<pre>2 &lt; 3</pre>" in (run.folder / row["shown/text"]["path"]).read_text()
        assert (run.folder / "small.py").read_text() == META["config"]
    check_values(found["native"], found["lightning"])


def test_without_steps(tmp_path):
    train("native", tmp_path, WandbLoggerHook(settings(tmp_path), interval=2, with_step=False, log_artifact=False))
    run = Run(tmp_path)
    check_values(run.values("global_step"))
    assert [row["_step"] for row in run.rows] == list(range(6))
    assert run.artifacts == []


def test_lines_that_are_not_complete(tmp_path):
    train(
        "native", tmp_path, WandbLoggerHook(settings(tmp_path), interval=2, commit=False, with_step=False), max_epochs=1
    )
    (row,) = Run(tmp_path).rows  # all in one, that of the end
    assert row["global_step"] == 5
    assert {"train/loss", "val/loss"} <= set(row)


def test_an_active_run_is_used_and_stays_open(tmp_path):
    with wandb.init(**settings(tmp_path)) as mine:
        train("native", tmp_path / "work", WandbLoggerHook(interval=4, log_artifact=False), max_epochs=1)
        assert wandb.run is mine
        mine.log({"after": 1.0}, step=6)
    assert [row["_step"] for row in Run(tmp_path).rows] == [4, 5, 6]


def test_a_run_that_fails(tmp_path, at):
    with pytest.raises(ZeroDivisionError):
        train(
            "native",
            tmp_path,
            at(after_val_epoch=lambda runner: 1 / 0),
            WandbLoggerHook(settings(tmp_path), interval=2),
        )
    assert wandb.run is None
    assert Run(tmp_path).exit_code == 1


class Kills(Hook):
    """Kills the process that W&B writes and sends with, after the third iteration."""

    def after_train_iter(self, runner):
        if runner.iter == 2:
            children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
            for child in " ".join(path.read_text() for path in children).split():
                if "wandb-core" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(int(child), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for the child processes")
def test_a_service_that_is_killed_in_the_middle(tmp_path, logger, caplog):
    undisturbed = train("native", tmp_path / "other")
    hooks = Kills(), TextLoggerHook(interval=2), WandbLoggerHook(settings(tmp_path), interval=2)
    assert same(train("native", tmp_path / "work", *hooks, logger=logger), undisturbed)
    first, last = [one.getMessage() for one in caplog.records if one.levelname == "WARNING" and one.name == logger.name]
    assert first.startswith("Weights & Biases failed at iteration 4 (")
    (log,) = (tmp_path / "work").glob("*.log.json")
    assert last == f"Weights & Biases has not received 5 of the logged lines: they are in {log}"
    assert len(log.read_text().splitlines()) == 7
    with contextlib.suppress(OSError):
        wandb.teardown()
    with wandb.init(**settings(tmp_path / "work")) as run:  # what comes next in this process has a new one
        run.log({"a": 1})
    assert Run(tmp_path / "work").rows[0]["a"] == 1


def test_misuse():
    with pytest.raises(ConfigError, match=r"define_metric_cfg\['val/loss'\] must be .*, not 'mim'; did you mean 'min'"):
        WandbLoggerHook(define_metric_cfg={"val/loss": "mim"})
    with pytest.raises(ConfigError, match="out_suffix must be a str or several, not 3"):
        WandbLoggerHook(out_suffix=3)
