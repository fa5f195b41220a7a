"""Files are written whole, and read without running anything."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mmhooks import CheckpointError, ConfigError, ModelError
from mmhooks.checkpoint import (
    atomic_write,
    check_optimizer_state,
    load_checkpoint,
    load_checkpoint_with_prefix,
    plain,
    point_latest_at,
    read_checkpoint,
    save_checkpoint,
    write_checkpoint,
)
from mmhooks.errors import CheckpointNotFound


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
    with pytest.raises(CheckpointError, match=r"is a folder, not a checkpoint: .*it holds epoch_1\.pth, epoch_12\.pth"):
        read_checkpoint(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty is a folder, not a checkpoint: .*it holds no \.pth file"):
        read_checkpoint(tmp_path / "empty")


def test_a_missing_file_is_a_file_not_found(tmp_path):
    """The code of MMCV's users catches that."""
    (tmp_path / "a.pth").touch()
    for missing in (tmp_path / "b.pth", tmp_path, tmp_path / "a.pth" / "b.pth", "memory://nowhere/a.pth"):
        with pytest.raises(FileNotFoundError, match=r"there is no checkpoint|is a folder, not a checkpoint") as caught:
            load_checkpoint(nn.Linear(1, 1), missing)
        assert type(caught.value) is CheckpointNotFound
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "a.pth")  # it is there, and broken
    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("read", [read_checkpoint, lambda name: load_checkpoint(nn.Linear(1, 1), name)])
def test_an_empty_name(read):
    with pytest.raises(ConfigError, match="load_checkpoint's filename is an empty name: name a file"):
        read("")


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
    with pytest.raises(CheckpointError, match="holds a list"):
        load_checkpoint_with_prefix("backbone", tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"state_dict": 5}, "'state_dict' must be a dict of weights by name, not 5"),
        ({"state_dict": None, "meta": {}}, "'state_dict' must be a dict of weights by name, not None"),
        ({"state_dict": {3: torch.ones(1)}}, "the name of a weight must be a str, not 3"),
        ({3: torch.ones(1)}, "the name of a weight must be a str, not 3"),
    ],
)
def test_weights_that_are_none(tmp_path, content, says):
    torch.save(content, tmp_path / "a.pth")
    for read in (
        read_checkpoint,
        lambda file: load_checkpoint(nn.Linear(1, 1), file),
        lambda file: load_checkpoint_with_prefix("backbone", file),
    ):
        with pytest.raises(CheckpointError, match=rf"a\.pth is malformed: {says}"):
            read(tmp_path / "a.pth")


POSITION = {"epochs": 1, "iters": 4, "in_epoch": 0, "flow": (0, 1), "loaders": [], "world_size": 1}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"meta": 5}, "'meta' must be a dict, not 5"),
        ({"meta": {"epoch": "x"}}, r"meta\['epoch'\] must be 0 or a positive whole number, not 'x'"),
        ({"meta": {"epoch": True}}, r"meta\['epoch'\] must be .*, not True"),
        ({"meta": {"epoch": 1, "iter": None}}, r"meta\['iter'\] must be 0 or a positive whole number, not None"),
        ({"meta": {"iter": 2.5}}, r"meta\['iter'\] must be .*, not 2.5"),
        ({"meta": {"iter": float("inf")}}, r"meta\['iter'\] must be .*, not inf"),
        ({"meta": {"iter": -1}}, r"meta\['iter'\] must be .*, not -1"),
        ({"meta": {"hook_msgs": 5}}, r"meta\['hook_msgs'\] must be a dict, not 5"),
        ({"meta": {"hook_msgs": {"best_ckpt": 5}}}, r"meta\['hook_msgs'\]\['best_ckpt'\] must be the path .*, not 5"),
        ({"mmhooks": 5}, "'mmhooks' must be a dict, not 5"),
        ({"mmhooks": {"position": 5}}, r"mmhooks\['position'\] must be a dict, not 5"),
        ({"mmhooks": {"position": {}}}, r"mmhooks\['position'\]\['epochs'\] must be 0 or a positive .*, not None"),
        (
            {"mmhooks": {"position": POSITION | {"flow": 1}}},
            r"mmhooks\['position'\]\['flow'\] must be two numbers, not 1",
        ),
        (
            {"mmhooks": {"position": POSITION | {"loaders": [(0, -1)]}}},
            r"mmhooks\['position'\]\['loaders'\] must be 0 or a positive .*, not -1",
        ),
        (
            {"mmhooks": {"position": POSITION | {"loaders": 1}}},
            r"mmhooks\['position'\]\['loaders'\] must be a list of pairs, not 1",
        ),
        ({"mmhooks": {"hooks": 5}}, r"mmhooks\['hooks'\] must be a dict, not 5"),
        ({"mmhooks": {"hooks": {"EMAHook": 5}}}, r"mmhooks\['hooks'\]\['EMAHook'\] must be a list of states, not 5"),
    ],
)
def test_parts_that_are_of_another_kind(tmp_path, parts, says):
    torch.save({"state_dict": {"weight": torch.ones(1, 1)}, **parts}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=rf"a\.pth is malformed: {says}"):
        read_checkpoint(tmp_path / "a.pth")
    model = nn.Linear(1, 1, bias=False)
    assert load_checkpoint(model, tmp_path / "a.pth", strict=True).keys() == {"state_dict", *parts}
    assert model.weight.item() == 1  # weights to start from need no more


@pytest.mark.parametrize(
    "parts",
    [
        {"meta": None},
        {"meta": {"epoch": np.int64(3), "iter": 12.0, "hook_msgs": {"best_ckpt": None, "own": 5}}},
        {"mmhooks": {"by_epoch": True, "hooks": {"Own": [5, None]}}},
        {"epoch": "x", "optimizer": 5},
    ],
)
def test_parts_that_are_read(tmp_path, parts):
    torch.save({"state_dict": {}, **parts}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth") == {"state_dict": {}, **parts}


@pytest.mark.parametrize("state", [5, {0: 5}])
def test_the_state_of_an_optimizer_that_is_none(state):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    malformed = {**optimizer.state_dict(), "state": state}
    with pytest.raises(
        CheckpointError, match=r"a\.pth: the optimizer has a state of another kind \('state' is no dict"
    ):
        check_optimizer_state(optimizer, malformed, "a.pth")


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_either_format_of_torch(tmp_path, options):
    torch.save({"state_dict": {"w": torch.arange(5.0)}}, tmp_path / "a.pth", **options)
    assert torch.equal(read_checkpoint(tmp_path / "a.pth")["state_dict"]["w"], torch.arange(5.0))


def test_a_flipped_bit_is_never_a_silently_wrong_weight(tmp_path):
    weights = torch.linspace(-1, 1, 300)
    torch.save({"state_dict": {"w": weights}}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    source, refused = np.random.default_rng(0), 0
    for place in source.integers(len(whole) * 8, size=200):
        broken = bytearray(whole)
        broken[place // 8] ^= 1 << (place % 8)
        (tmp_path / "b.pth").write_bytes(broken)
        try:
            content = read_checkpoint(tmp_path / "b.pth")
        except CheckpointError:
            refused += 1
        else:  # a bit of padding, of a date and the like
            assert torch.equal(content["state_dict"]["w"], weights)
    assert refused > 80  # the weights alone are about half of the file


@pytest.mark.parametrize("new_format", [True, False])
def test_whatever_is_broken_the_file_is_named(tmp_path, new_format):
    content = {"meta": {"epoch": 1, "score": np.float64(1)}, "state_dict": OrderedDict(w=torch.ones(20))}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)
    whole = (tmp_path / "a.pth").read_bytes()
    source, said = np.random.default_rng(0), []
    for _ in range(150):
        broken = bytearray(whole)
        for place in source.integers(len(whole) * 8, size=3):
            broken[place // 8] ^= 1 << (place % 8)
        (tmp_path / "b.pth").write_bytes(broken)
        try:
            read_checkpoint(tmp_path / "b.pth")
        except CheckpointError as error:
            said.append(str(error))
    assert len(said) > 50
    assert all(text.startswith(str(tmp_path / "b.pth")) for text in said)


def test_the_damaged_part_is_named(tmp_path):
    torch.save({"state_dict": {"w": torch.full((100,), 2.0)}}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    pattern = torch.full((100,), 2.0).numpy().tobytes()
    assert pattern in whole
    (tmp_path / "a.pth").write_bytes(whole.replace(pattern, pattern[:-1] + b"\x41"))
    with pytest.raises(CheckpointError, match=r"a\.pth is damaged: its part '.*data/0' is not what was written"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_file_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"state_dict": {"w": torch.ones(3)}}, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_checkpoint(tmp_path / "a.pth")["state_dict"]["w"], torch.ones(3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there the device is known")
def test_a_device_that_is_not_here(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(3)}}, tmp_path / "cpu.pth")
    with zipfile.ZipFile(tmp_path / "cpu.pth") as old, zipfile.ZipFile(tmp_path / "cuda.pth", "w") as new:
        for part in old.infolist():
            new.writestr(part, old.read(part).replace(b"X\x03\0\0\0cpu", b"X\x04\0\0\0cuda"))
    with pytest.raises(CheckpointError, match=r"cuda\.pth holds tensors of a device .*map_location='cpu'"):
        read_checkpoint(tmp_path / "cuda.pth", map_location=None)
    assert torch.equal(read_checkpoint(tmp_path / "cuda.pth")["state_dict"]["w"], torch.ones(3))


def test_unpickling_is_an_explicit_and_loud_choice(tmp_path, caplog):
    torch.save({"meta": Touch(tmp_path / "ran"), "state_dict": {}}, tmp_path / "trusted.pth")
    assert read_checkpoint(tmp_path / "trusted.pth", weights_only=False)["state_dict"] == {}
    assert (tmp_path / "ran").exists()
    assert "trusted.pth is unpickled because of weights_only=False" in caplog.text


# saving a model ---------------------------------------------------------------------------------------------


def test_a_model_outside_a_run(tmp_path):
    model = nn.DataParallel(nn.Linear(2, 1))
    model.module.CLASSES = ("cat",)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    meta = {"epoch": 3}
    save_checkpoint(model, str(tmp_path / "a.pth"), optimizer, meta)
    content = read_checkpoint(tmp_path / "a.pth")
    assert list(content["state_dict"]) == ["weight", "bias"]
    assert (content["meta"]["epoch"], content["meta"]["CLASSES"], meta) == (3, ("cat",), {"epoch": 3})
    assert content["optimizer"]["param_groups"][0]["lr"] == 0.5
    save_checkpoint(model, str(tmp_path / "b.pth"), {"one": optimizer}, file_client_args={"backend": "disk"})
    assert list(read_checkpoint(tmp_path / "b.pth")["optimizer"]) == ["one"]
    save_checkpoint(model, str(tmp_path / "c.pth"))
    assert "optimizer" not in read_checkpoint(tmp_path / "c.pth")
    with pytest.raises(TypeError, match="meta must be a dict or None, not str"):
        save_checkpoint(model, str(tmp_path / "d.pth"), meta="x")
    with pytest.raises(ConfigError, match=r"save_checkpoint's filename must be a path .*, not 3"):
        save_checkpoint(model, 3)
    with pytest.raises(ConfigError, match="save_checkpoint's filename is an empty name"):
        save_checkpoint(model, "")
    with pytest.raises(ModelError, match=r"save_checkpoint's model must be a torch\.nn\.Module, not OrderedDict"):
        save_checkpoint(model.state_dict(), str(tmp_path / "d.pth"))
    with pytest.raises(TypeError, match="optimizer must be an Optimizer, a dict of them or None, not int"):
        save_checkpoint(model, str(tmp_path / "d.pth"), {"one": 5})
    with pytest.raises(ConfigError, match=r"file_client_args='disk' must be a dict such as dict\(backend='disk'\)"):
        save_checkpoint(model, str(tmp_path / "d.pth"), file_client_args="disk")
    assert names(tmp_path) == ["a.pth", "b.pth", "c.pth"]


# plain values ----------------------------------------------------------------------------------------------


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
    write_checkpoint({"meta": {"value": made}, "state_dict": {}}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["meta"]["value"] == as_plain
