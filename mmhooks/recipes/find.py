"""Which recipe a config is for: told by its user, or known by the type of its model."""

from __future__ import annotations

import importlib
from typing import Any

from mmhooks.config.source import Source
from mmhooks.errors import ConfigError, nearest
from mmhooks.recipes.mmcls import MMCLS
from mmhooks.recipes.mmdet import MMDET
from mmhooks.recipes.mmpose import MMPOSE
from mmhooks.recipes.mmseg import MMSEG
from mmhooks.recipes.own import OWN
from mmhooks.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (OWN, MMDET, MMSEG, MMCLS, MMPOSE)}
_FORK = "or a fork's own recipe, --codebase package.module:RECIPE"


def find_recipe(source: Source, codebase: str | None = None) -> Recipe:
    """Find the recipe of a config.

    Args:
        source: the config.
        codebase: the name of a recipe, or ``"package.module:RECIPE"`` for one of a fork, which is imported. Without
            it the type of the model tells, ``mmdet.FasterRCNN`` by its scope; a config with ``custom_imports`` and an
            unknown model is one's own code.

    Raises:
        ConfigError: there is no such recipe, or the config does not tell which one it is for.
    """
    if codebase is not None:
        return _imported(codebase) if ":" in codebase else _named(codebase)
    kind = model_type(source)
    if kind is not None:
        scope, _, name = kind.rpartition(".")
        if scope:
            return _named(scope)
        known = recipe_of_model(name)
        if known is not None:
            return known
    if source.values.get("custom_imports") is not None:
        return OWN
    found = f"its model is a {kind!r}" if kind is not None else "it has no model.type"
    raise ConfigError(
        f"{source.name} does not tell which code base trains it: {found}. Say --codebase "
        f"{', '.join(name for name in RECIPES if name != OWN.name)}, {OWN.name} for your own code on MMCV alone, "
        f"{_FORK}"
    )


def model_type(source: Source) -> str | None:
    """Give the ``type`` of the config's ``model``, if it has one."""
    model: Any = source.values.get("model")
    kind = model.get("type") if isinstance(model, dict) else None
    return kind if isinstance(kind, str) else None


def recipe_of_model(kind: str) -> Recipe | None:
    """Give the recipe of the code base that has a model of this type, if there is one."""
    return next((recipe for recipe in RECIPES.values() if kind in recipe.model_types), None)


def _named(name: str) -> Recipe:
    try:
        return RECIPES[name]
    except KeyError:
        raise ConfigError(
            f"there is no recipe for the code base {name!r}{nearest(name, RECIPES) or '.'} Say --codebase "
            f"{', '.join(RECIPES)}, {_FORK}"
        ) from None


def _imported(path: str) -> Recipe:
    module, _, name = path.partition(":")
    try:
        recipe = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--codebase {path} cannot be imported: {error}. Is its folder on PYTHONPATH?") from error
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"--codebase {path} is a {type(recipe).__name__}, and must be a mmhooks.recipes.Recipe")
    return recipe
