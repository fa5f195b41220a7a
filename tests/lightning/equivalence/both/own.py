"""Hooks as users write them: one that logs, one that is no Hook, and those that change the run under way."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from both.subjects import loader
from mmhooks import ClosureHook, DistEvalHook, EvalHook, Hook, LoggerHook, LrUpdaterHook, ProfilerHook


class OwnLogger(LoggerHook):
    """Keeps what it is given to log."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.seen: list[Any] = []

    def log(self, runner: Any) -> None:
        place = (self.get_mode(runner), self.get_epoch(runner), self.get_iter(runner, inner_iter=True))
        self.seen.append((*place, dict(runner.log_buffer.output)))


class OwnPolicy(LrUpdaterHook):
    """An lr that depends on where a run is in its epoch."""

    def get_lr(self, runner: Any, base_lr: float) -> float:
        return base_lr / (1 + runner.epoch + runner.inner_iter + len(runner.data_loader))


class Profile(ProfilerHook):
    """Counts what a profile holds."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments, on_trace_ready=self.count)
        self.seen: list[Any] = []

    def count(self, profiler: Any) -> None:
        self.seen.append({event.key: event.count for event in profiler.key_averages() if event.key == "aten::dropout"})


class Duck:
    """Has some of the ten methods, and no base class."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def before_train_iter(self, runner: Any) -> None:
        self.seen.append(("before", runner.iter))

    def after_val_iter(self, runner: Any) -> None:
        self.seen.append(("val", runner.iter, runner.inner_iter))


class Everything(Hook):
    """Overrides the four generic points, each of which serves two or more."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def _note(self, what: str, runner: Any) -> None:
        self.seen.append((what, runner.mode, runner.epoch, runner.iter, runner.inner_iter))

    def before_epoch(self, runner: Any) -> None:
        self._note("before_epoch", runner)

    def after_epoch(self, runner: Any) -> None:
        self._note("after_epoch", runner)

    def before_iter(self, runner: Any) -> None:
        self._note("before_iter", runner)

    def after_iter(self, runner: Any) -> None:
        self._note("after_iter", runner)


class Helpers(Hook):
    """Asks the helpers of the base class."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def after_train_iter(self, runner: Any) -> None:
        self.seen.append(
            [
                self.every_n_epochs(runner, 2),
                self.every_n_inner_iters(runner, 2),
                self.every_n_iters(runner, 3),
                self.end_of_epoch(runner),
                self.is_last_epoch(runner),
                self.is_last_iter(runner),
            ]
        )

    def after_train_epoch(self, runner: Any) -> None:
        self.seen.append([self.every_n_epochs(runner, 2), self.is_last_epoch(runner)])


def _seed(runner: Any) -> None:
    torch.manual_seed(runner.iter + 100)
    random.seed(runner.iter)
    np.random.seed(runner.iter)


def _register(runner: Any, priority: Any) -> None:
    if not any(isinstance(hook, Everything) for hook in runner.hooks):
        runner.register_hook(Everything(), priority)


def _unregister(runner: Any) -> None:
    for hook in list(runner.hooks):
        if isinstance(hook, EvalHook):
            runner.hooks.remove(hook)


def _replace(runner: Any) -> None:
    for place, hook in enumerate(runner.hooks):
        if isinstance(hook, Duck):
            runner.hooks[place] = Everything()
            return


def _scale_lr(runner: Any, factor: float) -> None:
    for one in _several(runner.optimizer):
        for group in one.param_groups:
            group["lr"] *= factor


def _source(runner: Any) -> Any:
    """The loader itself, which an iteration-based run keeps inside an endless one."""
    return getattr(runner.data_loader, "_dataloader", runner.data_loader)


def _shift_data(runner: Any) -> None:
    data = getattr(_source(runner), "dataset", None)
    if hasattr(data, "shift"):
        data.shift += 0.5


def _shrink_data(runner: Any) -> None:
    data = getattr(_source(runner), "dataset", None)
    if hasattr(data, "x") and len(data.x) > 18:
        data.x, data.y = data.x[:-9], data.y[:-9]


def _grow_data(runner: Any) -> None:
    data = getattr(_source(runner), "dataset", None)
    if hasattr(data, "x") and len(data.x) < 60:
        data.x, data.y = torch.cat([data.x, data.x[:17]]), torch.cat([data.y, data.y[:17]])


def _set_loader(runner: Any, size: int) -> None:
    runner.data_loader = loader(size=size, batch_size=6, shuffle=True)


def _save(runner: Any) -> None:
    runner.save_checkpoint(runner.work_dir, "by_hand_{}.pth", meta={"note": 1}, create_symlink=False)


def _load(runner: Any) -> None:
    state = {name: value * 0.5 for name, value in runner.model.state_dict().items() if value.is_floating_point()}
    runner.model.load_state_dict(state, strict=False)


def _move_end(runner: Any, by: int) -> None:
    if runner.by_epoch:
        runner.max_epochs = min(8, max(runner.epoch + 1, runner.max_epochs + by))  # or it might never end
    else:
        runner.max_iters = min(30, max(runner.iter + 1, runner.max_iters + by))


def _several(optimizer: Any) -> list[Any]:
    return list(optimizer.values()) if isinstance(optimizer, dict) else [optimizer]


def _add_group(runner: Any) -> None:
    for one in _several(runner.optimizer):
        one.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.5})


def _load_optimizer(runner: Any) -> None:
    for one in _several(runner.optimizer):
        state = one.state_dict()
        state["param_groups"][0]["lr"] *= 0.25
        one.load_state_dict(state)


def _replace_optimizer(runner: Any) -> None:
    if not isinstance(runner.optimizer, dict):
        runner.optimizer = torch.optim.SGD(runner.model.parameters(), lr=0.05)


def _step(runner: Any) -> None:
    for one in _several(runner.optimizer):
        one.step()


def _exhaust(runner: Any) -> None:
    next(iter(()))  # an oversight: StopIteration


def _fail(runner: Any) -> None:
    raise ArithmeticError("the hook of a user fails")


def _set(name: str, value: Any) -> Callable[[Any], None]:
    return lambda runner: setattr(runner, name, value)


DEEDS: dict[str, Callable[[Any], object]] = {
    "seeds": _seed,
    "draws": lambda runner: torch.rand(3),
    "sets eval mode": lambda runner: runner.model.eval(),
    "sets a part to eval mode": lambda runner: runner.model.first.eval(),
    "switches gradients off": lambda runner: torch.set_grad_enabled(False),
    "registers a later hook": lambda runner: _register(runner, "VERY_LOW"),
    "registers an earlier hook": lambda runner: _register(runner, "HIGHEST"),
    "registers a hook of its priority": lambda runner: _register(runner, "NORMAL"),
    "removes hooks": _unregister,
    "replaces a hook": _replace,
    "halves the lr": lambda runner: _scale_lr(runner, 0.5),
    "shifts the data": _shift_data,
    "shrinks the data": _shrink_data,
    "grows the data": _grow_data,
    "sets a shorter loader": lambda runner: _set_loader(runner, 11),
    "sets a longer loader": lambda runner: _set_loader(runner, 33),
    "changes the batch": lambda runner: setattr(runner, "data_batch", None),
    "changes a batch in place": lambda runner: runner.data_batch["x"].mul_(2),
    "changes the outputs": lambda runner: runner.outputs.update(loss=runner.outputs["loss"] * 2),
    "changes a weight": lambda runner: runner.model.last.bias.data.add_(0.01),
    "loads weights": _load,
    "freezes a part": lambda runner: runner.model.first.requires_grad_(False),
    "zeroes gradients": lambda runner: runner.model.zero_grad(),
    "logs": lambda runner: runner.log_buffer.update({"extra": float(runner.iter)}, 2),
    "clears the log": lambda runner: runner.log_buffer.clear(),
    "writes meta": lambda runner: setattr(runner, "meta", {**(runner.meta or {}), "deed": runner.iter}),
    "adds a param group": _add_group,
    "loads an optimizer's state": _load_optimizer,
    "replaces the optimizer": _replace_optimizer,
    "steps": _step,
    "saves": _save,
    "stops": lambda runner: runner.stop("enough"),
    "ends earlier": lambda runner: _move_end(runner, -1),
    "ends later": lambda runner: _move_end(runner, 1),
    "calls a point": lambda runner: runner.call_hook("before_epoch"),
    "calls a point of its own": lambda runner: runner.call_hook("own_point"),
    "calls no point": lambda runner: runner.call_hook("befor_run"),
    "asks for the hooks": lambda runner: runner.get_hook_info(),
    "registers itself": lambda runner: runner.register_hook(next(h for h in runner.hooks if isinstance(h, Deed))),
    "raises StopIteration": _exhaust,
    "fails": _fail,
}


class Deed(Hook):
    """Does a deed at a point, every time or at the n-th call alone."""

    def __init__(self, deed: str, point: str, at: int | None = None) -> None:
        self.calls = 0
        self.own_calls = 0

        def act(runner: Any) -> None:
            if at is None or self.calls == at:
                DEEDS[deed](runner)
            self.calls += 1

        setattr(self, point, act)

    def own_point(self, runner: Any) -> None:
        self.own_calls += 1


OWN: dict[str, Callable[..., Any]] = {one.__name__: one for one in (OwnLogger, Duck, Everything, Helpers, Deed)}
OWN |= {"OwnPolicy": OwnPolicy, "ProfilerHook": Profile}


def _metrics() -> Any:
    from torchmetrics import MetricCollection
    from torchmetrics.classification import MulticlassAccuracy

    return MetricCollection({"acc": MulticlassAccuracy(2, average="micro")})


def build(config: dict[str, Any], note: Callable[[str, Any], None]) -> tuple[Any, Any]:
    """Make what a plain dict says: a hook, or a config that the runner makes one of, and the priority.

    Args:
        config: ``dict(type=..., ...)``, with ``priority`` perhaps.
        note: what a ClosureHook calls, with its point and the runner.
    """
    arguments = dict(config)
    if arguments.get("metrics"):
        arguments |= {"metrics": _metrics(), "predict": lambda model, batch: (model(batch["x"]), batch["y"])}
    kind, priority = arguments.pop("type"), arguments.pop("priority", "NORMAL")
    if kind == "ClosureHook":
        point = arguments["fn_name"]
        return ClosureHook(fn=lambda runner: note(f"closure {point}", runner), **arguments), priority
    if kind in ("EvalHook", "DistEvalHook"):
        data = loader(**arguments.pop("data"))
        return (EvalHook if kind == "EvalHook" else DistEvalHook)(data, **arguments), priority
    if kind in OWN:
        return OWN[kind](**arguments), priority
    return {"type": kind, **arguments}, priority
