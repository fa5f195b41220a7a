"""The outputs of ordinary modules, as hooks know them."""

from __future__ import annotations

from typing import Any

import torch


def ordinary_outputs(outputs: Any, batch: Any) -> dict[str, Any]:
    """Spell what an ordinary module's step returned as an MMCV-style model would."""
    if isinstance(outputs, torch.Tensor):
        outputs = {"loss": outputs}
    found = dict(outputs) if isinstance(outputs, dict) else {}
    found.setdefault("num_samples", _batch_size(batch))
    if isinstance(found.get("loss"), torch.Tensor):
        found.setdefault("log_vars", {"loss": found["loss"].detach()})
    return found


def _batch_size(batch: Any) -> int:
    if isinstance(batch, torch.Tensor):
        return batch.size(0) if batch.ndim else 1
    parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (list, tuple)) else ()
    return next((size for part in parts if (size := _batch_size(part)) > 1), 1)
