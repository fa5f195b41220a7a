"""Config files: bases, templates, and everything that can be wrong with a file."""

from __future__ import annotations

import os
import re

import pytest

from mmhooks.config import Config, ConfigFileNotFound
from mmhooks.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return write


def message_of(file):
    with pytest.raises(ConfigError) as caught:
        Config.fromfile(file)
    return str(caught.value)


def test_a_file_and_its_bases_make_one_config(write):
    write("base/model.py", "model = dict(type='Net', width=4, head=dict(classes=10))\n")
    write("base/run.py", "lr = 0.1\nworkflow = [('train', 1)]\n")
    file = write(
        "exp/a.py", "_base_ = ['../base/model.py', '../base/run.py']\nmodel = dict(head=dict(classes=3))\nlr = 1\n"
    )
    cfg = Config.fromfile(file)
    assert list(cfg) == ["model", "lr", "workflow"]
    assert cfg.to_dict() == {
        "model": {"type": "Net", "width": 4, "head": {"classes": 3}},
        "lr": 1,
        "workflow": [("train", 1)],
    }


def test_filename_is_what_was_given_and_text_holds_all_files(write, tmp_path, monkeypatch):
    base = write("base.py", "a = 1\n")
    child = write("child.py", "_base_ = 'base.py'\r\nb = 2\r\n")
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile("child.py")
    assert cfg.filename == "child.py"
    assert cfg.text == f"{base}\na = 1\n\n{child}\n_base_ = 'base.py'\nb = 2\n"


def test_bases_are_read_recursively_relative_to_the_file_that_names_them(write):
    write("one/deep/c.py", "x = dict(a=1, b=1, c=1)\n")
    write("one/b.py", "_base_ = './deep/c.py'\nx = dict(b=2)\n")
    file = write("a.py", "_base_ = 'one/b.py'\nx = dict(c=3)\n")
    assert Config.fromfile(file).x == {"a": 1, "b": 2, "c": 3}


def test_base_can_be_computed(write):
    write("b_small.py", "x = 1\n")
    file = write("a.py", "size = 'small'\n_base_ = [f'b_{name}.py' for name in [size]]\n")
    assert Config.fromfile(file).to_dict() == {"x": 1, "size": "small"}


def test_delete_replaces_the_dict_of_the_base(write):
    write("b.py", "opt = dict(type='SGD', lr=1, momentum=0.9)\n")
    file = write("a.py", "_base_ = 'b.py'\nopt = dict(_delete_=True, type='Adam')\nnew = dict(_delete_=True, x=1)\n")
    assert Config.fromfile(file).to_dict() == {"opt": {"type": "Adam"}, "new": {"_delete_": True, "x": 1}}


def test_a_dict_over_another_value_names_the_key_and_the_way_out(write):
    write("b.py", "model = dict(head=[1])\n")
    file = write("a.py", "_base_ = 'b.py'\n\nmodel = dict(head=dict(x=1))\n")
    message = message_of(file)
    assert message.startswith(f"{file}:3: model.head is a dict here, but of type list")
    assert "_delete_=True" in message


def test_a_key_of_two_bases_is_an_error_with_both_files(write):
    write("b.py", "model = 1\n")
    write("c.py", "model = 2\n")
    file = write("a.py", "_base_ = [\n    './b.py',\n    './c.py',\n]\n")
    message = message_of(file)
    assert message.startswith(f"{file}:3: _base_ names './c.py': it and the base './b.py' both define 'model'")


def test_an_empty_base_may_be_reached_by_two_branches(write):
    write("c.py", "")
    write("b1.py", "_base_ = 'c.py'\nx = 1\n")
    write("b2.py", "_base_ = 'c.py'\ny = 2\n")
    assert Config.fromfile(write("a.py", "_base_ = ['b1.py', 'b2.py']\n")).to_dict() == {"x": 1, "y": 2}


def test_a_loop_of_bases_shows_the_chain(write):
    a = write("a.py", "_base_ = 'b.py'\n")
    b = write("b.py", "x = 1\n_base_ = './sub/../a.py'\n")
    (b.parent / "sub").mkdir()
    assert message_of(a) == f"{b}:2: _base_ names './sub/../a.py': the bases form a loop: {a} -> {b} -> {a}"


def test_a_loop_through_a_link_is_seen(write, tmp_path):
    a = write("a.py", "_base_ = 'link.py'\n")
    (tmp_path / "link.py").symlink_to(a)
    assert "the bases form a loop" in message_of(a)


@pytest.mark.parametrize("value", ["3", "('b.py',)", "['b.py', None]", "dict()"])
def test_base_must_be_paths(write, value):
    write("b.py", "")
    file = write("a.py", f"x = 1\n_base_ = {value}\n")
    message = message_of(file)
    assert message.startswith(f"{file}:2: _base_ must be a path or a list of paths")
    assert "_base_ = ['./base.py']" in message


# ---- templates


def test_base_values_stand_for_whole_values_quoted_or_not(write):
    write("b.py", "size = (2, 3)\nmodel = dict(head=dict(n=5))\n")
    file = write(
        "a.py",
        "_base_ = 'b.py'\n"
        "a = {{_base_.size}}\n"
        "b = [dict(x={{ _base_.model.head.n }}), ({{ _base_.size }},)]\n"
        "c = '{{ _base_.model.head }}'\n"
        "size = {{\n    _base_.model.head.n\n}}\n"
        "d = [{{ _base_.size }} for _ in range(2)]\n"
        "e = a\n",
    )
    cfg = Config.fromfile(file)
    assert cfg.a == (2, 3)
    assert cfg.b == [{"x": 5}, ((2, 3),)]
    assert cfg.c == {"n": 5}
    assert cfg.size == 5
    assert cfg.d == [(2, 3), (2, 3)]
    assert cfg.e == (2, 3)


def test_a_base_value_is_put_in_before_the_merge(write):
    write("b.py", "a = dict(x=1)\nb = dict(y=2)\n")
    assert Config.fromfile(write("a.py", "_base_ = 'b.py'\nb = {{ _base_.a }}\n")).b == {"x": 1, "y": 2}


BAD_TEMPLATES = {
    "x = {{ _base_.modle }}": "_base_ has no key 'modle'; did you mean 'model'",
    "x = {{ _base_.model.hed }}": "_base_.model has no key 'hed'; did you mean 'head'",
    "x = {{ _base_.model.head.n.q }}": "_base_.model.head.n has no key 'q'",
    "x = {{ _base_.sizes.7 }}": "_base_.sizes has no key '7'",
    "x = 'a/{{ _base_.modle }}'": "_base_ has no key 'modle'",
    "x = {{ _base_.model }} + 1": "TypeError: unsupported operand",
    "x = {{ _base_.model }}['hed']": "no key 'hed'; did you mean 'head'",
    "x = {'k': 1, {{ _base_.model }}: 2}": "unhashable type: 'dict'",
    "x = -{{ _base_.model }}": "TypeError: bad operand type",
    "x = {{ 1 }}": "a set in a set: {{ 1 }}; sets hold no sets",
}


@pytest.mark.parametrize(("text", "words"), BAD_TEMPLATES.items(), ids=BAD_TEMPLATES)
def test_a_base_value_that_cannot_be_put_in(write, text, words):
    write("b.py", "model = dict(head=dict(n=1))\nsizes = [1, 2]\n")
    file = write("a.py", f"_base_ = 'b.py'\ny = 1\n{text}\n")
    message = message_of(file)
    assert message.startswith(f"{file}:3:")
    assert words in message


def test_a_base_value_without_a_base(write):
    file = write("a.py", "x = {{ _base_.y }}\n")
    assert message_of(file) == f"{file}:1: {{{{ _base_.y }}}} needs a base; write _base_ = './base.py'"


def test_the_file_s_own_names_are_filled_into_strings(write, tmp_path):
    file = write(
        "exp/my.cfg.py",
        "a = '{{ fileDirname }}/x'\nb = ['{{fileBasename}}', '{{ fileBasenameNoExtension }}{{fileExtname}}']\n"
        "c = {'{{ fileExtname }}': f'{1}-{{ fileBasename }}'}\nd = '{{ fileOther }} {{ $HOME:x }}'\n",
    )
    assert Config.fromfile(file).to_dict() == {
        "a": f"{tmp_path}/exp/x",
        "b": ["my.cfg.py", "my.cfg.py"],
        "c": {".py": "1-my.cfg.py"},
        "d": "{{ fileOther }} {{ $HOME:x }}",
    }


def test_a_base_s_own_names_are_its_own(write):
    write("b.py", "x = '{{ fileBasename }}'\n")
    cfg = Config.fromfile(write("a.py", "_base_ = 'b.py'\ny = '{{ fileBasename }}'\n"))
    assert (cfg.x, cfg.y) == ("b.py", "a.py")


# ---- keys with a meaning


@pytest.mark.parametrize("key", ["filename", "text", "pretty_text"])
def test_reserved_keys(write, key):
    file = write("a.py", f"x = 1\n{key} = 2\n")
    assert message_of(file).startswith(f"{file}:2: the key {key!r} is reserved")


def test_deprecation_is_a_warning_and_no_key(write):
    file = write("a.py", "_deprecation_ = dict(expected='new.py', reference='https://x')\nx = 1\n")
    with pytest.warns(DeprecationWarning, match=r"a\.py will go away; use new\.py instead; see https://x"):
        assert Config.fromfile(file).to_dict() == {"x": 1}


def test_custom_imports_are_kept_and_not_imported(write):
    cfg = Config.fromfile(write("a.py", "custom_imports = dict(imports=['no.such.module'])\n"))
    assert cfg.custom_imports.imports == ["no.such.module"]


# ---- files that are no configs


def test_a_missing_file_names_near_ones(write, tmp_path):
    write("resnet50.py", "")
    with pytest.raises(ConfigFileNotFound) as caught:
        Config.fromfile(tmp_path / "resnet5.py")
    assert isinstance(caught.value, FileNotFoundError)
    assert str(caught.value) == f"{tmp_path}/resnet5.py does not exist; did you mean 'resnet50.py'?"


def test_a_missing_file_far_from_all_others_lists_the_folder(write, tmp_path):
    write("aaa.py", "")
    assert message_of(tmp_path / "zzzzzz.txt").endswith("does not exist; that folder holds aaa.py")
    assert message_of(tmp_path / "no" / "x.py").endswith(f"does not exist; there is no folder {tmp_path}/no")


def test_a_missing_base_names_the_file_and_line_that_want_it(write, tmp_path):
    write("base.py", "x = 1\n")
    file = write("a.py", "y = './bases.py'\n_base_ = [\n    './base.py',\n    './bases.py',\n]\n")
    with pytest.raises(ConfigFileNotFound) as caught:
        Config.fromfile(file)
    assert str(caught.value) == (
        f"{file}:4: _base_ names './bases.py': {tmp_path}/bases.py does not exist; did you mean 'base.py' or 'a.py'?"
    )


def test_a_folder_and_other_kinds_of_files(write, tmp_path):
    assert message_of(tmp_path).endswith("is a folder; name a config in it, such as a .py file")
    assert message_of(write("a.toml", "")).endswith(
        "a.toml: .toml is no kind of config; there are .py, .json, .yaml, .yml"
    )
    assert message_of(write("config", "")).endswith(
        "config: a file without a suffix is no kind of config; there are .py, .json, .yaml, .yml"
    )
    os.mkfifo(tmp_path / "pipe.py")
    assert message_of(tmp_path / "pipe.py").endswith("is no regular file, so it is not read")


def test_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "a.py"
    file.write_bytes(b"x = '\xff'\n")
    assert re.search(r"a\.py is not UTF-8 text: .*0xff.*; save it as UTF-8", message_of(file))
    file.write_bytes(b"x = 1\ny = '\0'\n")
    assert message_of(file) == f"{file}:2: a NUL byte; a config is a text file in UTF-8"
    file.write_bytes(b"\xef\xbb\xbfx = '\xc3\xa9'\n")
    assert Config.fromfile(file).x == "é"
    file.write_bytes(b"#" * (1 << 21))
    assert "has 2,097,152 bytes; a .py config has at most 262,144" in message_of(file)
    assert "cannot be read" in message_of(f"{file}/x.py")
    assert "cannot be read" in message_of("x\0.py")


def test_an_error_inside_a_base_is_located_in_the_base(write):
    base = write("b.py", "x = 1\ny = z\n")
    assert message_of(write("a.py", "_base_ = 'b.py'\n")).startswith(f"{base}:2: the name 'z' is not defined")


def test_home_is_expanded(write, tmp_path, monkeypatch):
    write("a.py", "x = 1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Config.fromfile("~/a.py").x == 1


def test_errors_of_bases_are_those_that_mmcv_raises_too(write):
    write("b.py", "x = 1\n")
    write("c.py", "x = 1\n")
    with pytest.raises(KeyError, match=r"^\S+a\.py:1: _base_ names 'c\.py'"):
        Config.fromfile(write("a.py", "_base_ = ['b.py', 'c.py']\n"))
    with pytest.raises(TypeError, match=r"a\.py:2: x is a dict here"):
        Config.fromfile(write("a.py", "_base_ = 'b.py'\nx = dict()\n"))


def test_custom_imports_are_not_imported_whatever_the_argument_says(write):
    file = write("a.py", "custom_imports = dict(imports=['no_such_module'])\n")
    for wanted in (True, False):
        cfg = Config.fromfile(file, import_custom_modules=wanted)
        assert cfg.custom_imports.imports == ["no_such_module"]


def test_the_text_of_a_notice_is_short(write):
    write("a.py", f"_deprecation_ = dict(expected={'x' * 5000!r})\n")
    with pytest.warns(DeprecationWarning, match="xxx") as caught:
        Config.fromfile(write("b.py", "_base_ = 'a.py'\n"))
    assert len(str(caught[0].message)) < 1000
