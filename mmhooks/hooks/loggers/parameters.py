"""Hyper-parameters of a run, for services that show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmhooks.distributed import unwrap
from mmhooks.errors import MMHooksError
from mmhooks.runner.base import BaseRunner

#: What of a runner's meta is no hyper-parameter: the config is read, and files add the others.
_NOT_PARAMETERS = frozenset({"config", "epoch", "iter", "time", "mmcv_version", "hook_msgs", "env_info"})


def config_text(runner: BaseRunner) -> str | None:
    """Give the text of the config of a run, if it has one."""
    text = (runner.meta or {}).get("config")
    return text if isinstance(text, str) else None


def hyper_parameters(runner: BaseRunner) -> dict[str, Any]:
    """Collect the numbers, words and bools of a run by dotted names: ``optimizer.lr``, ``data.train.pipeline.0.type``.

    They are of the run's config, of its meta, and of ``hparams`` of the model, as LightningModules have it.
    """
    found: dict[str, Any] = {}
    text = config_text(runner)
    if text is not None:
        found.update(_flat(_read(text)))
    meta = runner.meta or {}
    found.update(_flat({name: value for name, value in meta.items() if name not in _NOT_PARAMETERS}))
    own = getattr(unwrap(runner.model), "hparams", None)
    if isinstance(own, Mapping):
        found.update(_flat(own))
    return found


def _read(text: str) -> Mapping[str, Any]:
    from mmhooks.config import Config

    for form in (".py", ".json", ".yaml"):
        try:
            values = Config.fromstring(text, form)
        except MMHooksError:
            continue
        return values.to_dict()
    return {}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    inside = f"{name}." if name else ""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{inside}{key}")
    elif isinstance(value, (list, tuple)):
        if any(isinstance(item, (Mapping, list, tuple)) for item in value):
            for index, item in enumerate(value):
                yield from _flat(item, f"{inside}{index}")
        else:
            yield name, str(list(value))
    elif isinstance(value, (bool, int, float, str)):
        yield name, value
