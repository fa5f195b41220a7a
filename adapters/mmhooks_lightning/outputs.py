"""The outputs of ordinary modules, as hooks know them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from mmhooks.errors import ModelError


class MissingOutput(ModelError, KeyError):
    """A value that a hook wants and that the module's step has not returned."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])


class Outputs(dict[str, Any]):
    """What an ordinary module's step returned, as ``runner.outputs``."""

    def __missing__(self, key: str) -> Any:
        raise MissingOutput(
            f"a hook reads runner.outputs[{key!r}], which the step of this LightningModule has not returned; it has "
            f"{', '.join(map(repr, self))}. Return it: dict(loss=loss, {key}=...)"
        )


def ordinary_outputs(outputs: Any, batch: Any, automatic: bool = True) -> dict[str, Any]:
    """Spell what an ordinary module's step returned as an MMCV-style model would.

    Args:
        outputs: a loss, a dict, or nothing.
        batch: what the step was given.
        automatic: a step without a loss was one to leave out: its ``loss`` is None.
    """
    if isinstance(outputs, torch.Tensor):
        outputs = {"loss": outputs}
    found = Outputs(outputs if isinstance(outputs, Mapping) else {})
    if automatic:
        found.setdefault("loss", None)
    found.setdefault("num_samples", batch_size_of(batch))
    loss = found.get("loss")
    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        found.setdefault("log_vars", {"loss": loss.detach()})
    return found


def batch_size_of(batch: Any) -> int:
    """Guess the number of samples in a batch, of whatever kind: the first size above 1 that is found."""
    if isinstance(batch, torch.Tensor):
        return batch.size(0) if batch.ndim else 1
    return next((size for part in _parts(batch) if (size := batch_size_of(part)) > 1), 1)


def _parts(batch: Any) -> Iterable[Any]:
    if isinstance(batch, Mapping):
        return batch.values()
    if isinstance(batch, (list, tuple)):
        return batch
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return ()
