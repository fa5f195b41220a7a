"""Which code base a config is known to be of, and what becomes of its keys."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from runtime_configs import CONFIGS

from mmhooks.config import Config
from mmhooks.config.source import Source
from mmhooks.errors import ConfigError
from mmhooks.plan import plan_run
from mmhooks.recipes import MMDET, OWN, Recipe, find_recipe
from mmhooks.recipes.keys import Fate, KeyFate


def source(**values: object) -> Source:
    return Source.of(Config(values))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_type_of_the_model_tells(name: str) -> None:
    assert find_recipe(source(**CONFIGS[name])).name == name


def test_the_scope_of_the_type_goes_first() -> None:
    assert find_recipe(source(model={"type": "mmseg.FasterRCNN"})).name == "mmseg"


def test_own_modules_tell_own_code() -> None:
    assert find_recipe(source(model={"type": "MyNet"}, custom_imports={"imports": ["my.net"]})) is OWN


def test_an_unknown_model_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"its model is a 'BEVFormer'. Say --codebase mmdet, mmseg, .* mmcv for your"):
        find_recipe(source(model={"type": "BEVFormer"}))
    with pytest.raises(ConfigError, match=r"it has no model.type"):
        find_recipe(source(model="BEVFormer"))


def test_a_misspelt_code_base_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no recipe for the code base 'mmdett'; did you mean 'mmdet'"):
        find_recipe(source(), "mmdett")


def test_a_fork_brings_its_own_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fork_of_mmdet.py").write_text(
        "from dataclasses import replace\nfrom mmhooks.recipes import MMDET\n"
        "RECIPE = replace(MMDET, name='fork', custom_hooks='after')\nOTHER = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = find_recipe(source(), "fork_of_mmdet:RECIPE")
    assert isinstance(recipe, Recipe)
    assert (recipe.name, recipe.builders) == ("fork", MMDET.builders)
    keys = [hook.key for hook in plan_run(CONFIGS["mmdet"], recipe).hooks]
    assert keys == ["evaluation", "custom_hooks[0]"]
    with pytest.raises(ConfigError, match=r"fork_of_mmdet:OTHER is a int"):
        find_recipe(source(), "fork_of_mmdet:OTHER")
    with pytest.raises(ConfigError, match=r"cannot be imported: No module named 'not_there'"):
        find_recipe(source(), "not_there:RECIPE")
    sys.modules.pop("fork_of_mmdet")


def fates(text: str, codebase: str) -> dict[str, KeyFate]:
    return {fate.key: fate for fate in plan_run(Config.fromstring(text, ".py"), codebase).keys}


BASE = "optimizer_config = {}\nlr_config = dict(policy='fixed')\ntotal_epochs = 3\n"


def test_every_key_has_a_fate() -> None:
    text = BASE + (
        "norm = dict(type='BN')\nmodel = dict(type='FasterRCNN', norm=norm)\nleft = 3\nseed = 1\n"
        "visual_config = None\ndata = dict(samples_per_gpu=2, odd=1, train=dict(type='A'))\n"
    )
    found = fates(text, "mmdet")
    assert {key: fate.fate for key, fate in found.items()} == {
        "optimizer_config": Fate.RUN,
        "lr_config": Fate.RUN,
        "total_epochs": Fate.RUN,
        "norm": Fate.HELPER,
        "model": Fate.BUILD,
        "left": Fate.UNREAD,
        "seed": Fate.COMMAND_LINE,
        "visual_config": Fate.UNREAD,
        "data.samples_per_gpu": Fate.RUN,
        "data.odd": Fate.UNREAD,
        "data.train": Fate.BUILD,
    }
    assert found["left"].why == "neither mmdet 2.28.2 nor another key of the config reads it"
    assert "mmgen" in found["visual_config"].why


def test_a_keyword_of_the_same_name_is_no_use() -> None:
    assert fates(BASE + "depth = 50\nmodel = dict(depth=18)\n", "mmdet")["depth"].fate is Fate.UNREAD
    assert fates(BASE + "depth = 50\nmodel = dict(depth=depth)\n", "mmdet")["depth"].fate is Fate.HELPER
    assert fates(BASE + "depth = 50\nmodel = dict(name='${depth}')\n", "mmdet")["depth"].fate is Fate.HELPER


def test_what_a_code_base_ignores_is_said() -> None:
    assert "does not read it" in fates(BASE.replace("epochs", "iters") + "fp16 = {}\n", "mmseg")["fp16"].why
    assert fates(BASE + "runner = dict(type='IterBasedRunner', max_iters=2)\n", "mmpose")["runner"].fate is Fate.UNREAD


def test_references_are_filled_in_where_the_code_base_does() -> None:
    text = BASE + "a = dict(b=[1, 2])\nwork_dir = 'out/${total_epochs}'\nmodel = dict(type='X', sizes='${a.b}')\n"
    plan = plan_run(Config.fromstring(text, ".py"), "mmdet")
    assert plan.work_dir == "out/3"
    assert plan.source.values["model"]["sizes"] == [1, 2]
    assert plan_run(Config.fromstring(text, ".py"), "mmpose").work_dir == "out/${total_epochs}"
    with pytest.raises(ConfigError, match=r"\$\{a.c\} stands for a key that is not there"):
        plan_run(Config.fromstring(text.replace("a.b", "a.c"), ".py"), "mmdet")
    with pytest.raises(ConfigError, match=r"is a part of a text and stands for a list"):
        plan_run(Config.fromstring(text.replace("'${a.b}'", "'x${a.b}'"), ".py"), "mmdet")


def test_the_lr_is_scaled_for_all_processes_where_enabled() -> None:
    text = BASE + (
        "optimizer = dict(type='SGD', lr=0.02)\nauto_scale_lr = dict(enable=True, base_batch_size=16)\n"
        "data = dict(samples_per_gpu=4, train={}, val={})\n"
    )
    cfg = Config.fromstring(text, ".py")
    assert plan_run(cfg, "mmdet", world_size=2).optimizer == {"type": "SGD", "lr": 0.01}
    assert plan_run(cfg, "mmdet", world_size=4).optimizer == {"type": "SGD", "lr": 0.02}
    assert plan_run(cfg, "mmcls", world_size=2).optimizer == {"type": "SGD", "lr": 0.02}
    assert cfg.optimizer.lr == 0.02
