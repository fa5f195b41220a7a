"""Parallel wrappers, and how to look through them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from mmhooks.distributed.batches import device_of, to_device
from mmhooks.errors import ConfigError

#: Wrappers that hold the user's model as ``module``; the real mmcv's are known by name, without importing it.
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_WRAPPER_NAMES = frozenset({"MMDataParallel", "MMDistributedDataParallel", "DistributedDataParallelWrapper"})


def is_module_wrapper(module: nn.Module) -> bool:
    """Tell whether a module only wraps another one for parallel training."""
    return isinstance(module, _WRAPPERS) or any(cls.__name__ in _WRAPPER_NAMES for cls in type(module).__mro__)


def unwrap(module: nn.Module) -> nn.Module:
    """Give the user's own model inside any number of parallel wrappers."""
    while is_module_wrapper(module):
        module = module.module  # type: ignore[assignment]
    return module


# newer releases of PyTorch have the first name, under which the buffers are still equal at the start as in older ones
_OPTIONS = inspect.signature(nn.parallel.DistributedDataParallel.__init__).parameters
#: The argument of DistributedDataParallel that lets each forward take the buffers of rank 0.
BUFFERS_OPTION = "forward_sync_buffers" if "forward_sync_buffers" in _OPTIONS else "broadcast_buffers"


class MMDistributedDataParallel(nn.parallel.DistributedDataParallel):
    """DistributedDataParallel with ``train_step`` and ``val_step`` that exchange gradients as its forward does.

    Both run inside the forward of DistributedDataParallel itself, so ``find_unused_parameters`` (over what the step
    returns), ``no_sync``, ``static_graph`` and the synchronised buffers work as they do there. Inputs are moved to
    the model's device; the content of an mmcv ``DataContainer`` is taken out.

    Args:
        module: the model, on its device already.
        *args: as of DistributedDataParallel; ``device_ids`` is not needed.
        broadcast_buffers: take the buffers of rank 0 before every train step. Either way all ranks begin with them.
        **kwargs: as of DistributedDataParallel.

    Example:
        >>> init_dist("pytorch")
        >>> model = MMDistributedDataParallel(model, broadcast_buffers=False)
        >>> runner = EpochBasedRunner(model, optimizer=optimizer, max_epochs=4)
    """

    def __init__(self, module: nn.Module, *args: Any, broadcast_buffers: bool = True, **kwargs: Any) -> None:
        kwargs.setdefault(BUFFERS_OPTION, broadcast_buffers)
        super().__init__(module, *args, **kwargs)
        self._home = device_of(self.module)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the module."""
        inputs, kwargs = to_device(inputs, self._home), to_device(kwargs, self._home)
        return super().forward(*inputs, **kwargs)  # type: ignore[no-untyped-call]

    def train_step(self, *inputs: Any, **kwargs: Any) -> Any:
        """Let the module take a train step."""
        return self._step("train_step", inputs, kwargs)

    def val_step(self, *inputs: Any, **kwargs: Any) -> Any:
        """Let the module take a val step."""
        return self._step("val_step", inputs, kwargs)

    def _step(self, name: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # an attribute of the instance goes before the submodule of that name, so forward calls the step; the module's
        # own forward stays as it is, with its hooks and its compiled code
        self.__dict__["module"] = _CalledAs(self.module, name)
        try:
            return self.forward(*inputs, **kwargs)
        finally:
            self.__dict__.pop("module", None)


class _CalledAs:
    """A module that is called by another of its methods."""

    def __init__(self, module: Any, name: str) -> None:
        self.inner = module
        self.forward = getattr(module, name)

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.forward(*inputs, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class MMDataParallel(nn.DataParallel[nn.Module]):
    """A model on one device, wrapped as MMCV's code does: every call goes to the module with inputs on its device.

    Args:
        module: the model.
        device_ids: the one GPU to use; the current one by default. Without a GPU it is not read.
        output_device: as of DataParallel.
        dim: as of DataParallel.

    Raises:
        ConfigError: more than one device, or device_ids that are no list.
    """

    def __init__(self, module: nn.Module, device_ids: Any = None, output_device: Any = None, dim: int = 0) -> None:
        if device_ids is None and torch.cuda.is_available():
            device_ids = [torch.cuda.current_device()]
        if device_ids is not None and not isinstance(device_ids, (list, tuple)):
            raise ConfigError(f"MMDataParallel's device_ids must be a list of one GPU or None, not {device_ids!r}")
        if device_ids is not None and len(device_ids) > 1:
            raise ConfigError(
                f"MMDataParallel works on one device, not on device_ids={list(device_ids)!r}: start one process a GPU "
                "(torchrun --nproc-per-node ...) and wrap the model in MMDistributedDataParallel"
            )
        super().__init__(module, device_ids, output_device, dim)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Call the module."""
        return self._call(self.module, inputs, kwargs)

    def train_step(self, *inputs: Any, **kwargs: Any) -> Any:
        """Let the module take a train step."""
        return self._call(self.module.train_step, inputs, kwargs)

    def val_step(self, *inputs: Any, **kwargs: Any) -> Any:
        """Let the module take a val step."""
        return self._call(self.module.val_step, inputs, kwargs)

    def _call(self, method: Any, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        device = device_of(self.module)
        return method(*to_device(inputs, device), **to_device(kwargs, device))
