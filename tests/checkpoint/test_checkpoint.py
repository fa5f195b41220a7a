"""Files are written whole, and read without running anything."""

import logging
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import CheckpointError
from mmhooks.checkpoint import (
    atomic_write,
    load_state_dict,
    model_state,
    plain,
    point_latest_at,
    read_checkpoint,
    write_checkpoint,
)

LOGGER = logging.getLogger("mmhooks")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


# writing ----------------------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path):
    content = {"meta": {"epoch": 3}, "state_dict": OrderedDict(w=torch.arange(3.0))}
    write_checkpoint(content, tmp_path / "new" / "a.pth")
    again = read_checkpoint(tmp_path / "new" / "a.pth")
    assert again["meta"] == {"epoch": 3}
    assert torch.equal(again["state_dict"]["w"], torch.arange(3.0))
    assert names(tmp_path / "new") == ["a.pth"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    file = tmp_path / "a.pth"
    file.write_bytes(b"old")

    def write():
        with atomic_write(file) as out:
            out.write(b"half of the n")
            raise error("no more")

    with pytest.raises(error):
        write()
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.pth"]


def test_content_that_cannot_be_saved_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.pth"
    file.write_bytes(b"old")
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint({"meta": lambda: None}, file)
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs file size limits")
def test_a_full_disk_says_so_and_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.pth"
    file.write_bytes(b"old")
    code = """
import resource, signal, sys, torch
from mmhooks.checkpoint import write_checkpoint
from mmhooks.errors import CheckpointError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_checkpoint({"w": torch.zeros(1_000_000)}, sys.argv[1])
except CheckpointError as error:
    print(error)
"""
    shown = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    assert "could not be written" in shown.stdout, shown.stderr[-2000:]
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_the_file_has_ordinary_permissions(tmp_path):
    with atomic_write(tmp_path / "a") as file:
        file.write(b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_latest_stands_for_the_newest(tmp_path):
    for name in ("epoch_1.pth", "epoch_2.pth"):
        (tmp_path / name).write_text(name)
        point_latest_at(tmp_path / name)
        assert (tmp_path / "latest.pth").read_text() == name
    assert names(tmp_path) == ["epoch_1.pth", "epoch_2.pth", "latest.pth"]


def test_latest_still_works_when_the_folder_moves(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.pth").write_text("a")
    point_latest_at(tmp_path / "old" / "a.pth")
    (tmp_path / "old").rename(tmp_path / "new")
    assert (tmp_path / "new" / "latest.pth").read_text() == "a"


# reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [torch.save, lambda content, file: Path(file).write_bytes(pickle.dumps(content))])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, save):
    save({"meta": Touch(tmp_path / "ran"), "state_dict": {}}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth.*unpickling runs code.*weights_only=False"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("score", [np.float64(0.75), np.float32(0.75), np.int64(3), np.bool_(True)])
def test_a_numpy_score_of_mmcv_is_read(tmp_path, score):
    torch.save({"meta": {"hook_msgs": {"best_score": score}}, "state_dict": {}}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["meta"]["hook_msgs"]["best_score"] == score


def test_a_bare_state_dict(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth")) == ["state_dict"]


def test_a_missing_file_names_the_nearest_one(tmp_path):
    for name in ("epoch_1.pth", "epoch_12.pth"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"no checkpoint .*epoch_13\.pth; did you mean .*'epoch_12\.pth'"):
        read_checkpoint(tmp_path / "epoch_13.pth")
    with pytest.raises(CheckpointError, match=r"holds epoch_1\.pth, epoch_12\.pth"):
        read_checkpoint(tmp_path / "weights")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "nowhere" / "a.pth")


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut off"])
def test_a_broken_file(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_file_cut_in_half(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(1000)}}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        read_checkpoint(tmp_path / "a.pth")


def test_something_else_than_a_dict(tmp_path):
    torch.save([1, 2], tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="holds a list"):
        read_checkpoint(tmp_path / "a.pth")


# weights ----------------------------------------------------------------------------------------------------


def test_strict_tells_all_that_does_not_fit_and_touches_nothing():
    model = nn.Linear(2, 3)
    before = model.weight.clone()
    state = {"weight": torch.zeros(9, 2), "extra": torch.zeros(1)}
    with pytest.raises(
        CheckpointError,
        match=r"not in the model: extra; not in the file: bias; weight is \(9, 2\) in the file and \(3, 2\)",
    ):
        load_state_dict(model, state, strict=True, logger=LOGGER)
    assert torch.equal(model.weight, before)


def test_otherwise_what_fits_is_loaded_and_the_rest_is_said(caplog):
    model = nn.Linear(2, 3)
    before = model.weight.clone()
    state = {"weight": torch.zeros(9, 2), "bias": torch.ones(3), "extra": torch.zeros(1)}
    left = load_state_dict(model, state, strict=False, logger=LOGGER)
    assert list(left) == ["extra"]
    assert torch.equal(model.bias, torch.ones(3))
    assert torch.equal(model.weight, before)
    assert "not in the model: extra; weight is (9, 2)" in caplog.text


def test_the_prefix_of_a_parallel_wrapper_is_taken_off(caplog):
    model = nn.Linear(2, 3)
    state = {f"module.{key}": torch.full_like(value, 2.0) for key, value in model.state_dict().items()}
    assert load_state_dict(nn.DataParallel(model), state, strict=True, logger=LOGGER) == {}
    assert torch.equal(model.bias, torch.full((3,), 2.0))
    assert caplog.text == ""


def test_model_state_looks_through_wrappers_and_names_all_buffers():
    inner = nn.BatchNorm1d(2)
    inner.register_buffer("hidden", torch.ones(1), persistent=False)
    model = nn.Sequential(nn.DataParallel(inner))
    state = model_state(model)
    assert list(state) == ["0.weight", "0.bias", "0.running_mean", "0.running_var", "0.num_batches_tracked", "0.hidden"]
    assert state._metadata["0"] == {"version": 2}
    assert load_state_dict(nn.Sequential(inner), state, strict=True, logger=LOGGER) == {}


@pytest.mark.parametrize(
    ("value", "as_plain"),
    [
        (np.float64(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        ({"a": (np.int64(1), [True, None])}, {"a": (1, [True, None])}),
        (OrderedDict(a=1), {"a": 1}),
        ({1, 2}, {1, 2}),
        (Path("a/b"), repr(Path("a/b"))),
    ],
)
def test_plain(value, as_plain, tmp_path):
    made = plain(value)
    assert made == as_plain
    assert type(made) is type(as_plain)
    write_checkpoint({"meta": made, "state_dict": {}}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["meta"] == as_plain
