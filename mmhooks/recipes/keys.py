"""Keys: what becomes of every key of a config, so that none is lost without a word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from mmhooks.config.source import Source
from mmhooks.recipes.recipe import SPLITS, Recipe

#: Keys that every recipe reads, of which a run is made.
RUN_KEYS = (
    "runner",
    "total_epochs",
    "total_iters",
    "optimizer",
    "optimizer_config",
    "fp16",
    "lr_config",
    "momentum_config",
    "checkpoint_config",
    "log_config",
    "log_level",
    "evaluation",
    "workflow",
    "load_from",
    "resume_from",
    "auto_resume",
    "work_dir",
    "seed",
    "dist_params",
    "find_unused_parameters",
    "cudnn_benchmark",
    "mp_start_method",
    "opencv_num_threads",
    "auto_scale_lr",
    "custom_imports",
    "gpu_ids",
    "device",
)
#: Keys that older releases or other code bases read, by what they did.
_OTHERS = {
    "visual_config": "it draws images during training, in mmgen alone",
    "precise_bn": "mmaction makes a PreciseBNHook of it: write custom_hooks=[dict(type='PreciseBNHook')]",
    "multigrid": "it changes the shape of batches, in mmaction alone",
    "omnisource": "it joins several data sets, in mmaction alone",
    "module_hooks": "it hooks into modules of the model, in mmtracking and mmaction alone",
    "paramwise_options": "it was optimizer.paramwise_cfg in MMCV before 1.0",
    "ipu_replicas": "it is for Graphcore's IPUs",
}


class Fate(StrEnum):
    """What becomes of a key."""

    RUN = "run"  # of the hooks, the optimizer, the runner, the loaders: mapped
    BUILD = "model or data"  # handed to the builders
    HELPER = "helper"  # other keys were made of it
    COMMAND_LINE = "command line"  # the command line of the code base sets it, whatever the config says
    UNREAD = "not read"  # nothing in the code base reads it


@dataclass(frozen=True)
class KeyFate:
    """What becomes of one key, and why.

    Attributes:
        key: its name, ``"data.samples_per_gpu"`` for one inside ``data``.
        fate: what becomes of it.
        why: a sentence, where the fate alone does not say it.
    """

    key: str
    fate: Fate
    why: str = ""


def key_fates(source: Source, recipe: Recipe, text: str = "") -> list[KeyFate]:
    """Say of every key of a config what becomes of it.

    Args:
        source: the config.
        recipe: how its code base consumes it.
        text: the text of the config and its bases, which tells keys that others were made of.
    """
    fates = [_fate(key, recipe, text) for key in source.values if key != "data"]
    data = source.values.get("data")
    if isinstance(data, dict):
        fates += [_data_fate(str(key), recipe) for key in data]
    elif "data" in source.values:
        fates.append(KeyFate("data", Fate.BUILD))
    return fates


def _fate(key: str, recipe: Recipe, text: str) -> KeyFate:
    if key in recipe.unread:
        return KeyFate(key, Fate.UNREAD, recipe.unread[key])
    if key in recipe.command_line:
        return KeyFate(key, Fate.COMMAND_LINE, f"the command line of {recipe.name} sets it, whatever the config says")
    if key == "fp16" and recipe.fp16 == "ignored":
        return KeyFate(
            key, Fate.UNREAD, f"{recipe.name} does not read it: write optimizer_config=dict(type='Fp16OptimizerHook')"
        )
    run_keys = (*RUN_KEYS, *recipe.custom_hooks_keys, *recipe.loader_keys.values(), recipe.skips_optimizer_hook)
    if key in run_keys:
        return KeyFate(key, Fate.RUN)
    if key == "model" or (recipe.builders is not None and key in recipe.builders.model_arguments):
        return KeyFate(key, Fate.BUILD)
    if _is_used(key, text):
        return KeyFate(key, Fate.HELPER)
    owner = "the run" if recipe.package is None else f"{recipe.package} {recipe.version}"
    return KeyFate(key, Fate.UNREAD, _OTHERS.get(key, f"neither {owner} nor another key of the config reads it"))


def _data_fate(key: str, recipe: Recipe) -> KeyFate:
    name = f"data.{key}"
    if key in SPLITS[:3]:
        return KeyFate(name, Fate.BUILD)
    if key in SPLITS:
        return KeyFate(name, Fate.RUN)
    loaders = recipe.loaders
    if loaders is None:
        reads: tuple[str, ...] | None = ("samples_per_gpu", "workers_per_gpu")
    else:
        reads = loaders.reads
    if reads is None or key in reads or key == "imgs_per_gpu":
        return KeyFate(name, Fate.RUN)
    return KeyFate(name, Fate.UNREAD, f"the loaders of {recipe.name} do not read it")


def _is_used(name: str, text: str) -> bool:
    """Tell whether a name stands in an expression: anywhere but where it gets its value, or is a keyword."""
    word = re.escape(name)
    return re.search(rf"(?<![\w.'\"]){word}(?!\w)(?!\s*=[^=])|_base_\.{word}(?!\w)|\$\{{{word}\b", text) is not None
