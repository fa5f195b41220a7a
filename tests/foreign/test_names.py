"""Names that a project has registered with mmcv, in configs of mmhooks."""

import subprocess
import sys
from pathlib import Path

import mmcv.runner as mmcv
import mmcv_project as project
import pytest
import torch
from mmcv.utils import Registry
from real_mmcv import Net, train

import mmhooks
import mmhooks.foreign
from mmhooks import HOOKS, OPTIMIZER_BUILDERS, OPTIMIZERS, RegistryError, build_optimizer, build_runner
from mmhooks.build import build_run
from mmhooks.config import Config
from mmhooks.drivers import find_driver
from mmhooks.registry import MODELS


def test_what_only_mmcv_has():
    assert HOOKS.get("CountHook") is project.CountHook
    assert "CountHook" in HOOKS
    assert HOOKS.get("mmcv.CountHook") is project.CountHook
    assert OPTIMIZERS.get("HalfSGD") is project.HalfSGD
    assert OPTIMIZER_BUILDERS.get("LastFaster") is project.LastFaster
    assert MODELS.get("ProjectNet") is project.ProjectNet
    assert HOOKS.get("NoSuchHook") is HOOKS.get("mmcv.NoSuchHook") is HOOKS.get("no.Such.Hook") is None
    assert "CountHook" not in HOOKS.module_dict


def test_what_both_have():
    for name in ("EMAHook", "CheckpointHook", "StepLrUpdaterHook", "TextLoggerHook", "PaviLoggerHook"):
        assert HOOKS.get(name) is HOOKS.get(f"mmhooks.{name}") is getattr(mmhooks, name)
        assert HOOKS.get(f"mmcv.{name}") is getattr(mmcv, name)
    assert OPTIMIZERS.get("SGD") is torch.optim.SGD
    assert OPTIMIZER_BUILDERS.get("DefaultOptimizerConstructor") is mmhooks.DefaultOptimizerConstructor


def test_what_a_project_has_put_there_is_the_projects(monkeypatch):
    assert HOOKS.get("CheckInvalidLossHook") is project.CheckInvalidLossHook  # ours yields, mmcv has none
    assert HOOKS.get("mmhooks.CheckInvalidLossHook") is mmhooks.CheckInvalidLossHook

    class EMAHook(mmcv.EMAHook):
        pass

    monkeypatch.setitem(mmcv.HOOKS.module_dict, "EMAHook", EMAHook)  # as register_module(force=True) does
    assert HOOKS.get("EMAHook") is EMAHook
    assert HOOKS.get("mmhooks.EMAHook") is mmhooks.EMAHook

    class Own(mmhooks.EMAHook):
        pass

    monkeypatch.setitem(HOOKS.module_dict, "EMAHook", Own)
    assert HOOKS.get("EMAHook") is Own


def test_a_registry_below_mmcvs(monkeypatch):
    monkeypatch.setattr(mmcv.HOOKS, "_children", {})
    below = Registry("hook", parent=mmcv.HOOKS, scope="lab")
    below.register_module(module=project.CountHook)
    assert HOOKS.get("lab.CountHook") is project.CountHook
    assert HOOKS.get("mmcv.lab.CountHook") is project.CountHook
    assert HOOKS.get("lab.Other") is None
    with pytest.raises(RegistryError, match=r"'lab.CuontHook' is not in the hook registry .* did you mean 'CountHook'"):
        HOOKS.build({"type": "lab.CuontHook"})


def test_messages_know_them_too(tmp_path):
    runner = mmhooks.EpochBasedRunner(Net(), max_epochs=1, work_dir=tmp_path)
    with pytest.raises(RegistryError, match="did you mean 'CountHook'"):
        runner.register_hook({"type": "CuontHook"})
    with pytest.raises(RegistryError, match="policy 'halfing', which nobody registered; did you mean 'halving'"):
        runner.register_lr_hook({"policy": "halfing"})
    with pytest.raises(TypeError, match="CountHook got an unexpected keyword argument 'faktor'; did you mean 'factor'"):
        runner.register_hook({"type": "CountHook", "faktor": 2})
    with pytest.raises(RegistryError, match="'RefusedRunner' is not in the runner registry"):
        build_runner({"type": "RefusedRunner", "max_epochs": 1}, {"model": Net()})


def test_opting_out(monkeypatch):
    monkeypatch.setattr(mmhooks.foreign, "enabled", False)
    assert HOOKS.get("CountHook") is HOOKS.get("mmcv.EMAHook") is OPTIMIZERS.get("HalfSGD") is None
    assert HOOKS.get("CheckInvalidLossHook") is mmhooks.CheckInvalidLossHook
    with pytest.raises(RegistryError, match="'CountHook' is not in the hook registry"):
        HOOKS.build({"type": "CountHook"})


@pytest.mark.parametrize(("by_epoch", "length"), [(True, 3), (False, 7)])
def test_a_hook_and_a_policy_in_configs(tmp_path, by_epoch, length):
    hooks = lambda: [{"type": project.CountHook, "factor": 2}]  # noqa: E731
    named = lambda: [{"type": "CountHook", "factor": 2, "priority": "HIGH"}]  # noqa: E731
    training = {"lr_config": {"policy": "halving"}, "custom_hooks_config": None}
    arguments = {"by_epoch": by_epoch, "length": length, "training": training}
    theirs = train("mmcv", tmp_path / "mmcv", lambda: [project.CountHook(2)], **arguments)
    for driver in ("native", "lightning"):
        for place, make in (("class", hooks), ("name", named)):
            ours = train(driver, tmp_path / driver / place, make, **arguments)
            assert ours.lrs == theirs.lrs
            assert ours.log == theirs.log
            assert torch.equal(ours.model.last.weight, theirs.model.last.weight)


OPTIMIZER_CONFIGS = (
    {"type": "HalfSGD", "lr": 0.1},
    {"type": "SGD", "lr": 0.1, "constructor": "LastFaster"},
    {"type": "HalfSGD", "lr": 0.1, "constructor": "LastFaster"},
)


@pytest.mark.parametrize("config", OPTIMIZER_CONFIGS, ids=str)
def test_optimizers(config):
    model = Net()
    paramwise = {"paramwise_cfg": {"bias_lr_mult": 1.0}} if "constructor" in config else {}
    ours = build_optimizer(model, {**config, **paramwise})
    theirs = mmcv.build_optimizer(model, {**config, **paramwise})
    assert type(ours) is type(theirs)
    assert [group["lr"] for group in ours.param_groups] == [group["lr"] for group in theirs.param_groups]


CONFIG = """
custom_imports = dict(imports=["mmcv_project"])
model = dict(type="ProjectNet")
data = dict(samples_per_gpu=6, train=dict(type="Points"), val=dict(type="Points", size=10, seed=9))
optimizer = dict(type="HalfSGD", lr=0.2, momentum=0.9)
optimizer_config = dict(type="mmcv.OptimizerHook", grad_clip=dict(max_norm=0.5))
lr_config = dict(policy="halving")
runner = dict(type="EpochBasedRunner", max_epochs=2)
checkpoint_config = dict(interval=1)
log_config = dict(interval=2, hooks=[dict(type="TextLoggerHook")])
evaluation = dict(interval=1, save_best="acc")
custom_hooks = [dict(type="CountHook", priority="HIGH"), dict(type="CheckInvalidLossHook")]
"""


def test_a_config_under_both_drivers(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    states = []
    for driver in ("native", "lightning"):
        spec = build_run(Config.fromfile(path), work_dir=tmp_path / driver, seed=1, device="cpu")
        assert type(spec.model) is project.ProjectNet
        runner = find_driver(driver)(spec)
        assert runner.meta["checked"] == 7
        assert [type(hook).__module__ for hook in runner.hooks].count("mmcv_project") == 3
        assert {path.name for path in (tmp_path / driver).glob("*.pth")} >= {"epoch_1.pth", "epoch_2.pth", "latest.pth"}
        states.append(spec.model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def run(code, *words):
    """Run code where mmcv can be imported, and is not."""
    paths = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]; import real_mmcv; "
    command = [sys.executable, "-c", paths + code, *map(str, words)]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_nothing_imports_mmcv_by_itself(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        CONFIG.replace('imports=["mmcv_project"]', "imports=[]").replace("mmcv.OptimizerHook", "OptimizerHook")
    )
    code = """
import os
if os.environ.get("MMHOOKS_MMCV"): sys.path.append(os.environ["MMHOOKS_MMCV"])
import importlib.util
assert importlib.util.find_spec("mmcv") is not None
import mmhooks, mmhooks.foreign, mmhooks_lightning
from mmhooks.build import build_run
from mmhooks.config import Config
config = Config.fromfile(sys.argv[1])
def told(build, *args, **kwargs):
    try:
        build(*args, **kwargs)
    except mmhooks.RegistryError as error:
        print(str(error).split(" is not")[0])
told(build_run, config, work_dir="work", device="cpu")
told(mmhooks.HOOKS.build, dict(type="mmcv.CountHook"))
told(mmhooks.HOOKS.build, dict(type="CountHook"))
print([name for name in sys.modules if name.partition(".")[0] == "mmcv"])
"""
    assert run(code, path).splitlines() == ["'ProjectNet'", "'mmcv.CountHook'", "'CountHook'", "[]"]


def test_mmcv_may_be_imported_after_the_hooks_are_registered(tmp_path):
    """By a module that a hook imports, for one; the run looks again when it begins."""
    code = """
from mmhooks import CheckpointHook, EpochBasedRunner, TextLoggerHook
model = real_mmcv.Net()
runner = EpochBasedRunner(model, optimizer=real_mmcv.sgd(model), work_dir=sys.argv[1], max_epochs=1)
runner.register_hook(CheckpointHook(1))
assert type(runner.hooks[0]) is CheckpointHook
assert real_mmcv.join()
import mmcv.runner
runner.run([[]], [("train", 1)])
assert isinstance(runner.hooks[0], mmcv.runner.CheckpointHook) and isinstance(runner, mmcv.runner.BaseRunner)
print("good")
"""
    assert run(code, tmp_path).split()[-1] == "good"
