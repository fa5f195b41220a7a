"""Real processes that get real signals: they save, exit as such processes do, and the next one ends as if nothing had
happened."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

import mmhooks
from mmhooks import ConfigError, Preempted, PreemptHook
from mmhooks.checkpoint import read_checkpoint

HERE = Path(__file__).parent
WORKER = HERE.parent / "chaos" / "chaos_worker.py"
sys.path[:0] = [str(HERE.parent), str(WORKER.parent)]
import chaos_worker as worker  # noqa: E402
from processes import run_ranks  # noqa: E402

CONFIG = Path(mmhooks.__file__).parent / "examples" / "digits" / "configs" / "digits_cnn.py"
ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(*words):
    command = [sys.executable, str(WORKER), *map(str, words)]
    return subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def send_at(process, line, *signals, pause=1.2):
    """Send signals to a process that says it has come to a line; give what it ends with, and the lines after that."""
    errors = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr))
    reader.start()
    for said in process.stdout:
        if said.strip() == line:
            break
    for turn, number in enumerate(signals):
        time.sleep(pause if turn else 0)
        process.send_signal(number)
    after = process.stdout.read().split("\n")
    code = process.wait(timeout=300)
    reader.join()
    return code, after[:-1], "".join(errors)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = {}

    def run(unit, *words):
        if (unit, words) not in found:
            folder = tmp_path_factory.mktemp("whole")
            worker.main(["native", unit, str(folder), *words])
            found[unit, words] = torch.load(folder / "end0.pt")
        return found[unit, words]

    return run


def same(end, whole):
    assert end["weights"].keys() == whole["weights"].keys()
    assert all(torch.equal(value, end["weights"][key]) for key, value in whole["weights"].items())
    for one, other in zip(end["optimizer"]["state"].values(), whole["optimizer"]["state"].values(), strict=True):
        assert torch.equal(one["momentum_buffer"], other["momentum_buffer"])


CASES = [
    ("epochs", signal.SIGTERM, "at 8", 143, 9),
    ("epochs", signal.SIGINT, "val 12", 130, 12),
    ("iters", signal.SIGINT, "at 9", 130, 10),
    ("iters", signal.SIGTERM, "val 4", 143, 4),
]
OFTEN = [("native", 0), ("lightning", 2)]


@pytest.mark.parametrize(
    ("driver", "unit", "number", "line", "code", "done"),
    [
        pytest.param(driver, *case, marks=() if (driver, i) in OFTEN else pytest.mark.slow)
        for driver in ("native", "lightning")
        for i, case in enumerate(CASES)
    ],
)
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, whole, driver, unit, number, line, code, done):
    process = start(driver, unit, tmp_path, "--preempt", "--val", "--pause", 0.1)
    ended, after, errors = send_at(process, line, number)
    assert (ended, after) == (code, []), errors  # the iteration in progress was the last one
    assert f"{number.name}: the run ends after {done} iterations; it goes on from" in errors
    assert os.readlink(tmp_path / "latest.pth") == "preempted.pth"  # noqa: PTH115
    assert read_checkpoint(tmp_path / "latest.pth")["mmhooks"]["position"]["iters"] == done
    other = {"native": "lightning", "lightning": "native"}[driver]
    worker.main([other, unit, str(tmp_path), "--val"])
    same(torch.load(tmp_path / "end0.pt"), whole(unit, "--val"))


@pytest.mark.parametrize(("driver", "number"), [("native", signal.SIGINT), ("lightning", signal.SIGTERM)])
def test_a_second_signal_ends_it_at_once(tmp_path, driver, number):
    process = start(driver, "epochs", tmp_path, "--preempt", "--pause", 30)
    code, after, errors = send_at(process, "at 0", number, number, pause=4)  # more than a second, on a busy machine too
    assert (code, after) == (-number, []), errors
    assert not list(tmp_path.glob("*.pth"))


def test_a_signal_that_is_handed_on_within_a_second_is_the_same_one(tmp_path):
    process = start("native", "epochs", tmp_path, "--preempt", "--pause", 1.5)
    code, _, errors = send_at(process, "at 0", signal.SIGINT, signal.SIGTERM, pause=0.1)
    assert code == 130, errors
    assert (tmp_path / "preempted.pth").exists()


def test_the_handlers_of_others_are_there_again(make_runner, batches, at):
    seen = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    runner = make_runner(max_epochs=1)
    runner.register_hook(PreemptHook())
    runner.register_hook(at(after_train_iter=lambda runner: seen.append(signal.getsignal(signal.SIGTERM))))
    runner.run([batches], [("train", 1)])
    assert before[signal.SIGTERM] not in seen
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_signal_after_the_last_iteration_goes_to_whom_it_belongs(make_runner, batches, at):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        runner = make_runner(max_epochs=1)
        runner.register_hook(PreemptHook("SIGTERM"))
        runner.register_hook(at(after_run=lambda runner: signal.raise_signal(signal.SIGTERM)))
        runner.run([batches], [("train", 1)])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert runner.epoch == 1


def test_what_it_raises(make_runner, batches, at, tmp_path):
    runner = make_runner(max_epochs=1)
    runner.register_hook(PreemptHook("SIGTERM", str(tmp_path / "out"), "stopped_{}.pth"))
    runner.register_hook(at(before_train_iter=lambda runner: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(Preempted) as error:
        runner.run([batches], [("train", 1)])
    assert (error.value.code, error.value.signal) == (143, signal.SIGTERM)
    assert error.value.path == str(tmp_path / "out" / "work" / "stopped_1.pth")


@pytest.mark.parametrize("name", ["SIGTERN", "SIGKILL", 999])
def test_signals_that_cannot_be_taken(name):
    with pytest.raises(ConfigError, match=r"PreemptHook: .*(SIGTERM|SIGKILL|999)"):
        PreemptHook([name])


def test_nowhere_to_write(make_runner, batches):
    before = signal.getsignal(signal.SIGTERM)  # of whoever ran before: an interrupted Trainer leaves its own
    runner = make_runner(work_dir=None, max_epochs=1)
    runner.register_hook(PreemptHook())
    with pytest.raises(ConfigError, match="PreemptHook has nowhere to write"):
        runner.run([batches], [("train", 1)])
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("native", []),
        pytest.param("lightning", [], marks=pytest.mark.slow),
        pytest.param("native", ["--uncoupled"], marks=pytest.mark.slow),
    ],
)
def test_two_ranks_stop_after_the_same_iteration(tmp_path, driver, words):
    """One of them alone gets the signal; both save, and both go on, each with its own random numbers."""
    folders = [tmp_path, tmp_path]
    run_ranks(folders, WORKER, "native", "epochs", tmp_path / "whole", *words, timeout=300)
    signal_at = ["--signal", "1", "SIGTERM", "8"]
    run_ranks(
        folders,
        WORKER,
        driver,
        "epochs",
        tmp_path / "cut",
        "--preempt",
        "--pause",
        0.05,
        *signal_at,
        *words,
        timeout=300,
    )
    codes = [int((tmp_path / f"cut/code{rank}").read_text()) for rank in (0, 1)]
    assert codes == [143, 143]
    content = read_checkpoint(tmp_path / "cut" / "preempted.pth")["mmhooks"]
    assert 9 <= content["position"]["iters"] <= 13
    assert len(content["ranks"]) == 2
    states = [part["now"]["random"]["torch"] for part in content["ranks"]]
    assert not torch.equal(*states)
    other = {"native": "lightning", "lightning": "native"}[driver] if not words else driver
    run_ranks(folders, WORKER, other, "epochs", tmp_path / "cut", *words, timeout=300)
    for rank in (0,) if words else (0, 1):  # uncoupled ones have weights of their own, and the file is rank 0's
        same(torch.load(tmp_path / "cut" / f"end{rank}.pt"), torch.load(tmp_path / "whole" / f"end{rank}.pt"))


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["native", "lightning"])
@pytest.mark.parametrize(("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_torchrun_hands_a_signal_on(tmp_path, driver, number, group):
    """Ctrl-C reaches torchrun and both ranks, which get it from torchrun too; a scheduler tells torchrun alone."""
    options = ["--launcher", "pytorch", "--driver", driver, "--work-dir", tmp_path, "--seed", 1, "--cfg-options"]
    command = ["-m", "torch.distributed.run", "--nproc-per-node", 2, "-m", "mmhooks", "train", CONFIG, *options]
    command += ["runner.max_epochs=4000", "log_config.interval=5"]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], env=ENV, stdout=said, stderr=said, start_new_session=True
        )
        try:
            wait_for_lines(process, tmp_path, 30)
            os.killpg(process.pid, number) if group else process.send_signal(number)
            assert process.wait(timeout=120) == 1  # torchrun's own way to end; it tells what the ranks ended with
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    content = read_checkpoint(tmp_path / "preempted.pth")["mmhooks"]
    assert content["position"]["iters"] > 30
    assert len(content["ranks"]) == 2


def wait_for_lines(process, folder, count):
    """Wait until the log of a run has so many lines."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, (folder / "said").read_text()
        if any(path.read_text().count("\n") > count for path in folder.glob("*.log.json")):
            return
        time.sleep(0.1)
    raise AssertionError("the run has not begun")
