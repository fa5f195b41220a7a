"""Weights on their way from a file into a model."""

import logging

import pytest
import torch
from torch import nn

from mmhooks import CheckpointError, ConfigError, ModelError
from mmhooks.checkpoint import (
    get_state_dict,
    load_checkpoint,
    load_state_dict,
    model_state,
    weights_to_cpu,
)


def ones(model):
    return {key: torch.ones_like(value) for key, value in model.state_dict().items()}


def test_strict_tells_all_that_does_not_fit_and_touches_nothing():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {**ones(model), "1.weight": torch.zeros(9, 2), "extra": torch.zeros(1)}
    del state["1.bias"]
    with pytest.raises(
        CheckpointError,
        match=r"do not fit the model; not in the model: extra; not in the file: 1\.bias; "
        r"size mismatch for 1\.weight: .*\[9, 2\].*\[1, 3\]",
    ):
        load_state_dict(model, state, strict=True)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_otherwise_what_fits_is_loaded_and_the_rest_is_said(caplog):
    model = nn.Linear(2, 3)
    before = model.weight.clone()
    state = {"weight": torch.zeros(9, 2), "bias": torch.ones(3), "extra": torch.zeros(1)}
    left = load_state_dict(model, state)
    assert list(left) == ["extra"]
    assert torch.equal(model.bias, torch.ones(3))
    assert torch.equal(model.weight, before)
    assert "not in the model: extra; size mismatch for weight" in caplog.text


def test_model_state_looks_through_wrappers_and_names_all_buffers(caplog):
    inner = nn.BatchNorm1d(2)
    inner.register_buffer("hidden", torch.ones(1), persistent=False)
    model = nn.Sequential(nn.DataParallel(inner))
    state = model_state(model)
    assert list(state) == ["0.weight", "0.bias", "0.running_mean", "0.running_var", "0.num_batches_tracked", "0.hidden"]
    assert state._metadata["0"] == {"version": 2}
    state["0.weight"] = torch.full((2,), 3.0)
    for target in (model, nn.Sequential(inner)):
        nn.init.zeros_(inner.weight)
        assert load_state_dict(target, state, strict=True) == {}
        assert torch.equal(inner.weight, torch.full((2,), 3.0))
    assert caplog.text == ""


def test_a_module_may_rename_the_keys_of_its_older_versions():
    class Renamed(nn.Linear):
        _version = 2

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
            if local_metadata.get("version", 1) < 2:
                state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}kernel")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    model = nn.Sequential(Renamed(2, 1, bias=False))
    old = {"0.kernel": torch.full((1, 2), 5.0)}
    assert load_state_dict(model, old, strict=True) == {}
    assert torch.equal(model[0].weight, torch.full((1, 2), 5.0))
    assert list(old) == ["0.kernel"]  # the caller's dict is not changed
    load_state_dict(nn.Sequential(Renamed(2, 1, bias=False)), get_state_dict(model), strict=True)


def test_a_count_of_batches_may_be_missing():
    model = nn.BatchNorm1d(2)
    state = get_state_dict(model)
    del state["num_batches_tracked"]
    assert load_state_dict(model, state, strict=True) == {}


def test_get_state_dict():
    model = nn.Linear(2, 1)
    assert get_state_dict(model)["weight"].grad_fn is None
    assert get_state_dict(model, keep_vars=True)["weight"] is model.weight
    into = get_state_dict(nn.Linear(1, 1), prefix="a.")
    assert get_state_dict(model, into, prefix="b.") is into
    assert list(into) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    assert weights_to_cpu(into)._metadata == into._metadata

    class Hooked(nn.Linear):
        pass

    hooked = Hooked(2, 1)
    hooked._register_state_dict_hook(lambda module, state, prefix, metadata: type(state)(only=state[prefix + "bias"]))
    assert list(get_state_dict(hooked)) == ["only"]


@pytest.fixture
def saved(tmp_path):
    def save(state):
        torch.save({"state_dict": state, "meta": {"epoch": 1}}, tmp_path / "a.pth")
        return tmp_path / "a.pth"

    return save


def test_the_prefix_of_a_parallel_wrapper_is_taken_off(saved):
    model = nn.Linear(2, 3)
    file = saved({f"module.{key}": value for key, value in ones(model).items()})
    content = load_checkpoint(nn.DataParallel(model), file, strict=True)
    assert content["meta"] == {"epoch": 1}
    assert torch.equal(model.bias, torch.ones(3))


@pytest.mark.parametrize("name", ["module", "module_list"])
def test_a_part_that_is_called_so_keeps_its_name(saved, name):
    model = nn.Module()
    setattr(model, name, nn.Linear(2, 1))
    load_checkpoint(model, saved(ones(model)), strict=True)
    assert torch.equal(getattr(model, name).bias, torch.ones(1))


def test_revised_keys(saved):
    model = nn.Linear(2, 3)
    file = saved({f"old.backbone.{key}": value for key, value in ones(model).items()})
    load_checkpoint(model, file, strict=True, revise_keys=[(r"^old\.", ""), (r"^backbone\.", "")])
    assert torch.equal(model.bias, torch.ones(3))
    load_checkpoint(model, file, strict=True, revise_keys={r"^old\.backbone\.": ""}.items())
    with pytest.raises(CheckpointError, match=r"not in the model: old\.backbone\.weight"):
        load_checkpoint(model, file, strict=True)


@pytest.mark.parametrize("wrong", [[("(", "")], ["^module"], ["ab"], [(r"^a\.", None)], [1]])
def test_revise_keys_that_are_none(saved, wrong):
    with pytest.raises(ConfigError, match=r"revise_keys: .* is no \(pattern, replacement\)"):
        load_checkpoint(nn.Linear(1, 1), saved({"a.weight": torch.ones(1, 1)}), revise_keys=wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strict": "x"}, "load_checkpoint's strict must be True or False, not 'x'"),
        ({"weights_only": "x"}, "load_checkpoint's weights_only must be True or False, not 'x'"),
        ({"revise_keys": 3}, r"revise_keys must be a list of \(pattern, replacement\), .*not 3"),
        ({"revise_keys": "ab"}, r"revise_keys must be a list of \(pattern, replacement\), .*not 'ab'"),
        ({"filename": 3}, r"load_checkpoint's filename must be a path \(str or pathlib.Path\), not 3"),
        ({"filename": ""}, "load_checkpoint's filename is an empty name: name a file"),
        ({"logger": "x"}, r"load_checkpoint's logger must be a logging.Logger or None, not 'x'"),
        ({"map_location": "foo"}, r"map_location must be a device such as 'cpu' or 'cuda:0', .*not 'foo' \("),
        ({"map_location": 3}, "map_location must be a device .* a dict of devices, a function or None, not 3"),
        (
            {"filename": "zz://a.pth"},
            r"protocol 'zz' is not known .*CheckpointLoader.register_scheme\('zz://', loader\)",
        ),
    ],
)
def test_bad_arguments(saved, arguments, message):
    model = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match=message):
        load_checkpoint(model, **{"filename": saved(ones(model)), **arguments})


def test_strict_of_load_state_dict():
    with pytest.raises(ConfigError, match="load_state_dict's strict must be True or False, not 'x'"):
        load_state_dict(nn.Linear(1, 1), {}, strict="x")


@pytest.mark.parametrize("state", [5, None, [("weight", torch.ones(1, 1))], {3: torch.ones(1)}])
def test_a_state_dict_that_is_none(state):
    with pytest.raises(ConfigError, match="load_state_dict's state_dict must be a dict of tensors by name, not "):
        load_state_dict(nn.Linear(1, 1), state)


@pytest.mark.parametrize("wrong", [None, {"type": "Net"}, nn.Linear])
def test_what_is_no_model(saved, wrong):
    with pytest.raises(ModelError, match=r"load_checkpoint's model must be a torch\.nn\.Module, not "):
        load_checkpoint(wrong, saved({}))
    with pytest.raises(ModelError, match=r"load_state_dict's module must be a torch\.nn\.Module, not "):
        load_state_dict(wrong, {})
    with pytest.raises(ModelError, match=r"get_state_dict's module must be a torch\.nn\.Module, not "):
        get_state_dict(wrong)


def test_a_logger_of_ones_own(saved, caplog):
    caplog.set_level("INFO")
    logger = logging.getLogger("a logger of my own")
    file = saved({"weight": torch.ones(1, 1)})
    load_checkpoint(nn.Linear(1, 1), file, logger=logger)
    load_state_dict(nn.Linear(1, 1), {}, logger=logger)
    assert caplog.record_tuples == [
        (logger.name, logging.INFO, f"load checkpoint from {file}"),
        (logger.name, logging.WARNING, "the weights do not fit the model exactly; not in the file: bias"),
        (logger.name, logging.WARNING, "the weights do not fit the model exactly; not in the file: weight, bias"),
    ]
    with pytest.raises(ConfigError, match=r"load_state_dict's logger must be a logging.Logger or None, not 'x'"):
        load_state_dict(nn.Linear(1, 1), {}, logger="x")


def test_map_location(saved):
    content = load_checkpoint(nn.Linear(1, 1), saved({"weight": torch.ones(1, 1)}), map_location="meta")
    assert content["state_dict"]["weight"].device.type == "meta"
