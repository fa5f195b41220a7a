"""A file is there whole or not at all, whatever happens to the disk, the folder or the process."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from mmhooks import CheckpointError
from mmhooks.checkpoint import atomic_write, point_latest_at, read_checkpoint, telling_failures, write_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def worker(code, *words, **arguments):
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, **arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


FULL = """
import errno, io, pathlib, resource, signal, sys, torch
from mmhooks import CheckpointError
from mmhooks.checkpoint import read_checkpoint, write_checkpoint

folder = pathlib.Path(sys.argv[1])
file = folder / "epoch_2.pth"
content = lambda epoch: {
    "meta": {"epoch": epoch},
    "state_dict": {str(i): torch.full((1000 * i,), float(epoch)) for i in range(8)},
}

class Places(io.BytesIO):
    found = []
    def write(self, data):
        self.found.append(self.tell())
        return super().write(data)

places = Places()
torch.save(content(2), places)
write_checkpoint(content(1), file)
old = file.read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for place in sorted({*Places.found, len(places.getvalue()) - 1}):
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(place, 1), most))
    try:
        write_checkpoint(content(2), file)
    except CheckpointError as error:
        assert "could not be written" in str(error) and "untouched" in str(error), error
    else:
        raise SystemExit(f"no error at {place}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert file.read_bytes() == old
    assert [path.name for path in folder.iterdir()] == ["epoch_2.pth"], list(folder.iterdir())
write_checkpoint(content(2), file)
assert read_checkpoint(file)["meta"]["epoch"] == 2
print(len(Places.found))
"""


def test_a_disk_that_is_full_at_any_write(tmp_path):
    assert int(worker(FULL, tmp_path)) > 20


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs users")
def test_a_right_that_is_lost(tmp_path):
    code = """
import os, pathlib, sys
from mmhooks import CheckpointError
from mmhooks.checkpoint import point_latest_at, write_checkpoint

folder = pathlib.Path(sys.argv[1])
file = folder / "epoch_1.pth"
write_checkpoint({"meta": {"epoch": 1}, "state_dict": {}}, file)
folder.chmod(0o555)
if os.geteuid() == 0:  # who may do everything
    for parent in [folder, *folder.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(65534)
for act in (lambda: write_checkpoint({"state_dict": {}}, file), lambda: point_latest_at(file)):
    try:
        act()
    except CheckpointError as error:
        print(error)
"""
    folder = tmp_path / "work"
    shown = worker(code, folder).splitlines()
    folder.chmod(0o755)
    assert len(shown) == 2
    assert "epoch_1.pth could not be written" in shown[0]
    assert "latest.pth could not be written" in shown[1]
    assert all("Give this user the right to write there" in line for line in shown)
    assert names(folder) == ["epoch_1.pth"]
    assert read_checkpoint(folder / "epoch_1.pth")["meta"] == {"epoch": 1}


def test_a_folder_that_goes_while_it_is_written(tmp_path):
    target = tmp_path / "work" / "a.pth"

    def write():
        with telling_failures(target), atomic_write(target) as file:
            file.write(b"new")
            shutil.rmtree(target.parent)

    with pytest.raises(
        CheckpointError, match=r"a\.pth could not be written .*Its folder has gone while it was written"
    ):
        write()
    write_checkpoint({"state_dict": {}}, target)  # it is made again
    assert names(target.parent) == ["a.pth"]


# what dead writers leave --------------------------------------------------------------------------------------


def temporary_of(code, folder):
    """Begin a file in another process, which ends as the code says; give the name that it has left."""
    begin = f"""
import os, signal, sys, time
from mmhooks.checkpoint import atomic_write
with atomic_write(sys.argv[1] + "/epoch_9.pth") as file:
    file.write(b"half of it")
    file.flush()
    print("begun", flush=True)
    {code}
"""
    return subprocess.Popen([sys.executable, "-c", begin, str(folder)], stdout=subprocess.PIPE)


def test_the_rest_of_a_dead_writer_goes_with_the_next_file(tmp_path):
    process = temporary_of("os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    process.wait()
    (left,) = names(tmp_path)
    assert str(process.pid) in left
    assert left.startswith(".epoch_9.pth.")
    write_checkpoint({"state_dict": {}}, tmp_path / "a.pth")
    assert names(tmp_path) == ["a.pth"]


def test_the_files_of_others_stay(tmp_path):
    process = temporary_of("time.sleep(60)", tmp_path)
    try:
        process.stdout.readline()
        (alive,) = names(tmp_path)
        elsewhere = alive.replace(socket.gethostname().replace(".", "-"), "another-host")
        (tmp_path / elsewhere.replace(str(process.pid), "4000000")).touch()
        others = [".epoch_1.pth.x.tmp", "epoch_1.pth.tmp", ".hidden"]
        for name in others:
            (tmp_path / name).touch()
        before = names(tmp_path)
        write_checkpoint({"state_dict": {}}, tmp_path / "a.pth")
        assert names(tmp_path) == sorted([*before, "a.pth"])
    finally:
        process.kill()
        process.wait()


def test_two_writers_in_one_process(tmp_path):
    with atomic_write(tmp_path / "a") as one, atomic_write(tmp_path / "a") as other:
        one.write(b"1")
        other.write(b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert names(tmp_path) == ["a"]


def test_a_killed_writer_never_leaves_half_a_file(tmp_path):
    code = """
import itertools, sys, torch
from mmhooks.checkpoint import point_latest_at, write_checkpoint
print("begun", flush=True)
for epoch in itertools.count():
    content = {"meta": {"epoch": epoch}, "state_dict": {"w": torch.full((200_000,), float(epoch))}}
    write_checkpoint(content, sys.argv[1] + f"/epoch_{epoch % 3}.pth")
    point_latest_at(sys.argv[1] + f"/epoch_{epoch % 3}.pth")
"""
    for attempt in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.1 + 0.03 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for file in tmp_path.glob("*.pth"):
            content = read_checkpoint(file)
            assert (content["state_dict"]["w"] == content["meta"]["epoch"]).all()
    write_checkpoint({"state_dict": {}}, tmp_path / "last.pth")
    assert not list(tmp_path.glob(".*"))


def test_latest_is_never_missing(tmp_path):
    torch.save({}, tmp_path / "a.pth")
    (tmp_path / "latest.pth").write_bytes(b"a copy, as on a disk without links")
    point_latest_at(tmp_path / "a.pth")
    assert str((tmp_path / "latest.pth").readlink()) == "a.pth"
    assert names(tmp_path) == ["a.pth", "latest.pth"]
