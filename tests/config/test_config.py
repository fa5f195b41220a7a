"""The Config and ConfigDict objects."""

from __future__ import annotations

import copy
import pickle

import pytest

from mmhooks.config import Config, ConfigDict
from mmhooks.errors import ConfigError


@pytest.fixture
def cfg():
    return Config({"model": {"type": "Net", "heads": [{"n": 1}, ({"m": 2},)]}, "lr": 0.1})


def test_keys_are_items_and_attributes(cfg):
    assert cfg.model.type == cfg["model"]["type"] == "Net"
    assert cfg.model.heads[0].n == 1
    assert cfg.model.heads[1][0].m == 2
    assert (cfg.get("lr"), cfg.get("x"), cfg.get("x", 3)) == (0.1, None, 3)
    assert "model" in cfg
    assert "type" not in cfg
    assert list(cfg) == list(cfg.keys()) == ["model", "lr"]
    assert len(cfg) == len(cfg.items()) == len(cfg.values()) == 2
    assert isinstance(cfg.model, dict)
    assert not isinstance(cfg, dict)


def test_a_missing_attribute_names_near_keys(cfg):
    with pytest.raises(AttributeError, match=r"^Config has no attribute 'modle'; did you mean 'model'\?$"):
        cfg.modle  # noqa: B018
    with pytest.raises(AttributeError, match=r"^ConfigDict has no attribute 'typ'; did you mean 'type'\?$"):
        cfg.model.typ  # noqa: B018
    with pytest.raises(AttributeError, match="'typ'"):
        del cfg.model.typ
    with pytest.raises(KeyError):
        cfg["modle"]
    assert not hasattr(cfg, "modle")
    assert getattr(cfg, "modle", 5) == 5


def test_what_is_written_becomes_config_dicts(cfg):
    cfg.data = {"train": {"n": 1}}
    cfg["test"] = [{"n": 2}]
    cfg.model.neck = {"k": 3}
    cfg.model["tail"] = ({"k": 4},)
    assert (cfg.data.train.n, cfg.test[0].n, cfg.model.neck.k, cfg.model.tail[0].k) == (1, 2, 3, 4)
    cfg.setdefault("hooks", []).append(1)
    assert cfg.hooks == [1]
    assert cfg.model.setdefault("type", "x") == "Net"
    del cfg.lr
    del cfg["test"]
    del cfg.model.neck
    assert list(cfg) == ["model", "data", "hooks"]
    assert cfg.pop("data") == {"train": {"n": 1}}


def test_update_goes_into_dicts(cfg):
    cfg.model.update({"head": {"a": 1}}, type="M")
    cfg.model.update(head={"b": {"c": 2}})
    cfg.model |= {"head": {"b": {"d": 3}}}
    assert cfg.model.head == {"a": 1, "b": {"c": 2, "d": 3}}
    assert cfg.model.head.b.d == 3
    cfg.update(lr=5, model={"type": "N"})
    assert (cfg.lr, cfg.model.type, cfg.model.head.a) == (5, "N", 1)


def test_names_of_methods_are_items_only():
    cfg = Config({"items": 1, "model": {"get": 2}})
    assert cfg["items"] == 1
    assert cfg.model["get"] == 2
    with pytest.raises(AttributeError, match=r"'get' is a method of ConfigDict; write cfg\['get'\]"):
        cfg.model.get = 3


@pytest.mark.parametrize("key", ["filename", "text", "pretty_text"])
def test_reserved_keys_are_refused_everywhere(cfg, key):
    with pytest.raises(ConfigError, match="is reserved"):
        Config({key: 1})
    with pytest.raises(ConfigError, match="is reserved"):
        cfg[key] = 1
    with pytest.raises(ConfigError, match="is reserved"):
        setattr(cfg, key, 1)
    with pytest.raises(ConfigError, match="is reserved"):
        cfg.merge_from_dict({f"{key}.x": 1})
    cfg.model[key] = 1  # below the top it is a key like any other
    assert cfg.model[key] == 1


def test_to_dict_is_plain_and_a_copy(cfg):
    plain = cfg.to_dict()
    assert plain == {"model": {"type": "Net", "heads": [{"n": 1}, ({"m": 2},)]}, "lr": 0.1}

    def kinds(value):
        yield type(value)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
            yield from kinds(item)

    assert set(kinds(plain)) == {dict, list, tuple, str, int, float}
    plain["model"]["heads"].append(1)
    assert len(cfg.model.heads) == 2


def test_the_dict_that_was_given_stays_as_it_is():
    given = {"a": {"b": [1]}}
    cfg = Config(given)
    cfg.a.b.append(2)
    cfg.a.c = 3
    assert given == {"a": {"b": [1]}}


def test_an_empty_config_and_no_dict():
    assert len(Config()) == 0
    assert Config().filename is None
    assert Config().text == ""
    with pytest.raises(ConfigError, match=r"takes a dict, not str; for a file: Config\.fromfile\(path\)"):
        Config("config.py")


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.deepcopy,
        lambda value: pickle.loads(pickle.dumps(value)),
        *(lambda value, p=protocol: pickle.loads(pickle.dumps(value, p)) for protocol in range(2, 6)),
    ],
)
def test_deep_copies_and_pickles(cfg, duplicate):
    other = duplicate(Config(cfg.to_dict(), "text", "file.py"))
    assert (other.filename, other.text) == ("file.py", "text")
    assert other.to_dict() == cfg.to_dict()
    other.model.heads[0].n = 7
    assert cfg.model.heads[0].n == 1
    nested = duplicate(cfg.model)
    assert type(nested) is type(nested.heads[0]) is ConfigDict
    assert nested == cfg.model


def test_shallow_copies_share_their_values(cfg):
    for other in (cfg.model.copy(), copy.copy(cfg.model)):
        assert type(other) is ConfigDict
        assert other.heads is cfg.model.heads
        other.type = "other"
    assert cfg.model.type == "Net"
    other = copy.copy(cfg)
    other.lr = 9
    assert cfg.lr == 0.1
    assert other.model is cfg.model


def test_repr_names_the_file():
    assert repr(Config({"a": 1}, filename="x.py")) == "Config (path: x.py): {'a': 1}"


def test_two_dicts_make_a_third(cfg):
    before = cfg.to_dict()
    made = cfg.model | {"type": "Other", "neck": {"k": 1}}
    assert (made.type, made.neck.k, made.heads[0].n) == ("Other", 1, 1)
    assert type({"a": {"b": 1}} | cfg.model) is ConfigDict
    assert ({"type": "x", "a": {"b": 1}} | cfg.model).a.b == 1
    made.heads[0].n = 5
    deep = cfg.model.deepcopy()
    deep.heads[1][0].m = 6
    assert cfg.to_dict() == before


def test_a_config_of_another_s_values_shares_nothing_with_it(cfg):
    other = Config(cfg._cfg_dict)
    other.model.heads[0].n = 5
    other.model.heads.append(1)
    assert cfg.model.heads == [{"n": 1}, ({"m": 2},)]


def test_errors_are_those_that_mmcv_raises_too(cfg):
    with pytest.raises(KeyError, match=r"^the key 'text' is reserved"):
        cfg["text"] = 1
    with pytest.raises(KeyError, match="index 7 is out of range"):
        cfg.merge_from_dict({"model.heads.7.n": 1})
    with pytest.raises(TypeError, match="lr is a dict here, but of type float"):
        cfg.merge_from_dict({"lr.x": 1})
