"""One's own code on MMCV alone: models and data sets are in registries, and ``custom_imports`` brings them there."""

from __future__ import annotations

from mmhooks.recipes.recipe import Evaluation, Recipe

OWN = Recipe(name="mmcv", evaluation=Evaluation(without_key=False), custom_hooks="after")
