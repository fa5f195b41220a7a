"""What builds the model and the data of a run: the registries here, or the functions of a code base."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

from torch import nn
from torch.utils.data import DataLoader

from mmhooks.config.configdict import ConfigDict
from mmhooks.config.source import Source
from mmhooks.distributed import get_dist_info
from mmhooks.errors import ConfigError
from mmhooks.loaders import MovedLoader, build_loader
from mmhooks.optim import build_optimizer
from mmhooks.plan import PlannedHook, RunPlan
from mmhooks.recipes import Builders
from mmhooks.registry import HOOKS, MODELS, build_from_cfg
from mmhooks.runner.base import Optimizers


class RunBuilder(Protocol):
    """Builds the parts of one run."""

    def model(self) -> nn.Module:
        """Build the model, with its weights initialised."""

    def loader(self, flow: str, seed: int | None) -> Any:
        """Build the loader of a flow of the workflow, ``"train"`` or ``"val"``."""

    def optimizer(self, model: nn.Module) -> Optimizers:
        """Build the optimizer of the model."""

    def evaluation(self, hook: PlannedHook, seed: int | None, model: nn.Module) -> Any:
        """Build what evaluates, as `register_hook` takes it, with the loader that it evaluates over."""

    def meta(self) -> dict[str, Any]:
        """Give what goes into the meta of checkpoints; after the train loader was built."""


def builder_of(plan: RunPlan) -> RunBuilder:
    """Give what builds the run of a plan.

    Raises:
        ConfigError: the code base is not installed.
    """
    builders = plan.recipe.builders
    return FromRegistries(plan.source) if builders is None else FromCodebase(plan, builders)


class FromRegistries:
    """Builds from `MODELS` and `DATASETS`."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def model(self) -> nn.Module:
        """Build the model."""
        config = self._source.section("model")
        with self._source.building("model"):
            model: nn.Module = build_from_cfg(config, MODELS)
        return model

    def loader(self, flow: str, seed: int | None) -> DataLoader[Any]:
        """Build the loader of a flow, over ``data.<flow>``."""
        return build_loader(self._source, flow, seed)

    def optimizer(self, model: nn.Module) -> Optimizers:
        """Build the optimizer."""
        config = self._source.section("optimizer")
        with self._source.building("optimizer"):
            return build_optimizer(model, config)

    def evaluation(self, hook: PlannedHook, seed: int | None, model: nn.Module) -> dict[str, Any]:
        """Give the config of the hook, with the loader over ``data.val``."""
        kind = HOOKS.get(hook.config["type"]) if isinstance(hook.config["type"], str) else hook.config["type"]
        loader = build_loader(self._source, "val", seed, share=getattr(kind, "_shares_work", True))
        return {**hook.config, "dataloader": loader}

    def meta(self) -> dict[str, Any]:
        """Give nothing."""
        return {}


class FromCodebase:
    """Builds with the functions of a code base, called as its own ``tools/train.py`` and ``apis/train.py`` call them.

    Args:
        plan: the plan of the run.
        builders: where the functions are.

    Raises:
        ConfigError: the code base is not installed.
    """

    def __init__(self, plan: RunPlan, builders: Builders) -> None:
        self._plan = plan
        self._builders = builders
        # its functions read keys as attributes, and some ask for this very class
        self._values = _mmcv_dict(plan.source.values)
        self._train_data: Any = None

    def model(self) -> nn.Module:
        """Build the model and initialise its weights."""
        arguments = {name: self._values.get(name) for name in self._builders.model_arguments}
        with self._plan.source.building("model"):
            model: nn.Module = self._call(self._builders.model)(self._values["model"], **arguments)
            if self._builders.init_weights:
                cast(Any, model).init_weights()
            if self._builders.finish is not None:
                self._call(self._builders.finish)(model, cfg=self._values)
            if self._builders.alone is not None and get_dist_info()[1] == 1:
                model = self._call(self._builders.alone)(model)
        return model

    def loader(self, flow: str, seed: int | None) -> Any:
        """Build the loader of a flow; that of ``("val", n)`` takes the train pipeline over the val data."""
        data = self._values["data"]
        config = _mmcv_dict(val_flow(data)) if flow == "val" else data["train"]
        with self._plan.source.building(f"data.{flow}"):
            dataset = self._call(self._builders.dataset)(config)
            if self._train_data is None:
                self._train_data = dataset
            return self._call(self._builders.loader)(
                dataset, **{"num_gpus": 1, "dist": get_dist_info()[1] > 1, "seed": seed, **self._plan.loaders["train"]}
            )

    def optimizer(self, model: nn.Module) -> Optimizers:
        """Build the optimizer."""
        with self._plan.source.building("optimizer"):
            optimizer: Optimizers = self._call(self._builders.optimizer)(model, _mmcv_dict(self._plan.optimizer or {}))
        return optimizer

    def evaluation(self, hook: PlannedHook, seed: int | None, model: nn.Module) -> Any:
        """Build the code base's own hook, over ``data.val`` in test mode."""
        arguments = {"dist": get_dist_info()[1] > 1, **self._plan.loaders["val"]}
        if self._plan.recipe.loaders is not None and self._plan.recipe.loaders.val_reads is None:
            arguments = {"num_gpus": 1, "seed": seed, **arguments}  # it begins with the arguments of the train loader
        with self._plan.source.building("evaluation"):
            val = _mmcv_dict(self._values["data"]["val"])
            if self._builders.batched is not None and arguments["samples_per_gpu"] > 1:
                val["pipeline"] = self._call(self._builders.batched)(val["pipeline"])
            dataset = self._call(self._builders.dataset)(val, {"test_mode": True})
            loader = self._call(self._builders.loader)(dataset, **arguments)
            config = {key: value for key, value in hook.config.items() if key != "type"}
            kind = imported(hook.place or "", self._plan.recipe.name)
            return kind(MovedLoader(loader, model), **config)

    def meta(self) -> dict[str, Any]:
        """Give the attributes of the data set that the code base writes into its files."""
        names = self._plan.recipe.meta
        return {name: getattr(self._train_data, name) for name in names if hasattr(self._train_data, name)}

    def _call(self, place: str) -> Any:
        return imported(place, self._plan.recipe.name)


def val_flow(data: Mapping[str, Any]) -> dict[str, Any]:
    """Give the config of the data of a flow ``("val", n)``: the val data through the pipeline of the train data.

    Args:
        data: the config's ``data``.
    """
    train = data["train"]
    pipeline = train["pipeline"] if "pipeline" in train else train.get("dataset", {}).get("pipeline")
    return {**data["val"], "pipeline": pipeline}


def imported(place: str, codebase: str) -> Any:
    """Import what is at a place such as ``"mmcls.models:build_classifier"``.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, name = place.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{name} of {module} builds this run, and cannot be imported: {error}. Is {codebase} installed, with the "
            "mmcv that it needs?"
        ) from error


def _mmcv_dict(values: Mapping[str, Any]) -> Any:
    """Make a copy of a config's values as the kind of dict that code bases expect."""
    try:
        kind = importlib.import_module("mmcv").ConfigDict
    except (ImportError, AttributeError):
        kind = ConfigDict
    return kind(values)
