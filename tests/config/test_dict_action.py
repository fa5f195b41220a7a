"""`--cfg-options`, as MMCV reads them."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhooks.config import Config, DictAction
from mmhooks.config.dict_action import read_mmcv_value
from mmhooks.errors import ConfigError

SEEN = json.loads((Path(__file__).parents[1] / "golden" / "dict_action.json").read_text())


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    return parser


def test_options_become_a_dict_that_a_config_takes(parser):
    options = parser.parse_args(["--cfg-options", "model.n=3", "heads.0.sizes=[(1,2),(a,b)]", "x=a=b"]).cfg_options
    assert options == {"model.n": 3, "heads.0.sizes": [(1, 2), ("a", "b")], "x": "a=b"}
    cfg = Config({"model": {"n": 1}, "heads": [{"sizes": []}]})
    cfg.merge_from_dict(options)
    assert cfg.to_dict() == {"model": {"n": 3}, "heads": [{"sizes": [(1, 2), ("a", "b")]}], "x": "a=b"}


@pytest.mark.parametrize("text", SEEN)
def test_values_are_those_of_mmcv(text):
    seen = SEEN[text]
    if "value" in seen:
        assert repr(read_mmcv_value(text)) == seen["value"]
    else:  # it fails there with an AssertionError or a RecursionError
        with pytest.raises(ConfigError, match="bracket"):
            read_mmcv_value(text)


def test_several_occurrences_add_up(parser):
    given = ["--cfg-options", "a=1", "b=2", "--cfg-options", "b=3", "c=4"]
    assert parser.parse_args(given).cfg_options == {"a": 1, "b": 3, "c": 4}
    assert parser.parse_args([]).cfg_options is None


def test_a_default_is_not_changed():
    default = {"a": 1}
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", nargs="+", action=DictAction, default=default)
    assert parser.parse_args(["--options", "b=2"]).options == {"a": 1, "b": 2}
    assert default == {"a": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr", "has no '='; write key=value, such as optimizer.lr=0.01"),
        ("a=[1,(2]", "do not match"),
        ("a=f(1,2)", "write a list as [a,b], a tuple as (a,b)"),
        ("a=" + "[" * 200 + "]" * 200, "nested more than 100 deep"),
    ],
)
def test_a_malformed_option_ends_in_usage(parser, capsys, text, words):
    with pytest.raises(SystemExit):
        parser.parse_args(["--cfg-options", text])
    said = capsys.readouterr().err
    assert words in said
    assert "--cfg-options" in said


@given(st.text(alphabet="()[],'\" a1.=e-", max_size=20))
def test_any_value_is_read_or_refused(text):
    with contextlib.suppress(ConfigError):
        read_mmcv_value(text)
