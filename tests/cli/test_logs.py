"""mmhooks logs: tables, curves, CSV and comparisons, by the command in this process."""

import csv
import io
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmhooks.cli import app

GOLDEN = Path(__file__).parents[1] / "golden" / "logs"
EPOCHS, ITERATIONS = GOLDEN / "epochs", GOLDEN / "iterations"
FIRST, SECOND = sorted(EPOCHS.iterdir())


def call(*words):
    return CliRunner().invoke(app, ["logs", *map(str, words)], env={"COLUMNS": "80"})


def succeed(*words):
    result = call(*words)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def test_a_run_is_shown_at_80_columns():
    output = succeed(EPOCHS)
    assert max(map(len, output.splitlines())) <= 80
    assert "\x1b" not in output
    words = " ".join(output.split())
    assert "epochs 16 lines, by epoch of 4 iterations (the largest in the log: set --epoch-len) in 2 files" in words
    assert "loss train 8 1.4672 1.1214 1.0128 3.5 1.4672 0.5" in words
    assert "loss val 8" in words
    assert "goes on from an earlier place: 1 line of before count no more" in words
    assert [line for line in output.splitlines() if line.startswith(("loss  *", "lr\n", "acc\n"))]
    assert output.count("└") == 3


def test_several_runs_are_told_apart():
    output = succeed(EPOCHS, ITERATIONS, "--keys", "loss")
    assert "loss  * epochs  o iterations" in output
    assert "loss (val)  * epochs  o iterations" in output
    assert "acc" not in output


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_picture_is_written(suffix, tmp_path):
    file = tmp_path / "new" / f"curves.{suffix}"
    assert f"written: {file}" in succeed(EPOCHS, ITERATIONS, "-o", file)
    assert file.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    if suffix == "svg":
        assert all(f">{name}<" in file.read_text() for name in ("loss", "lr", "acc", "epochs", "iterations"))


def test_csv_has_a_row_for_each_line(tmp_path):
    for words in ((EPOCHS, ITERATIONS, "--csv"), ("--csv", EPOCHS, ITERATIONS)):
        rows = list(csv.DictReader(io.StringIO(succeed(*words))))
        assert len(rows) == 16 + 6
        assert (rows[0]["run"], rows[0]["mode"], rows[0]["at"], rows[0]["loss"]) == (
            "epochs",
            "train",
            "0.5",
            "1.46717",
        )
        assert (rows[-1]["run"], rows[-1]["at"], rows[-1]["acc"]) == ("iterations", "12", "")
    file = tmp_path / "a.csv"
    assert succeed(EPOCHS, "--keys", "acc", "--csv", file) == f"written: {file}\n"
    assert file.read_text().splitlines()[:2] == ["run,mode,epoch,iter,at,acc", "epochs,train,1,2,0.5,"]


def test_a_log_is_never_overwritten_by_csv():
    before = FIRST.read_bytes()
    assert succeed("--csv", FIRST).startswith("run,mode,epoch")
    assert FIRST.read_bytes() == before


def test_equal_runs_exit_with_0():
    assert succeed(FIRST, FIRST, "--compare") == "equal: 9 lines and 25 values compared\n"


def test_different_runs_exit_with_1_and_say_where():
    result = call(FIRST, SECOND, "--compare", "--rtol", "1e-3")
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "different: 1 line and 3 values compared, within rtol 0.001 and atol 0" in words
    assert "loss: 1 of 1 differ first at train, epoch 3, iter 2: 1.19918 and 1.17766, 0.0215 apart" in words
    assert "8 lines in 20240101_080000.log.json alone: train, epoch 1, iter 2;" in words
    assert "7 lines in 20240101_093000.log.json alone" in words
    assert "time" not in words
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([EPOCHS, "--compare"], "--compare needs two runs, and 1 are given"),
        ([EPOCHS, EPOCHS, "--compare", "-o", "a.png"], "--compare writes no picture"),
        ([EPOCHS, "--rtol", "1"], "--rtol and --atol need --compare"),
        ([EPOCHS, "-o", "a.gif"], "a picture must end in .png, .svg, .pdf, not 'a.gif': write a.png"),
        ([GOLDEN / "epoch"], "did you mean 'epochs'"),
        ([], "Missing argument"),
    ],
)
def test_a_misuse_exits_with_2(words, said):
    result = call(*words)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", "").split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([GOLDEN], "these folders in it have some: epochs, iterations"),
        ([EPOCHS, "--keys", "los"], "did you mean 'loss'"),
    ],
)
def test_what_cannot_be_shown_exits_with_1(words, said):
    result = call(*words)
    assert result.exit_code == 1
    assert said in result.output
