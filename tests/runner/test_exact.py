"""What a resume says where it cannot be exact, and what it refuses; that it is exact is in test_exact_resume.py."""

import logging
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from mmhooks import CheckpointError, EpochBasedRunner, Hook, IterBasedRunner, LogBuffer
from mmhooks.checkpoint import read_checkpoint, write_checkpoint
from mmhooks.runner.randomness import random_state, set_random_state

TRAIN = [("train", 1)]


class Cut(Exception):
    pass


class SaveAndCut(Hook):
    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner):
        if runner.iter == self.at:
            runner.save_checkpoint(runner.work_dir, "cut.pth", create_symlink=False)
            raise Cut


def cut(make_runner, loader, at=1, kind=EpochBasedRunner, **length):
    runner = make_runner(kind, **length or {"max_epochs": 2})
    runner.register_training_hooks({"policy": "fixed"}, {})
    runner.register_hook(SaveAndCut(at))
    with pytest.raises(Cut):
        runner.run([loader], TRAIN)
    return f"{runner.work_dir}/cut.pth"


def go_on(make_runner, loader, file, kind=EpochBasedRunner, **length):
    runner = make_runner(kind, **length or {"max_epochs": 2})
    runner.register_training_hooks({"policy": "fixed"}, {})
    runner.resume(file)
    runner.run([loader], TRAIN)
    return runner


def test_all_generators_go_back():
    def draw():
        return random.gauss(0, 1), np.random.randn(), torch.randn(1).item()

    draw()  # half of a pair is left in two of them
    state = random_state()
    drawn = [draw() for _ in range(3)]
    set_random_state(state)
    assert [draw() for _ in range(3)] == drawn


class Stream(IterableDataset):
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)

    def __len__(self):
        return len(self.batches)


class Once:
    def __init__(self, batches):
        self.left = list(batches)

    def __len__(self):
        return 4

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


def stream(batches):
    return DataLoader(Stream(batches), batch_size=None)


@pytest.mark.parametrize(
    ("make", "kind", "length", "message"),
    [
        (stream, EpochBasedRunner, {"max_epochs": 1}, "Stream is an iterable data set that does not say where it is"),
        (stream, IterBasedRunner, {"max_iters": 4}, "Stream is an iterable data set that does not say where it is"),
        (Once, EpochBasedRunner, {"max_epochs": 1}, "this Once is an iterator, which gives its batches once"),
    ],
)
def test_loaders_that_cannot_be_repeated_are_told(make_runner, batches, caplog, make, kind, length, message):
    file = cut(make_runner, make(batches), kind=kind, **length)
    assert "not exact" not in caplog.text
    go_on(make_runner, make(batches), file, kind, **length)
    assert caplog.text.count(f"this resume is not exact: {message}") == 1


def test_workers_that_stay_are_told(make_runner, batches, caplog):
    loader = DataLoader(batches, batch_size=None, num_workers=1, persistent_workers=True)
    file = cut(make_runner, loader, at=5)
    go_on(make_runner, loader, file)
    assert "this resume is not exact: the workers of this DataLoader stay from pass to pass" in caplog.text


def test_of_a_pass_that_is_through_nothing_is_loaded(make_runner, batches):
    loaded = []

    class Counted(list):
        def __getitem__(self, index):
            loaded.append(index)
            return super().__getitem__(index)

    file = cut(make_runner, DataLoader(Counted(batches), batch_size=None), at=3)
    del loaded[:]
    go_on(make_runner, DataLoader(Counted(batches), batch_size=None), file)
    assert loaded == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda exact: exact["ranks"][0]["now"]["random"].pop("torch"),
        lambda exact: exact["ranks"][0]["now"]["random"]["python"].update(words=torch.zeros(3)),
        lambda exact: exact["ranks"][0]["began"].update(random=None),
        lambda exact: exact["ranks"][0]["passes"][0].pop("held"),
        lambda exact: exact.update(ranks=3),
        lambda exact: exact["log"]["counts"].clear(),
        lambda exact: exact["left"].update(hooks=[("EMAHook", 0)], point="nowhere"),
    ],
)
def test_what_is_malformed_changes_nothing(make_runner, batches, change):
    file = cut(make_runner, batches)
    content = read_checkpoint(file)
    change(content["mmhooks"])
    write_checkpoint(content, file)
    runner = make_runner()
    weights = {key: value.clone() for key, value in runner.model.state_dict().items()}
    state = random.getstate()
    with pytest.raises(CheckpointError, match=r"cut\.pth is malformed: what 'mmhooks' holds cannot be used"):
        runner.resume(file)
    assert (runner.iter, random.getstate()) == (0, state)
    assert all(torch.equal(value, weights[key]) for key, value in runner.model.state_dict().items())


def test_another_number_of_processes_is_told_once(make_runner, batches, caplog):
    file = cut(make_runner, batches)
    content = read_checkpoint(file)
    content["mmhooks"]["position"]["world_size"] = 2
    content["mmhooks"]["ranks"] *= 2
    write_checkpoint(content, file)
    go_on(make_runner, batches, file)
    assert caplog.text.count("the file is of 2 processes, and there are 1") == 1


def test_the_file_of_one_rank_alone_is_told(make_runner, batches, caplog):
    file = cut(make_runner, batches)
    content = read_checkpoint(file)
    content["mmhooks"]["ranks"] = []
    write_checkpoint(content, file)
    go_on(make_runner, batches, file)
    assert "one rank alone saved this file" in caplog.text


def test_modules_in_eval_mode_stay_so_until_the_epoch_ends(make_runner, batches, at):
    def freeze(runner):
        runner.model.last.eval()

    modes = []
    runner = make_runner(max_epochs=2)
    runner.register_hook(at(after_train_iter=freeze))
    runner.register_hook(SaveAndCut(1))
    with pytest.raises(Cut):
        runner.run([batches], TRAIN)
    again = make_runner(max_epochs=2)
    again.register_hook(at(before_train_iter=lambda runner: modes.append(runner.model.last.training)))
    again.resume(f"{runner.work_dir}/cut.pth")
    again.run([batches], TRAIN)
    assert modes == [False] * 2 + [True] * 4
    assert again.model.first.training


def test_log_values_travel_as_numbers():
    buffer, again = LogBuffer(), LogBuffer()
    for i in range(200):
        buffer.update({"loss": torch.tensor(i / 7), "acc": i / 3}, count=2 if i % 2 else 3)
    buffer.update({"own": object()})
    again.load_state_dict(buffer.state_dict())
    assert set(again.val_history) == {"loss", "acc"}
    del buffer.val_history["own"]
    for n in (0, 7):
        buffer.average(n)
        again.average(n)
        assert again.output == buffer.output
    again.load_state_dict(buffer.state_dict())
    assert (again.output, again.ready) == (buffer.output, True)


def test_a_quiet_resume(make_runner, batches, caplog):
    caplog.set_level(logging.INFO, "mmhooks")
    go_on(make_runner, batches, cut(make_runner, batches))
    assert "2 batches that the resumed run has trained on are passed over" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
