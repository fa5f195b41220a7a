"""Templates: values of the bases in strings and expressions, the file's own name, the environment."""

from __future__ import annotations

import json

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


BASE = (
    "n = 5\nrate = 0.5\nname = 'net'\nsizes = [1, (2, 3)]\nmodel = dict(head=dict(n=7), **{'1': 'one'})\non = False\n"
)

EXPRESSIONS = {
    "{{ _base_.n }} + 1": 6,
    "2 * {{ _base_.rate }} * {{ _base_.n }}": 5.0,
    "-{{ _base_.n }}": -5,
    "{{ _base_.sizes }} + [4]": [1, (2, 3), 4],
    "[*{{ _base_.sizes }}, 9]": [1, (2, 3), 9],
    "len({{ _base_.name }})": 3,
    "str({{ _base_.n }})": "5",
    "dict(type='A', **{{ _base_.model.head }})": {"type": "A", "n": 7},
    "{{ _base_.model }}['head']['n']": 7,
    "{{ _base_.sizes }}[1][0]": 2,
    "'on' if {{ _base_.on }} else 'off'": "off",
    "[i * {{ _base_.n }} for i in range(3)]": [0, 5, 10],
    "{{ _base_.name }}.upper()": "NET",
    "{{ _base_.n }} == 5": True,
    "{ {{ _base_.name }}: 1 }": {"net": 1},
    "{{ _base_.sizes.1.0 }}": 2,
    "{{ _base_.model.1 }}": "one",
    "'{{ _base_.n }}'": 5,
    "'{{ _base_.n }} epochs'": "5 epochs",
    "'work/{{ _base_.name }}_{{_base_.model.head.n}}'": "work/net_7",
    "'{{ _base_.sizes }}!'": "[1, (2, 3)]!",
    "f'{{ _base_.name }}'": "net",
    "f'{{ _base_.name }}_{1 + 1}_{ {{ _base_.n }} }'": "net_2_5",
    "'{{ _base_.name }}/{}'.format(3)": "net/3",
    "'%s' % {{ _base_.n }}": "5",
}


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS.items(), ids=EXPRESSIONS)
def test_values_of_the_bases_can_be_computed_with(write, text, value):
    write("base.py", BASE)
    cfg = Config.fromfile(write("a.py", f"_base_ = './base.py'\nx = {text}\n"))
    assert repr(cfg.to_dict()["x"]) == repr(value)
    assert cfg.n == 5


def test_what_a_template_gives_is_a_copy(write):
    write("base.py", "a = dict(x=[1])\n")
    text = "_base_ = 'base.py'\nb = {{ _base_.a }}\nb['x'].append(2)\nc = {{ _base_.a }}\n"
    assert Config.fromfile(write("a.py", text)).to_dict() == {"a": {"x": [1]}, "b": {"x": [1, 2]}, "c": {"x": [1]}}


def test_whole_values_and_texts_may_stand_above_the_bases(write):
    write("base.py", "n = 5\n")
    text = "x = [{{ _base_.n }}, 'n{{ _base_.n }}']\n_base_ = 'base.py'\n"
    assert Config.fromfile(write("a.py", text)).x == [5, "n5"]


def test_computing_above_the_bases_is_refused_with_the_way_out(write):
    write("base.py", "n = 5\n")
    file = write("a.py", "x = 1 +\\\n {{ _base_.n }}\n_base_ = 'base.py'\n")
    with pytest.raises(ConfigError) as caught:
        Config.fromfile(file)
    assert str(caught.value).startswith(f"{file}:1: {{{{ _base_.n }}}} can only be computed with below the bases")
    assert "write _base_ = [...] above this line" in str(caught.value)


def test_the_bases_do_not_change_once_they_are_used(write):
    write("base.py", "n = 5\n")
    write("other.py", "m = 5\n")
    text = "_base_ = ['base.py']\n{}\n_base_ += ['other.py']\n"
    assert list(Config.fromfile(write("a.py", text.format("x = 1")))) == ["n", "m", "x"]
    with pytest.raises(ConfigError, match=r"a\.py:3: _base_ changes after .* was computed with"):
        Config.fromfile(write("a.py", text.format("x = {{ _base_.n }}")))


def test_an_error_in_a_base_that_a_template_asks_for_is_its_own(write):
    base = write("base.py", "n = 5\nm = nn\n")
    with pytest.raises(ConfigError) as caught:
        Config.fromfile(write("a.py", "_base_ = 'base.py'\nx = {{ _base_.n }} + 1\n"))
    assert str(caught.value).startswith(f"{base}:2: the name 'nn' is not defined")


# ---- the file's own names


def test_predefined_variables_can_be_switched_off_for_the_file_itself(write):
    write("base.py", "b = '{{ fileBasename }}'\n")
    file = write("a.py", "_base_ = 'base.py'\na = '{{ fileBasename }}'\n")
    cfg = Config.fromfile(file, use_predefined_variables=False)
    assert (cfg.a, cfg.b) == ("{{ fileBasename }}", "base.py")
    assert Config.fromfile(file).a == "a.py"


# ---- the environment


def test_the_environment_is_not_read_unless_it_is_given(write, monkeypatch):
    monkeypatch.setenv("MMHOOKS_ROOT", "/secret")
    text = "a = '{{ $MMHOOKS_ROOT:/data }}/coco'\n"
    assert Config.fromfile(write("a.py", text)).a == "{{ $MMHOOKS_ROOT:/data }}/coco"
    assert Config.fromfile(write("a.yaml", 'a: "{{ $MMHOOKS_ROOT:/data }}"')).a == "{{ $MMHOOKS_ROOT:/data }}"


def test_variables_and_their_defaults(write):
    write("base.py", "c = '{{ $C:3 }}'\n")
    file = write(
        "a.py",
        "_base_ = 'base.py'\na = '{{ $A:x }}/{{$B: my dir }}'\nb = {{'$B:4'}}\nd = [{{ '$A:1' }}, {{'$D:0.5'}}]\n"
        "e = f'{{ $A:x }}'\n",
    )
    assert Config.fromfile(file, environment={"A": "7"}).to_dict() == {
        "c": "3",
        "a": "7/my dir",
        "b": 4,
        "d": [7, 0.5],
        "e": "7",
    }


def test_a_variable_without_a_value_is_an_error(write):
    file = write("a.py", "\na = '{{ $A: }}'\n")
    with pytest.raises(ConfigError, match=r"a\.py:2: the environment has no variable 'A'; set it, or give a default"):
        Config.fromfile(file, environment={})
    assert Config.fromfile(file, environment={"A": ""}).a == ""


def test_what_a_variable_holds_is_never_evaluated(write):
    hostile = "__import__('os').system('x')"
    cfg = Config.fromfile(write("a.py", "a = {{'$A:1'}}\nb = '{{ $A:1 }}'"), environment={"A": hostile})
    assert cfg.to_dict() == {"a": hostile, "b": hostile}


# ---- YAML and JSON


def test_templates_in_yaml(write):
    write("base.yaml", "n: 5\nname: net\nmodel: {head: {n: [1, 2]}}\n")
    file = write(
        "a.yaml",
        "_base_: ./base.yaml\n"
        "a: {{ _base_.n }}\n"
        "b: [{{ _base_.model.head }}, '{{ _base_.model.head.n.1 }}']\n"
        "c: work/{{ _base_.name }}-{{ _base_.n }}\n"
        'd: "{{ fileBasename }} of {{ _base_.name }}"\n'
        "e: {{ fileBasenameNoExtension }}\n"
        "{{ fileExtname }}: x\n"
        "f: {{ $PORT:80 }}\n"
        "g: '{{ $PORT:80 }}'\n"
        "h: |\n  {{ _base_.n }}\n"
        "n: {{ _base_.n }}  # {{ _base_.nothing }}\n",
    )
    cfg = Config.fromfile(file, environment={}).to_dict()
    assert cfg == {
        "n": 5,
        "name": "net",
        "model": {"head": {"n": [1, 2]}},
        "a": 5,
        "b": [{"n": [1, 2]}, 2],
        "c": "work/net-5",
        "d": "a.yaml of net",
        "e": "a",
        ".yaml": "x",
        "f": 80,
        "g": "80",
        "h": "5\n",
    }


def test_a_file_named_by_a_number_is_a_number_in_yaml_as_in_mmcv(write):
    assert Config.fromfile(write("8.yaml", "a: {{ fileBasenameNoExtension }}\n")).a == 8


def test_templates_in_json(write):
    write("base.json", '{"n": 5, "name": "net", "model": {"head": {"n": [1, 2]}}}')
    file = write(
        "a.json",
        '{"_base_": ["./base.json"],\n "a": {{ _base_.n }},'
        ' "b": [{{ _base_.model.head }}, "{{_base_.model.head.n.0}}"],\n'
        ' "c": "work/{{ _base_.name }}", "{{ fileExtname }}": "{{ fileBasename }}",\n'
        ' "f": {{ $PORT:80 }}, "g": "{{ $PORT:80 }}", "h": "a\\"{{ fileExtname }}", "i": "\\u007b{ fileExtname }}"}\n',
    )
    assert Config.fromfile(file, environment={}).to_dict() == {
        "n": 5,
        "name": "net",
        "model": {"head": {"n": [1, 2]}},
        "a": 5,
        "b": [{"n": [1, 2]}, 1],
        "c": "work/net",
        ".json": "a.json",
        "f": 80,
        "g": "80",
        "h": 'a".json',
        "i": "{{ fileExtname }}",
    }


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.yaml", "_base_: b.yaml\nx: 1\ny: {{ _base_.nn }}\n", 3),
        ("a.yaml", "_base_: b.yaml\nx: 1\ny:\n- a\n- a{{ _base_.nn }}\n", 5),
        ("a.json", '{"_base_": "b.yaml",\n"x": 1,\n"y": {{ _base_.nn }}}', 3),
        ("a.json", '{"_base_": "b.yaml", "x": "{{ fileDirname }}",\n"y": "-{{ _base_.nn }}"}', 2),
    ],
)
def test_a_missing_key_is_located(write, name, text, line):
    write("b.yaml", "n: 1\n")
    file = write(name, text)
    with pytest.raises(ConfigError) as caught:
        Config.fromfile(file)
    assert str(caught.value) == f"{file}:{line}: {{{{ _base_.nn }}}}: _base_ has no key 'nn'; did you mean 'n'?"


def test_a_value_of_a_base_is_no_key_of_a_mapping(write):
    write("b.yaml", "n: 1\n")
    for name, text in {
        "a.yaml": "_base_: b.yaml\n? {{ _base_.n }}\n: 1\n",
        "a.json": '{"_base_": 0, {{ _base_.n }}: 1}',
    }.items():
        with pytest.raises(ConfigError, match=rf"{name}:\d: .*can only be computed with below the bases"):
            Config.fromfile(write(name, text))


def test_texts_that_look_like_marks_stay(write):
    text = json.dumps({"a": "template0e templatex0e", "b": "{{ fileExtname }}"})
    assert Config.fromfile(write("a.json", text)).to_dict() == {"a": "template0e templatex0e", "b": ".json"}
    assert Config.fromfile(write("a.yaml", text)).to_dict() == {"a": "template0e templatex0e", "b": ".yaml"}
