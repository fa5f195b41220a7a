"""Recipes: how the code bases of the MMCV 1.x era consume their configs, one file each."""

from mmhooks.recipes.find import RECIPES, find_recipe
from mmhooks.recipes.mmcls import MMCLS
from mmhooks.recipes.mmdet import MMDET
from mmhooks.recipes.mmpose import MMPOSE
from mmhooks.recipes.mmseg import MMSEG
from mmhooks.recipes.own import OWN
from mmhooks.recipes.recipe import Builders, Evaluation, Loaders, Recipe

__all__ = [
    "MMCLS",
    "MMDET",
    "MMPOSE",
    "MMSEG",
    "OWN",
    "RECIPES",
    "Builders",
    "Evaluation",
    "Loaders",
    "Recipe",
    "find_recipe",
]
