"""init_dist and launched: a process that a launcher started joins the others."""

from __future__ import annotations

import contextlib
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist

from mmhooks.errors import ConfigError, nearest

_NO_BACKENDS = ("undefined", "fake")
_WORDS = ("MASTER_ADDR", "SLURM_NODELIST")
_PORT = "29500"  # torch.distributed's own default


def init_dist(launcher: str, backend: str | None = None, **kwargs: Any) -> None:
    """Make the process group, and choose this process's GPU.

    | launcher | reads |
    |---|---|
    | ``pytorch`` (torchrun) | RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT |
    | ``mpi`` (Open MPI) | OMPI_COMM_WORLD_RANK, _SIZE and _LOCAL_RANK, MASTER_ADDR, MASTER_PORT (29500) |
    | ``slurm`` | SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, SLURM_JOB_ID, SLURM_NODELIST (through ``scontrol``) |

    RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT are set for what else reads them; with ``slurm``, the
    last two are left alone where they are set already.

    Args:
        launcher: what started the processes: ``"pytorch"``, ``"mpi"`` or ``"slurm"``.
        backend: of ``torch.distributed``; ``"nccl"`` with a GPU and ``"gloo"`` without one by default. Without a
            GPU, ``"nccl"`` becomes ``"gloo"``, with a warning.
        **kwargs: further arguments of ``torch.distributed.init_process_group``, such as ``timeout``. With
            ``slurm`` also ``port``, in place of MASTER_PORT.

    Raises:
        ConfigError: an unknown launcher or backend, or a variable that the launcher should have set is missing or is
            no number.

    Example:
        >>> init_dist("pytorch")  # under: torchrun --nproc-per-node 8 train.py
    """
    try:
        place = _LAUNCHERS[launcher]
    except (KeyError, TypeError):
        raise ConfigError(
            f"launcher must be one of {', '.join(_LAUNCHERS)}, not {launcher!r}{nearest(str(launcher), _LAUNCHERS)}"
        ) from None
    port = kwargs.pop("port", None) if launcher == "slurm" else None
    wanted = place(os.environ, port)
    _check_numbers(launcher, {name: wanted[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")})
    gpus = torch.cuda.device_count()
    if backend is None:
        backend = "nccl" if gpus else "gloo"
    elif backend == "nccl" and not gpus:
        if wanted["RANK"] == "0":
            warnings.warn("backend='nccl' needs a GPU and there is none: gloo takes its place", stacklevel=2)
        backend = "gloo"
    known = [name for name in dist.Backend.backend_list if name not in _NO_BACKENDS and dist.is_backend_available(name)]
    if backend not in known and ":" not in str(backend):  # a backend a device: "cpu:gloo,cuda:nccl"
        raise ConfigError(f"backend must be one of {', '.join(known)}, not {backend!r}{nearest(str(backend), known)}")
    os.environ.update(wanted)
    if gpus:
        torch.cuda.set_device(int(wanted["LOCAL_RANK"]) % gpus)
    dist.init_process_group(backend=backend, **kwargs)


@contextlib.contextmanager
def launched(launcher: str, **kwargs: Any) -> Iterator[None]:
    """Be in a process group for a while.

    At the end the processes wait for each other; after an error they do not, and a launcher stops the others.

    Args:
        launcher: see `init_dist`; with ``"none"`` there is no group.
        **kwargs: reach `init_dist`.
    """
    if launcher == "none":
        yield
        return
    init_dist(launcher, **kwargs)
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _pytorch(env: Mapping[str, str], port: int | None) -> dict[str, str]:
    needed = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    found = _read("pytorch", env, needed, "start it with torchrun --nproc-per-node <GPUs> ...")
    return {**found, "LOCAL_RANK": env.get("LOCAL_RANK", found["RANK"])}


def _mpi(env: Mapping[str, str], port: int | None) -> dict[str, str]:
    prefix = "OMPI_COMM_WORLD_"
    names = ("RANK", "SIZE", "LOCAL_RANK")
    found = _read("mpi", env, [prefix + name for name in names], "start it with Open MPI's mpirun")
    master = _read("mpi", env, ["MASTER_ADDR"], "set it to the node of rank 0: mpirun -x MASTER_ADDR=...")
    rank, size, local = (found[prefix + name] for name in names)
    return {
        **master,
        "MASTER_PORT": env.get("MASTER_PORT", _PORT),
        "RANK": rank,
        "WORLD_SIZE": size,
        "LOCAL_RANK": local,
    }


def _slurm(env: Mapping[str, str], port: int | None) -> dict[str, str]:
    found = _read("slurm", env, ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST"), "start it with srun")
    rank = found["SLURM_PROCID"]
    # MMCV lets every task look for a free port, and they may disagree; the number of the job is the same for all
    job = env.get("SLURM_JOB_ID", "")
    default = str(15000 + int(job[-4:])) if job.isdigit() else _PORT
    return {
        "MASTER_ADDR": env.get("MASTER_ADDR") or _first_host(found["SLURM_NODELIST"]),
        "MASTER_PORT": str(port) if port is not None else env.get("MASTER_PORT", default),
        "RANK": rank,
        "WORLD_SIZE": found["SLURM_NTASKS"],
        "LOCAL_RANK": env.get("SLURM_LOCALID", rank),
    }


_LAUNCHERS: dict[str, Callable[[Mapping[str, str], int | None], dict[str, str]]] = {
    "pytorch": _pytorch,
    "mpi": _mpi,
    "slurm": _slurm,
}
LAUNCHERS = tuple(_LAUNCHERS)


def _read(launcher: str, env: Mapping[str, str], names: Any, remedy: str) -> dict[str, str]:
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise ConfigError(f"launcher {launcher!r} reads {', '.join(missing)}, not set in this process: {remedy}")
    found = {name: env[name] for name in names}
    _check_numbers(launcher, {name: value for name, value in found.items() if name not in _WORDS})
    return found


def _check_numbers(launcher: str, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        if not (value.isascii() and value.isdigit()):
            raise ConfigError(
                f"launcher {launcher!r} reads {name}, which must be 0 or a positive integer, not {value!r}"
            )


def _first_host(node_list: str) -> str:
    """Expand a list such as ``node[03-05]`` by Slurm's own command."""
    command = ["scontrol", "show", "hostname", node_list]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        raise ConfigError(f"{' '.join(command)} failed ({said}): set MASTER_ADDR to the first node") from None
    if not lines:
        raise ConfigError(f"{' '.join(command)} names no host: set MASTER_ADDR to the first node")
    return lines[0]
