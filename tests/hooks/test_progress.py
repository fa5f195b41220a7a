"""ProgressBarHook: what is drawn on a terminal, and that nothing waits for it."""

import io
import logging
import re
import sys

import pytest
import torch
from rich.console import Console

from mmhooks import ConfigError, EpochBasedRunner, EvalHook, IterBasedRunner, ProgressBarHook, TextLoggerHook
from mmhooks.evaluation import _followers, single_gpu_test
from mmhooks.hooks import show_tests


class Loader(list):
    class dataset:
        @staticmethod
        def evaluate(results, logger=None):
            return {"count": len(results)}


class Terminal:
    """A terminal in memory."""

    def __init__(self, width=120, **options):
        self.file = io.StringIO()
        self.console = Console(file=self.file, force_terminal=True, width=width, color_system=None, **options)

    def lines(self):
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue())
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def run(runner, loaders, workflow, terminal, *hooks, **options):
    runner.register_training_hooks(lr_config=None, optimizer_config={})
    for hook in hooks:
        runner.register_hook(hook)
    runner.register_hook(ProgressBarHook(console=terminal.console, interval=0, **options), priority="LOWEST")
    runner.run(loaders, workflow)
    return terminal.lines()


def test_a_bar_says_how_far_a_run_is(make_runner, batches):
    lines = run(make_runner(max_epochs=2), [batches], [("train", 1)], Terminal())
    assert re.fullmatch(r"train epoch 1/2 \W* 0/8  lr 0\.1", lines[0])
    last = r"train epoch 2/2 \W+ 8/8  eta 0:00:00  loss \d\.\d{4}  lr 0\.1  [\d.]+ it/s"
    assert re.match(last, lines[-1])


def test_a_val_epoch_and_an_evaluation_have_lines_of_their_own(make_runner, batches):
    hook = EvalHook(Loader(batches))
    lines = run(make_runner(max_epochs=1), [batches, batches], [("train", 1), ("val", 1)], Terminal(), hook)
    assert [line for line in lines if re.match(r"evaluation \W+ 3/4", line)]
    assert [line for line in lines if re.match(r"val \W+ [34]/4", line)]
    assert lines[-1].startswith("train")  # they are gone at the end


def test_iterations_of_a_val_flow_are_counted(make_runner, batches):
    runner = make_runner(IterBasedRunner, max_iters=6)
    lines = run(runner, [batches, batches], [("train", 3), ("val", 2)], Terminal())
    assert any(re.match(r"val +2", line) for line in lines)
    assert re.match(r"train \S+ 6/6", lines[-1])


@pytest.mark.parametrize(("width", "told"), [(20, 0), (40, 1), (80, 4), (200, 7)])
def test_every_line_fits_the_terminal(make_runner, batches, at, width, told):
    def add(runner):
        runner.log_buffer.update({"loss_cls": 0.1, "loss_bbox": 0.2, "acc": 0.9})

    runner = make_runner(max_epochs=3)
    hooks = at(after_train_iter=add), EvalHook(Loader(batches))
    lines = run(runner, [batches], [("train", 1)], Terminal(width), *hooks)
    assert max(map(len, lines)) <= width
    assert sum(word in lines[-1] for word in ("12/12", "eta", "loss ", "lr", "loss_cls", "loss_bbox", "acc")) >= told


def test_no_terminal_no_bar(make_runner, batches):
    screen = io.StringIO()
    runner = make_runner(max_epochs=1)
    runner.register_hook(ProgressBarHook(console=Console(file=screen)), priority="LOWEST")
    runner.run([batches], [("train", 1)])
    assert screen.getvalue() == ""


def test_nothing_waits_for_a_value_on_a_device(make_runner, batches):
    class OnDevice(type(make_runner().model)):
        def train_step(self, data, optimizer, **kwargs):  # reading a tensor of the device "meta" raises
            return {"loss": torch.ones((), device="meta"), "log_vars": {"loss": torch.ones((), device="meta")},
                    "num_samples": 1}  # fmt: skip

    terminal = Terminal()
    runner = make_runner(model=OnDevice(), max_epochs=1)
    runner.register_hook(ProgressBarHook(console=terminal.console, interval=0), priority="LOWEST")
    runner.run([batches], [("train", 1)])
    assert "4/4" in terminal.lines()[-1]
    assert "loss" not in terminal.lines()[-1]


def test_of_a_value_on_a_device_the_last_averaged_one_is_shown(make_runner, batches, at):
    def averaged(runner):  # as LogBuffer.average leaves it
        if runner.iter < 2:
            runner.log_buffer.val_history["loss"][-1] = 0.125 * (runner.iter + 1)

    class OnDevice(type(make_runner().model)):
        def train_step(self, data, optimizer, **kwargs):
            return {"log_vars": {"loss": torch.ones((), device="meta")}, "num_samples": 1}

    terminal = Terminal()
    runner = make_runner(model=OnDevice(), max_epochs=1)
    runner.register_hook(at(after_train_iter=averaged))
    runner.register_hook(ProgressBarHook(console=terminal.console, interval=0), priority="LOWEST")
    runner.run([batches], [("train", 1)])
    assert "loss 0.2500" in terminal.lines()[-1]


def test_values_are_read_at_a_refresh_alone(make_runner, batches):
    class Loss:
        reads = 0

        def __float__(self):
            Loss.reads += 1
            return 1.0

    class Model(type(make_runner().model)):
        def train_step(self, data, optimizer, **kwargs):
            return {"loss": Loss()}

    runner = make_runner(EpochBasedRunner, model=Model(), max_epochs=50)
    runner.register_hook(ProgressBarHook(console=Terminal().console, interval=3600), priority="LOWEST")
    runner.run([batches], [("train", 1)])
    assert 1 <= Loss.reads <= 2  # the first (if the clock says so) and the last iteration of 200


def test_the_numbers_of_a_run_are_the_same(make_runner, batches):
    plain, shown = make_runner(max_epochs=2), make_runner(max_epochs=2)
    plain.register_training_hooks(lr_config=None, optimizer_config={})
    plain.run([batches], [("train", 1)])
    run(shown, [batches], [("train", 1)], Terminal())
    for one, other in zip(plain.model.parameters(), shown.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_error_leaves_all_as_it_was(make_runner, batches, at, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal.file)
    handler = logging.StreamHandler(sys.stdout)
    logging.getLogger("mmhooks").addHandler(handler)

    def fail(runner):
        logging.getLogger("mmhooks").warning("about to fail")
        print("printed")
        assert handler.stream is not terminal.file
        assert len(_followers) == 1
        raise ConfigError("no")

    try:
        with pytest.raises(ConfigError, match="no"):
            run(make_runner(max_epochs=1), [batches], [("train", 1)], terminal, at(after_train_iter=fail))
        assert handler.stream is terminal.file
    finally:
        logging.getLogger("mmhooks").removeHandler(handler)
    assert sys.stdout is terminal.file
    assert _followers == []
    assert {"about to fail", "printed"} < set(terminal.lines())


def test_a_resumed_run_begins_where_it_is(make_runner, batches):
    first = make_runner(max_epochs=1)
    first.register_training_hooks(lr_config=None, optimizer_config={}, checkpoint_config={"interval": 1})
    first.run([batches], [("train", 1)])
    second = make_runner(max_epochs=2)
    second.resume(f"{first.work_dir}/latest.pth")
    assert re.match(r"train epoch 2/2 \W+ 4/8", run(second, [batches], [("train", 1)], Terminal())[0])


def test_a_test_outside_of_a_run_has_a_bar(make_runner, batches):
    terminal = Terminal()
    with show_tests(terminal.console):
        assert len(single_gpu_test(make_runner().model, batches)) == 17
    assert re.match(r"test \S+ 4/4", terminal.lines()[-1])
    assert _followers == []


def test_a_config_may_name_it(make_runner, batches, capsys):
    runner = make_runner(max_epochs=1)
    runner.register_training_hooks(lr_config=None, custom_hooks_config=[{"type": "ProgressBarHook", "title": "here"}])
    runner.register_hook(TextLoggerHook(interval=1), priority="VERY_LOW")
    runner.run([batches], [("train", 1)])
    assert "here" not in capsys.readouterr().out  # pytest's stdout is no terminal
    with pytest.raises(ConfigError, match="ProgressBarHook's interval must be"):
        ProgressBarHook(interval=-1)
