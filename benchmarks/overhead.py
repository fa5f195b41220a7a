"""Time per iteration around a tiny model: a bare loop, the native runner and its peers, Lightning and the bridge.

All contestants train the same model on the same batches in one process, in shuffled blocks, and do the same beside
it: set the lr, time data and iteration, and log averages as text and JSON every 50 iterations. The loader itself
reads the clock, after a warm-up, so the cost of starting and ending does not count.

What a native contestant adds to the bare loop is the time of an iteration outside of forward, backward and the
optimizer's step, whose times scatter by more than what is to be measured, less that of the bare loop of the same
block; of that, the median over the blocks. Under Lightning plain times are compared.

MMCV takes part where the environment of ``make oracle`` (or ``make golden``) exists, ignite where it is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

import mmhooks
from mmhooks import Hook
from mmhooks_lightning import HookCallback, HookedModule

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())
QUIET.setLevel(logging.INFO)

ROOT = Path(__file__).parents[1]
WARM_UP = 100
INTERVAL = 50


class Work:
    """The time in what every contestant does alike: forward, backward, the optimizer's step."""

    seconds = 0.0


def clocked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function add its time to `Work`."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            Work.seconds += time.perf_counter() - start

    return timed


class Batches:
    """A loader without a cost: the same batch again and again; it times all but the first 100.

    Attributes:
        seconds: the time of an iteration.
        apart: what of it is not `Work`.
    """

    latest: Batches

    def __init__(self, length: int) -> None:
        self.batch = (torch.randn(8, 16), torch.randint(0, 4, (8,)))
        self.length = length
        self.seconds = self.apart = 0.0
        Batches.latest = self

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        batch = self.batch
        for _ in range(WARM_UP):
            yield batch
        worked, start = Work.seconds, time.perf_counter()
        timed = self.length - 1 - WARM_UP
        for _ in range(timed):
            yield batch
        seconds = time.perf_counter() - start  # now: not everybody asks for more than the last batch
        self.seconds, self.apart = seconds / timed, (seconds - (Work.seconds - worked)) / timed
        yield batch


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

    def compute(self, data: Any) -> tuple[torch.Tensor, float]:
        loss = nn.functional.cross_entropy(self.net(data[0]), data[1])
        return loss, loss.item()

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss, value = self.compute(data)
        return {"loss": loss, "log_vars": {"loss": value}, "num_samples": 8}


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def clocked_pair() -> tuple[Any, Any]:
    """Make a model and its optimizer, whose work is clocked."""
    model: Any = Model()
    optimizer: Any = sgd(model)
    model.compute = clocked(model.compute)
    optimizer.step, optimizer.zero_grad = clocked(optimizer.step), clocked(optimizer.zero_grad)
    return model, optimizer


@contextlib.contextmanager
def clocked_backward() -> Iterator[None]:
    backward = torch.Tensor.backward
    torch.Tensor.backward = clocked(backward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.backward = backward  # type: ignore[method-assign]


def hooks(lr_config: dict[str, Any]) -> dict[str, Any]:
    log_config = {"interval": INTERVAL, "hooks": [{"type": "TextLoggerHook"}]}
    return {"lr_config": dict(lr_config), "optimizer_config": {}, "log_config": log_config}


class Idle(Hook):
    """Has something to do, at no iteration."""

    def before_run(self, runner: Any) -> None:
        self.begun = True

    def after_train_epoch(self, runner: Any) -> None:
        self.epochs = runner.epoch


CONSTANT = {"policy": "fixed"}
MOVING = {"policy": "CosineAnnealing", "min_lr": 0.0, "by_epoch": False}


def bare(n: int) -> None:
    model, optimizer = clocked_pair()
    for batch in Batches(n):
        loss, _ = model.compute(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def runner(lib: Any, n: int, folder: str, lr_config: dict[str, Any] = CONSTANT, idle: int = 0) -> None:
    """Train with the EpochBasedRunner of mmhooks, or of mmcv."""
    model, optimizer = clocked_pair()
    native = lib.EpochBasedRunner(model, optimizer=optimizer, logger=QUIET, max_epochs=1, work_dir=folder)
    native.register_training_hooks(**hooks(lr_config))
    for _ in range(idle):
        native.register_hook(lib.Hook())
    native.run([Batches(n)], [("train", 1)])


def ignite_trainer(n: int, folder: str, moving: bool = False) -> None:
    """Train with ignite's Engine and handlers that note and log what the default hooks do."""
    from ignite.engine import Engine, Events

    model, optimizer = clocked_pair()

    def update(engine: Any, batch: Any) -> dict[str, float]:
        loss, value = model.compute(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": value}

    trainer = Engine(update)
    values: dict[str, list[float]] = {"data_time": [], "loss": [], "time": []}
    clock = {"t": time.perf_counter()}
    file = (Path(folder) / "ignite.log.json").open("a")

    @trainer.on(Events.GET_BATCH_COMPLETED)
    def note_data_time() -> None:
        values["data_time"].append(time.perf_counter() - clock["t"])

    @trainer.on(Events.ITERATION_COMPLETED)
    def note(engine: Any) -> None:
        values["loss"].append(engine.state.output["loss"])
        now = time.perf_counter()
        values["time"].append(now - clock["t"])
        clock["t"] = now

    @trainer.on(Events.ITERATION_COMPLETED(every=INTERVAL))
    def log(engine: Any) -> None:
        means = {key: statistics.fmean(found[-INTERVAL:]) for key, found in values.items()}
        lr = optimizer.param_groups[0]["lr"]
        line = {"mode": "train", "epoch": engine.state.epoch, "iter": engine.state.iteration, "lr": lr, **means}
        QUIET.info("%s", ", ".join(f"{key}: {value:.4f}" for key, value in means.items()))
        file.write(json.dumps(line) + "\n")

    if moving:
        from ignite.handlers import CosineAnnealingScheduler

        trainer.add_event_handler(Events.ITERATION_STARTED, CosineAnnealingScheduler(optimizer, "lr", 0.01, 0.0, n))
    trainer.run(Batches(n), max_epochs=1)
    file.close()


def trainer(folder: str, *callbacks: Any) -> L.Trainer:
    return L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def bridge(n: int, folder: str, lr_config: dict[str, Any] = CONSTANT, idle: int = 0) -> None:
    callback = HookCallback(work_dir=folder, logger=QUIET)
    callback.register_training_hooks(**hooks(lr_config))
    for _ in range(idle):
        callback.register_hook(Idle())
    model = Model()
    trainer(folder, callback).fit(HookedModule(model, sgd(model)), Batches(n))


class Manual(L.LightningModule):
    """The floor of what a manual-optimization module costs under a Trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        outputs = self.model.train_step(batch)
        optimizer.zero_grad()
        self.manual_backward(outputs["loss"])
        optimizer.step()

    def configure_optimizers(self) -> Any:
        return sgd(self.model)


class Idiomatic(L.LightningModule):
    """What its users write: automatic optimization, a scheduler, a logged loss."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.model.train_step(batch)["loss"]
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = sgd(self.model)
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1000), "interval": "step"}]


def idiomatic(n: int, folder: str) -> None:
    fit = trainer(folder)
    fit.loggers = [L.pytorch.loggers.CSVLogger(folder)]
    fit.fit(Idiomatic(), Batches(n))


def oracle() -> Any:
    """Give mmcv.runner out of the environment that records the golden files, or None where there is none.

    Its packages come last on the path, so torch and NumPy are those of this process.
    """
    places = [*ROOT.glob(".venv-oracle/lib/python*/site-packages"), *ROOT.glob(".venv-oracle/Lib/site-packages")]
    sys.path += [str(ROOT / "tests" / "oracle" / "stand_in"), *map(str, places)]
    try:
        import mmcv.runner
    except ImportError:
        return None
    return mmcv.runner


#: name: what runs n iterations
Contestants = dict[str, Callable[[int], None]]
#: (name, the contestant, what it is compared with, the floor that is taken off both, or None for plain times)
Comparison = tuple[str, str, str, str | None]


def native_field(folder: str) -> tuple[Contestants, list[Comparison]]:
    field: Contestants = {
        "bare loop": bare,
        "native, lr constant": lambda n: runner(mmhooks, n, folder),
        "native, lr moving": lambda n: runner(mmhooks, n, folder, MOVING),
        "native, 99 idle hooks more": lambda n: runner(mmhooks, n, folder, CONSTANT, 99),
    }
    comparisons: list[Comparison] = [
        ("99 idle hooks more", "native, 99 idle hooks more", "native, lr constant", "bare loop")
    ]
    mmcv = oracle()
    if mmcv is not None:
        field["mmcv, lr constant"] = lambda n: runner(mmcv, n, folder)
        field["mmcv, lr moving"] = lambda n: runner(mmcv, n, folder, MOVING)
        comparisons += [
            ("overhead, lr constant", "native, lr constant", "mmcv, lr constant", "bare loop"),
            ("overhead, lr moving", "native, lr moving", "mmcv, lr moving", "bare loop"),
        ]
    if importlib.util.find_spec("ignite") is not None:
        field["ignite, lr constant"] = lambda n: ignite_trainer(n, folder)
        field["ignite, lr moving"] = lambda n: ignite_trainer(n, folder, moving=True)
        comparisons += [
            ("overhead, lr constant", "native, lr constant", "ignite, lr constant", "bare loop"),
            ("overhead, lr moving", "native, lr moving", "ignite, lr moving", "bare loop"),
        ]
    return field, comparisons


def lightning_field(folder: str) -> tuple[Contestants, list[Comparison]]:
    field: Contestants = {
        "bare loop": bare,
        "native, lr constant": lambda n: runner(mmhooks, n, folder),
        "Lightning, manual floor": lambda n: trainer(folder).fit(Manual(), Batches(n)),
        "Lightning, idiomatic": lambda n: idiomatic(n, folder),
        "bridge, lr constant": lambda n: bridge(n, folder),
        "bridge, lr moving": lambda n: bridge(n, folder, MOVING),
        "bridge, 20 idle hooks more": lambda n: bridge(n, folder, CONSTANT, 20),
    }
    return field, [
        ("time, lr constant", "native, lr constant", "Lightning, manual floor", None),
        ("time, lr constant", "bridge, lr constant", "Lightning, manual floor", None),
        ("time, lr moving", "bridge, lr moving", "Lightning, manual floor", None),
        ("time, lr moving", "bridge, lr moving", "Lightning, idiomatic", None),
        ("time, lr constant", "bridge, lr constant", "Lightning, idiomatic", None),
        ("time, 20 idle hooks more", "bridge, 20 idle hooks more", "bridge, lr constant", None),
    ]


def race(field: Contestants, blocks: int, iterations: int, apart: bool) -> dict[str, list[float]]:
    """Run everybody once a block, in a new order each time.

    Args:
        field: who runs.
        blocks: how often.
        iterations: how long a block is.
        apart: leave `Work` out.

    Returns:
        Microseconds an iteration, of every block, by contestant.
    """
    times: dict[str, list[float]] = {name: [] for name in field}
    for run in field.values():
        run(WARM_UP + 50)
    for _ in range(blocks):
        for name in random.sample(list(field), len(field)):
            field[name](WARM_UP + iterations)
            batches = Batches.latest
            times[name].append((batches.apart if apart else batches.seconds) * 1e6)
    return times


def compare(times: dict[str, list[float]], comparisons: list[Comparison]) -> list[dict[str, Any]]:
    """Give one row a comparison: the medians in microseconds an iteration, and their ratio."""
    rows = []
    for what, name, other, floor in comparisons:
        us, other_us = (_over(times, one, floor) for one in (name, other))
        rows.append({"what": what, "name": name, "us": us, "compared_with": other, "other_us": other_us})
        rows[-1]["ratio"] = us / other_us
    return rows


def _over(times: dict[str, list[float]], name: str, floor: str | None) -> float:
    if floor is None:
        return statistics.median(times[name])
    return statistics.median(own - bare for own, bare in zip(times[name], times[floor], strict=True))


def rows(blocks: int = 60, iterations: int = 400) -> list[dict[str, Any]]:
    """Race the native runner against its peers, and the bridge against Lightning."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for noisy in ("lightning.pytorch", "ignite"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    sleep, time.sleep = time.sleep, lambda seconds: None  # MMCV waits 2 s before each epoch
    found = []
    try:
        for make, share, apart in ((native_field, 1, True), (lightning_field, 3, False)):
            with tempfile.TemporaryDirectory() as folder, clocked_backward():
                field, comparisons = make(folder)
                found += compare(race(field, max(3, blocks // share), iterations, apart), comparisons)
    finally:
        time.sleep = sleep
    return found
