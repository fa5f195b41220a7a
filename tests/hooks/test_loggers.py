"""The timer, the text logger, and loggers of one's own."""

import json
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmhooks import ConfigError, EpochBasedRunner, EvalHook, IterBasedRunner, IterTimerHook, LoggerHook, TextLoggerHook

TRAIN, BOTH = [("train", 1)], [("train", 1), ("val", 1)]


def lines(folder):
    (file,) = folder.glob("*.log.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


class Slow(list):
    def __iter__(self):
        for item in super().__iter__():
            time.sleep(0.02)
            yield item


def test_the_timer_tells_data_from_the_rest(make_runner, batches, at):
    runner = make_runner(max_epochs=1)
    runner.register_hook(IterTimerHook())
    runner.register_hook(at(before_train_iter=lambda runner: time.sleep(0.01)), "LOWEST")
    runner.run([Slow(batches)], TRAIN)
    history = runner.log_buffer.val_history
    assert len(history["time"]) == len(history["data_time"]) == 4
    assert all(value >= 0.02 for value in history["data_time"])
    assert all(whole >= data + 0.01 for whole, data in zip(history["time"], history["data_time"], strict=True))


@pytest.mark.parametrize(
    ("kind", "length", "numbers"),
    [
        (EpochBasedRunner, {"max_epochs": 2}, [(1, 2), (1, 4), (2, 2), (2, 4)]),
        (IterBasedRunner, {"max_iters": 8}, [(1, 2), (1, 4), (2, 6), (2, 8)]),
    ],
)
def test_lines(make_runner, batches, tmp_path, kind, length, numbers):
    runner = make_runner(kind, meta={"seed": 4}, **length)
    runner.register_training_hooks(None, log_config={"interval": 2, "hooks": [{"type": "TextLoggerHook"}]})
    runner.run([batches], TRAIN)
    meta, *rest = lines(tmp_path / "work")
    assert meta == {"seed": 4}
    assert [(line["epoch"], line["iter"]) for line in rest] == numbers
    assert set(rest[0]) - {"memory"} == {"mode", "epoch", "iter", "lr", "data_time", "time", "loss"}
    with torch.no_grad():  # nothing is stepped, so the last line can be computed anew
        weighted = sum(float(runner.model.loss(batch)) * len(batch["y"]) for batch in batches[2:]) / 7
    assert rest[-1]["loss"] == round(weighted, 5)


@pytest.mark.parametrize(("ignore_last", "iters"), [(True, [3]), (False, [3, 4])])
def test_the_rest_of_an_epoch(make_runner, batches, tmp_path, ignore_last, iters):
    runner = make_runner(max_epochs=1)
    runner.register_hook(IterTimerHook())
    runner.register_hook(TextLoggerHook(interval=3, ignore_last=ignore_last), "VERY_LOW")
    runner.run([batches], TRAIN)
    assert [line["iter"] for line in lines(tmp_path / "work")] == iters


def test_val_epochs_have_a_line(make_runner, batches, tmp_path, caplog):
    runner = make_runner(max_epochs=1)
    runner.register_training_hooks(None, log_config={"interval": 4, "hooks": [{"type": "TextLoggerHook"}]})
    runner.run([batches, batches], BOTH)
    train, val = lines(tmp_path / "work")
    assert (train["mode"], val["mode"], val["epoch"]) == ("train", "val", 1)
    assert "Epoch [1][4/4]\tlr: 1.000e-01, eta: 0:00:00, time: " in caplog.text
    assert "Epoch(val) [1][4]\t" in caplog.text


def test_several_learning_rates(make_runner, make_model, batches, tmp_path, caplog):
    model = make_model()
    runner = make_runner(
        model=model,
        max_epochs=1,
        optimizer={name: torch.optim.SGD(model.parameters(), lr=lr) for name, lr in (("gen", 0.1), ("disc", 0.2))},
    )
    runner.register_training_hooks(None, log_config={"interval": 4, "hooks": [{"type": "TextLoggerHook"}]})
    runner.run([batches], TRAIN)
    assert lines(tmp_path / "work")[0]["lr"] == {"gen": 0.1, "disc": 0.2}
    assert "lr_gen: 1.000e-01 lr_disc: 2.000e-01" in caplog.text


def test_without_a_work_dir_there_is_no_file(make_runner, batches, tmp_path, caplog):
    runner = make_runner(work_dir=None, max_epochs=1)
    runner.register_training_hooks(None, log_config={"interval": 4, "hooks": [{"type": "TextLoggerHook"}]})
    runner.run([batches], TRAIN)
    assert list(tmp_path.rglob("*.json")) == []
    assert "Epoch [1][4/4]" in caplog.text


def test_an_evaluation_in_the_middle_of_an_interval(make_runner, batches, tmp_path):
    class Constant(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"x": torch.ones(3), "y": 0}

        def evaluate(self, results, logger=None):
            return {"acc": 0.5}

    runner = make_runner(IterBasedRunner, max_iters=4)
    runner.register_training_hooks(None, log_config={"interval": 4, "hooks": [{"type": "TextLoggerHook"}]})
    runner.register_hook(EvalHook(DataLoader(Constant()), interval=3, by_epoch=False))  # NORMAL: before the timer
    runner.run([batches], TRAIN)
    evaluated, trained = lines(tmp_path / "work")
    assert (evaluated["iter"], evaluated["acc"]) == (2, 0.5)
    assert (trained["mode"], trained["iter"]) == ("train", 4)


class Own(LoggerHook):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.seen = []

    def log(self, runner):
        self.seen.append(
            (self.get_mode(runner), self.get_epoch(runner), self.get_iter(runner), dict(runner.log_buffer.output))
        )


def test_all_loggers_see_the_values_and_the_last_clears_them(make_runner, batches):
    runner, first, last = make_runner(max_epochs=1), Own(interval=2), Own(interval=2)
    for hook in (IterTimerHook(), first, last):
        runner.register_hook(hook)
    runner.run([batches], TRAIN)
    assert [seen[:3] for seen in first.seen] == [("train", 1, 2), ("train", 1, 4)]
    assert first.seen == last.seen
    assert (first.reset_flag, last.reset_flag) == (False, True)
    assert not runner.log_buffer.output


@pytest.mark.parametrize("interval", [0, -1])
def test_bad_interval(interval):
    with pytest.raises(ConfigError, match=f"TextLoggerHook's interval must be a positive number.*{interval}"):
        TextLoggerHook(interval=interval)
