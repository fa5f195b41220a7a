"""The checks that arguments share, where no room's own tests reach them."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhooks import ConfigError, ModelError
from mmhooks.checks import (
    check_choice,
    check_count,
    check_device,
    check_file,
    check_logger,
    check_module,
    check_number,
    check_path,
    check_template,
)


@pytest.mark.parametrize(
    ("value", "options", "count"),
    [
        (3, {}, 3),
        (np.int64(3), {}, 3),
        (-1, {"special": {-1: "all"}}, -1),
        (0, {"minimum": 0}, 0),
        (4e4, {"whole_floats": True}, 40_000),
    ],
)
def test_counts(value, options, count):
    given = check_count("Owner", "n", value, **options)
    assert (given, type(given)) == (count, int)


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (4e4, {}, "Owner's n must be a positive integer, not 40000.0"),
        (2.5, {"whole_floats": True}, "must be a positive integer, not 2.5"),
        (float("inf"), {"whole_floats": True}, "must be a positive integer, not inf"),
        (-1, {"minimum": 0}, "must be 0 or a positive integer, not -1"),
        (1, {"minimum": 2}, "must be an integer from 2 on, not 1"),
        (-2, {"special": {-1: "all"}}, "must be a positive integer, or -1 for all, not -2"),
    ],
)
def test_what_is_no_count(value, options, message):
    with pytest.raises(ConfigError, match=message):
        check_count("Owner", "n", value, **options)


@pytest.mark.parametrize(
    ("value", "bounds", "number"),
    [
        (3, {}, 3),
        (-0.5, {}, -0.5),
        (np.int64(3), {"minimum": 3}, 3),
        (np.float32(0.1), {"above": 0, "maximum": 1}, 0.10000000149011612),
        (np.longdouble(0.5), {"below": 1}, 0.5),
        (1, {"above": 0, "maximum": 1}, 1),
        (0, {"minimum": 0, "below": 1}, 0),
    ],
)
def test_numbers(value, bounds, number):
    given = check_number("Owner", "x", value, **bounds)
    assert (given, type(given)) == (number, type(number))


@pytest.mark.parametrize("value", [True, np.bool_(True), "1", None, [1], 1j, np.array(1.0), torch.tensor(1.0)])
def test_what_is_no_number(value):
    with pytest.raises(ConfigError, match="Owner's x must be a finite number, not "):
        check_number("Owner", "x", value)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (float("nan"), {}, "Owner's x must be a finite number, not nan"),
        (np.float32("inf"), {"above": 0}, r"must be a finite number above 0, not .*inf"),
        (10**400, {}, "must be a finite number, not 1000"),
        (0, {"above": 0}, "must be a finite number above 0, not 0"),
        (-1, {"minimum": 0}, "must be a finite number of at least 0, not -1"),
        (1, {"below": 1}, "must be a finite number below 1, not 1"),
        (2, {"maximum": 1}, "must be a finite number of at most 1, not 2"),
        (0, {"above": 0, "maximum": 1}, r"must be a number in \(0, 1\], not 0"),
        (1, {"minimum": 0, "below": 1}, r"must be a number in \[0, 1\), not 1"),
        (np.float32(0), {"above": 0, "below": 1}, r"must be a number in \(0, 1\), not .*0"),
        (2, {"minimum": 0, "maximum": 1}, r"must be a number in \[0, 1\], not 2"),
    ],
)
def test_numbers_out_of_range(value, bounds, message):
    with pytest.raises(ConfigError, match=message):
        check_number("Owner", "x", value, **bounds)


def test_paths():
    assert check_path("Owner", "path", Path("a") / "b") == str(Path("a") / "b")
    assert check_path("Owner", "path", "s3://a/b") == "s3://a/b"
    assert check_path("Owner", "path", None, optional=True) is None
    for wrong in (b"a", None, 3):
        with pytest.raises(ConfigError, match=r"Owner's path must be a path \(str or pathlib.Path\), not "):
            check_path("Owner", "path", wrong)


def test_choices():
    assert check_choice("Owner", "mode", "power", ("power", "compound")) == "power"
    with pytest.raises(ConfigError, match="mode must be 'power' or 'compound', not 'powr'; did you mean 'power'"):
        check_choice("Owner", "mode", "powr", ("power", "compound"))
    with pytest.raises(ConfigError, match=r"mode must be 'power' or 'compound', not \['power'\]"):
        check_choice("Owner", "mode", ["power"], ("power", "compound"))


@pytest.mark.parametrize("template", ["epoch_{}.pth", "{0}_{0}.pth", "{:03d}.pth"])
def test_templates(template):
    assert check_template("Owner", "name", template) == template
    assert check_template("Owner", "name", "best.pth", numbered=False) == "best.pth"


@pytest.mark.parametrize("device", [None, "cpu", "cuda:1", torch.device("cpu"), {"cuda:0": "cpu"}, lambda one, at: one])
def test_devices(device):
    check_device("Owner", "map_location", device)


def test_what_is_no_device():
    with pytest.raises(ConfigError, match=r"map_location must be a device such as 'cpu' or 'cuda:0', .*not 'gpu' \("):
        check_device("Owner", "map_location", "gpu")


def test_files():
    assert check_file("Owner", "file", Path("a") / "b") == str(Path("a") / "b")
    with pytest.raises(ConfigError, match="Owner's file is an empty name: name a file"):
        check_file("Owner", "file", "")
    with pytest.raises(ConfigError, match=r"Owner's file must be a path \(str or pathlib.Path\), not None"):
        check_file("Owner", "file", None)


@pytest.mark.parametrize(
    ("value", "given"),
    [(None, "None"), ({"type": "Net"}, "dict"), (torch.nn.Linear, "the class Linear: call it to make one")],
)
def test_what_is_no_model(value, given):
    check_module("Owner", "model", torch.nn.Linear(1, 1))
    with pytest.raises(ModelError, match=f"Owner's model must be a torch.nn.Module, not {given}"):
        check_module("Owner", "model", value)


def test_loggers():
    logger = logging.getLogger("a test")
    for fine in (None, logger, logging.LoggerAdapter(logger, {})):
        check_logger("Owner", "logger", fine)
    with pytest.raises(ConfigError, match=r"Owner's logger must be a logging.Logger or None, not 'x'"):
        check_logger("Owner", "logger", "x")
