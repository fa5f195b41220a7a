"""The project that a migration writes: its files, from templates."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from mmhooks import __version__
from mmhooks.builders import val_flow
from mmhooks.checkpoint import atomic_write
from mmhooks.config.writing import write_python
from mmhooks.errors import ConfigError
from mmhooks.hooks import DistEvalHook
from mmhooks.plan import RunPlan
from mmhooks.recipes import Builders, Recipe
from mmhooks.registry import arguments_of

#: Keys of ``evaluation`` that the hook takes; all others go to ``dataset.evaluate``.
_HOOK_ARGUMENTS = frozenset(
    (
        "type",
        "priority",
        "dynamic_intervals",
        "pre_eval",
        "efficient_test",
        "key_indicator",
        *arguments_of(DistEvalHook),
    )
)

#: What builders.py itself defines.
_OWN_NAMES = ("build_evaluation", "build_loader", "build_model", "build_optimizer")


def rendered(template: str, **values: Any) -> str:
    """Fill in a template of this package.

    Args:
        template: its name, ``"bridge/train.py.jinja"``.
        **values: what it may use.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def config_text(plan: RunPlan, values: Mapping[str, Any]) -> str:
    """Write the config of a migrated run: where it comes from, how it trains, and what the builders take.

    Args:
        plan: the plan of the run.
        values: what its style says of it.

    Raises:
        ConfigError: a value that is no data.
    """
    origin = Path(plan.source.name).name
    codebase = f", a config of {plan.recipe.package} {plan.recipe.version}" if plan.recipe.package else ""
    return f'"""Migrated from {quotable(origin)}{codebase}, by mmhooks {__version__}."""\n\n' + write_python(
        {**values, **built_values(plan)}
    )


def quotable(name: str) -> str:
    """Give a name of a file as it may stand in the texts that are written: it must not end them.

    Args:
        name: the name.
    """
    return re.sub(r'["\\]|[^\x20-\x7e]', "_", name)


def built_values(plan: RunPlan) -> dict[str, Any]:
    """Give the part of a migrated config that the builders take: model, data, the arguments of loaders.

    Args:
        plan: the plan of the run.
    """
    values = plan.source.values
    keys = ["model"]
    if plan.recipe.builders is not None:
        keys += plan.recipe.builders.model_arguments
    built = {key: values[key] for key in keys if key in values}
    data = values.get("data")
    if isinstance(data, Mapping):
        built["data"] = {split: data[split] for split in ("train", "val", "test") if split in data}
        if plan.recipe.builders is not None and "val" in dict(plan.workflow):
            built["data"]["val_flow"] = val_flow(data)
    built["loaders"] = plan.loaders
    evaluation = values.get("evaluation")
    built["evaluate"] = {key: value for key, value in (evaluation or {}).items() if key not in _HOOK_ARGUMENTS}
    if plan.recipe.builders is not None:  # code bases do so without being told
        built |= {"mp_start_method": "fork", "opencv_num_threads": 0}
    kept = ("custom_imports", "log_level", "dist_params", "mp_start_method", "opencv_num_threads")
    return built | {key: values[key] for key in kept if values.get(key) is not None}


def shared_files(plans: Sequence[RunPlan], names: Sequence[str], style: str) -> dict[str, str]:
    """Give the files that projects of both styles have, by their path in the project.

    Args:
        plans: the plans of its runs, all of one code base.
        names: what the runs are called.
        style: ``"bridge"`` or ``"lightning"``.
    """
    recipe = plans[0].recipe
    values: dict[str, Any] = {"recipe": recipe, "plans": plans, "runs": names, "style": style, "version": __version__}
    kind = "registries" if recipe.builders is None else "codebase"
    if recipe.builders is not None:
        values |= _imports(recipe, recipe.builders, style)
        lines = ["from mmcv.parallel import MMDataParallel", f"from {recipe.package}.apis import single_gpu_test"]
        lines += ["from mmhooks.checkpoint import load_checkpoint"] if style == "bridge" else []
        values["test_imports"] = sorted(lines)
    return {
        "builders.py": rendered(f"shared/builders_{kind}.py.jinja", **values),
        "test.py": rendered(f"shared/test_{kind}.py.jinja", **values),
        "README.md": rendered("shared/README.md.jinja", **values, **_readme(plans, names, style)),
    }


def _readme(plans: Sequence[RunPlan], names: Sequence[str], style: str) -> dict[str, str]:
    origins = [f"`{quotable(Path(plan.source.name).name)}`" for plan in plans]
    last = "latest.pth" if style == "bridge" else "last.ckpt"
    return {
        "title": names[0] if len(names) == 1 else f"{len(names)} runs of {plans[0].recipe.name}",
        "origin": origins[0] if len(origins) == 1 else f"{len(origins)} configs",
        "checkpoint": f"work_dirs/{names[0]}/{last}",
        "requirements": "torch lightning"
        if style == "lightning" and plans[0].recipe.package
        else '"mmhooks[lightning]"',
    }


def _imports(recipe: Recipe, builders: Builders, style: str) -> dict[str, Any]:
    """Give the names of the functions that build, by what they do, and the imports that bring them."""
    places = {key: place for key, place in vars(builders).items() if isinstance(place, str)}
    if style == "bridge":
        places |= {"hook": recipe.evaluation.hook, "dist_hook": recipe.evaluation.dist_hook}
    names: dict[str, str] = {}
    plain = {"mmcv": {"ConfigDict"}} | ({"mmhooks.loaders": {"MovedLoader"}} if style == "bridge" else {})
    lines = []
    for key, place in places.items():
        module, _, name = place.partition(":")
        if name in _OWN_NAMES:
            names[key] = f"_{name}"
            lines.append(f"from {module} import {name} as _{name}")
        else:
            names[key] = name
            plain.setdefault(module, set()).add(name)
    lines += [f"from {module} import {', '.join(_sorted(found))}" for module, found in plain.items()]
    return {"names": names, "imports": sorted(lines, key=lambda line: (line.split()[1], " as " in line))}


def _sorted(names: set[str]) -> list[str]:
    """Sort names as ruff sorts imports: classes first."""
    return sorted(names, key=lambda name: (not name[0].isupper(), name))


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the files of a project.

    A file that is there already and differs is not replaced.

    Args:
        folder: of the project; made when missing.
        files: their texts, by their path in it.

    Raises:
        ConfigError: a file that is there already has another content. Nothing is written then.

    Returns:
        The paths of all files.
    """
    paths = {folder / name: text for name, text in files.items()}
    taken = [path for path, text in paths.items() if path.exists() and path.read_text(encoding="utf-8") != text]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ConfigError(f"{taken[0]}{more} is there already, with another content: choose another folder with -o")
    for path, text in paths.items():
        with atomic_write(path) as file:
            file.write(text.encode("utf-8"))
    return list(paths)
