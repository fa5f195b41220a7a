"""``mmhooks train``: a config, a driver, a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mmhooks.cli.progress import logging_to
from mmhooks.cli.values import CfgOptions, Codebase, ConfigFile, Driver, Quiet, check_checkpoint
from mmhooks.config import Config, parse_option
from mmhooks.errors import ConfigError

if TYPE_CHECKING:
    from mmhooks.build import RunSpec
    from mmhooks.hooks import ProgressBarHook
    from mmhooks.runner import BaseRunner


class Launcher(StrEnum):
    """What started the processes of a run."""

    NONE = "none"
    PYTORCH = "pytorch"
    SLURM = "slurm"
    MPI = "mpi"


def train(
    config: ConfigFile,
    driver: Driver = "native",
    work_dir: Annotated[
        str | None,  # a Path would turn s3://bucket into s3:/bucket, a folder
        typer.Option(
            metavar="PATH", help="Folder of checkpoints and logs.", show_default="work_dirs/<name of the config>"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="In place of the config's seed.")] = None,
    diff_seed: Annotated[bool, typer.Option("--diff-seed", help="Add the rank of a process to its seed.")] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Let cuDNN choose only kernels that repeat their result.")
    ] = False,
    launcher: Annotated[
        Launcher, typer.Option(help="What started this process, if there are several: pytorch is torchrun.")
    ] = Launcher.NONE,
    local_rank: Annotated[
        int | None, typer.Option("--local-rank", "--local_rank", hidden=True, help="LOCAL_RANK, from old launchers.")
    ] = None,
    load_from: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT", callback=check_checkpoint, help="Take the weights of a checkpoint to begin with."
        ),
    ] = None,
    resume_from: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", callback=check_checkpoint, help="Go on from a checkpoint.")
    ] = None,
    auto_resume: Annotated[
        bool, typer.Option("--auto-resume", help="Go on from the newest whole checkpoint in the work_dir, if any.")
    ] = False,
    codebase: Codebase = None,
    cfg_options: CfgOptions = None,
    quiet: Quiet = False,
) -> None:
    """Train what a config describes.

    SIGTERM and Ctrl-C end the run after the iteration, with a checkpoint from which --auto-resume goes on.

    Examples:
        mmhooks train config.py
        mmhooks train config.py --driver lightning --work-dir work_dirs/first
        mmhooks train config.py --cfg-options optimizer.lr=0.01 data.samples_per_gpu=32
        mmhooks train config.py --auto-resume                 # go on where the last run ended
        torchrun --nproc-per-node 8 -m mmhooks train config.py --launcher pytorch
    """
    if resume_from is not None and auto_resume:
        raise typer.BadParameter("give --resume-from or --auto-resume, not both")
    from mmhooks.build import build_run
    from mmhooks.distributed import get_dist_info, launched
    from mmhooks.drivers import find_driver
    from mmhooks.hooks import PreemptHook, ProgressBarHook

    drive = find_driver(driver)  # first: a driver that is not there should cost no building
    cfg = read(config, cfg_options)
    if local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(local_rank))
    if work_dir is None and not cfg.get("work_dir"):
        work_dir = str(Path("work_dirs") / config.stem)
    with launched(launcher, **_dist_params(cfg)):
        console = Console(quiet=get_dist_info()[0] != 0)
        with logging_to(console, quiet=quiet):
            spec = build_run(
                cfg,
                codebase=codebase,
                work_dir=work_dir,
                seed=seed,
                diff_seed=diff_seed,
                deterministic=deterministic,
                load_from=load_from,
                resume_from=resume_from,
                auto_resume=auto_resume,
            )
            spec.hooks.append((PreemptHook(), "LOWEST"))
            runner = execute(spec, drive, None if quiet else ProgressBarHook(driver, console=console))
        if quiet:
            return
        length = f"{runner.epoch} epochs" if spec.by_epoch else f"{runner.iter} iterations"
        console.print(f"Trained for {length}; checkpoints and logs are in {runner.work_dir}", soft_wrap=True)


def _dist_params(cfg: Config) -> Mapping[str, Any]:
    params = cfg.get("dist_params") or {}
    if not isinstance(params, Mapping):
        raise ConfigError(f"dist_params must be a dict such as dict(backend='nccl'), not {params!r}")
    return params


def read(config: Path, cfg_options: list[str] | None) -> Config:
    """Read a config and lay the options of the command line over it."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(dict(parse_option(option) for option in cfg_options or ()))
    return cfg


def execute(spec: RunSpec, drive: Callable[[RunSpec], BaseRunner], bar: ProgressBarHook | None = None) -> BaseRunner:
    """Run with a progress bar, and with a log file beside the checkpoints, which rank 0 writes."""
    from mmhooks.distributed import get_dist_info

    if bar is not None:
        spec.hooks.append((bar, "LOWEST"))
    file = None if spec.work_dir is None or get_dist_info()[0] != 0 else Path(spec.work_dir) / f"{spec.timestamp}.log"
    with logging_to(file=file):
        return drive(spec)
