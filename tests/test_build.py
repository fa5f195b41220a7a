"""build_run: from a config to a RunSpec, and RunSpecs through both drivers."""

import copy
import json
import os
import random
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from mmhooks import HOOKS, ConfigError, EMAHook, EpochBasedRunner, EvalHook, Hook, IterBasedRunner, RegistryError
from mmhooks.build import RunSpec, build_run, model_and_evaluation
from mmhooks.checkpoint import read_checkpoint, write_checkpoint
from mmhooks.config import Config
from mmhooks.drivers import find_driver, native

PROJECT = """
import torch
from torch import nn
from mmhooks import DATASETS, MODELS

@MODELS.register_module(force=True)
class BuildNet(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Dropout(0.5), nn.Linear(width, 2))

    def forward(self, x, y=None, return_loss=True):
        scores = self.body(x)
        return nn.functional.cross_entropy(scores, y) if return_loss else list(scores)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = self(**data)
        return dict(loss=loss, log_vars=dict(loss=loss.detach()), num_samples=len(data["x"]))

    val_step = train_step

@DATASETS.register_module(force=True)
class BuildSet(torch.utils.data.Dataset):
    def __init__(self, size=10, seed=0):
        source = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 3, generator=source)
        self.y = (self.x.sum(1) > 0).long()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return dict(x=self.x[index], y=self.y[index])

    def evaluate(self, results, logger=None, metric="hits"):
        right = torch.stack(results).argmax(1) == self.y
        return {metric: float(right.float().mean())}
"""


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory):
    """The package of a project, importable but not imported."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "build_project.py").write_text(PROJECT)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("build_project", None)


@pytest.fixture
def base():
    return {
        "custom_imports": {"imports": ["build_project"], "allow_failed_imports": False},
        "model": {"type": "BuildNet", "width": 5},
        "data": {
            "samples_per_gpu": 4,
            "workers_per_gpu": 0,
            "train": {"type": "BuildSet", "size": 10},
            "val": {"type": "BuildSet", "size": 6, "seed": 1},
        },
        "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        "optimizer_config": {},
        "lr_config": {"policy": "step", "step": [1]},
        "checkpoint_config": {"interval": 1},
        "log_config": {"interval": 1, "hooks": [{"type": "TextLoggerHook"}]},
        "runner": {"type": "EpochBasedRunner", "max_epochs": 2},
        "seed": 3,
    }


def without(cfg, *keys):
    return {key: value for key, value in cfg.items() if key not in keys}


def names(spec: RunSpec, tmp_path) -> list[str]:
    runner_class = EpochBasedRunner if spec.by_epoch else IterBasedRunner
    runner = runner_class(spec.model, optimizer=spec.optimizer, work_dir=tmp_path)
    spec.register_on(runner)
    return [type(hook).__name__ for hook in runner.hooks]


def logged(folder) -> list[dict]:
    (log,) = Path(folder).glob("*.log.json")
    return [json.loads(line) for line in log.read_text().splitlines()]


# what is built ------------------------------------------------------------------------------------------------


def test_a_config_becomes_a_run(base, tmp_path):
    before = copy.deepcopy(base)
    spec = build_run(base, work_dir=tmp_path, device="cpu")
    assert base == before
    assert type(spec.model).__name__ == "BuildNet"
    assert isinstance(spec.optimizer, torch.optim.SGD)
    assert spec.workflow == [("train", 1)]
    assert (spec.by_epoch, spec.max_epochs, spec.max_iters) == (True, 2, None)
    (loader,) = spec.loaders  # no val flow, so no val loader
    assert (loader.batch_size, len(loader.dataset), loader.num_workers) == (4, 10, 0)
    assert isinstance(loader.sampler, torch.utils.data.RandomSampler)
    assert spec.work_dir == str(tmp_path)
    assert spec.meta["seed"] == 3
    assert spec.training_hooks.keys() == {"lr_config", "optimizer_config", "checkpoint_config", "log_config"}


def test_a_val_flow_has_a_loader_in_order(base):
    base["workflow"] = [["train", 1], ("val", 1)]
    spec = build_run(base, device="cpu")
    assert spec.workflow == [("train", 1), ("val", 1)]
    assert len(spec.loaders[1].dataset) == 6
    assert isinstance(spec.loaders[1].sampler, torch.utils.data.SequentialSampler)


def test_a_file_gives_its_name_and_values_to_meta(base, tmp_path):
    file = tmp_path / "tiny.py"
    file.write_text("\n".join(f"{key} = {value!r}" for key, value in base.items()))
    cfg = Config.fromfile(file)
    cfg.merge_from_dict({"optimizer.lr": 0.5})
    spec = build_run(cfg, device="cpu")
    assert spec.meta["exp_name"] == "tiny.py"
    again = tmp_path / "again.py"
    again.write_text(spec.meta["config"])
    assert Config.fromfile(again).to_dict() == cfg.to_dict()


def test_the_iteration_is_rescaled_by_the_config_in_a_file(base, tmp_path):
    base["gpu_ids"] = [0, 1]
    file = tmp_path / "tiny.py"
    file.write_text("\n".join(f"{key} = {value!r}" for key, value in base.items()))
    cfg = Config.fromfile(file)
    assert native(build_run(cfg, work_dir=tmp_path / "work", device="cpu")).iter == 6
    content = read_checkpoint(tmp_path / "work" / "epoch_2.pth")
    del content["mmhooks"]  # which says how many processes there were
    write_checkpoint(content, tmp_path / "mmcv.pth")
    spec = build_run(cfg, resume_from=tmp_path / "mmcv.pth", device="cpu")
    spec.training_hooks["checkpoint_config"] = None
    assert native(spec).iter == 12


def test_hooks_in_a_config_are_those_that_run(base):
    class Counts(Hook):
        def __init__(self):
            self.lock, self.count = threading.Lock(), 0  # which cannot be copied

        def after_train_iter(self, runner):
            self.count += 1

    hook = Counts()
    base["custom_hooks"] = [hook]
    base["checkpoint_config"] = None
    native(build_run(base, device="cpu"))
    assert hook.count == 6


def test_a_config_for_several_processes_evaluates_in_one(base):
    base["evaluation"] = {"metric": "hits", "gpu_collect": True, "tmpdir": "shared", "broadcast_bn_buffer": False}
    base["checkpoint_config"] = None
    ((config, _),) = build_run(base, device="cpu").hooks
    assert config.keys() == {"type", "by_epoch", "metric", "dataloader"}
    native(build_run(base, device="cpu"))


def test_the_projects_modules_are_imported_by_building_alone(base, tmp_path):
    sys.modules.pop("build_project", None)
    file = tmp_path / "tiny.py"
    file.write_text("\n".join(f"{key} = {value!r}" for key, value in base.items()))
    cfg = Config.fromfile(file)
    assert "build_project" not in sys.modules
    build_run(cfg, device="cpu")
    assert "build_project" in sys.modules


@pytest.mark.parametrize("given", [None, 7])
def test_a_seed_fixes_all_three_generators_and_the_weights(base, given):
    runs = []
    for _ in range(2):
        spec = build_run(base, seed=given, device="cpu")
        runs.append((torch.rand(1).item(), random.random(), np.random.rand(), spec.model.body[0].bias[0].item()))
        assert spec.meta["seed"] == (3 if given is None else given)
    assert runs[0] == runs[1]


def test_another_seed_gives_other_weights(base):
    first, second = (build_run(base, seed=seed, device="cpu").model.body[0].weight for seed in (0, 1))
    assert not first.equal(second)


def test_without_a_seed_nothing_is_seeded(base):
    torch.manual_seed(0)
    first = build_run(without(base, "seed"), device="cpu").model.body[0].weight
    second = build_run(without(base, "seed"), device="cpu").model.body[0].weight
    assert not first.equal(second)


def test_a_deterministic_run_has_a_seed(base, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    build_run(base, device="cpu")
    assert not torch.backends.cudnn.deterministic
    spec = build_run(without(base, "seed"), deterministic=True, device="cpu")
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
    drawn = torch.rand(1).item()
    again = build_run(without(base, "seed"), seed=spec.meta["seed"], device="cpu")
    assert torch.rand(1).item() == drawn
    assert again.meta["seed"] == spec.meta["seed"]


def test_param_groups_as_the_config_says(base):
    base["optimizer"]["paramwise_cfg"] = {"bias_lr_mult": 2.0}
    spec = build_run(base, device="cpu")
    assert [group["lr"] for group in spec.optimizer.param_groups] == [0.1, 0.2, 0.1, 0.2]


@pytest.mark.parametrize(
    ("fp16", "config", "expected"),
    [
        ({"loss_scale": 512.0}, {"grad_clip": {"max_norm": 1}}, {"grad_clip": {"max_norm": 1}, "loss_scale": 512.0}),
        ({"loss_scale": "dynamic"}, None, {"loss_scale": "dynamic"}),
        ({}, {}, {}),
    ],
)
def test_fp16_is_an_optimizer_hook(base, fp16, config, expected):
    base.update(fp16=fp16, optimizer_config=config)
    hooks = build_run(base, device="cpu").training_hooks
    assert hooks["optimizer_config"] == {"type": "Fp16OptimizerHook", **expected}


def test_no_fp16_is_the_ordinary_optimizer_hook(base):
    assert build_run({**base, "fp16": None}, device="cpu").training_hooks["optimizer_config"] == {}


def test_workers_are_seeded_as_mmcvs_projects_do(base):
    base["data"]["workers_per_gpu"] = 2
    spec = build_run(base, device="cpu")
    spec.loaders[0].worker_init_fn(1)
    expected = random.Random(3 + 1).random()
    assert random.random() == expected
    assert np.random.rand() == np.random.RandomState(3 + 1).rand()


def test_workers_of_the_largest_seed(base):
    base["data"]["workers_per_gpu"] = 2
    loader = build_run(base, seed=2**32 - 1, device="cpu").loaders[0]
    loader.worker_init_fn(1)
    assert np.random.rand() == np.random.RandomState(0).rand()


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ({"runner": {"type": "EpochBasedRunner", "max_epochs": 3}}, (True, 3, None)),
        ({"runner": {"type": "IterBasedRunner", "max_iters": 9}}, (False, None, 9)),
        ({"runner": {"max_iters": 9}}, (False, None, 9)),
        ({"total_epochs": 4}, (True, 4, None)),
        ({"total_iters": 5}, (False, None, 5)),
    ],
)
def test_the_length_of_the_run(base, length, expected):
    spec = build_run({**without(base, "runner"), **length}, device="cpu")
    assert (spec.by_epoch, spec.max_epochs, spec.max_iters) == expected


def test_hooks_and_their_order(base, tmp_path):
    base["evaluation"] = {"interval": 1, "metric": "hits", "save_best": "hits", "rule": "greater"}
    base["custom_hooks"] = [{"type": "EMAHook", "priority": "ABOVE_NORMAL"}]
    spec = build_run(base, device="cpu")
    assert names(spec, tmp_path) == [
        "StepLrUpdaterHook",
        "OptimizerHook",
        "EMAHook",
        "CheckpointHook",
        "IterTimerHook",
        "EvalHook",
        "TextLoggerHook",
    ]


def test_an_evaluation_counts_what_the_run_counts(base, tmp_path):
    base.update(runner={"type": "IterBasedRunner", "max_iters": 2}, evaluation={"interval": 1, "metric": "hits"})
    spec = build_run(base, work_dir=tmp_path, device="cpu")
    runner = native(spec)
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, EvalHook)]
    assert not hook.by_epoch
    assert [line["hits"] for line in logged(tmp_path) if "hits" in line] == pytest.approx([0.5, 0.5], abs=0.5)


def test_arguments_go_before_the_configs_keys(base, tmp_path):
    base.update(work_dir="theirs", load_from="theirs.pth", resume_from="resumed.pth")
    spec = build_run(base, device="cpu")
    assert (spec.work_dir, spec.load_from, spec.resume_from) == ("theirs", "theirs.pth", "resumed.pth")
    spec = build_run(base, work_dir=tmp_path, load_from="a.pth", resume_from=Path("b.pth"), device="cpu")
    assert (spec.work_dir, spec.load_from, spec.resume_from) == (str(tmp_path), "a.pth", "b.pth")


def test_auto_resume_takes_the_latest_if_there_is_one(base, tmp_path):
    def found():
        return build_run(base, work_dir=tmp_path, auto_resume=True, device="cpu").resume_from

    def write(name, at, **content):
        write_checkpoint({"meta": {"epoch": at, "iter": at}, "state_dict": {}, **content}, tmp_path / name)
        os.utime(tmp_path / name, (at, at))

    assert found() is None
    write("epoch_1.pth", 1)
    assert found() == str(tmp_path / "epoch_1.pth")
    (tmp_path / "latest.pth").symlink_to("epoch_1.pth")
    assert found() == str(tmp_path / "latest.pth")
    write("epoch_2.pth", 2)  # the run was killed before latest.pth was set to it
    assert found() == str(tmp_path / "epoch_2.pth")
    write("weights.pth", 3, meta={})
    assert found() == str(tmp_path / "epoch_2.pth")
    with pytest.raises(ConfigError, match="no work_dir"):
        build_run(base, auto_resume=True, device="cpu")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_auto_resume_looks_past_broken_files(base, tmp_path, damage, caplog):
    for number in (1, 2):
        path = tmp_path / f"epoch_{number}.pth"
        write_checkpoint({"meta": {"epoch": number, "iter": 4}, "state_dict": {"w": torch.arange(9.0)}}, path)
        os.utime(path, (number, number))
    content = path.read_bytes()
    place = content.index(torch.arange(9.0).numpy().tobytes()) + 5
    flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    path.write_bytes({"cut": content[:-200], "flipped": flipped, "empty": b""}[damage])
    spec = build_run(base, work_dir=tmp_path, auto_resume=True, device="cpu")
    assert spec.resume_from == str(tmp_path / "epoch_1.pth")
    assert f"auto_resume goes back to {spec.resume_from}, since newer ones are broken: {path} is" in caplog.text
    (tmp_path / "epoch_1.pth").write_bytes(b"")
    assert build_run(base, work_dir=tmp_path, auto_resume=True, device="cpu").resume_from is None
    assert "auto_resume begins anew: no checkpoint in" in caplog.text


def test_keys_that_nothing_knows_are_left_alone(base):
    base.update(dist_params={"backend": "nccl"}, cudnn_benchmark=True, opencv_num_threads=0)
    assert build_run(base, device="cpu")


# what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["model", "data", "optimizer", "optimizer_config"])
def test_a_missing_key_is_named_with_the_file(base, tmp_path, key):
    file = tmp_path / "broken.py"
    file.write_text("\n".join(f"{name} = {value!r}" for name, value in without(base, key).items()))
    with pytest.raises(ConfigError, match=rf"broken\.py has no '{key}'"):
        build_run(Config.fromfile(file), device="cpu")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"model": None}, ConfigError, "^the config: model must be a dict, not None$"),
        ({"data": None}, ConfigError, "^the config: data must be a dict, not None$"),
        ({"data": {"samples_per_gpu": 1, "train": None}}, ConfigError, r"data\.train must be a dict, not None$"),
        ({"optimizer": None}, ConfigError, "^the config: optimizer must be a dict, not None$"),
        ({"model": ["BuildNet"]}, ConfigError, "model must be a dict"),
        ({"model": {"type": "BuildNett"}}, RegistryError, "did you mean 'BuildNet'"),
        ({"workflow": [("val", 1)]}, ConfigError, "never trains"),
        ({"workflow": ["train"]}, ConfigError, "a flow of the workflow"),
        ({"workflow": 1}, ConfigError, "workflow must be a list"),
        ({"workflow": [("train", True)]}, ConfigError, r"^the config: a flow .* not \('train', True\)"),
        ({"workflow": [("train", 1), ("val", -1)]}, ConfigError, r"0 \(never\) or more, not \('val', -1\)"),
        ({"runner": {"type": "EpochBasedRuner", "max_epochs": 1}}, ConfigError, "did you mean 'EpochBasedRunner'"),
        ({"runner": {"type": "EpochBasedRunner", "max_iters": 1}}, ConfigError, "how long to train"),
        ({"runner": None}, ConfigError, "how long to train"),
        (
            {"runner": {"type": "EpochBasedRunner", "max_epochs": 1, "max_epoch": 5}},
            ConfigError,
            "runner takes type, max_epochs, max_iters, not 'max_epoch'; did you mean 'max_epochs'",
        ),
        ({"fp16": 512.0}, ConfigError, "fp16 must be a dict"),
        (
            {"fp16": {"type": "OptimizerHook", "grad_clip": None}},
            ConfigError,
            r"fp16 has .* no type: .* write optimizer_config=dict\(type='OptimizerHook', grad_clip=None\)",
        ),
        (
            {"fp16": {"loss_scale": 512.0}, "optimizer_config": {"type": "OptimizerHook"}},
            ConfigError,
            "fp16 means .*Fp16OptimizerHook.*optimizer_config has type='OptimizerHook' too: set fp16=None",
        ),
        ({"fp16": {"grad_clip": None}, "optimizer_config": {"grad_clip": {}}}, ConfigError, "has grad_clip={} too"),
        ({"find_unused_parameters": "yes"}, ConfigError, "find_unused_parameters must be True or False, not 'yes'"),
        ({"seed": -1}, ConfigError, "seed must be a whole number"),
        ({"log_level": "LOUD"}, ConfigError, "log_level='LOUD'"),
        ({"custom_imports": {"imports": ["no_such_module"]}}, ConfigError, "names 'no_such_module'"),
        ({"custom_imports": [1]}, ConfigError, "names of modules"),
        ({"custom_imports": [""]}, ConfigError, "names of modules such as 'my_package.my_module', not ''"),
        ({"custom_imports": ".build_project"}, ConfigError, "names of modules .* not '.build_project'"),
        ({"custom_imports": 5}, ConfigError, r"custom_imports must be a list such as \['my_package.*not 5"),
        ({"custom_imports": {"imports": 5}}, ConfigError, "custom_imports must be a list such as .*not 5"),
        (
            {"custom_imports": {"import_": ["build_project"]}},
            ConfigError,
            "custom_imports takes imports, allow_failed_imports, not 'import_'; did you mean 'imports'",
        ),
        (
            {"custom_imports": {"imports": ["build_project"], "allow_failed_imports": "no"}},
            ConfigError,
            "allow_failed_imports must be True or False, not 'no'",
        ),
        ({"custom_hooks": 5}, ConfigError, r"custom_hooks must be a list of hooks such as \[dict\(type=.*not 5"),
        ({"custom_hooks": [{"type": "EMAHook"}, None]}, ConfigError, r"custom_hooks\[1\] must be a dict .*not None"),
        (
            {"custom_hooks": [{"type": "EMAHook", "priority": None}]},
            ConfigError,
            r"custom_hooks\[0\]: priority must be an integer, a name or a Priority, not NoneType",
        ),
        ({"custom_hooks": {"type": "EMAHook", "priority": "HIHG"}}, ConfigError, "custom_hooks: .*did you mean 'HIGH'"),
        ({"evaluation": 5}, ConfigError, "^the config: evaluation must be a dict, not 5"),
        ({"evaluation": {"priority": None}}, ConfigError, "evaluation: priority must be an integer"),
        ({"work_dir": 5}, ConfigError, r"^the config's work_dir must be a path \(str or pathlib.Path\) or None, not 5"),
        ({"work_dir": "s3://a/b"}, ConfigError, "^the config: work_dir must be a folder of this machine"),
        ({"work_dir": f"{__file__}/work"}, ConfigError, "^the config: work_dir cannot be .* is a file"),
        ({"load_from": 5}, ConfigError, "^the config's load_from must be a path"),
        ({"resume_from": 5}, ConfigError, "^the config's resume_from must be a path"),
        ({"data": {"train": {"type": "BuildSet"}}}, ConfigError, r"data\.samples_per_gpu"),
        ({"data": {"samples_per_gpu": 1}}, ConfigError, r"data\.train"),
        ({"optimizer": {"type": "SGD", "lr": 1, "paramwise_cfg": [1]}}, TypeError, "paramwise_cfg must be a dict"),
    ],
)
def test_mistakes_say_what_to_write(base, change, error, says):
    with pytest.raises(error, match=says):
        build_run({**base, **change}, device="cpu")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"work_dir": "s3://a/b"},
            r"^work_dir must be a folder of this machine, .*checkpoint_config=dict\(out_dir='s3",
        ),
        ({"work_dir": Path("s3://a/b")}, "^work_dir must be a folder of this machine, not 's3:/a/b'"),
        ({"work_dir": "file:///tmp/work"}, "^work_dir must be a folder of this machine"),
        ({"work_dir": __file__}, "^work_dir cannot be .* is a file: choose another folder"),
        ({"work_dir": ""}, "work_dir is an empty path"),
        ({"load_from": ""}, "load_from is an empty path: leave it out, or say which"),
        ({"load_from": 0}, "build_run's load_from must be a path"),
        ({"resume_from": ""}, "resume_from is an empty path"),
        ({"resume_from": False}, "build_run's resume_from must be a path"),
        ({"auto_resume": "x"}, "build_run's auto_resume must be True or False, not 'x'"),
        ({"diff_seed": 1}, "build_run's diff_seed must be True or False, not 1"),
        ({"deterministic": None}, "build_run's deterministic must be True or False, not None"),
        ({"device": "gpu"}, "build_run's device must be a device such as 'cpu' or 'cuda:0', or None, not 'gpu' "),
        ({"device": 0.5}, "build_run's device must be a device such as .* not 0.5 "),
    ],
)
def test_arguments_of_a_wrong_kind(base, arguments, says):
    with pytest.raises(ConfigError, match=says):
        build_run(base, **arguments)


@pytest.mark.parametrize("key", ["load_from", "resume_from", "work_dir"])
def test_an_empty_path_in_a_config_is_none(base, key):
    assert getattr(build_run({**base, key: ""}, device="cpu"), key) is None


@pytest.mark.parametrize("hook", [{"type": "EMAHook"}, EMAHook(), [EMAHook()], (EMAHook(),)])
def test_custom_hooks_may_be_objects(base, hook):
    assert [priority for _, priority in build_run({**base, "custom_hooks": hook}, device="cpu").hooks] == ["NORMAL"]


@pytest.mark.parametrize(
    ("change", "error", "says", "place"),
    [
        ({"model": {"type": 5}}, TypeError, "type must be a registered name", "model of the config"),
        ({"model": {"type": "BuildNett"}}, RegistryError, "did you mean 'BuildNet'", "model of the config"),
        ({"model": {"type": "BuildNet", "widht": 1}}, TypeError, "did you mean 'width'", "model of the config"),
        (
            {"data": {"samples_per_gpu": 4, "train": {"type": 5}}},
            TypeError,
            "type must be a registered name",
            "data.train of the config",
        ),
        ({"optimizer": {"type": "SDG", "lr": 1}}, RegistryError, "did you mean 'SGD'", "optimizer of the config"),
    ],
)
def test_what_cannot_be_built_is_told_with_its_key(base, change, error, says, place):
    with pytest.raises(error, match=says) as caught:
        build_run({**base, **change}, device="cpu")
    assert caught.value.__notes__[-1] == f"while building {place}"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (
            {"lr_config": "step"},
            ConfigError,
            r"lr_config must be a dict such as lr_config=dict\(policy='step'.*not 'step'",
        ),
        ({"lr_config": {"policy": "stepp", "step": 1}}, RegistryError, "lr_config has the policy 'stepp'"),
        ({"optimizer_config": {"type": 5}}, TypeError, "type must be a registered name"),
        ({"log_config": {"hooks": [5]}}, ConfigError, r"log_config\.hooks\[0\] must be a dict such as"),
        ({"custom_hooks": [{"type": "EMAHook", "momentumm": 1}]}, TypeError, "did you mean 'momentum'"),
    ],
)
def test_a_hook_that_cannot_be_registered_is_told_with_the_file(base, tmp_path, change, error, says):
    file = tmp_path / "broken.py"
    file.write_text("\n".join(f"{name} = {value!r}" for name, value in {**base, **change}.items()))
    with pytest.raises(error, match=says) as caught:
        native(build_run(Config.fromfile(file), device="cpu"))
    assert caught.value.__notes__[-1] == f"while building the hooks of {file}"


@pytest.mark.parametrize(
    ("key", "meant"),
    [("intervall", "interval"), ("save_bst", "save_best"), ("metirc", "metric"), ("zero_count", "zero_counts")],
)
def test_a_misspelt_key_of_the_evaluation_is_a_warning(base, caplog, key, meant):
    with caplog.at_level("WARNING", "mmhooks"):
        build_run({**base, "evaluation": {key: 1}}, device="cpu")
    assert f"the config: evaluation.{key} goes to dataset.evaluate; did you mean '{meant}'?" in caplog.text


@pytest.mark.parametrize(
    ("key", "meant"), [("optimzer", "optimizer"), ("lr_confg", "lr_config"), ("evalution", "evaluation")]
)
def test_a_misspelt_key_of_the_config_is_a_warning(base, caplog, key, meant):
    with caplog.at_level("WARNING", "mmhooks"):
        build_run({**base, key: {"lr": 0.01}}, device="cpu")
    assert caplog.messages == [f"the config: nothing reads {key}; did you mean '{meant}'?"]


@pytest.mark.parametrize("key", ["dataset_type", "data_root", "img_norm_cfg", "note", "max_epochs"])
def test_other_keys_of_the_config_are_left_alone(base, caplog, key):
    with caplog.at_level("WARNING", "mmhooks"):
        build_run({**base, key: "mine"}, device="cpu")
    assert not caplog.text


@pytest.mark.parametrize("key", ["metric", "metrics", "classwise", "jsonfile_prefix", "out_dir", "priority"])
def test_other_keys_of_the_evaluation_are_not(base, caplog, key):
    with caplog.at_level("WARNING", "mmhooks"):
        build_run({**base, "evaluation": {key: "LOW"}}, device="cpu")
    assert not caplog.text


def test_an_evaluation_of_the_projects_own_takes_the_place_of_ours(base, tmp_path, monkeypatch):
    monkeypatch.setattr(HOOKS, "_module_dict", dict(HOOKS.module_dict))

    @HOOKS.register_module(name="EvalHook")
    class Own(EvalHook):
        pass

    spec = build_run({**base, "evaluation": {"metric": "hits"}}, device="cpu")
    assert "Own" in names(spec, tmp_path)
    assert type(model_and_evaluation({**base, "evaluation": {"metric": "hits"}}, device="cpu")[1]) is Own


def test_an_import_that_may_fail_is_a_warning(base, caplog):
    base["custom_imports"] = {"imports": ["build_project", "no_such_module"], "allow_failed_imports": True}
    with caplog.at_level("WARNING", "mmhooks"):
        build_run(base, device="cpu")
    assert "no_such_module" in caplog.text


# judging a model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("test", "size"), [(None, 6), ({"type": "BuildSet", "size": 8}, 8)])
def test_a_model_is_judged_over_test_or_else_val(base, test, size):
    base["evaluation"] = {"interval": 3, "metric": "right"}
    if test:
        base["data"]["test"] = test
    model, evaluation = model_and_evaluation(base, device="cpu")
    assert type(model).__name__ == "BuildNet"
    assert len(evaluation.dataloader.dataset) == size
    assert evaluation.eval_kwargs == {"metric": "right"}


def test_the_priority_of_an_evaluation_is_not_for_the_data_set(base):
    base["evaluation"] = {"metric": "right", "priority": "LOW"}
    assert model_and_evaluation(base, device="cpu")[1].eval_kwargs == {"metric": "right"}


@pytest.mark.parametrize(
    ("evaluation", "says"),
    [
        (5, "^the config: evaluation must be a dict, not 5"),
        ({"type": dict}, "type of evaluation must be a subclass of mmhooks.EvalHook, not builtins.dict"),
    ],
)
def test_what_is_no_evaluation_is_refused(base, evaluation, says):
    with pytest.raises(ConfigError, match=says):
        model_and_evaluation({**base, "evaluation": evaluation}, device="cpu")


def test_a_model_is_judged_on_a_device(base):
    with pytest.raises(ConfigError, match="model_and_evaluation's device must be a device"):
        model_and_evaluation(base, device="gpu")


# drivers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "length", [{"type": "EpochBasedRunner", "max_epochs": 2}, {"type": "IterBasedRunner", "max_iters": 7}]
)
def test_both_drivers_give_the_same_weights_and_files(base, tmp_path, length):
    base.update(runner=length, evaluation={"interval": 1, "metric": "hits", "save_best": "hits", "rule": "greater"})
    for driver in ("native", "lightning"):
        spec = build_run(base, work_dir=tmp_path / driver, device="cpu")
        spec.timestamp = "now"
        runner = find_driver(driver)(spec)
        assert runner.iter == (6 if spec.by_epoch else 7)
    ours, theirs = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("native", "lightning"))
    assert ours == theirs
    assert {"latest.pth", "now.log.json"} < set(ours)
    first, second = (read_checkpoint(tmp_path / name / "latest.pth")["state_dict"] for name in ("native", "lightning"))
    assert first.keys() == second.keys()
    assert all(first[key].equal(second[key]) for key in first)


def test_native_loads_and_resumes(base, tmp_path):
    first = native(build_run(base, work_dir=tmp_path / "a", device="cpu"))
    file = tmp_path / "a" / "epoch_1.pth"
    resumed = native(build_run(base, work_dir=tmp_path / "b", resume_from=file, device="cpu"))
    assert (resumed.epoch, resumed.iter) == (2, 6)
    assert sorted(path.name for path in (tmp_path / "b").glob("epoch_*.pth")) == ["epoch_2.pth"]
    base["runner"]["max_epochs"] = 0
    base["checkpoint_config"] = None
    loaded = native(build_run(base, load_from=tmp_path / "a" / "epoch_2.pth", device="cpu"))
    assert (loaded.epoch, loaded.iter) == (0, 0)
    for name, value in first.model.state_dict().items():
        assert value.equal(loaded.model.state_dict()[name])


def test_the_lightning_driver_refuses_nodes_of_several_sizes(base, monkeypatch):
    spec = build_run(base, device="cpu")
    dist.init_process_group("fake", store=dist.HashStore(), rank=0, world_size=3)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr(dist, "all_gather_object", lambda found, mine: found.__setitem__(slice(None), [0, 1, 0]))
    try:
        with pytest.raises(ConfigError, match="start as many on each, or use --driver native"):
            find_driver("lightning")(spec)
    finally:
        dist.destroy_process_group()


def test_an_unknown_driver_names_the_known():
    with pytest.raises(ConfigError, match="there are lightning, native; did you mean 'native'"):
        find_driver("nativ")


def test_a_driver_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmhooks_lightning.driver", None)
    with pytest.raises(ConfigError, match=r'pip install "mmhooks\[lightning\]"'):
        find_driver("lightning")
