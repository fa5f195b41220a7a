"""Writing a config, and reading it back."""

from __future__ import annotations

import argparse
import datetime
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmhooks.config import Config
from mmhooks.errors import ConfigError

MODEL = {
    "type": "Recognizer",
    "backbone": {"type": "ResNet", "depth": 50, "stages": (0, 1, 2, 3), "norm_eval": False, "init": None},
    "heads": [{"type": "A", "loss": {"weight": 1.0}}, {"type": "B", "classes": ["it's", 'a "b"', "back\\slash\n"]}],
    "odd": {"not-a-name": 1, 2: "two", "class": 3, (1, 2): 4},
}


def test_the_text_of_a_python_config():
    cfg = Config({"lr": 0.1, "model": MODEL, "workflow": [("train", 1)], "one": (1,), "nothing": [[], {}, ()]})
    assert (
        cfg.pretty_text
        == cfg.dump()
        == (
            "lr = 0.1\n"
            "model = dict(\n"
            "    type='Recognizer',\n"
            "    backbone=dict(type='ResNet', depth=50, stages=(0, 1, 2, 3), norm_eval=False, init=None),\n"
            "    heads=[\n"
            "        dict(type='A', loss=dict(weight=1.0)),\n"
            "        dict(type='B', classes=[\"it's\", 'a \"b\"', 'back\\\\slash\\n']),\n"
            "    ],\n"
            "    odd={'not-a-name': 1, 2: 'two', 'class': 3, (1, 2): 4},\n"
            ")\n"
            "workflow = [('train', 1)]\n"
            "one = (1,)\n"
            "nothing = [[], dict(), ()]\n"
        )
    )


def test_long_values_are_broken():
    cfg = Config({"names": [f"class_{number}" for number in range(30)], "long": ("x" * 200,), "deep": [[["y" * 99]]]})
    text = cfg.pretty_text
    assert max(len(line) for line in text.splitlines() if "xx" not in line and "yy" not in line) < 100
    assert Config.fromstring(text, ".py").to_dict() == cfg.to_dict()


numbers = st.integers() | st.integers(-(10**30), 10**30) | st.floats()
texts = st.text() | st.sampled_from(
    ["{{ fileDirname }}", "a {{ _base_.x }} b{{ $A:b }}", "{{", "{{{ fileBasename }}", "%s{}"]
)
common = st.none() | st.booleans() | numbers | texts
keys = texts | st.integers() | st.sampled_from(["a", "b_c", "class", "self", "dict", "\u00e9"])


def trees(leaves, keys, tuples=True):
    def extend(inner):
        lists = st.lists(inner, max_size=4)
        grown = lists | st.dictionaries(keys, inner, max_size=4)
        return grown | lists.map(tuple) if tuples else grown

    return st.recursive(leaves, extend, max_leaves=20)


def same(left, right):
    return repr(left) == repr(right)  # tells 1 from 1.0, and nan is nan


quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(trees(common | st.binary(max_size=5) | st.sets(st.integers(), max_size=1), keys))
def test_python_reads_back_equal(value):
    cfg = Config({"x": value})
    assert same(Config.fromstring(cfg.dump(), ".py").to_dict(), cfg.to_dict())


@quick
@given(trees(common | st.binary(max_size=5) | st.dates(), keys))
def test_yaml_reads_back_equal(value):
    cfg = Config({"x": value}, filename="a.yaml")
    assert same(Config.fromstring(cfg.dump(), ".yaml").to_dict(), cfg.to_dict())


@quick
@given(trees(common, texts, tuples=False))
def test_json_reads_back_equal(value):
    cfg = Config({"x": value}, filename="a.json")
    assert same(Config.fromstring(cfg.dump(), ".json").to_dict(), cfg.to_dict())


def test_values_of_all_kinds_in_python():
    values = {"s": {1, 2}, "e": set(), "r": range(1, 9, 2), "c": 1 - 2j, "f": [math.inf, -math.inf], "n": 1 << 60_000}
    assert Config.fromstring(Config(values).dump(), ".py").to_dict() == values


def test_keys_that_hide_the_functions_of_the_text():
    values = {"dict": {"a": 1}, "x": {"b": {"c": 2}}}
    assert Config.fromstring(Config(values).dump(), ".py").to_dict() == values
    with pytest.raises(ConfigError, match=r"x is written as float\('inf'\), and the config has a key 'float'"):
        Config({"float": 1, "x": math.inf}).dump()


@pytest.mark.parametrize("suffix", [".py", ".yaml", ".yml", ".json"])
def test_a_file_is_written_and_read_back(tmp_path, suffix):
    cfg = Config({"lr": 0.1, "name": "n\u00e9t", "model": {"heads": [{"n": 1}]}})
    file = tmp_path / "new" / f"a{suffix}"
    assert cfg.dump(file) is None
    back = Config.fromfile(file)
    assert back.to_dict() == cfg.to_dict()
    assert back.dump() == file.read_text(encoding="utf-8")
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_json_has_lists_where_python_has_tuples_and_sets():
    cfg = Config({"a": (1, (2,)), "b": {3}, "c": range(2)}, filename="a.json")
    assert json.loads(cfg.dump()) == {"a": [1, [2]], "b": [3], "c": [0, 1]}


class Thing:
    def __repr__(self):
        return "<thing>"


WRONG = {
    ".py": [
        ({"my-key": 1}, "the key 'my-key' cannot be a name in a .py config; dump to .yaml"),
        ({"class": 1}, "the key 'class' cannot be a name"),
        ({"__x": 1}, "the key '__x' cannot be a name"),
        ({"_base_": "b.py"}, "the key '_base_' would mean something else in a file"),
        ({1: 1}, "the key 1 cannot be a name"),
        ({"a": [{"b": Thing()}]}, r"a\.0\.b: <thing> \(Thing\) cannot be written in a \.py config"),
        ({"a": datetime.date(2020, 1, 1)}, "cannot be written in a .py config"),
    ],
    ".yaml": [
        ({"a": Thing()}, r"<thing> \(Thing\) cannot be written in YAML"),
        ({"_deprecation_": {}}, "the key '_deprecation_' would mean something else in a file"),
    ],
    ".json": [
        ({"a": Thing()}, r"a: <thing> \(Thing\) cannot be written in JSON"),
        ({"a": [{1: 2}]}, r"a\.0 has the key 1, and keys in JSON are texts"),
        ({1: 2}, "the config has the key 1, and keys in JSON are texts"),
        ({"a": b"x"}, r"a: b'x' \(bytes\) cannot be written in JSON"),
    ],
}


@pytest.mark.parametrize(("suffix", "values", "words"), [(s, *case) for s, cases in WRONG.items() for case in cases])
def test_what_could_not_be_read_back_is_refused_and_nothing_is_written(tmp_path, suffix, values, words):
    file = tmp_path / f"a{suffix}"
    file.write_text("as it was")
    with pytest.raises(ConfigError, match=words):
        Config(values).dump(file)
    assert file.read_text() == "as it was"


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be written as '\.toml'; there are \.py, \.json, \.yaml, \.yml"):
        Config({}).dump(tmp_path / "a.toml")


def test_pretty_text_shows_what_is_no_data():
    assert Config({"a": Thing(), "my-key": {"b": Thing()}}).pretty_text == "a = <thing>\nmy-key = dict(b=<thing>)\n"


def test_fromstring_looks_for_bases_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "base.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromstring("_base_ = './base.py'\ny = '{{ fileDirname }}'", ".py")
    assert cfg.to_dict() == {"x": 1, "y": str(tmp_path)}
    assert cfg.filename is None
    assert "y = '{{ fileDirname }}'" in cfg.text


def test_fromstring_of_another_format_and_of_a_huge_text():
    with pytest.raises(ConfigError, match=r"\.toml is no kind of config"):
        Config.fromstring("a = 1", ".toml")
    with pytest.raises(ConfigError, match=r"the text has 300,000 characters; a \.py config has at most 262,144"):
        Config.fromstring("#" * 300_000, ".py")


# ---- auto_argparser


CONFIG = """
lr = 0.1
epochs = 3
name = 'net'
fast = False
sizes = [1, 2]
names = ('a',)
mixed = [1, 'a']
model = dict(width=8, heads=[dict(n=1)], deep=dict(rate=0.5))
nothing = None
help = 1
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    file = tmp_path / "a.py"
    file.write_text(CONFIG)

    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["train", *arguments])
        return Config.auto_argparser("Train.")

    command.file = str(file)
    return command


def test_each_key_of_the_config_is_an_option(command):
    given = [command.file, "--lr", "1", "--fast", "true", "--sizes", "3", "4", "--model.deep.rate", "2", "--names", "x"]
    parser, cfg = command(*given)
    assert isinstance(parser, argparse.ArgumentParser)
    assert cfg.to_dict() == Config.fromfile(command.file).to_dict()
    assert vars(parser.parse_args()) == {
        "config": command.file,
        "lr": 1.0,
        "epochs": None,
        "name": None,
        "fast": True,
        "sizes": [3, 4],
        "names": ["x"],
        "model.width": None,
        "model.deep.rate": 2.0,
    }


def test_a_parser_refuses_what_is_no_number(command, capsys):
    parser, _ = command(command.file)
    for wrong in (["--epochs", "x"], ["--fast", "2"], ["--nothing", "1"]):
        with pytest.raises(SystemExit):
            parser.parse_args([command.file, *wrong])
    assert "'2' is neither true nor false" in capsys.readouterr().err


def test_a_command_line_without_a_config(command, capsys):
    with pytest.raises(SystemExit):
        command()
    assert "config" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command("--help")
    assert "Train." in capsys.readouterr().out
