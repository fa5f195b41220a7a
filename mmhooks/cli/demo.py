"""``mmhooks demo``: one config under two drivers, and the numbers side by side."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import mmhooks
from mmhooks.cli.progress import silence
from mmhooks.cli.train import execute
from mmhooks.cli.values import Quiet
from mmhooks.config import Config
from mmhooks.errors import ConfigError

CONFIG = Path(mmhooks.__file__).parent / "examples" / "digits" / "configs" / "digits_cnn.py"
DRIVERS = ("native", "lightning")
GOOD_ACCURACY = 0.95
_WRITTEN = ("*.pth", "*.log.json", "*.log")  # what a demo leaves, so what the next one may take away


@dataclass
class Epoch:
    """What one log says of an epoch."""

    losses: list[float] = field(default_factory=list)
    lr: float | None = None
    accuracy: float | None = None


def demo(
    work_dir: Annotated[Path, typer.Option(help="Folder with a folder for each driver.")] = Path("work_dirs/digits"),
    seed: Annotated[int | None, typer.Option(help="In place of the config's seed.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train a small network on handwritten digits under both drivers, and compare.

    Examples:
        mmhooks demo
        mmhooks demo --work-dir /tmp/digits --seed 1
    """
    for package in ("lightning", "sklearn"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f'the demo needs {package}, which is not installed: pip install "mmhooks[demo]"')
    console = Console()
    folders = {driver: work_dir / driver for driver in DRIVERS}
    for driver, folder in folders.items():
        _clear(folder)
        _run(driver, folder, seed, None if quiet else console)

    epochs = {driver: read_log(folder) for driver, folder in folders.items()}
    console.print(_epoch_table(epochs))
    files = {driver: sorted(path.name for path in folder.glob("*.pth")) for driver, folder in folders.items()}
    same_files = _print_files(files, console)
    same_weights = _print_weights(folders, console)
    console.print(f"logs and checkpoints: {', '.join(map(str, folders.values()))}", soft_wrap=True)
    accuracies = [list(own.values())[-1].accuracy or 0.0 for own in epochs.values()]
    if min(accuracies) < GOOD_ACCURACY:
        console.print(f"[red]the accuracy {min(accuracies):.4f} is below {GOOD_ACCURACY}[/red]")
    if not (same_files and same_weights and min(accuracies) >= GOOD_ACCURACY):
        raise typer.Exit(1)


def _clear(folder: Path) -> None:
    """Take an earlier demo's files away, and nobody else's."""
    logs = list(folder.glob("*.log.json"))
    foreign = [log.name for log in logs if f'"exp_name": "{CONFIG.name}"' not in log.read_text(encoding="utf-8")]
    if foreign or (not logs and any(folder.glob("*.pth"))):
        raise ConfigError(
            f"{folder} holds another run's files ({', '.join(foreign) or 'checkpoints'}), which the demo would "
            "replace: choose another --work-dir"
        )
    for pattern in _WRITTEN:
        for path in folder.glob(pattern):
            path.unlink()


def _run(driver: str, folder: Path, seed: int | None, console: Console | None) -> None:
    from mmhooks.build import build_run
    from mmhooks.drivers import find_driver
    from mmhooks.hooks import ProgressBarHook

    drive = find_driver(driver)
    bar = None if console is None else ProgressBarHook(f"{driver:<9}", console=console)
    with silence(), _one_thread():
        # on the CPU, whose kernels give the same bits every time; images of 8x8 pixels take seconds there
        spec = build_run(Config.fromfile(CONFIG), work_dir=folder, seed=seed, device="cpu")
        execute(spec, drive, bar)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: images of 8x8 pixels are too small to share out, and threads would only wait."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def read_log(folder: Path) -> dict[int, Epoch]:
    """Read the one ``.log.json`` of a folder.

    Args:
        folder: the work_dir of a run.

    Returns:
        The epochs by their number.
    """
    (log,) = folder.glob("*.log.json")
    epochs: dict[int, Epoch] = {}
    for text in log.read_text(encoding="utf-8").splitlines():
        line: dict[str, Any] = json.loads(text)
        if "mode" not in line:  # the first line, the run's meta
            continue
        epoch = epochs.setdefault(line["epoch"], Epoch())
        if line["mode"] == "train":
            epoch.losses.append(line["loss"])
            epoch.lr = line["lr"]
        elif "accuracy" in line:
            epoch.accuracy = line["accuracy"]
    return epochs


def _epoch_table(epochs: dict[str, dict[int, Epoch]]) -> Table:
    table = Table(title="one config, two drivers")
    table.add_column("epoch", justify="right")
    for column in ("lr", "train loss", "val accuracy"):
        for driver in DRIVERS:
            table.add_column(f"{column}\n{driver}", justify="right")
    for number in sorted({number for own in epochs.values() for number in own}):
        both = [epochs[driver].get(number, Epoch()) for driver in DRIVERS]
        cells = [f"{one.lr:g}" if one.lr is not None else "-" for one in both]
        cells += [f"{fmean(one.losses):.5f}" if one.losses else "-" for one in both]
        cells += [f"{one.accuracy:.5f}" if one.accuracy is not None else "-" for one in both]
        table.add_row(str(number), *cells)
    return table


def _print_files(files: dict[str, list[str]], console: Console) -> bool:
    native, lightning = (files[driver] for driver in DRIVERS)
    same = native == lightning
    if same:
        console.print(f"files kept by both drivers: {', '.join(native)}", soft_wrap=True)
    else:
        console.print("[red]the drivers kept different files[/red]")
        for driver, names in files.items():
            console.print(f"  {driver}: {', '.join(names)}", soft_wrap=True)
    return same


def _print_weights(folders: dict[str, Path], console: Console) -> bool:
    from mmhooks.checkpoint import read_checkpoint

    native, lightning = (read_checkpoint(folders[driver] / "latest.pth")["state_dict"] for driver in DRIVERS)
    if native.keys() != lightning.keys():
        odd = ", ".join(sorted(native.keys() ^ lightning.keys()))
        console.print(f"[red]the final weights differ: only one file has {odd}[/red]", soft_wrap=True)
        return False
    same = all(native[key].equal(lightning[key]) for key in native)
    largest = max(float((native[key].double() - lightning[key].double()).abs().max()) for key in native)
    verdict = "[green]identical[/green]" if same else "[red]different[/red]"
    console.print(f"final weights: {verdict} (largest absolute difference {largest:g}, {len(native)} tensors)")
    return same
