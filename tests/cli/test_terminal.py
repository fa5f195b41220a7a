"""The commands on a real terminal, on a closed pipe, and told to be quiet."""

import json
import logging
import os
import re
import struct
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mmhooks.cli import app
from mmhooks.cli.demo import CONFIG

pytest.importorskip("sklearn")
pty = pytest.importorskip("pty")

OPTIONS = ["--cfg-options", "runner.max_epochs=1", "data.samples_per_gpu=64"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def on_a_terminal(width, *words):
    """Run a command on a pseudo-terminal, and give its exit status and the lines that it draws."""
    import fcntl
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    command = [sys.executable, "-m", "mmhooks", *map(str, words)]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        seen += part
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    return process.wait(timeout=60), [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize(("driver", "width"), [("native", 80), pytest.param("lightning", 200, marks=pytest.mark.slow)])
def test_train_draws_one_bar(driver, width):
    status, lines = on_a_terminal(width, "train", CONFIG, "--driver", driver, "--work-dir", "w", *OPTIONS)
    assert status == 0, "\n".join(lines)
    drawn = [line for line in lines if re.match(rf"{driver} epoch 1/1 ", line)]
    assert "23/23" in drawn[-1]
    assert "loss 0" in drawn[-1] or "loss 1" in drawn[-1]
    assert max(map(len, drawn)) <= width
    assert any(re.match(r"evaluation +\S+ ", line) for line in lines)
    assert any("Saving checkpoint at 1 epochs" in line for line in lines)  # the log, above the bar
    assert not [line for line in lines if "Epoch 0" in line]  # the Trainer's own bar
    assert lines[-1].startswith("Trained for 1 epochs")


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("driver", ["native", "lightning"])
def test_a_quiet_run_tells_of_warnings_alone(tmp_path, driver, capfd):
    level = logging.getLogger("lightning.pytorch").level
    words = "train", CONFIG, "--quiet", "--driver", driver, "--work-dir", "w", *OPTIONS, "evaluation.intervall=1"
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert [line for line in result.stderr.splitlines() if " - INFO - " in line] == []
    assert "evaluation.intervall goes to dataset.evaluate" in result.stderr
    (log,) = (tmp_path / "w").glob("*.log")
    assert "Start running" in log.read_text()
    assert "Saving checkpoint at 1 epochs" in log.read_text()
    assert "GPU available" not in capfd.readouterr().err
    assert logging.getLogger("lightning.pytorch").level == level


def test_a_quiet_test_gives_its_values(tmp_path):
    assert call("train", CONFIG, "-q", "--work-dir", "w", *OPTIONS).exit_code == 0
    result = call("test", CONFIG, "w/latest.pth", "-q")
    assert result.exit_code == 0
    assert "accuracy" in result.stdout
    assert " - INFO - " not in result.output


def piped(words):
    """Run a command whose reader leaves after the first line."""
    command = [sys.executable, "-m", "mmhooks", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    process.wait(timeout=120)
    return said


def test_a_closed_pipe_ends_no_training_and_shows_no_traceback(tmp_path):
    said = piped(["train", CONFIG, "--work-dir", "w", *OPTIONS])
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert (tmp_path / "w" / "latest.pth").exists()
    (log,) = (tmp_path / "w").glob("*.log.json")
    assert any("accuracy" in json.loads(line) for line in log.read_text().splitlines())
