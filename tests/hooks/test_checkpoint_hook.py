import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mmhooks import CheckpointError, CheckpointHook, ConfigError, EvalHook, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint
from mmhooks.hooks.checkpoint import resolve_out_dir

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import run_ranks

TRAIN = [("train", 1)]


def scored():
    return type("EvalHook", (EvalHook,), {"evaluate": lambda self, runner, results: 1.0})


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({"interval": 2, "save_last": False}, ["epoch_2.pth", "epoch_4.pth", "latest.pth"]),
        ({"interval": 2}, ["epoch_2.pth", "epoch_4.pth", "epoch_5.pth", "latest.pth"]),
        ({}, ["epoch_5.pth", "latest.pth"]),
        ({"interval": 1, "max_keep_ckpts": 2}, ["epoch_4.pth", "epoch_5.pth", "latest.pth"]),
        ({"interval": 2, "max_keep_ckpts": 1}, ["epoch_5.pth", "latest.pth"]),
        ({"filename_tmpl": "at_{}.pth", "create_symlink": False}, ["at_5.pth"]),
        ({"interval": 10, "by_epoch": False}, ["epoch_3.pth", "epoch_5.pth", "latest.pth"]),
    ],
)
def test_files_of_five_epochs(make_runner, batches, tmp_path, arguments, left):
    runner = make_runner(max_epochs=5)
    runner.register_hook(CheckpointHook(**arguments))
    runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == left


def test_files_of_iterations(make_runner, batches, tmp_path):
    runner = make_runner(IterBasedRunner, max_iters=7)
    runner.register_training_hooks(None, checkpoint_config={"interval": 3})
    runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["iter_3.pth", "iter_6.pth", "iter_7.pth", "latest.pth"]


def test_an_out_dir_gets_the_name_of_the_work_dir(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=1)
    runner.register_hook(CheckpointHook(1, out_dir=str(tmp_path / "far")))
    runner.run([batches], TRAIN)
    assert files(tmp_path / "far" / "work") == ["epoch_1.pth", "latest.pth"]


@pytest.mark.parametrize("save_optimizer", [True, False])
def test_content(make_runner, make_model, batches, tmp_path, save_optimizer):
    model = make_model()
    model.CLASSES = ("cat", "dog")
    runner = make_runner(model=model, max_epochs=2, meta={"seed": 1})
    runner.register_optimizer_hook({})
    runner.register_hook(CheckpointHook(1, save_optimizer=save_optimizer))
    runner.run([batches], TRAIN)
    content = read_checkpoint(tmp_path / "work" / "latest.pth")
    meta = content["meta"]
    assert (meta["epoch"], meta["iter"], meta["seed"], meta["CLASSES"]) == (2, 8, 1, ("cat", "dog"))
    assert ("optimizer" in content) == save_optimizer


def test_a_failing_save_deletes_no_predecessor(make_runner, batches, tmp_path, at):
    runner = make_runner(max_epochs=3)
    runner.register_hook(CheckpointHook(1, max_keep_ckpts=1))
    # a folder of that name: the new file cannot take its place
    blocked = tmp_path / "work" / "epoch_2.pth"
    runner.register_hook(at(before_train_epoch=lambda r: r.epoch == 1 and (blocked / "x").mkdir(parents=True)))
    with pytest.raises(CheckpointError, match=r"epoch_2\.pth could not be written.*untouched"):
        runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["epoch_1.pth", "epoch_2.pth", "latest.pth"]
    assert read_checkpoint(tmp_path / "work" / "latest.pth")["meta"]["epoch"] == 1


def test_the_record_survives_a_resume_with_another_interval(make_runner, batches, tmp_path):
    first = make_runner(max_epochs=2)
    first.register_hook(CheckpointHook(1, max_keep_ckpts=2))
    first.run([batches], TRAIN)
    (tmp_path / "work" / "epoch_77.pth").touch()  # somebody else's
    again = make_runner(max_epochs=6)
    again.register_hook(CheckpointHook(2, max_keep_ckpts=2))
    again.resume(tmp_path / "work" / "epoch_2.pth")
    again.run([batches], TRAIN)
    # the file that the run went on from stays, and belongs to the record still
    assert files(tmp_path / "work") == ["epoch_2.pth", "epoch_4.pth", "epoch_6.pth", "epoch_77.pth", "latest.pth"]
    last = make_runner(max_epochs=8)
    last.register_hook(CheckpointHook(1, max_keep_ckpts=2))
    last.resume(tmp_path / "work" / "latest.pth")
    last.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["epoch_6.pth", "epoch_7.pth", "epoch_77.pth", "epoch_8.pth", "latest.pth"]


def test_files_of_another_folder_are_not_ours(make_runner, batches, tmp_path):
    first = make_runner(max_epochs=2)
    first.register_hook(CheckpointHook(1, max_keep_ckpts=1, filename_tmpl="e{}.pth"))
    first.run([batches], TRAIN)
    other = tmp_path / "other"
    other.mkdir()
    (other / "e2.pth").touch()  # of a run of somebody else
    again = make_runner(max_epochs=4, work_dir=str(other))
    again.register_hook(CheckpointHook(1, max_keep_ckpts=1, filename_tmpl="e{}.pth"))
    again.resume(tmp_path / "work" / "e2.pth")
    again.run([batches], TRAIN)
    assert files(other) == ["e2.pth", "e4.pth", "latest.pth"]
    assert files(tmp_path / "work") == ["e2.pth", "latest.pth"]


def test_the_files_of_a_folder_that_has_moved_are_ours(make_runner, batches, tmp_path):
    first = make_runner(max_epochs=3)
    first.register_hook(CheckpointHook(1, max_keep_ckpts=2))
    first.run([batches], TRAIN)
    (tmp_path / "work").rename(tmp_path / "moved")
    again = make_runner(max_epochs=5, work_dir=str(tmp_path / "moved"))
    again.register_hook(CheckpointHook(1, max_keep_ckpts=1))
    again.resume(tmp_path / "moved" / "epoch_3.pth")
    again.run([batches], TRAIN)
    assert files(tmp_path / "moved") == ["epoch_3.pth", "epoch_5.pth", "latest.pth"]


def test_the_best_file_is_not_deleted(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=4, meta={"hook_msgs": {"best_ckpt": str(tmp_path / "work" / "epoch_1.pth")}})
    runner.register_hook(CheckpointHook(1, max_keep_ckpts=1))
    runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["epoch_1.pth", "epoch_4.pth", "latest.pth"]


def test_a_run_may_go_on_without_a_file(make_runner, batches, tmp_path, at, caplog):
    runner = make_runner(max_epochs=4)
    runner.register_hook(CheckpointHook(1, max_keep_ckpts=1, on_error="warn"))
    blocked = tmp_path / "work" / "epoch_2.pth"  # a folder: the new file cannot take its place
    runner.register_hook(at(before_train_epoch=lambda r: r.epoch == 1 and (blocked / "x").mkdir(parents=True)))
    runner.run([batches], TRAIN)
    assert runner.epoch == 4
    assert files(tmp_path / "work") == ["epoch_2.pth", "epoch_4.pth", "latest.pth"]
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "epoch_2.pth could not be written" in record.getMessage()
    assert f"The newest checkpoint is {tmp_path / 'work' / 'epoch_1.pth'}; the run goes on" in record.getMessage()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ({"interval": value}, f"interval must be a positive integer, or -1 for the last one only, not {value!r}")
            for value in (0, -5, 1.5, "1", True, None)
        ),
        *(
            ({"max_keep_ckpts": value}, f"max_keep_ckpts must be a positive integer, or -1 for all, not {value!r}")
            for value in (0, -4, 1.5, "3", True)
        ),
        *(
            ({argument: value}, f"CheckpointHook's {argument} must be True or False, not {value!r}")
            for argument in ("by_epoch", "save_optimizer", "save_last", "sync_buffer", "create_symlink", "async_save")
            for value in ("no", 1)
        ),
        ({"out_dir": 5}, r"out_dir must be a path \(str or pathlib.Path\) or None, not 5"),
        ({"filename_tmpl": "epoch.pth"}, "filename_tmpl must be .* which has no {} for the number"),
        ({"filename_tmpl": 5}, "filename_tmpl must be a file name with one {} for the number, .*, not 5"),
        ({"filename_tmpl": "{} {bad}"}, r"filename_tmpl must be .*not '\{\} \{bad\}' \(KeyError: 'bad'\)"),
        ({"filename_tmpl": "{}_{}"}, "filename_tmpl must be a file name with one {}"),
        ({"filename_tmpl": "{"}, "filename_tmpl must be .*ValueError"),
        ({"filename_tmpl": "e{}.safetensors"}, "names files that hold weights alone"),
        ({"meta": "v1"}, "meta='v1' must be a dict"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'warn', not 'ignore'"),
        ({"file_client_args": {"backend": "lmdb"}}, "backend='lmdb' can be read but not written"),
        (
            {"out_dir": "runs", "file_client_args": {"backend": "petrel"}},
            r"do not go together: write the folder as 's3:",
        ),
        ({"out_dir": "c1:s3://runs"}, "names a cluster"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        CheckpointHook(**arguments)


def test_what_else_mmcv_takes(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=2)
    runner.register_hook(CheckpointHook(np.int64(1), max_keep_ckpts=np.int64(2), filename_tmpl="e{:03d}.pth"))
    runner.register_hook(CheckpointHook(2.0, out_dir=tmp_path / "other"))
    runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["e001.pth", "e002.pth", "latest.pth"]
    assert files(tmp_path / "other" / "work") == ["epoch_2.pth", "latest.pth"]


def test_nowhere_to_write(make_runner, batches):
    runner = make_runner(work_dir=None, max_epochs=1)
    runner.register_hook(CheckpointHook(1))
    with pytest.raises(ConfigError, match="nowhere to write"):
        runner.run([batches], TRAIN)


# stores -----------------------------------------------------------------------------------------------------


@pytest.fixture
def memory():
    MemoryFileSystem.store.clear()
    return fsspec.filesystem("memory")


class Recorded(MemoryFileSystem):
    """Remembers the arguments that it was made with, and may refuse to delete."""

    protocol = "recorded"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    made = []  # noqa: RUF012

    def __init__(self, locked=False, **kwargs):
        super().__init__(**kwargs)
        self.locked = locked
        self.made.append(locked)

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.replace("recorded://", "memory://"))

    def rm_file(self, path):
        if self.locked and path.endswith(".pth"):
            raise PermissionError("locked")
        super().rm_file(path)


def test_a_remote_out_dir(make_runner, batches, memory, tmp_path, caplog):
    runner = make_runner(max_epochs=4, meta={})
    runner.register_hook(CheckpointHook(1, out_dir="memory://bucket/runs", max_keep_ckpts=2, create_symlink=True))
    runner.run([batches], TRAIN)
    assert sorted(memory.ls("/bucket/runs/work", detail=False)) == [
        "/bucket/runs/work/epoch_3.pth",
        "/bucket/runs/work/epoch_4.pth",
    ]
    assert runner.meta["hook_msgs"]["last_ckpt"] == "memory://bucket/runs/work/epoch_4.pth"
    assert "memory://bucket/runs/work has no links, so no latest.pth is written" in caplog.text
    assert files(tmp_path / "work") == []

    again = make_runner(max_epochs=6)
    again.register_hook(CheckpointHook(1, out_dir="memory://bucket/runs", max_keep_ckpts=1))
    again.resume("memory://bucket/runs/work/epoch_4.pth")
    assert (again.epoch, again.iter) == (4, 16)
    again.run([batches], TRAIN)
    assert sorted(memory.ls("/bucket/runs/work", detail=False)) == [
        "/bucket/runs/work/epoch_4.pth",  # it went on from there
        "/bucket/runs/work/epoch_6.pth",
    ]


def test_file_client_args_reach_the_store(make_runner, batches, caplog):
    fsspec.register_implementation("recorded", Recorded, clobber=True)
    runner = make_runner(max_epochs=2)
    where = {"backend": "recorded", "locked": True, "path_mapping": {"runs": "recorded://bucket"}}
    runner.register_hook(CheckpointHook(1, out_dir="runs", file_client_args=where, max_keep_ckpts=1))
    runner.run([batches], TRAIN)
    assert set(Recorded.made) == {True}
    # what cannot be deleted does not end the run
    assert sorted(Recorded.store) == ["/bucket/work/epoch_1.pth", "/bucket/work/epoch_2.pth"]
    assert "an old checkpoint stays: recorded://bucket/work/epoch_1.pth could not be deleted" in caplog.text


def test_a_failing_upload_deletes_no_predecessor(make_runner, batches):
    class Full(Recorded):
        def put_file(self, lpath, rpath, **kwargs):
            if self.store:
                raise OSError("quota")
            super().put_file(lpath, rpath, **kwargs)

    Recorded.store.clear()
    fsspec.register_implementation("recorded", Full, clobber=True)
    runner = make_runner(max_epochs=3)
    runner.register_hook(CheckpointHook(1, out_dir="recorded://b", max_keep_ckpts=1))
    with pytest.raises(CheckpointError, match=r"epoch_2\.pth could not be written \(OSError: quota\)"):
        runner.run([batches], TRAIN)
    assert list(Recorded.store) == ["/b/work/epoch_1.pth"]


def test_the_disk_backend_of_mmcv(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=1)
    runner.register_checkpoint_hook({"interval": 1, "file_client_args": {"backend": "disk"}, "meta": {"version": "v1"}})
    runner.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["epoch_1.pth", "latest.pth"]
    assert read_checkpoint(tmp_path / "work" / "latest.pth")["meta"]["version"] == "v1"


@pytest.mark.parametrize(
    ("out_dir", "work_dir", "folder"),
    [
        (None, "/a/b", "/a/b"),
        ("", "/a/b", "/a/b"),
        ("/a/b", "/a/b", "/a/b"),
        ("/x", "/a/b/", "/x/b"),
        ("/x", None, "/x"),
        ("s3://x/y/", "/a/b", "s3://x/y/b"),
        ("s3://x", None, "s3://x"),
    ],
)
def test_resolve_out_dir(out_dir, work_dir, folder):
    assert resolve_out_dir(out_dir, work_dir) == folder


# several processes ------------------------------------------------------------------------------------------

TWO_RANKS = """
import torch
import torch.distributed as dist
from mmhooks import CheckpointHook, EpochBasedRunner

dist.init_process_group("gloo")
rank = dist.get_rank()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.full((2,), float(rank)))

    def train_step(self, data, optimizer, **kwargs):
        return {"loss": (self.weight * data).sum()}


for sync in (False, True):
    runner = EpochBasedRunner(Net(), work_dir=str(sync), max_epochs=1)
    runner.register_hook(CheckpointHook(1, sync_buffer=sync))
    runner.run([[torch.ones(2)]], [("train", 1)])
dist.barrier()
dist.destroy_process_group()
"""


def test_rank_0_writes_and_buffers_are_averaged_where_asked_for(tmp_path):
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder in folders:
        folder.mkdir()
    run_ranks(folders, "-c", TWO_RANKS)
    for sync, mean in (("False", [0.0, 0.0]), ("True", [0.5, 0.5])):
        assert files(folders[0] / sync) == ["epoch_1.pth", "latest.pth"]
        assert files(folders[1] / sync) == []
        assert read_checkpoint(folders[0] / sync / "latest.pth")["state_dict"]["mean"].tolist() == mean


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda batches, out_dir: CheckpointHook(1, out_dir=out_dir), "CheckpointHook's out_dir"),
        (lambda batches, out_dir: scored()(batches, save_best="acc", out_dir=out_dir), "EvalHook's out_dir"),
    ],
)
@pytest.mark.parametrize("out_dir", ["nowhere://bucket/runs", "a file/runs"])
def test_a_folder_that_cannot_be_written_to_is_told_before_training(
    make_runner, batches, tmp_path, monkeypatch, make, argument, out_dir
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    runner = make_runner(max_epochs=1)
    runner.register_hook(make(batches, out_dir))
    with pytest.raises(ConfigError, match=argument):
        runner.run([batches], TRAIN)
    assert (runner.iter, runner.model.train_kwargs) == (0, [])


def test_a_name_with_a_folder_leaves_latest_in_the_folder_of_the_hook(make_runner, batches, tmp_path):
    runner = make_runner(max_epochs=2)
    runner.register_hook(CheckpointHook(1, filename_tmpl="sub/epoch_{}.pth", max_keep_ckpts=1))
    runner.run([batches], TRAIN)
    work = tmp_path / "work"
    assert sorted(str(path.relative_to(work)) for path in work.rglob("*.pth")) == ["latest.pth", "sub/epoch_2.pth"]
    assert read_checkpoint(work / "latest.pth")["meta"]["epoch"] == 2
