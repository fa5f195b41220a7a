"""Configs in YAML and JSON."""

from __future__ import annotations

import datetime
import math

import pytest

from mmhooks.config import Config
from mmhooks.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def yaml(text):
    return Config.fromstring(text, ".yaml").to_dict()


def refusal(text, suffix):
    with pytest.raises(ConfigError) as caught:
        Config.fromstring(text, suffix)
    assert f"<string>{suffix}:" in str(caught.value)
    return str(caught.value).partition(f"<string>{suffix}:")[2]


YAML = {
    "a: 1": {"a": 1},
    "a: [1, 2.5, x, 'y', \"z\\n\", ~, null, true, No]": {"a": [1, 2.5, "x", "y", "z\n", None, None, True, False]},
    "a: {b: {c: 1}}": {"a": {"b": {"c": 1}}},
    "a:\n- - 1\n  - 2\n- x: 1\n  y: 2": {"a": [[1, 2], {"x": 1, "y": 2}]},
    "a: 1e-3": {"a": "1e-3"},  # what YAML 1.1 says, and MMCV with it
    "a: 1.0e-3": {"a": 0.001},
    "a: 0x1F": {"a": 31},
    "a: 1_000": {"a": 1000},
    "a: 1:30": {"a": 90},
    "a: 010": {"a": 8},
    "a: !!str 5": {"a": "5"},
    "a: !!int '5'": {"a": 5},
    "a: !!float 5": {"a": 5.0},
    "a: !!python/tuple [1, [2]]": {"a": (1, [2])},
    "a: !!set {x, y}": {"a": {"x", "y"}},
    "a: !!binary aGk=": {"a": b"hi"},
    "a: 2020-01-31": {"a": datetime.date(2020, 1, 31)},
    "a: >\n  x\n  y\n": {"a": "x y\n"},
    "2: x\ntrue: y\n'k k': z": {2: "x", True: "y", "k k": "z"},
    "? !!python/tuple [1, 2]\n: x": {(1, 2): "x"},
    "a: &x {b: 1}\nc: *x\nd: &y 3\ne: [*y, *y]": {"a": {"b": 1}, "c": {"b": 1}, "d": 3, "e": [3, 3]},
    "a: &x {b: 1, c: 2}\nd: {c: 3, <<: *x, e: 4}": {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3, "e": 4}},
    "a: {<<: [{x: 1}, {x: 2, y: 3}]}": {"a": {"x": 1, "y": 3}},
    "a: <<": {"a": "<<"},
    "a: 1\na: 2": {"a": 2},
    "": {},
    "# nothing": {},
    "---\na: 1\n...\n": {"a": 1},
    "%YAML 1.1\n---\na: '\u00e9'": {"a": "\u00e9"},
}


@pytest.mark.parametrize(("text", "values"), YAML.items(), ids=YAML)
def test_yaml(text, values):
    read = yaml(text)
    assert repr(read) == repr(values) or (read == values and any(isinstance(value, set) for value in values.values()))
    assert list(read) == list(values)


def test_nan_and_infinity_in_yaml():
    read = yaml("a: [.inf, -.inf, .nan]")["a"]
    assert read[:2] == [math.inf, -math.inf]
    assert math.isnan(read[2])


def test_an_alias_gives_a_value_of_its_own():
    cfg = Config.fromstring("a: &x [1]\nb: *x", ".yaml")
    cfg.a.append(2)
    assert cfg.b == [1]


REFUSED_YAML = {
    "a: !!python/object/apply:os.system ['x']": (
        "1: the tag !!python/object/apply:os.system makes an object",
        "without",
    ),
    "a: 1\nb: !!python/name:os.system ''": ("2: the tag !!python/name:os.system makes an object", "without a tag"),
    "a: !!python/module:os ''": ("1: the tag !!python/module:os", "a config is data"),
    "a: !mine {x: 1}": ("1: the tag !mine makes an object", "without a tag"),
    "a: !!omap [x: 1]": ("1: the tag !!omap", "without a tag"),
    "- a\n- b": ("1: a config is a mapping, `key: value`, not a list", ""),
    "text": ("1: a config is a mapping, `key: value`, not a str", ""),
    "a: 1\nb: [1\nc: 2": ("3:", "',' or ']'"),
    "a: 1\n b: 2": ("2:3: mapping values are not allowed", ""),
    "a: *x": ("1: *x has no &x above it", ""),
    "a: &x [*x]": ("1: *x holds itself", ""),
    "a: &x {b: [*x]}": ("1: *x holds itself", ""),
    "a: 1\n---\nb: 1": ("2: a second document; a config is one", ""),
    "a: 1\n? [1, 2]\n: x": ("2: TypeError: unhashable type: 'list'", ""),
    "a: {<<: 1}": ("1: << takes a mapping", ""),
    "a: 2020-13-01": ("1: ValueError: month must be in 1..12", ""),
    "a: !!int x": ("1: ValueError: invalid literal", ""),
    "a: 1\nb: '\x07'": ("2: ", "characters are not allowed"),
    "text: 1": ("1: the key 'text' is reserved", ""),
}


@pytest.mark.parametrize(("text", "words"), REFUSED_YAML.items(), ids=REFUSED_YAML)
def test_yaml_that_is_refused(text, words):
    message = refusal(text, ".yaml")
    assert message.startswith(words[0])
    assert words[1] in message


def test_json():
    text = '{"a": [1, 2.5, "x", null, true, 1e3, -0.0], "b": {"c": {}}, "d": "\\u00e9", "a": [NaN]}'
    read = Config.fromstring(text, ".json").to_dict()
    assert repr(read) == "{'a': [nan], 'b': {'c': {}}, 'd': 'é'}"
    assert Config.fromstring(" { } \n", ".json").to_dict() == {}


REFUSED_JSON = {
    "": "1:1: A config is an object",
    "[1]": "1:1: A config is an object",
    '{"a": 1,\n"b" 2}': "2:5: Expecting ':' behind the key",
    '{"a": 1,\n}': "2:1: Expecting a key in double quotes",
    '{"a": 1\n"b": 2}': "2:1: Expecting ',' or '}'",
    "{'a': 1}": "1:2: Expecting a key in double quotes",
    '{"a": 1} x': "1:10: Expecting nothing behind the object",
    '{"a": [1,\n2': "2:2: Expecting ',' delimiter",
    '{"a"': "1:5: Expecting ':' behind the key",
    '{"a': "1:2: Unterminated string",
    '{\n"a": tru}': "2:6: Expecting value",
    '{"a": "\t"}': "1:8: Invalid control character",
    '{"x": 1,\n"text": 1}': "2: the key 'text' is reserved",
}


@pytest.mark.parametrize(("text", "words"), REFUSED_JSON.items(), ids=REFUSED_JSON)
def test_json_that_is_refused(text, words):
    assert refusal(text, ".json").startswith(words)


def test_bases_of_all_kinds(write):
    write("one.py", "model = dict(type='Net', size=(1, 2))\n")
    write("two.json", '{"lr": 0.1}')
    write("three.yml", "_base_: [one.py, two.json]\nmodel: {size: 3}\nlr: 1\n")
    assert Config.fromfile(write("a.yaml", "_base_: three.yml\nmodel: {_delete_: true, n: 1}\n")).to_dict() == {
        "model": {"n": 1},
        "lr": 1,
    }
    cfg = Config.fromfile(write("a.py", "_base_ = 'three.yml'\nx = {{ _base_.model.type }} + '!'\n"))
    assert cfg.to_dict() == {"model": {"type": "Net", "size": 3}, "lr": 1, "x": "Net!"}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.yaml", "_base_:\n- ./b.yaml\n- ./no.yaml\n", 3),
        ("a.json", '{"_base_": ["./b.yaml",\n"./no.yaml"]}', 2),
    ],
)
def test_a_missing_base_names_the_line(write, name, text, line):
    base = write("b.yaml", "x: 1\n")
    file = write(name, text)
    with pytest.raises(ConfigError) as caught:
        Config.fromfile(file)
    assert str(caught.value).startswith(
        f"{file}:{line}: _base_ names './no.yaml': {base.parent}/no.yaml does not exist"
    )


def test_merging_errors_name_the_line(write):
    write("b.yaml", "x: [1]\n")
    for name, text in {
        "a.yaml": "_base_: b.yaml\nx:\n  y: 1\n",
        "a.json": '{"_base_": "b.yaml",\n"x": {"y": 1}}',
    }.items():
        with pytest.raises(ConfigError, match=rf"{name}:2: x is a dict here, but of type list"):
            Config.fromfile(write(name, text))


def test_deprecation_in_yaml(write):
    file = write("a.yaml", "_deprecation_: {expected: b.yaml}\nx: 1\n")
    with pytest.warns(DeprecationWarning, match=r"a\.yaml will go away; use b\.yaml instead"):
        assert Config.fromfile(file).to_dict() == {"x": 1}
