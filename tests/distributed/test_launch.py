"""Launchers, the variables that they set, and process groups."""

import os

import pytest
import torch
import torch.distributed as dist

from mmhooks import ConfigError
from mmhooks.distributed import get_dist_info, init_dist, launched

VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_NODELIST", "SLURM_LOCALID", "SLURM_JOB_ID",
)  # fmt: skip
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
SLURM = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_NODELIST": "node[3-5]"}
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
ANY_PORT = 0  # the store of a single process takes one that is free


@pytest.fixture
def env(monkeypatch):
    """Set variables for a while, and none of the others that launchers read."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what init_dist sets is undone too
        monkeypatch.delenv(name)

    def put(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    yield put
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """Put a command of that name on the path."""

    def install(script):
        folder = tmp_path / "bin"
        folder.mkdir()
        command = folder / "scontrol"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder

    return install


def set_variables():
    return {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")}


def test_torchrun(env):
    env(**TORCHRUN, MASTER_PORT=ANY_PORT)
    init_dist("pytorch")
    assert dist.get_backend() == ("nccl" if torch.cuda.is_available() else "gloo")
    assert get_dist_info() == (0, 1)


def test_an_old_launcher_without_local_rank(env):
    env(**{key: value for key, value in TORCHRUN.items() if key != "LOCAL_RANK"}, MASTER_PORT=ANY_PORT)
    init_dist("pytorch", backend="gloo")
    assert os.environ["LOCAL_RANK"] == "0"


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_nccl_without_a_gpu_becomes_gloo(env):
    env(**TORCHRUN, MASTER_PORT=ANY_PORT)
    with pytest.warns(UserWarning, match="needs a GPU and there is none: gloo takes its place"):
        init_dist("pytorch", "nccl")
    assert dist.get_backend() == "gloo"


def test_open_mpi(env):
    env(**OPEN_MPI, MASTER_ADDR="127.0.0.1", MASTER_PORT=ANY_PORT)
    init_dist("mpi", backend="gloo")
    assert set_variables() == {**TORCHRUN, "MASTER_PORT": str(ANY_PORT)}


def test_slurm_asks_for_the_first_node(env, scontrol):
    folder = scontrol('echo "$@" > "$(dirname "$0")/asked"; echo 127.0.0.1; echo 127.0.0.2')
    env(**SLURM, SLURM_LOCALID=0)
    init_dist("slurm", backend="gloo", port=ANY_PORT)
    assert (folder / "asked").read_text() == "show hostname node[3-5]\n"
    assert set_variables() == {**TORCHRUN, "MASTER_PORT": str(ANY_PORT)}


def test_slurm_leaves_an_address_and_a_port_alone(env, scontrol):
    scontrol("exit 1")
    env(**SLURM, MASTER_ADDR="127.0.0.1", MASTER_PORT=ANY_PORT)
    init_dist("slurm", backend="gloo")
    assert set_variables() == {**TORCHRUN, "MASTER_PORT": str(ANY_PORT)}


@pytest.mark.parametrize(("job", "port"), [({"SLURM_JOB_ID": "123407"}, "18407"), ({}, "29500")])
def test_the_tasks_of_a_slurm_job_agree_on_a_port(env, job, port):
    env(**SLURM, **job, MASTER_ADDR="127.0.0.1")
    with pytest.raises(TypeError, match="tiemout"):  # after the variables, before the port is used
        init_dist("slurm", backend="gloo", tiemout=3)
    assert os.environ["MASTER_PORT"] == port


def test_further_arguments_reach_the_process_group(env, tmp_path):
    env(**{**TORCHRUN, "MASTER_ADDR": "nowhere.invalid"}, MASTER_PORT=1)  # which init_method goes before
    init_dist("pytorch", backend="gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    assert get_dist_info() == (0, 1)


def test_an_unknown_backend_is_refused(env):
    env(**TORCHRUN, MASTER_PORT=ANY_PORT)
    with pytest.raises(ConfigError, match=r"backend must be one of .*gloo.*, not 'glo'; did you mean 'gloo'"):
        init_dist("pytorch", backend="glo")
    with pytest.raises(ConfigError, match="backend must be one of"):
        init_dist("pytorch", backend=3)


@pytest.mark.parametrize(
    ("launcher", "variables", "says"),
    [
        ("pytorch", {}, "reads RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, not set.*torchrun --nproc-per-node"),
        ("pytorch", TORCHRUN, "reads MASTER_PORT, not set"),
        ("mpi", {}, "reads OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE, OMPI_COMM_WORLD_LOCAL_RANK.*mpirun"),
        ("mpi", OPEN_MPI, "reads MASTER_ADDR, not set.*mpirun -x MASTER_ADDR"),
        ("slurm", {}, "reads SLURM_PROCID, SLURM_NTASKS, SLURM_NODELIST.*srun"),
        ("pytorch", {**TORCHRUN, "MASTER_PORT": 0, "RANK": "x"}, "reads RANK, which must be 0 or a positive int.*'x'"),
        ("pytorch", {**TORCHRUN, "MASTER_PORT": 0, "LOCAL_RANK": "-1"}, "reads LOCAL_RANK, which must be .*'-1'"),
        ("mpi", {**OPEN_MPI, "MASTER_ADDR": "a", "MASTER_PORT": "http"}, "reads MASTER_PORT, which must be .*'http'"),
        ("mpi", {**OPEN_MPI, "MASTER_ADDR": "a", "OMPI_COMM_WORLD_SIZE": "1.5"}, "OMPI_COMM_WORLD_SIZE, which must be"),
        ("slurm", {**SLURM, "SLURM_PROCID": "x"}, "reads SLURM_PROCID, which must be 0 or a positive integer, not 'x'"),
        ("pytroch", {}, "launcher must be one of pytorch, mpi, slurm, not 'pytroch'; did you mean 'pytorch'"),
        ("none", {}, "launcher must be one of pytorch, mpi, slurm"),
        (["mpi"], {}, "launcher must be one of"),
    ],
)
def test_what_a_launcher_did_not_set_is_named(env, launcher, variables, says):
    env(**variables)
    with pytest.raises(ConfigError, match=says):
        init_dist(launcher)
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("script", "says"),
    [("echo no such node >&2; exit 1", "no such node.*set MASTER_ADDR"), ("exit 0", "names no host: set MASTER_ADDR")],
)
def test_a_node_list_that_slurm_cannot_expand(env, scontrol, script, says):
    scontrol(script)
    env(**SLURM)
    with pytest.raises(ConfigError, match=rf"scontrol show hostname node\[3-5\].*{says}"):
        init_dist("slurm")


def test_without_slurms_command(env, monkeypatch, tmp_path):
    env(**SLURM)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"scontrol.*failed.*set MASTER_ADDR"):
        init_dist("slurm")


def test_a_group_ends_with_the_block(env):
    env(**TORCHRUN, MASTER_PORT=ANY_PORT)
    with launched("pytorch", backend="gloo"):
        assert dist.is_initialized()
    assert not dist.is_initialized()
    with launched("none"):
        assert not dist.is_initialized()


def test_a_group_ends_with_an_error_too(env):
    env(**TORCHRUN, MASTER_PORT=ANY_PORT)
    with pytest.raises(KeyError, match="what went wrong"), launched("pytorch", backend="gloo"):
        raise KeyError("what went wrong")
    assert not dist.is_initialized()
