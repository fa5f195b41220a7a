"""Updaters in the way that code bases write their own, on MMCV's classes and on ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def own_updaters(lib: Any) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Give, by name, the family and what makes a hook. `lib` is ``mmcv.runner`` or ``mmhooks``."""

    class Quadratic(lib.hooks.CosineAnnealingLrUpdaterHook):  # after YOLOX: own warmup, own end
        def __init__(self, last: int, **kwargs: Any) -> None:
            self.last = last
            super().__init__(**kwargs)

        def get_warmup_lr(self, cur_iters: int) -> Any:
            factor = self.warmup_ratio * pow((cur_iters + 1) / float(self.warmup_iters), 2)
            if isinstance(self.base_lr, dict):
                return {key: [lr * factor for lr in own] for key, own in self.base_lr.items()}
            return [lr * factor for lr in self.base_lr]

        def get_lr(self, runner: Any, base_lr: float) -> float:
            now, end = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
            target = base_lr * self.min_lr_ratio if self.min_lr_ratio is not None else self.min_lr
            return target if now + 1 >= end - self.last else base_lr + (target - base_lr) * now / end

    class Plateaus(lib.hooks.LrUpdaterHook):  # extends every point, and calls what it overrides
        def before_run(self, runner: Any) -> None:
            super().before_run(runner)
            self.warmup_iters = 6
            self.base_lr = (
                {name: [2 * lr for lr in own] for name, own in self.base_lr.items()}
                if isinstance(self.base_lr, dict)
                else [2 * lr for lr in self.base_lr]
            )

        def get_lr(self, runner: Any, base_lr: float) -> float:
            return base_lr / (1 + runner.iter // 3)

        def before_train_epoch(self, runner: Any) -> None:
            super().before_train_epoch(runner)
            if runner.epoch == 1:
                self.regular_lr = self.get_regular_lr(runner)
                self._set_lr(runner, self.get_warmup_lr(1))

        def before_train_iter(self, runner: Any) -> None:
            if runner.iter != 3:
                super().before_train_iter(runner)

    class Halved(lib.hooks.StepLrUpdaterHook):  # changes arguments on the way, and what is written
        def before_train_epoch(self, runner: Any) -> None:
            self.gamma, self.step = self.gamma / 2, [1, 7]
            super().before_train_epoch(runner)

        def _set_lr(self, runner: Any, lr_groups: Any) -> None:
            super()._set_lr(runner, lr_groups)
            for one in runner.optimizer.values() if isinstance(runner.optimizer, dict) else [runner.optimizer]:
                one.param_groups[-1]["lr"] /= 2

    class Sawtooth(lib.hooks.MomentumUpdaterHook):
        def get_momentum(self, runner: Any, base_momentum: float) -> float:
            return base_momentum * (1 - 0.1 * (runner.iter % 3))

        def get_warmup_momentum(self, cur_iters: int) -> Any:
            values = super().get_warmup_momentum(cur_iters)
            if isinstance(self.base_momentum, dict):
                return {key: [min(0.95, value) for value in own] for key, own in values.items()}
            return [min(0.95, value) for value in values]

    warm = {"warmup": "exp", "warmup_iters": 5, "warmup_ratio": 0.5}
    return {
        "quadratic": ("lr", lambda: Quadratic(1, min_lr_ratio=0.05, **warm)),
        "quadratic by iteration": ("lr", lambda: Quadratic(3, min_lr=0.001, by_epoch=False, **warm)),
        "quadratic, warm for an epoch": (
            "lr", lambda: Quadratic(1, min_lr=0, warmup="linear", warmup_iters=1, warmup_by_epoch=True),
        ),
        "plateaus": ("lr", lambda: Plateaus(**warm)),
        "plateaus by iteration": ("lr", lambda: Plateaus(by_epoch=False, **warm)),
        "halved": ("lr", lambda: Halved(step=2, gamma=0.9)),
        "halved by iteration": ("lr", lambda: Halved(step=2, gamma=0.9, by_epoch=False, **warm)),
        "sawtooth": ("momentum", lambda: Sawtooth(**warm)),
        "sawtooth by iteration": ("momentum", lambda: Sawtooth(by_epoch=False, warmup="linear", warmup_iters=5)),
    }  # fmt: skip
