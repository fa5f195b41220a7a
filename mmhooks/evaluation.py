"""Testing a model over a loader: in one process or several, by collected results or by torchmetrics."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhooks.checks import check_module
from mmhooks.distributed.batches import device_of, to_device
from mmhooks.distributed.collect import collect_results_cpu, collect_results_gpu
from mmhooks.distributed.ranks import get_dist_info
from mmhooks.distributed.wrappers import unwrap
from mmhooks.errors import HookError, ModelError

Predict = Callable[[nn.Module, Any], tuple[Any, Any]]

#: Functions that stand between a test and its batches.
_followers: list[Callable[[Any], Iterable[Any]]] = []


class Metrics(Protocol):
    """What an evaluation asks of ``metrics``; a torchmetrics MetricCollection is one."""

    def update(self, preds: Any, target: Any) -> Any:
        """Take a batch in."""

    def compute(self) -> Mapping[str, Any]:
        """Give the values by name."""

    def reset(self) -> Any:
        """Forget all batches."""

    def to(self, device: Any) -> Any:
        """Move to a device."""


@torch.no_grad()
def single_gpu_test(model: nn.Module, data_loader: Any) -> list[Any]:
    """Collect a model's results over a loader.

    Args:
        model: called as ``model(return_loss=False, **batch)`` with the batch on its device; gives a list with one
            result a sample. A parallel wrapper is looked through. It is left in eval mode.
        data_loader: yields dicts.

    Returns:
        One result a sample, in the loader's order.

    Raises:
        HookError: a batch is no dict.
        ModelError: ``model`` is no model, or gives something else than one result a sample.

    Example:
        >>> results = single_gpu_test(model, loader)
        >>> loader.dataset.evaluate(results)
    """
    check_module("single_gpu_test", "model", model)
    model.eval()
    inner = unwrap(model)  # ranks may have different numbers of batches: a wrapper's forward would wait for the others
    device = device_of(inner)
    results: list[Any] = []
    for batch in _followed(data_loader):
        if not isinstance(batch, Mapping):
            raise HookError(
                f"a test calls model(return_loss=False, **batch), but the loader yields a {type(batch).__name__}: "
                "let it yield dicts, or give EvalHook a test_fn, or metrics and predict"
            )
        found = inner(return_loss=False, **to_device(batch, device))
        if isinstance(found, (str, Mapping)) or not hasattr(found, "__iter__"):
            raise ModelError(
                f"{type(inner).__name__}(return_loss=False, ...) must return a list, one result a sample, "
                f"not {type(found).__name__}"
            )
        results.extend(found)
    return results


def multi_gpu_test(
    model: nn.Module,
    data_loader: Any,
    tmpdir: str | os.PathLike[str] | None = None,
    gpu_collect: bool = False,
) -> list[Any] | None:
    """Collect a model's results over a loader whose samples are dealt out to all processes.

    Every process calls it.

    Args:
        model: see `single_gpu_test`.
        data_loader: its sampler is a ``DistributedSampler(dataset, shuffle=False)`` or deals out as that does:
            rank, rank + world size, ... One that pads nothing will do too.
        tmpdir: see `collect_results_cpu`.
        gpu_collect: see `collect_results_gpu`; ``tmpdir`` is not used then.

    Returns:
        On rank 0 one result a sample in the order of the data set, None on the others.

    Raises:
        HookError: every process went through all samples, or the loader has no ``dataset``; otherwise as
            `single_gpu_test`.
        ModelError: see `single_gpu_test`.
        ConfigError: a process cannot write to ``tmpdir``.
    """
    if not hasattr(data_loader, "dataset"):
        raise HookError(
            "multi_gpu_test takes a DataLoader, whose dataset tells the number of results, not a "
            f"{type(data_loader).__name__}"
        )
    results = single_gpu_test(model, data_loader)
    size = len(data_loader.dataset)
    return collect_results_gpu(results, size) if gpu_collect else collect_results_cpu(results, size, tmpdir)


@torch.no_grad()
def measure(model: nn.Module, data_loader: Any, metrics: Metrics, predict: Predict) -> dict[str, float]:
    """Measure a model with torchmetrics.

    In several processes every process calls it, and torchmetrics brings their batches together. A
    ``DistributedSampler`` gives every process equally many samples and for that counts up to world size - 1 of them
    twice; a sampler that pads nothing gives the exact values.

    Args:
        model: left in eval mode.
        data_loader: what to measure on.
        metrics: a torchmetrics ``MetricCollection``, reset before and after.
        predict: ``predict(model, batch) -> (preds, target)``, with the model out of its parallel wrapper.

    Returns:
        Numbers by name.

    Raises:
        HookError: ``metrics`` is no collection, ``predict`` gives no pair, or a value is no single number.
        ModelError: ``model`` is no model.
    """
    check_module("measure", "model", model)
    for method in ("to", "reset", "update", "compute"):
        if not callable(getattr(metrics, method, None)):
            raise HookError(f"{_COLLECTION}; {type(metrics).__name__} has no method {method!r}")
    model.eval()
    inner = unwrap(model)
    device = device_of(inner)
    metrics.to(device)
    metrics.reset()
    for batch in _followed(data_loader):
        pair = predict(inner, to_device(batch, device))
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            found = f"{len(pair)} values" if isinstance(pair, (tuple, list)) else f"a {type(pair).__name__}"
            raise HookError(
                "predict must return the pair (preds, target), as lambda model, batch: (model(batch['img']), "
                f"batch['label']) does, not {found}"
            )
        metrics.update(*pair)
    values = metrics.compute()
    metrics.reset()
    if not isinstance(values, Mapping):
        raise HookError(_COLLECTION)
    for name, value in values.items():
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            raise HookError(f"the metric {name!r} gives {value.numel()} values, not one: average it over the classes")
        if not hasattr(type(value), "__float__"):
            raise HookError(f"the metric {name!r} gives {value!r:.60}, which is no number")
    return {name: float(value) for name, value in values.items()}


@contextlib.contextmanager
def followed_by(follow: Callable[[Any], Iterable[Any]]) -> Iterator[None]:
    """Let a function hand the batches on to `single_gpu_test`, `multi_gpu_test` and `measure`, and count them.

    Args:
        follow: ``follow(data_loader)`` yields the batches of a loader.

    Example:
        >>> with followed_by(tqdm):
        ...     results = single_gpu_test(model, loader)
    """
    _followers.append(follow)
    try:
        yield
    finally:
        _followers.remove(follow)


def _followed(data_loader: Any) -> Iterable[Any]:
    batches: Iterable[Any] = data_loader
    for follow in _followers:
        batches = follow(batches)
    return batches


_COLLECTION = "metrics must be a torchmetrics MetricCollection, as in MetricCollection({'acc': metric})"


def broadcast_bn_stats(model: nn.Module) -> None:
    """Give the running mean and variance of every BatchNorm layer the values of rank 0; every process calls it."""
    if get_dist_info()[1] == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            for buffer in (module.running_mean, module.running_var):
                if buffer is not None:
                    dist.broadcast(buffer, 0)
