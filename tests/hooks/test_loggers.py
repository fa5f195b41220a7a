"""The timer, the text logger, and loggers of one's own."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmhooks import ConfigError, EpochBasedRunner, EvalHook, IterBasedRunner, IterTimerHook, LoggerHook, TextLoggerHook

TRAIN, BOTH = [("train", 1)], [("train", 1), ("val", 1)]


def lines(folder):
    (file,) = folder.glob("*.log.json")
    return [json.loads(line) for line in file.read_text().splitlines()]


class Clock:
    """Shows the seconds that it was told to let pass."""

    now = 0.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


class Slow(list):
    """Batches of which each takes two seconds more than the one before."""

    def __init__(self, batches, clock):
        super().__init__(batches)
        self.clock = clock

    def __iter__(self):
        for i, item in enumerate(super().__iter__()):
            self.clock.wait(2 + 2 * i)
            yield item


def test_the_timer_tells_data_from_the_rest(make_runner, batches, at, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("mmhooks.hooks.timer.perf_counter", clock)
    runner = make_runner(max_epochs=1)
    runner.register_hook(IterTimerHook())
    runner.register_hook(at(before_train_iter=lambda runner: clock.wait(1)), "LOWEST")
    runner.run([Slow(batches, clock)], TRAIN)
    history = runner.log_buffer.val_history
    assert list(history["data_time"]) == [2, 4, 6, 8]
    assert list(history["time"]) == [3, 5, 7, 9]


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


def text_run(make_runner, hook, at=None, **arguments):
    """Make a runner for two epochs, with a line an interval."""
    runner = make_runner(**{"max_epochs": 2, "meta": {"seed": 4}, **arguments})
    runner.register_hook(IterTimerHook())
    if at is not None:
        runner.register_hook(at)
    vars(hook).pop("priority", None)  # of the runner before
    runner.register_hook(hook, "VERY_LOW")
    return runner


OPEN_FILES = Path("/proc/self/fd")
needs_proc = pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="looks at the open files of the process")


def open_logs(folder):
    """List the log files in a folder that this process has open."""
    return [file for link in OPEN_FILES.iterdir() if (file := link.resolve()).match(f"{folder}/*/*.log.json")]


def test_two_runs_with_one_hook(make_runner, batches, tmp_path):
    hook = TextLoggerHook(interval=1)
    for name in ("one", "two", None):
        folder = None if name is None else tmp_path / name
        text_run(make_runner, hook, work_dir=folder).run([batches], TRAIN)
        assert hook.json_log_path is None or hook.json_log_path.parent == folder
    for name in ("one", "two"):
        assert [line.get("iter") for line in lines(tmp_path / name)] == [None, 1, 2, 3, 4, 1, 2, 3, 4]


def test_two_runs_of_one_runner(make_runner, batches, tmp_path):
    runner = text_run(make_runner, TextLoggerHook(interval=1), max_epochs=1, meta=None)
    runner.run([batches], TRAIN)
    runner.run([batches], TRAIN, max_epochs=2)
    assert [line["epoch"] for line in lines(tmp_path / "work")] == [1] * 4 + [2] * 4


@needs_proc
@pytest.mark.parametrize("point", ["before_run", "after_train_iter", "after_run"])
def test_the_file_is_closed_when_the_run_is_left(make_runner, batches, tmp_path, at, point):
    def fail(runner):
        seen.append(len(open_logs(tmp_path)))
        raise ValueError("stop here")

    seen = []
    hook = TextLoggerHook(interval=1)
    runner = text_run(make_runner, hook)
    runner.register_hook(at(**{point: fail}), "LOWEST")
    with pytest.raises(ValueError, match="stop here"):
        runner.run([batches], TRAIN)
    assert seen == [0 if point == "after_run" else 1]
    assert open_logs(tmp_path) == []


@needs_proc
def test_a_hook_of_ones_own_that_does_not_close_it(make_runner, batches, tmp_path):
    class Own(TextLoggerHook):
        def after_run(self, runner):
            pass

    text_run(make_runner, Own(interval=1)).run([batches], TRAIN)
    assert len(lines(tmp_path / "work")) == 9
    assert open_logs(tmp_path) == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda hook: pickle.loads(pickle.dumps(hook))])
def test_a_hook_is_copied_in_a_run(make_runner, batches, tmp_path, at, copied):
    def take(runner):
        if runner.iter == 1:
            copies.append(copied(hook))

    copies, hook = [], TextLoggerHook(interval=1)
    text_run(make_runner, hook, at(after_train_iter=take)).run([batches], TRAIN)
    assert len(lines(tmp_path / "work")) == 9
    text_run(make_runner, copies[0], work_dir=tmp_path / "copy").run([batches], TRAIN)
    assert len(lines(tmp_path / "copy")) == 9


@pytest.mark.parametrize("how", ["deleted", "put aside", "replaced"])
def test_a_file_that_goes_away_in_the_run_is_begun_anew(make_runner, batches, tmp_path, at, how):
    def away(runner):
        if runner.iter == 3:
            path = hook.json_log_path
            path.rename(tmp_path / "aside") if how == "put aside" else path.unlink()
            if how == "replaced":
                (tmp_path / "other").write_text('{"iter": 0}\n')
                (tmp_path / "other").rename(path)

    hook = TextLoggerHook(interval=1)
    text_run(make_runner, hook, at(after_train_iter=away)).run([batches], TRAIN)
    first = [0] if how == "replaced" else []
    assert [line["iter"] for line in lines(tmp_path / "work")] == [*first, 4, 1, 2, 3, 4]
    if how == "put aside":
        assert len((tmp_path / "aside").read_text().splitlines()) == 4


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


@pytest.mark.parametrize("kind", [Own, TextLoggerHook])
@pytest.mark.parametrize(("reset_flag", "seen"), [(False, [2, 3, 4]), (True, [3])])
def test_a_logger_that_is_not_the_last_may_clear_the_values(make_runner, batches, tmp_path, kind, reset_flag, seen):
    runner, first, last = make_runner(max_epochs=1), kind(interval=2, reset_flag=reset_flag), Own(interval=3)
    for hook in (IterTimerHook(), first, last):
        runner.register_hook(hook)
    runner.run([batches], TRAIN)
    logged = [one[2] for one in first.seen] if kind is Own else [line["iter"] for line in lines(tmp_path / "work")]
    assert logged == [2, 4]
    assert [iteration for _, _, iteration, _ in last.seen] == seen


def test_a_logger_from_its_config(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=1)
    config = {"type": "TextLoggerHook", "interval": 2, "priority": "VERY_LOW"}
    runner.register_hook_from_cfg(config)
    runner.register_hook_from_cfg({"type": "IterTimerHook"})
    assert [(type(hook).__name__, hook.priority) for hook in runner.hooks] == [
        ("IterTimerHook", 50),
        ("TextLoggerHook", 90),
    ]
    assert config == {"type": "TextLoggerHook", "interval": 2, "priority": "VERY_LOW"}
    runner.run([batches], TRAIN)
    assert [line["iter"] for line in lines(tmp_path / "work")] == [2, 4]


@pytest.mark.parametrize(
    ("by_epoch", "interval_exp_name", "times"),
    [(True, 3, 4), (False, 3, 2), (True, 1000, 2), (False, -1, 0), (True, 0, 2)],
)
def test_the_name_of_the_experiment(make_runner, batches, caplog, by_epoch, interval_exp_name, times):
    kind = EpochBasedRunner if by_epoch else IterBasedRunner
    runner = make_runner(kind, meta={"exp_name": "mine"}, **({"max_epochs": 2} if by_epoch else {"max_iters": 8}))
    runner.register_hook(IterTimerHook())
    runner.register_hook(TextLoggerHook(by_epoch, interval=1, interval_exp_name=interval_exp_name), "VERY_LOW")
    runner.run([batches], TRAIN)
    assert [line for line in caplog.messages if line.startswith("Exp name")] == ["Exp name: mine"] * times


@pytest.mark.parametrize("kind", [LoggerHook, TextLoggerHook])
@pytest.mark.parametrize(
    ("argument", "values", "allowed"),
    [
        ("interval", (0, -1, "10", 2.5, True, None), "a positive integer"),
        ("ignore_last", ("no", 1), "True or False"),
        ("reset_flag", ("no", 0), "True or False"),
        ("by_epoch", ("no", None), "True or False"),
        (
            "interval_exp_name",
            ("10", 2.5, None, -2),
            "0 or a positive integer, or -1 for the ends of epochs only",
        ),
    ],
)
def test_bad_arguments(kind, argument, values, allowed):
    if argument == "interval_exp_name":
        kind = TextLoggerHook
    for value in values:
        with pytest.raises(ConfigError, match=f"{kind.__name__}'s {argument} must be {allowed}, not {value!r}"):
            kind(**{argument: value})
