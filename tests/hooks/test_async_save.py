"""CheckpointHook(async_save=True): the same files, written beside the run."""

import threading

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from mmhooks import CheckpointError, CheckpointHook, Hook, IterBasedRunner
from mmhooks.checkpoint import read_checkpoint
from mmhooks.checkpoint.snapshot import Snapshot

TRAIN = [("train", 1)]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items() if key != "time"
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


class Gate(MemoryFileSystem):
    """A store that takes a file when it is told to, or refuses it."""

    protocol = "gate"
    store = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    way = threading.Event()
    refused = ()
    writing = 0
    most = 0

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.replace("gate://", "memory://"))

    def put_file(self, lpath, rpath, **kwargs):
        Gate.writing += 1
        Gate.most = max(Gate.most, Gate.writing)
        try:
            assert Gate.way.wait(30)
            if any(name in rpath for name in Gate.refused):
                raise OSError("quota")
            super().put_file(lpath, rpath, **kwargs)
        finally:
            Gate.writing -= 1


@pytest.fixture
def gate():
    Gate.store.clear()
    Gate.way.set()
    Gate.refused, Gate.most = (), 0
    fsspec.register_implementation("gate", Gate, clobber=True)
    yield Gate
    Gate.way.set()


class Notes(Hook):
    """Opens the gate at an iteration, and notes what is there at each."""

    def __init__(self, opens=None, closes=None):
        self.opens, self.closes, self.seen = opens, closes, []

    def after_train_iter(self, runner):
        if runner.iter + 1 == self.closes:
            Gate.way.clear()
        if runner.iter + 1 == self.opens:
            Gate.way.set()
        self.seen.append(len(Gate.store))


@pytest.mark.parametrize("kind", ["epochs", "iterations"])
def test_the_files_are_the_same(make_runner, batches, tmp_path, kind):
    def run(name, **arguments):
        torch.manual_seed(0)
        length = {"max_epochs": 4} if kind == "epochs" else {"max_iters": 14}
        runner = make_runner(
            *([IterBasedRunner] if kind == "iterations" else []), work_dir=str(tmp_path / name), **length
        )
        runner.register_optimizer_hook({})
        interval = 1 if kind == "epochs" else 3
        runner.register_hook(CheckpointHook(interval, kind == "epochs", max_keep_ckpts=2, **arguments))
        runner.run([batches], TRAIN)
        return {path.name: read_checkpoint(path) for path in sorted((tmp_path / name).iterdir())}, runner.meta

    (sync, _), (beside, _) = run("sync"), run("async", async_save=True)
    assert list(sync) == list(beside)
    for name, content in sync.items():
        assert list(content) == list(beside[name])
        assert list(content["state_dict"]) == list(beside[name]["state_dict"])
        for part in ("state_dict", "optimizer"):
            assert same(content[part], beside[name][part])
        assert same(content["mmhooks"]["position"], beside[name]["mmhooks"]["position"])
    assert sum(name.startswith(("epoch", "iter")) for name in beside) == 2


def test_the_loop_goes_on_while_a_file_is_written(make_runner, batches, gate):
    """The file holds the state of its moment, although the weights have moved on since."""
    runner = make_runner(max_epochs=2, meta={})
    runner.register_optimizer_hook({})
    hook = CheckpointHook(1, out_dir="gate://b", async_save=True)
    notes = Notes(opens=6, closes=1)
    runner.register_hook(notes)
    runner.register_hook(hook)
    seen = {}

    class Weights(Hook):
        def after_train_epoch(self, runner):
            seen[runner.epoch + 1] = {name: value.clone() for name, value in runner.model.state_dict().items()}

    runner.register_hook(Weights(), priority="VERY_HIGH")
    runner.run([batches], TRAIN)
    assert notes.seen[:5] == [0] * 5  # the first file was begun after the 4th iteration
    for epoch, weights in seen.items():
        found = read_checkpoint(f"gate://b/work/epoch_{epoch}.pth")["state_dict"]
        assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert not all(torch.equal(seen[1][name], seen[2][name]) for name in seen[1])
    assert runner.meta["hook_msgs"]["last_ckpt"] == "gate://b/work/epoch_2.pth"


def test_one_write_at_a_time_and_none_is_left(make_runner, batches, gate):
    runner = make_runner(IterBasedRunner, max_iters=9)
    hook = CheckpointHook(1, by_epoch=False, out_dir="gate://b", async_save=True, max_keep_ckpts=2)
    runner.register_hook(hook)
    runner.run([batches], TRAIN)
    assert gate.most == 1
    assert sorted(gate.store) == ["/b/work/iter_8.pth", "/b/work/iter_9.pth"]
    assert not any("mmhooks" in thread.name for thread in threading.enumerate())


def test_nothing_is_deleted_before_the_new_file_is_there(make_runner, batches, gate):
    runner = make_runner(IterBasedRunner, max_iters=4)
    runner.register_hook(CheckpointHook(2, by_epoch=False, out_dir="gate://b", async_save=True, max_keep_ckpts=1))
    gate.refused = ("iter_4",)
    with pytest.raises(
        CheckpointError, match=r"iter_4\.pth could not be written \(OSError: quota\).*newest .*iter_2\.pth"
    ):
        runner.run([batches], TRAIN)
    assert list(gate.store) == ["/b/work/iter_2.pth"]


def test_an_error_comes_back_at_a_later_iteration(make_runner, batches, gate, caplog):
    runner = make_runner(IterBasedRunner, max_iters=1000)
    runner.register_hook(CheckpointHook(100, by_epoch=False, out_dir="gate://b", async_save=True))
    gate.refused = ("iter_100.",)

    class Slow(Hook):
        def after_train_iter(self, runner):
            if runner.iter > 100:
                threading.Event().wait(0.01)

    runner.register_hook(Slow())
    with pytest.raises(CheckpointError, match=r"iter_100\.pth could not be written.*There is no older checkpoint"):
        runner.run([batches], TRAIN)
    assert 100 <= runner.iter < 200  # before the next file
    assert "iter_100.pth could not be written" in caplog.text


def test_an_error_may_be_a_warning(make_runner, batches, gate, caplog):
    runner = make_runner(max_epochs=4)
    gate.refused = ("epoch_2", "epoch_4")
    runner.register_hook(CheckpointHook(1, out_dir="gate://b", async_save=True, max_keep_ckpts=1, on_error="warn"))
    runner.run([batches], TRAIN)
    assert list(gate.store) == ["/b/work/epoch_3.pth"]
    assert caplog.text.count("the run goes on, since on_error='warn'") == 2


def test_an_error_that_ends_the_run_leaves_a_whole_file(make_runner, batches, tmp_path, at):
    def fail(runner):
        raise KeyError("stop")

    runner = make_runner(max_epochs=3)
    runner.register_hook(CheckpointHook(1, async_save=True))
    runner.register_hook(at(before_train_epoch=lambda r: r.epoch == 1 and fail(r)))
    with pytest.raises(KeyError):
        runner.run([batches], TRAIN)
    for thread in threading.enumerate():
        if "mmhooks" in thread.name:
            thread.join()
    assert files(tmp_path / "work") == ["epoch_1.pth", "latest.pth"]
    again = make_runner(max_epochs=3)
    again.register_hook(CheckpointHook(1, async_save=True, max_keep_ckpts=2))
    again.resume(tmp_path / "work" / "latest.pth")
    again.run([batches], TRAIN)
    assert files(tmp_path / "work") == ["epoch_1.pth", "epoch_2.pth", "epoch_3.pth", "latest.pth"]


def test_a_runner_that_saves_in_its_own_way_does(make_runner, batches, tmp_path):
    from mmhooks import EpochBasedRunner

    class Own(EpochBasedRunner):
        saved = 0

        def save_checkpoint(self, *args, **kwargs):
            self.saved += 1
            return super().save_checkpoint(*args, **kwargs)

    runner = make_runner(Own, max_epochs=2)
    runner.register_hook(CheckpointHook(1, async_save=True))
    runner.run([batches], TRAIN)
    assert runner.saved == 2
    assert files(tmp_path / "work") == ["epoch_1.pth", "epoch_2.pth", "latest.pth"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_is_on_a_gpu():
    source = {str(i): torch.randn(1000 + i, device="cuda") for i in range(50)}
    snapshot = Snapshot(pinned=True)
    for _ in range(3):
        copied = snapshot.take(source)
        assert all(tensor.device.type == "cpu" for tensor in copied.values())
        assert all(torch.equal(copied[name], tensor.cpu()) for name, tensor in source.items())
        for tensor in source.values():
            tensor.add_(1)


# the copy -----------------------------------------------------------------------------------------------------


def content():
    base = torch.arange(24.0)
    return {
        "plain": [1, 2.0, "three", None, (True, b"x")],
        "tied": {"a": base, "b": base, "part": base[3:7], "turned": base.view(4, 6).t()},
        "types": [
            torch.ones(3, dtype=kind)
            for kind in (torch.float64, torch.bfloat16, torch.int8, torch.bool, torch.complex64)
        ],
        "odd": [torch.tensor(5), torch.zeros(0, 3), torch.zeros(2, 3).conj(), torch.nn.Parameter(torch.ones(2))],
        "sparse": torch.eye(3).to_sparse(),
    }


def test_a_copy_is_the_same_and_keeps_what_is_shared(tmp_path):
    source, snapshot = content(), Snapshot()
    copied = snapshot.take(source)
    torch.save(source, tmp_path / "a.pth")
    torch.save(copied, tmp_path / "b.pth")
    assert abs((tmp_path / "a.pth").stat().st_size - (tmp_path / "b.pth").stat().st_size) < 512
    for found in (copied, torch.load(tmp_path / "b.pth", weights_only=True)):
        assert found["plain"] == source["plain"]
        assert same(found["tied"], source["tied"])
        assert found["tied"]["turned"].stride() == (1, 6)
        assert found["tied"]["a"].data_ptr() == found["tied"]["b"].data_ptr() == found["tied"]["part"].data_ptr() - 12
        for part in ("types", "odd"):
            assert all(map(torch.equal, found[part], source[part]))
            assert [tensor.dtype for tensor in found[part]] == [tensor.dtype for tensor in source[part]]
        assert torch.equal(found["sparse"].to_dense(), torch.eye(3))
    source["tied"]["a"].zero_()
    source["plain"].append(4)
    assert copied["tied"]["a"][5] == 5
    assert len(copied["plain"]) == 5


def test_the_memory_is_used_again():
    snapshot = Snapshot()
    first = {str(i): torch.randn(1000 + i) for i in range(50)}
    snapshot.reserve(sum(tensor.nbytes for tensor in first.values()) + 64 * 50)
    before = snapshot.nbytes
    for _ in range(5):
        assert same(snapshot.take(first), first)
        second = {"new": torch.randn(77), **first}  # another layout
        assert same(snapshot.take(second), second)
    assert snapshot.nbytes == before
    more = {"more": torch.randn(500_000), **first}
    for _ in range(3):
        assert same(snapshot.take(more), more)
    assert before < snapshot.nbytes < before + 2 * 500_000 * 4 + (3 << 20)
