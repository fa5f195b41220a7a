"""Logs: those that MMCV wrote, resumed, broken and odd ones; and two of them compared."""

import json
import math
from pathlib import Path

import pytest

from mmhooks import ConfigError
from mmhooks.report.log_charts import chosen_keys, log_charts
from mmhooks.report.log_compare import compare_logs
from mmhooks.report.logs import read_log

GOLDEN = Path(__file__).parents[1] / "golden" / "logs"


def write(folder, *lines, name="20240101_080000.log.json", meta=True):
    folder.mkdir(parents=True, exist_ok=True)
    head = [json.dumps({"seed": 0})] if meta else []
    text = "\n".join([*head, *(line if isinstance(line, str) else json.dumps(line) for line in lines)])
    (folder / name).write_text(text + "\n")
    return folder


def line(epoch, iteration, mode="train", **values):
    return {"mode": mode, "epoch": epoch, "iter": iteration, **values}


def test_a_resumed_run_of_mmcv_is_joined():
    log = read_log(GOLDEN / "epochs")
    assert [file.name for file in log.files] == ["20240101_080000.log.json", "20240101_093000.log.json"]
    assert (log.by_epoch, log.epoch_len, log.assumed) == (True, 4, True)
    x, y = log.series("loss")
    assert x.tolist() == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert y[4] == 1.17766  # of the later file; the first one has 1.19918 there, and was killed
    assert log.problems == ["20240101_093000.log.json goes on from an earlier place: 1 line of before count no more"]
    x, y = log.series("acc", "val")
    assert (x.tolist(), y[0]) == ([1, 2, 3, 4], 0.41667)
    assert log.meta["mmcv_version"] == "1.7.2"


def test_a_run_of_mmcv_by_iteration_has_its_evaluations_where_they_were():
    log = read_log(GOLDEN / "iterations")
    assert not log.by_epoch
    assert log.series("loss")[0].tolist() == [3, 6, 9, 12]
    assert log.series("acc", "val")[0].tolist() == [3, 9]  # at 5 and 10; their lines say 3, their length


def test_a_line_cut_short_is_told_and_left_out(tmp_path):
    whole = (GOLDEN / "epochs" / "20240101_080000.log.json").read_bytes()
    (tmp_path / "a.log.json").write_bytes(whole[:-30])
    log = read_log(tmp_path / "a.log.json")
    assert len(log.entries) == len(read_log(GOLDEN / "epochs" / "20240101_080000.log.json").entries) - 1
    assert len(log.problems) == 1
    assert log.problems[0].startswith('a.log.json:10 is no JSON, and left out: {"mode": "train", "epoch": 3')


def test_what_is_no_line_of_a_run_is_told(tmp_path):
    odd = ["[1]", '{"mode": "train", "loss": 1}', "\x00\xff"]
    log = read_log(write(tmp_path, line(1, 1, loss=1.0), *odd, line(1, 2, loss=2.0)))
    assert log.series("loss")[1].tolist() == [1, 2]
    assert [problem.partition(" ")[0][-1] for problem in log.problems] == ["3", "4", "5"]


def test_numbers_that_are_not_finite_and_rates_by_name(tmp_path):
    text = (
        '{"mode": "train", "epoch": 1, "iter": 1, "lr": {"gen": 0.1, "dis": 0.2}, "loss": NaN, "x": [1, 2], "s": "a"}'
    )
    log = read_log(write(tmp_path, text, text.replace("NaN", "-Infinity").replace('"iter": 1', '"iter": 2')))
    assert log.keys("train") == ["lr.gen", "lr.dis", "loss", "x[0]", "x[1]"]
    nan, infinite = log.series("loss")[1]
    assert math.isnan(nan)
    assert infinite == -math.inf
    assert log.entries[0].values["s"] == "a"


def test_the_length_of_an_epoch_is_read_beside(tmp_path):
    write(tmp_path, line(1, 50, loss=1.0), line(2, 50, loss=0.5))
    (tmp_path / "20240101_080000.log").write_text("hello\n2024 - mmdet - INFO - Epoch [1][50/80]\tlr: 0.1\n")
    log = read_log(tmp_path)
    assert (log.epoch_len, log.assumed) == (80, False)
    assert log.series("loss")[0].tolist() == [50 / 80, 1 + 50 / 80]
    assert read_log(tmp_path, epoch_len=100).series("loss")[0].tolist() == [0.5, 1.5]


def test_a_run_by_iteration_is_told_from_its_numbers_its_text_or_its_config(tmp_path):
    assert not read_log(write(tmp_path / "a", line(1, 10, loss=1), line(2, 20, loss=1))).by_epoch
    assert read_log(write(tmp_path / "b", line(1, 10, loss=1), line(2, 10, loss=1))).by_epoch
    one = write(tmp_path / "c", line(3, 10, loss=1))
    assert read_log(one).by_epoch
    (one / "20240101_080000.log").write_text("Iter [10/400]\tlr: 1")
    assert not read_log(one).by_epoch


def test_an_evaluation_before_training_is_at_the_beginning(tmp_path):
    log = read_log(write(tmp_path, line(1, 5, "val", acc=0.1), line(1, 10, loss=1), line(1, 5, "val", acc=0.5)))
    assert log.series("acc", "val")[0].tolist() == [0, 1]


def test_several_evaluations_in_an_epoch_are_all_kept(tmp_path):
    lines = [one for step in (10, 20, 30) for one in (line(1, step, loss=1), line(1, 5, "val", acc=step))]
    log = read_log(write(tmp_path, *lines, line(2, 40, loss=1)))
    assert log.series("acc", "val")[1].tolist() == [10, 20, 30]
    assert log.series("acc", "val")[0].tolist() == [10, 20, 30]


def test_a_run_that_began_anew_replaces_the_one_before(tmp_path):
    write(tmp_path, line(1, 1, loss=1.0), line(2, 1, loss=1.0), line(3, 1, loss=1.0))
    write(tmp_path, line(1, 1, loss=2.0), line(2, 1, loss=2.0), name="20240102_080000.log.json")
    assert read_log(tmp_path).series("loss")[1].tolist() == [2, 2]


def test_an_evaluation_that_the_resumed_run_makes_is_there_once(tmp_path):
    """A file that was saved between an epoch and its evaluation: both evaluate, and the epoch's last line stays."""
    train = {"mode": "train", "epoch": 1, "iter": 4, "loss": 0.5}
    val = {"mode": "val", "epoch": 1, "iter": 2, "acc": 0.1}
    (tmp_path / "1.log.json").write_text("\n".join(map(json.dumps, ({}, train, val))))
    later = ({}, {**val, "acc": 0.2}, {**train, "epoch": 2})
    (tmp_path / "2.log.json").write_text("\n".join(map(json.dumps, later)))
    log = read_log(tmp_path)
    assert [(entry.mode, entry.epoch) for entry in log.entries] == [("train", 1), ("val", 1), ("train", 2)]
    assert log.entries[1].values["acc"] == 0.2


def test_runs_in_one_file_are_divided_by_their_meta(tmp_path):
    text = '{"seed": 1}'
    log = read_log(write(tmp_path, line(1, 1, loss=1), line(2, 1, loss=1), text, line(2, 1, loss=2)))
    assert log.series("loss")[1].tolist() == [1, 2]
    assert log.meta == {"seed": 1}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "absent", "is not there"),
        (lambda path: path, "has no .log.json file: name the work_dir of a run"),
        (lambda path: write(path / "w" / "a", line(1, 1)).parent, "these folders in it have some: a"),
        (lambda path: write(path / "e"), "has no line of a run"),
        (lambda path: write(path / "j", "{", meta=False), "20240101_080000.log.json:1 is no JSON"),
    ],
)
def test_what_is_no_log_is_refused(make, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        read_log(make(tmp_path))


def test_keys_are_chosen():
    logs = [read_log(GOLDEN / "epochs")]
    assert chosen_keys(logs) == ["loss", "lr", "acc"]
    assert chosen_keys(logs, ["acc", "*norm"]) == ["acc", "grad_norm"]
    with pytest.raises(ConfigError, match="no log has 'los'; did you mean 'loss'"):
        chosen_keys(logs, ["los"])


def test_curves_of_runs_of_both_kinds_share_an_axis_of_iterations():
    logs = [read_log(GOLDEN / "epochs"), read_log(GOLDEN / "iterations")]
    charts, told = log_charts(logs, ["loss", "lr"], ["a", "b"])
    assert [(chart.name, chart.unit) for chart in charts] == [
        ("loss", "iteration"),
        ("loss (val)", "iteration"),
        ("lr", "iteration"),
    ]
    assert charts[0].curves[0].x.tolist() == [2, 4, 6, 8, 10, 12, 14, 16]
    assert told == []
    ((chart,), _) = log_charts(logs[:1], ["loss"], ["a"])
    assert [(curve.name, curve.look) for curve in chart.curves] == [("loss", "points"), ("loss (val)", "dashed")]


def test_what_does_not_fit_is_told(tmp_path):
    log = read_log(write(tmp_path, line(1, 1, **{f"a_{index}": 1.0 for index in range(11)})))
    charts, told = log_charts([log], chosen_keys([log], ["a_*"]), ["run"])
    assert len(charts[0].curves) == 8
    assert told == ["not drawn: a_8, a_9, a_10; --keys chooses"]


# compared -----------------------------------------------------------------------------------------------------


@pytest.fixture
def base():
    return [line(1, 10, loss=1.0, lr=0.1, time=3.0), line(1, 20, loss=0.5, lr=0.1), line(1, 4, "val", acc=0.9)]


def compared(tmp_path, one, other, **options):
    logs = [read_log(write(tmp_path / name, *lines)) for name, lines in (("one", one), ("other", other))]
    return compare_logs(*logs, **options)


def test_equal_logs_are_equal_whatever_they_took(tmp_path, base):
    slower = [{**one, "time": 99.0, "memory": 1} for one in base]
    found = compared(tmp_path, base, slower)
    assert found.equal
    assert (found.lines, found.values) == (3, 5)


def test_the_first_and_the_largest_difference_are_told(tmp_path, base):
    other = [{**base[0], "loss": 1.001}, {**base[1], "loss": 0.7, "lr": 0.2}, base[2]]
    found = compared(tmp_path, base, other)
    loss, lr = found.keys
    assert (loss.key, loss.count, loss.compared, loss.values) == ("loss", 2, 2, (1.0, 1.001))
    assert loss.first[0].iter == 10
    assert (loss.largest, loss.largest_at[0].iter) == (pytest.approx(0.2), 20)
    assert lr.first[0].iter == 20
    assert [key.key for key in compared(tmp_path, base, other, rtol=2e-3).keys] == ["loss", "lr"]
    assert [key.key for key in compared(tmp_path, base, other, keys=["lr"]).keys] == ["lr"]
    assert compared(tmp_path, base, other, atol=0.2001).equal


def test_a_line_or_a_key_of_one_side_alone_is_a_difference(tmp_path, base):
    found = compared(tmp_path, base, base[:2])
    assert not found.equal
    assert [entry.mode for entry in found.only[0]] == ["val"]
    assert found.only[1] == []
    found = compared(tmp_path, [{**base[0], "extra": 1.0}], base[:1])
    assert [(key.key, key.values) for key in found.keys] == [("extra", (1.0, None))]


@pytest.mark.parametrize(
    ("value", "other", "same"),
    [
        ("NaN", "NaN", True),
        ("NaN", "1.0", False),
        ("1.0", "NaN", False),
        ("Infinity", "Infinity", True),
        ("1.0", "Infinity", False),
    ],
)
def test_numbers_that_are_not_finite(value, other, same, tmp_path):
    sides = [['{"mode": "train", "epoch": 1, "iter": 1, "loss": %s}' % one] for one in (value, other)]  # noqa: UP031
    assert compared(tmp_path, *sides, rtol=0.5, atol=10.0).equal is same


def test_evaluations_by_iteration_are_paired_by_where_they_were(tmp_path):
    def run(*evaluated):
        for step in (10, 20, 30):
            yield line(step // 20 + 1, step, loss=1)
            if step in evaluated:
                yield line(1, 5, "val", acc=step)

    found = compared(tmp_path, run(10, 20, 30), run(10, 30))
    assert found.keys == []
    assert [entry.at for entry in found.only[0]] == [20]
