"""Optimizer hooks in mixed precision: the sequence of `OptimizerHook` with a loss scaler in it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from mmhooks.amp import amp_dtype, wrap_fp16_model
from mmhooks.checks import check_flag
from mmhooks.errors import CheckpointError, ConfigError, nearest
from mmhooks.hooks.optimizer import GradientCumulativeOptimizerHook, OptimizerHook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

#: The keys of a loss_scale that is a dict.
SCALER_KEYS = tuple(name for name in inspect.signature(torch.amp.GradScaler).parameters if name != "device")


@HOOKS.register_module()
class Fp16OptimizerHook(OptimizerHook):
    """Train in mixed precision: scale the loss, go backward, unscale, clip if wanted, and step.

    The methods of the model that `mmhooks.amp.auto_fp16` decorates run in fp16, on a GPU and on the CPU; the
    weights stay in fp32. A step whose gradients are not finite is left out. To know that, the scaler waits for the
    device once an iteration (not with a fused optimizer); this hook itself adds no further wait.

    The scaler's state is in ``runner.meta["fp16"]["loss_scaler"]``, where MMCV keeps it, so files of both are resumed.

    Args:
        grad_clip: see `OptimizerHook`.
        coalesce: accepted; DistributedDataParallel exchanges the gradients itself.
        bucket_size_mb: accepted, likewise: say ``bucket_cap_mb`` to DistributedDataParallel.
        loss_scale: a number: that scale, always. ``"dynamic"``: one that grows until gradients overflow. A dict:
            dynamic, with arguments of ``torch.amp.GradScaler`` (``init_scale``, ``growth_factor``,
            ``backoff_factor``, ``growth_interval``, ``enabled``).
        distributed: accepted, likewise.
        dtype: ``"fp16"``, or ``"bf16"``, whose range needs no loss scaling.
        detect_anomalous_params: see `OptimizerHook`.

    Raises:
        ConfigError: an argument that cannot be used.

    Example:
        >>> runner.register_optimizer_hook(dict(type="Fp16OptimizerHook", loss_scale="dynamic"))
    """

    dtype = "fp16"
    _scale_update_param: float | None = None
    _state: ScalerState | None = None

    def __init__(
        self,
        grad_clip: Mapping[str, Any] | None = None,
        coalesce: bool = True,
        bucket_size_mb: int = -1,
        loss_scale: float | str | Mapping[str, Any] = 512.0,
        distributed: bool = True,
        dtype: str = "fp16",
        detect_anomalous_params: bool = False,
    ) -> None:
        super().__init__(grad_clip, detect_anomalous_params)
        self.coalesce = check_flag(type(self).__name__, "coalesce", coalesce)
        self.distributed = check_flag(type(self).__name__, "distributed", distributed)
        if isinstance(bucket_size_mb, bool) or not isinstance(bucket_size_mb, Real):
            raise ConfigError(f"bucket_size_mb must be a number of MB, or -1 for no limit, not {bucket_size_mb!r}")
        self.bucket_size_mb = bucket_size_mb
        arguments = _scaler_arguments(loss_scale)
        self.dtype = dtype
        if amp_dtype(dtype) is torch.bfloat16:
            if loss_scale != 512.0:
                raise ConfigError(f"dtype='bf16' needs no loss scaling: leave loss_scale={loss_scale!r} out")
            return
        if isinstance(loss_scale, Real):
            self._scale_update_param = float(loss_scale)
        self.loss_scaler = torch.amp.GradScaler("cuda" if torch.cuda.is_available() else "cpu", **arguments)
        self._state = ScalerState(self.loss_scaler)

    def before_run(self, runner: BaseRunner) -> None:
        """Turn the decorated methods of the model on, and take the scaler's state from a resumed file."""
        super().before_run(runner)
        if self.loss_scaler is not None and self.loss_scaler.is_enabled():
            self.loss_scaler._per_optimizer_states.clear()  # an error may have left a step of an earlier run half done
        runner.check_amp(type(self).__name__, scales=self.loss_scaler is not None)
        if not any(hasattr(module, "fp16_enabled") for module in runner.model.modules()):
            runner.logger.warning(
                "no module of %s has the attribute fp16_enabled, so all of it computes in fp32: set it to False in "
                "__init__ and decorate forward with mmhooks.amp.auto_fp16",
                runner.model_name,
            )
        wrap_fp16_model(runner.model, self.dtype)
        self._restore(runner)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Do all of it."""
        if self.loss_scaler is not None:
            self._restore(runner)  # of a file that another hook has resumed meanwhile
        # also the gradients of parameters that the optimizer does not have, as in MMCV
        if not self._accumulates:
            runner.model.zero_grad()
        super().after_train_iter(runner)
        if self._accumulates and self._ends_group(runner):
            runner.model.zero_grad()

    def _restore(self, runner: BaseRunner) -> None:
        fp16 = (runner.meta or {}).get("fp16") or {}
        if self.loss_scaler is None:
            return
        if not isinstance(fp16, dict):
            raise _no_state("meta['fp16']", f"is {fp16!r:.60}", {})
        saved = fp16.get("loss_scaler")
        if not saved or saved is self._state:
            return
        _check_state(saved)
        try:
            self.loss_scaler.load_state_dict(dict(saved))
        except KeyError as error:
            raise _no_state(_STATE, f"has no {error}", saved) from None
        self._publish(runner)

    def _publish(self, runner: BaseRunner) -> None:
        if runner.meta is None:
            runner.meta = {}
        runner.meta.setdefault("fp16", {})["loss_scaler"] = self._state

    def _update_scale(self, runner: BaseRunner) -> None:
        assert self.loss_scaler is not None
        self.loss_scaler.update(self._scale_update_param)
        self._publish(runner)


@HOOKS.register_module()
class GradientCumulativeFp16OptimizerHook(GradientCumulativeOptimizerHook, Fp16OptimizerHook):
    """Train in mixed precision and step once every few iterations.

    Args:
        cumulative_iters: see `GradientCumulativeOptimizerHook`.
        skip_exchange: see there, too.
        **kwargs: see `Fp16OptimizerHook`.
    """


class ScalerState(dict[str, Any]):
    """The state of a loss scaler as it is when somebody looks.

    A file, a log and a copy hold plain numbers. To read them at every step would be to wait for the device.

    Args:
        scaler: the scaler.
    """

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self._scaler = scaler
        super().__init__(scaler.state_dict())

    def copy(self) -> dict[str, Any]:
        """Give the state as an ordinary dict."""
        return self._scaler.state_dict()

    def __getitem__(self, key: str) -> Any:
        return self.copy()[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Give one value."""
        return self.copy().get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.copy())

    def items(self) -> Any:
        """Give names and values."""
        return self.copy().items()

    def values(self) -> Any:
        """Give the values."""
        return self.copy().values()

    def __eq__(self, other: object) -> bool:
        return self.copy() == other

    def __ne__(self, other: object) -> bool:
        return self.copy() != other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self.copy())

    def __reduce__(self) -> Any:
        return dict, (self.copy(),)


def _scaler_arguments(loss_scale: Any) -> dict[str, Any]:
    """Turn a loss_scale into arguments of a GradScaler."""
    if isinstance(loss_scale, str) and loss_scale == "dynamic":
        return {}
    if isinstance(loss_scale, Mapping):
        for key in loss_scale:
            if key not in SCALER_KEYS:
                raise ConfigError(
                    f"loss_scale has the key {key!r}, which GradScaler does not take: it takes "
                    f"{', '.join(SCALER_KEYS)}{nearest(str(key), SCALER_KEYS)}"
                )
        for key, (fits, what) in _SCALER_VALUES.items():
            if key in loss_scale and not (_is_number(loss_scale[key]) and fits(loss_scale[key])):
                raise ConfigError(f"loss_scale's {key} must be {what}, not {loss_scale[key]!r}")
        if "enabled" in loss_scale:
            check_flag("loss_scale", "enabled", loss_scale["enabled"])
        return {key: _plain(value) for key, value in loss_scale.items()}
    if _is_number(loss_scale) and loss_scale > 0:
        return {"init_scale": float(loss_scale)}
    close = nearest(loss_scale, ["dynamic"]) if isinstance(loss_scale, str) else ""
    raise ConfigError(
        "loss_scale must be a positive number such as 512., 'dynamic', or a dict of GradScaler's arguments, "
        f"not {loss_scale!r}{close}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    """Give a number of NumPy as one of Python: the scaler's state goes into files."""
    return value.item() if isinstance(value, np.generic) else value


def _check_state(saved: Any) -> None:
    """Refuse what a scaler would take in and stumble over at its first step."""
    if not isinstance(saved, Mapping):
        raise _no_state(_STATE, f"is {saved!r:.60}", {})
    for key in _STATE_NUMBERS:
        if key in saved and not _is_number(saved[key]):
            raise _no_state(_STATE, f"has {key}={saved[key]!r:.60}, which is no number", saved)


def _no_state(where: str, what: str, saved: Mapping[Any, Any]) -> CheckpointError:
    keys = f" ({', '.join(map(str, saved))})" if saved else ""
    return CheckpointError(
        f"{where} of the resumed file {what}: it is no state of a GradScaler{keys}. "
        "Take it out of runner.meta to begin with a new scale"
    )


_STATE = "meta['fp16']['loss_scaler']"
_STATE_NUMBERS = ("scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker")


_SCALER_VALUES: dict[str, tuple[Any, str]] = {
    "init_scale": (lambda value: value > 0, "a positive number"),
    "growth_factor": (lambda value: value > 1, "a number above 1"),
    "backoff_factor": (lambda value: 0 < value < 1, "a number between 0 and 1"),
    "growth_interval": (lambda value: value > 0 and isinstance(value, Integral), "a positive integer"),
}
