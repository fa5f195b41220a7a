"""Log files of TextLoggerHook, copied to its out_dir when the run is over."""

import json
import logging
import re

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mmhooks import ConfigError, IterTimerHook, TextLoggerHook

TRAIN = [("train", 1)]
#: What MMCV 1.7.2 copies of these: all but hidden files, and those of other endings.
NAMES = ("a.py", "sub/b.log", ".hidden/c.log", "old.log.json", ".d.py", "e.txt", "f.logs")
COPIED = {"a.py", "sub/b.log", ".hidden/c.log", "old.log.json", "now.log.json"}


class Flaky(MemoryFileSystem):
    """A store that refuses some files, and keeps a part of others."""

    protocol = "flaky"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs: list = [""]  # noqa: RUF012

    def put_file(self, lpath, rpath, **kwargs):
        if "a.py" in rpath:
            raise ConnectionError("the store is gone")
        super().put_file(lpath, rpath, **kwargs)
        if "b.log" in rpath:
            with self.open(rpath, "wb") as file:
                file.write(b"half")


fsspec.register_implementation("flaky", Flaky, clobber=True)


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def train(make_runner, batches, tmp_path):
    """Train in a work_dir with files in it, and give the names of those that are left."""

    def run(hook, **arguments):
        work = tmp_path / "work"
        for name in NAMES:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(name)
        runner = make_runner(max_epochs=1, meta={"seed": 1}, **arguments)
        runner.timestamp = "now"
        runner.register_hook(IterTimerHook())
        runner.register_hook(hook, "VERY_LOW")
        runner.run([batches], TRAIN)
        return files(work)

    return run


@pytest.mark.parametrize("keep_local", [True, False])
def test_log_files_are_copied(train, tmp_path, caplog, keep_local):
    hook = TextLoggerHook(interval=2, out_dir=str(tmp_path / "out"), keep_local=keep_local)
    left = train(hook)
    target = tmp_path / "out" / "work"
    assert hook.out_dir == str(target)
    assert files(target) == COPIED
    assert left == ({*NAMES, "now.log.json"} if keep_local else {*NAMES} - COPIED)
    assert (target / "sub" / "b.log").read_text() == "sub/b.log"
    lines = [json.loads(line) for line in (target / "now.log.json").read_text().splitlines()]
    assert [line.get("iter") for line in lines] == [None, 2, 4]
    assert f"Log files will be copied to {target} after the run" in caplog.text
    assert f"a.py has been copied to {target / 'a.py'}" in caplog.text
    assert caplog.text.count("has been removed, since keep_local=False") == (0 if keep_local else len(COPIED))


@pytest.mark.parametrize(
    ("suffix", "copied"), [(".log", {"sub/b.log", ".hidden/c.log"}), ([".txt", "s"], {"e.txt", "f.logs"})]
)
def test_of_other_endings(train, tmp_path, suffix, copied):
    train(TextLoggerHook(out_dir=tmp_path / "out", out_suffix=suffix))
    assert files(tmp_path / "out" / "work") == copied


@pytest.mark.parametrize(
    "arguments",
    [
        {"out_dir": "memory://logs"},
        {"out_dir": "memory://logs", "file_client_args": {"backend": "memory"}},
        {"out_dir": "there", "file_client_args": {"backend": "memory", "path_mapping": {"there": "memory://logs"}}},
    ],
)
def test_to_a_store(train, arguments):
    store = fsspec.filesystem("memory")
    if store.exists("/logs"):
        store.rm("/logs", recursive=True)
    left = train(TextLoggerHook(keep_local=False, **arguments))
    assert {path.removeprefix("/logs/work/") for path in store.find("/logs")} == COPIED
    assert store.cat("/logs/work/sub/b.log") == b"sub/b.log"
    assert left == {*NAMES} - COPIED


def test_what_a_store_does_not_take_stays(train, tmp_path, caplog):
    left = train(TextLoggerHook(out_dir="flaky://logs", keep_local=False))
    assert left == {*NAMES} - COPIED | {"a.py", "sub/b.log"}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    work = tmp_path / "work"
    assert warnings[0].startswith(f"{work / 'a.py'} is not copied: flaky://logs/work/a.py could not be written")
    assert "the store is gone" in warnings[0]
    assert "holds 4 bytes where 9 were sent" in warnings[1]
    assert warnings[2:] == [f"flaky://logs/work: 2 log files are not there; they stay in {work}: ['a.py', 'sub/b.log']"]


def test_what_a_folder_does_not_take_stays(train, tmp_path, caplog):
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "work" / "sub").write_text("a file in the place of a folder")
    left = train(TextLoggerHook(out_dir=str(tmp_path / "out"), keep_local=False))
    assert left == {*NAMES} - COPIED | {"sub/b.log"}
    assert "b.log could not be written" in caplog.text
    assert (tmp_path / "out" / "work" / "sub").read_text() == "a file in the place of a folder"


@pytest.mark.parametrize("out_dir", ["", "work/copies"])
def test_the_work_dir_and_folders_in_it(train, tmp_path, out_dir):
    """A copy onto itself would lose the file, and a copy in the work_dir is none of its log files."""
    for _ in range(2):
        left = train(TextLoggerHook(out_dir=str(tmp_path / out_dir), keep_local=False))
        copies = set() if out_dir == "" else {f"copies/work/{name}" for name in COPIED}
        assert left == {*NAMES, "now.log.json"} - (COPIED if copies else set()) | copies


def test_a_run_that_fails_copies_nothing(train, make_runner, tmp_path, at, batches):
    def fail(runner):
        raise ValueError("stop here")

    runner = make_runner(max_epochs=1)
    runner.register_hook(TextLoggerHook(out_dir=str(tmp_path / "out"), keep_local=False))
    runner.register_hook(at(after_train_iter=fail))
    with pytest.raises(ValueError, match="stop here"):
        runner.run([batches], TRAIN)
    assert files(tmp_path / "out") == set()


def test_an_out_dir_needs_a_work_dir(make_runner, batches, tmp_path):
    runner = make_runner(work_dir=None, max_epochs=1)
    runner.register_hook(TextLoggerHook(out_dir=str(tmp_path)))
    with pytest.raises(ConfigError, match=r"copies log files from a work_dir, and the runner has none"):
        runner.run([batches], TRAIN)


def test_an_out_dir_that_cannot_be_written_to_is_told_when_the_run_begins(make_runner, batches, tmp_path):
    (tmp_path / "file").touch()
    runner = make_runner(max_epochs=1)
    runner.register_hook(TextLoggerHook(out_dir=str(tmp_path / "file")))
    with pytest.raises(ConfigError, match=rf"TextLoggerHook's out_dir: nothing can be written to {tmp_path}/file/work"):
        runner.run([batches], TRAIN)
    assert runner.iter == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_dir": 3}, "TextLoggerHook's out_dir must be a path (str or pathlib.Path) or None, not 3"),
        ({"out_suffix": ""}, "out_suffix must be endings of file names such as ('.log.json', '.log'), not ''"),
        ({"out_suffix": (".py", 3)}, "not ('.py', 3)"),
        ({"keep_local": 0}, "TextLoggerHook's keep_local must be True or False, not 0"),
        ({"file_client_args": {"backend": "disk"}}, "is the store of its out_dir, and there is no out_dir"),
        ({"out_dir": "x", "file_client_args": {"backend": "disc"}}, "did you mean 'disk'"),
        ({"out_dir": "s3://x", "file_client_args": {"backend": "gs"}}, "leave one of them out"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        TextLoggerHook(**arguments)
