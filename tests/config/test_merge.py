"""Merging: a child over its base, and options over a config."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhooks.config import Config
from mmhooks.errors import ConfigError

keys = st.sampled_from(["a", "b", "c", "_delete_"])
trees = st.dictionaries(
    keys,
    st.recursive(
        st.integers(0, 9) | st.booleans() | st.lists(st.integers(0, 9), max_size=2),
        lambda inner: st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=4,
)


class Clash(Exception):
    pass


def by_mmcv_s_rules(child, base):
    """MMCV's rules, path by path: which keys the result has, and where each value comes from."""
    result = {key: value for key, value in base.items() if key not in child}
    for key, new in child.items():
        old = base.get(key)
        if not isinstance(new, dict) or key not in base:
            result[key] = new
            continue
        rest = dict(new)
        if rest.pop("_delete_", False):
            result[key] = rest
        elif isinstance(old, dict):
            result[key] = by_mmcv_s_rules(rest, old)
        else:
            raise Clash(key)
    return result


@given(trees, trees)
def test_a_child_over_its_base_follows_mmcv_s_rules(tmp_path_factory, child, base):
    folder = tmp_path_factory.getbasetemp()
    (folder / "base.py").write_text("".join(f"{key} = {value!r}\n" for key, value in base.items()))
    (folder / "child.py").write_text(
        "_base_ = 'base.py'\n" + "".join(f"{key} = {value!r}\n" for key, value in child.items())
    )
    try:
        expected = by_mmcv_s_rules(child, base)
    except Clash as clash:
        with pytest.raises(
            ConfigError, match=rf"child\.py:\d+: {clash}\b|child\.py:\d+: [\w.]+\.{clash} is a dict here"
        ):
            Config.fromfile(folder / "child.py")
    else:
        merged = Config.fromfile(folder / "child.py").to_dict()
        assert merged == expected
        assert list(merged)[: len(base)] == list(base)


@pytest.fixture
def cfg():
    return Config(
        {"model": {"type": "Net", "width": 8}, "data": {"train": {"pipeline": [{"type": "A"}, {"type": "B"}, 3]}}}
    )


def test_dotted_keys_reach_into_dicts_and_lists(cfg):
    cfg.merge_from_dict(
        {"model.width": 32, "data.train.pipeline.0.type": "X", "data.train.pipeline.1.p": 0.5, "seed": 1}
    )
    assert cfg.model == {"type": "Net", "width": 32}
    assert cfg.data.train.pipeline == [{"type": "X"}, {"type": "B", "p": 0.5}, 3]
    assert cfg.data.train.pipeline[0].type == "X"
    assert cfg.seed == 1


def test_elements_of_lists_by_dict(cfg):
    cfg.merge_from_dict({"data.train.pipeline": {"1": {"_delete_": True, "q": 1}, "2": 4}})
    assert cfg.data.train.pipeline == [{"type": "A"}, {"q": 1}, 4]


def test_new_keys_delete_and_whole_lists(cfg):
    cfg.merge_from_dict({"a.b.c": 1, "model._delete_": True, "model.type": "Other", "data.train.pipeline": [{"t": 1}]})
    assert cfg.a.b.c == 1
    assert cfg.model == {"type": "Other"}
    assert cfg.data.train.pipeline[0].t == 1


WRONG = {
    "data.train.pipeline.7.type": "index 7 is out of range, the list data.train.pipeline has length 3",
    "data.train.pipeline.-1.type": "data.train.pipeline is a list, so the key must be an index from 0 to 2",
    "data.train.pipeline.x": "data.train.pipeline is a list, so the key must be an index from 0 to 2",
    "model.width.x": "model.width is a dict here, but of type int in what it is merged into; put _delete_=True",
    "data.train.pipeline.2.x": "data.train.pipeline.2 is a dict here, but of type int",
}


@pytest.mark.parametrize(("key", "words"), WRONG.items(), ids=WRONG)
def test_a_key_that_leads_nowhere_changes_nothing(cfg, key, words):
    before = cfg.to_dict()
    with pytest.raises(ConfigError) as caught:
        cfg.merge_from_dict({"model.type": "changed", key: 1})
    assert words in str(caught.value)
    assert cfg.to_dict() == before


def test_list_keys_can_be_switched_off(cfg):
    with pytest.raises(ConfigError, match=r"data\.train\.pipeline is a dict here, but of type list"):
        cfg.merge_from_dict({"data.train.pipeline.0.type": "X"}, allow_list_keys=False)


def test_options_that_exclude_each_other(cfg):
    with pytest.raises(ConfigError, match=r"option a\.b: another option sets a to 1"):
        cfg.merge_from_dict({"a": 1, "a.b": 2})


def test_the_options_that_were_given_stay_as_they_are(cfg):
    options = {"model": {"_delete_": True, "x": {"y": [1]}}, "model.z": 1}
    before = copy.deepcopy(options)
    cfg.merge_from_dict(options)
    cfg.model.x.y.append(2)
    assert options == before
    assert cfg.model == {"x": {"y": [1, 2]}, "z": 1}
