"""Which registry a name is looked up in; the hooks of the real mmcv are tried in tests/foreign."""

import sys
from types import ModuleType

import pytest
from torch import nn

import mmhooks.foreign
from mmhooks import HOOKS, CheckpointHook, EMAHook, EpochBasedRunner, Hook, RegistryError
from mmhooks.registry import MODELS, OPTIMIZER_BUILDERS, OPTIMIZERS, RUNNERS, Registry


def a_class(name, module):
    return type(name, (), {"__module__": module})


@pytest.fixture
def theirs(monkeypatch):
    """A module of the shape of mmcv.runner, as if somebody had imported it."""
    module = ModuleType("mmcv.runner")
    for name in ("HOOKS", "OPTIMIZERS", "OPTIMIZER_BUILDERS", "RUNNERS"):
        setattr(module, name, Registry(name, scope="mmcv"))
    module.HOOKS.register_module(module=a_class("EMAHook", "mmcv.runner.hooks.ema"))
    module.HOOKS.register_module(module=a_class("TheirHook", "mmcv.runner.hooks.their"))
    monkeypatch.setitem(sys.modules, "mmcv.runner", module)
    return module


def test_without_mmcv_nothing_is_looked_up_or_changed(tmp_path):
    assert "mmcv" not in sys.modules
    assert HOOKS.get("TheirHook") is HOOKS.get("mmcv.EMAHook") is None
    runner = EpochBasedRunner(Trained(), max_epochs=1, work_dir=tmp_path)
    runner.register_hook(CheckpointHook(1))
    assert type(runner.hooks[0]) is CheckpointHook


class Trained(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)

    def train_step(self, data, optimizer=None, **kwargs):
        return {}


def test_ours_comes_before_mmcvs(theirs):
    assert HOOKS.get("EMAHook") is EMAHook
    assert HOOKS.get("mmhooks.EMAHook") is EMAHook
    assert HOOKS.get("mmcv.EMAHook") is theirs.HOOKS.get("EMAHook")
    assert HOOKS.get("TheirHook") is HOOKS.get("mmcv.TheirHook") is theirs.HOOKS.get("TheirHook")
    assert HOOKS.get("mmhooks.TheirHook") is None


def test_a_projects_comes_before_both(theirs):
    mine = a_class("EMAHook", "lab.hooks")
    theirs.HOOKS.register_module(module=mine, force=True)
    assert HOOKS.get("EMAHook") is HOOKS.get("mmcv.EMAHook") is mine
    assert HOOKS.get("mmhooks.EMAHook") is EMAHook


def test_what_is_registered_with_mmhooks_comes_first(theirs, monkeypatch):
    mine = type("TheirHook", (Hook,), {})
    monkeypatch.setitem(HOOKS.module_dict, "TheirHook", mine)
    assert HOOKS.get("TheirHook") is mine


def test_registries_of_other_kinds(theirs, monkeypatch):
    mine = a_class("Mine", "lab.things")
    for name in ("OPTIMIZERS", "OPTIMIZER_BUILDERS", "RUNNERS"):
        getattr(theirs, name).register_module(module=mine)
    assert OPTIMIZERS.get("Mine") is OPTIMIZER_BUILDERS.get("Mine") is mine
    assert RUNNERS.get("Mine") is None  # a loop of mmcv's is none of ours
    assert MODELS.get("Mine") is None
    models = ModuleType("mmcv.cnn")
    models.MODELS = Registry("model", scope="mmcv")
    models.MODELS.register_module(module=mine)
    monkeypatch.setitem(sys.modules, "mmcv.cnn", models)
    assert MODELS.get("Mine") is mine
    assert Registry("hook", parent=HOOKS, scope="below").get("mmcv.TheirHook") is theirs.HOOKS.get("TheirHook")
    del HOOKS.children["below"]


def test_scopes_below_mmcvs(theirs):
    below = Registry("hook", parent=theirs.HOOKS, scope="lab")
    below.register_module(module=(mine := a_class("Mine", "lab.hooks")))
    assert HOOKS.get("lab.Mine") is HOOKS.get("mmcv.lab.Mine") is mine
    assert HOOKS.get("lab.Other") is HOOKS.get("other.Mine") is None
    with pytest.raises(RegistryError, match=r"'Mine' is not in the hook registry .* did you mean 'lab.Mine'\?"):
        HOOKS.build({"type": "Mine"})


def test_messages_name_what_is_near_there(theirs):
    with pytest.raises(RegistryError, match="did you mean 'TheirHook'"):
        HOOKS.build({"type": "ThierHook"})


def test_opting_out(theirs, monkeypatch):
    monkeypatch.setattr(mmhooks.foreign, "enabled", False)
    assert HOOKS.get("TheirHook") is HOOKS.get("mmcv.EMAHook") is None
    assert "TheirHook" not in HOOKS.all_keys()


def test_a_module_that_is_being_imported_has_no_registry_yet(theirs):
    del theirs.HOOKS
    assert HOOKS.get("TheirHook") is None
    assert HOOKS.get("EMAHook") is EMAHook
