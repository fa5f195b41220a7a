"""The outputs of ordinary modules, as hooks know them."""

from __future__ import annotations

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


def ordinary_outputs(outputs: Any, batch: Any) -> dict[str, Any]:
    """Spell what an ordinary module's step returned as an MMCV-style model would."""
    if isinstance(outputs, torch.Tensor):
        outputs = {"loss": outputs}
    found = Outputs(outputs if isinstance(outputs, dict) else {})
    found.setdefault("num_samples", _batch_size(batch))
    if isinstance(found.get("loss"), torch.Tensor):
        found.setdefault("log_vars", {"loss": found["loss"].detach()})
    return found


def _batch_size(batch: Any) -> int:
    if isinstance(batch, torch.Tensor):
        return batch.size(0) if batch.ndim else 1
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (list, tuple)) else ()
    return next((size for part in parts if (size := _batch_size(part)) > 1), 1)
