"""The models, data and hooks that a drawn run trains and watches; beside those of scenarios.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from scenarios import Net, Points
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

Scores = list[dict[str, Any]]


class Poisoned(Points):
    """Points, one of which is not a number, so that some loss is not either."""

    def __init__(self, size: int, poison: int | None) -> None:
        super().__init__(size)
        if poison is not None:
            self.x[poison % size] = float("nan")


class Scored(Points):
    """Points whose evaluation gives what a script says, one entry a time and again from the start; "nan" is one."""

    def __init__(self, size: int, seed: int, scores: Scores) -> None:
        super().__init__(size, seed)
        self.scores = scores
        self.evaluations = 0

    def evaluate(self, results: list[torch.Tensor], logger: Any = None, names: Any = None) -> dict[str, Any]:
        self.evaluations += 1
        entry = self.scores[(self.evaluations - 1) % len(self.scores)]
        return {name: float(value) if isinstance(value, str) else value for name, value in entry.items()}


class Scaled(Net):
    """Takes what run() passes on to its steps."""

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        outputs, scale = super().train_step(data), kwargs.get("scale", 1.0)
        loss = outputs["loss"] * scale
        return {**outputs, "loss": loss, "log_vars": {"loss": loss.item(), "scale": scale}}

    val_step = train_step


class Stepping(Net):
    """Steps its optimizer, or all of them by name, in train_step itself."""

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        outputs = super().train_step(data)
        optimizers = list(optimizer.values()) if isinstance(optimizer, dict) else [optimizer]
        for one in optimizers:
            one.zero_grad()
        outputs["loss"].backward()
        for one in optimizers:
            one.step()
        return outputs

    def val_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return super().train_step(data)


class Layers(Net):
    """Every kind of layer that paramwise_cfg treats in its own way, frozen, shared and unused ones too."""

    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=4, bias=False)
        self.norms = nn.Sequential(nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True))
        self.conv_offset = nn.Conv2d(4, 1, 1)
        self.layer_norm = nn.LayerNorm(6)
        self.frozen = nn.Linear(6, 6)
        for parameter in self.frozen.parameters():
            parameter.requires_grad = False
        self.side, self.unused = nn.Linear(8, 3), nn.Linear(1, 1)
        if shared:
            self.side.weight = self.last.weight

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        image = self.norms(self.depthwise(self.stem(x.view(-1, 1, 2, 3))))
        flat = self.frozen(self.layer_norm(self.conv_offset(image).flatten(1)))
        more: torch.Tensor = self.side(torch.relu(self.first(flat)))
        return super().scores(flat) + more


class Bare(nn.Module):
    """Has no train_step: a batch_processor trains it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor, return_loss: bool = False) -> list[torch.Tensor]:
        return list(self.last(torch.relu(self.first(x))))


def process(model: nn.Module, data: dict[str, torch.Tensor], train_mode: bool, **kwargs: Any) -> dict[str, Any]:
    loss = nn.functional.cross_entropy(torch.stack(model(**data)), data["y"])
    return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data["y"])}


MODELS: dict[str, Callable[..., nn.Module]] = {
    "net": Net,
    "scaled": Scaled,
    "stepping": Stepping,
    "layers": Layers,
    "bare": Bare,
}


def loader(size: int, batch_size: int, shuffle: bool, drop_last: bool, sampler: str, poison: int | None) -> Any:
    """Make a train loader; ``sampler`` is where something with ``set_epoch`` sits: none, sampler, batch_sampler."""
    data = Poisoned(size, poison)
    if sampler == "none":
        return DataLoader(data, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
    seeded: DistributedSampler[Any] = DistributedSampler(data, num_replicas=1, rank=0, shuffle=shuffle)
    if sampler == "sampler":
        return DataLoader(data, batch_size=batch_size, sampler=seeded, drop_last=drop_last)
    return DataLoader(data, batch_sampler=BatchSampler(seeded, batch_size, drop_last))


def test_in_train_mode(model: nn.Module, data_loader: Iterable[dict[str, torch.Tensor]]) -> list[Any]:
    """A test_fn of the user's own, which forgets to set eval mode."""
    with torch.no_grad():
        return [score for batch in data_loader for score in model(return_loss=False, **batch)]


def optimizers(lib: Any, model: Any, config: dict[str, Any]) -> Any:
    """Make what a config of the campaign says: one optimizer, several by name, or what build_optimizer gives."""
    if config["kind"] == "several":
        parts = {"first": [*model.first.parameters(), *model.norm.parameters()], "last": [*model.last.parameters()]}
        return {name: _optimizer(parts[name], config[name]) for name in parts}
    if config["kind"] == "built":
        return lib.build_optimizer(model, config["config"])
    if not config["groups"]:
        return _optimizer(model.parameters(), config["config"])
    lr, ratio = config["config"]["lr"], config["groups"]
    last = list(model.last.parameters())
    rest = [p for p in model.parameters() if all(p is not other for other in last)]
    return _optimizer([{"params": rest}, {"params": last, "lr": lr * ratio}], config["config"])


def _optimizer(params: Any, config: dict[str, Any]) -> Optimizer:
    arguments = dict(config)
    kind: type[Optimizer] = getattr(torch.optim, arguments.pop("type"))
    return kind(params, **arguments)


def tracer(lib: Any, points: Iterable[str], note: Callable[[str, Any], None]) -> Any:
    """A hook that overrides some points, or generic ones such as before_iter, and notes each call."""
    methods = {point: (lambda self, runner, point=point: note(point, runner)) for point in points}
    return type("Tracer", (lib.Hook,), methods)()


def invalid_loss_hook(lib: Any) -> type:
    """MMCV has no CheckInvalidLossHook of its own (the code bases have): what theirs does, in two lines."""

    class CheckInvalidLossHook(lib.Hook):  # type: ignore[misc]  # whichever library's
        def __init__(self, interval: int = 50) -> None:
            self.interval = interval

        def after_train_iter(self, runner: Any) -> None:
            if self.every_n_iters(runner, self.interval) and not torch.isfinite(runner.outputs["loss"]):
                raise AssertionError("the loss is not finite")

    return CheckInvalidLossHook


def meddler(lib: Any, point: str, deed: str, note: Callable[[str, Any], None]) -> Any:
    """A hook of the user's own that changes the run under the other hooks' feet, at one point."""

    newcomers: list[Any] = []

    def register(runner: Any) -> None:
        if not newcomers:
            newcomers.append(tracer(lib, [point, "after_train_iter"], note))
            runner.register_hook(newcomers[0], "LOW")

    def save(runner: Any) -> None:
        runner.save_checkpoint(runner.work_dir, filename_tmpl="by_hand_{}.pth", meta={"note": 1}, create_symlink=False)

    def shorten(runner: Any) -> None:
        if runner._max_epochs is not None:
            runner._max_epochs = min(runner._max_epochs, runner.epoch + 1)
        else:
            runner._max_iters = min(runner._max_iters, runner.iter + 2)

    def halve(runner: Any) -> None:
        optimizer = runner.optimizer
        for one in optimizer.values() if isinstance(optimizer, dict) else [optimizer]:
            for group in one.param_groups:
                group["lr"] *= 0.5

    def swap_loader(runner: Any) -> None:
        if point == "before_train_epoch":
            runner.data_loader = DataLoader(Points(8, 11), batch_size=4, shuffle=True)

    deeds: dict[str, Callable[[Any], object]] = {
        "registers a hook": register,
        "saves": save,
        "shortens the run": shorten,
        "halves the lr": halve,
        "changes the loader": swap_loader,
        "logs": lambda runner: runner.log_buffer.update({"extra": float(runner.iter)}, 2),
        "changes a weight": lambda runner: runner.model.last.bias.data.add_(0.01),
        "sets eval mode": lambda runner: runner.model.eval(),
        "calls after_epoch": lambda runner: runner.call_hook("after_epoch"),
    }
    return type("Meddler", (lib.Hook,), {point: lambda self, runner: deeds[deed](runner)})()


DEEDS = (
    "registers a hook", "saves", "shortens the run", "halves the lr", "changes the loader", "logs",
    "changes a weight", "sets eval mode", "calls after_epoch",
)  # fmt: skip
