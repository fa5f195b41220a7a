"""Trainings with optimizer hooks, in mixed precision among them, that MMCV and mmhooks both run.

`lib` is ``mmcv.runner`` or ``mmhooks``. MMCV's own scaler and autocast do nothing without a GPU, so `on_cpu` puts
those that PyTorch has for the CPU in their places.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())

CLIP = {"max_norm": 0.5}
SAVED = {"scale": 32.0, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 4, "_growth_tracker": 2}

#: The hook, and the scaler state of a resumed file.
PLANS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "plain": ({"type": "OptimizerHook", "grad_clip": CLIP}, None),
    "groups": ({"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3, "grad_clip": CLIP}, None),
    "fixed": ({"type": "Fp16OptimizerHook", "grad_clip": CLIP}, None),
    "fixed odd": ({"type": "Fp16OptimizerHook", "loss_scale": 7.0}, None),
    "dynamic": ({"type": "Fp16OptimizerHook", "grad_clip": CLIP, "loss_scale": "dynamic"}, None),
    "dict": (
        {
            "type": "Fp16OptimizerHook",
            "loss_scale": {"init_scale": 64.0, "growth_interval": 3, "growth_factor": 1.7},
        },
        None,
    ),
    "fp16 groups": (
        {
            "type": "GradientCumulativeFp16OptimizerHook",
            "cumulative_iters": 3,
            "grad_clip": CLIP,
            "loss_scale": {"init_scale": 64.0, "growth_interval": 2},
        },
        None,
    ),
    "fp16 groups, fixed": (
        {"type": "GradientCumulativeFp16OptimizerHook", "cumulative_iters": 4, "loss_scale": 128.0},
        None,
    ),
    "resumed": ({"type": "Fp16OptimizerHook", "loss_scale": "dynamic"}, SAVED),
    "resumed, fixed": ({"type": "Fp16OptimizerHook", "grad_clip": CLIP}, SAVED),
}


class Batches(list[Any]):
    sampler = None


def batches() -> Batches:
    """Five batches, of which one makes the gradients overflow."""
    source = torch.Generator().manual_seed(1)
    return Batches(
        {
            "x": torch.randn(size, 3, generator=source),
            "y": torch.randint(2, (size,), generator=source),
            "boost": boost,
        }
        for size, boost in ((5, 1.0), (5, 1.0), (5, 1e36), (2, 1.0), (4, 1.0))
    )


def make_model(lib: Any) -> Any:
    """A body in fp16, a loss in fp32, and a parameter that the optimizer does not have."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)
            self.apart = nn.Parameter(torch.ones(1))
            self.fp16_enabled = False

        @lib.auto_fp16(apply_to=("x",))
        def forward(self, x: Any) -> Any:
            return {"out": [self.last(torch.relu(self.first(x)))]}

        @lib.force_fp32(apply_to=("parts",))
        def loss(self, parts: Any, y: Any) -> Any:
            assert parts["out"][0].dtype == torch.float32
            return nn.functional.cross_entropy(parts["out"][0], y)

        def train_step(self, data: Any, optimizer: Any, **kwargs: Any) -> dict[str, Any]:
            loss = self.loss(self(data["x"]), data["y"]) * self.apart.sum() * data["boost"]
            return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data["y"])}

        val_step = train_step

    return Net()


def play(lib: Any, name: str, folder: Path) -> dict[str, Any]:
    """Train by epochs and by iterations; give the state of the scaler and the weights after each, and the norms."""
    return {kind: _train(lib, kind, *PLANS[name], folder) for kind in ("EpochBasedRunner", "IterBasedRunner")}


def _train(lib: Any, kind: str, hook: dict[str, Any], saved: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    model = make_model(lib)
    optimizer = torch.optim.SGD([p for name, p in model.named_parameters() if name != "apart"], lr=0.1, momentum=0.9)
    limit = {"max_epochs": 3} if kind == "EpochBasedRunner" else {"max_iters": 13}
    meta = {} if saved is None else {"fp16": {"loss_scaler": copy.deepcopy(saved)}}
    runner = getattr(lib, kind)(model, optimizer=optimizer, work_dir=str(folder), logger=QUIET, meta=meta, **limit)
    runner.register_optimizer_hook(dict(hook))
    seen: dict[str, list[Any]] = {"weights": [], "sums": [], "scalers": [], "norms": []}

    class Look(lib.Hook):  # type: ignore[misc,name-defined]
        def after_train_iter(self, runner: Any) -> None:
            weights = torch.cat([p.detach().flatten() for p in runner.model.parameters()])
            seen["weights"].append(hashlib.sha256(weights.numpy().tobytes()).hexdigest()[:16])
            seen["sums"].append(float(weights.double().sum()))
            seen["scalers"].append(dict(runner.meta.get("fp16", {}).get("loss_scaler", {})))
            seen["norms"] = [float(norm).hex() for norm in runner.log_buffer.val_history.get("grad_norm", [])]

    runner.register_hook(Look(), "LOW")
    runner.run([batches()], [("train", 1)])
    return seen


def fingerprint() -> str:
    """Hash what this machine's fp16 kernels give: only where that agrees the weights can be demanded bit for bit."""
    source = torch.Generator().manual_seed(2)
    x = torch.randn(5, 3, generator=source)
    first, last = torch.randn(8, 3, generator=source).requires_grad_(), torch.randn(2, 8, generator=source)
    with torch.autocast("cpu", dtype=torch.float16):
        out = nn.functional.linear(torch.relu(nn.functional.linear(x, first)), last)
    out.float().logsumexp(1).sum().backward()
    assert first.grad is not None
    return hashlib.sha256(out.detach().numpy().tobytes() + first.grad.numpy().tobytes()).hexdigest()[:16]


def on_cpu() -> None:
    """Let MMCV's hooks and decorators scale and cast on the CPU."""
    hooks: Any = importlib.import_module("mmcv.runner.hooks.optimizer")
    utils: Any = importlib.import_module("mmcv.runner.fp16_utils")
    hooks.GradScaler = functools.partial(torch.amp.GradScaler, "cpu")
    utils.autocast = functools.partial(torch.autocast, "cpu", dtype=torch.float16)
