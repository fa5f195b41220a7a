"""The checks that arguments share, where no room's own tests reach them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmhooks import ConfigError
from mmhooks.checks import check_choice, check_count, check_device, check_path, check_template


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
