"""Batches on their way to a device; ``meta`` stands for one that is not the CPU."""

import sys
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path

import pytest
import torch

from mmhooks.distributed import mover, to_device, unpacked

sys.path.insert(0, str(Path(__file__).parents[1]))
from containers import DataContainer

META, CPU = torch.device("meta"), torch.device("cpu")
Pair = namedtuple("Pair", "x y")


class Rows(list):
    """A list of a class of its own."""


class Moves:
    def __init__(self):
        self.device = CPU

    def to(self, device):
        other = Moves()
        other.device = device
        return other


def tensor():
    return torch.ones(2)


def test_the_cpu_has_nothing_to_move():
    assert mover(CPU) is None


@pytest.mark.parametrize(
    "batch",
    [
        tensor(),
        [tensor(), "name", 3],
        (tensor(), [tensor()]),
        Pair(tensor(), 1),
        {"x": tensor(), "names": ["a"]},
        OrderedDict(x=tensor()),
        defaultdict(list, x=tensor()),
        Rows([tensor()]),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_tensors_move_and_containers_keep_their_kind(batch):
    moved = mover(META)(batch)
    assert moved is not batch
    kind = dict if isinstance(batch, defaultdict) else type(batch)
    assert type(moved) is kind
    first = (
        moved if isinstance(moved, torch.Tensor) else next(iter(moved.values() if isinstance(moved, dict) else moved))
    )
    assert first.device == META
    assert to_device(batch, CPU) is batch  # nothing there is copied


def test_objects_with_a_method_of_their_own_are_asked():
    assert mover(META)({"box": Moves()})["box"].device == META


@pytest.mark.parametrize("cpu_only", [True, False])
def test_containers_move_with_their_content(cpu_only):
    batch = {"x": DataContainer([tensor()], cpu_only), "y": tensor()}
    moved = mover(META)(batch)
    assert type(moved["x"]) is DataContainer
    assert moved["x"].data[0].device == (CPU if cpu_only else META)
    assert batch["x"].data[0].device == CPU  # the loader's own stays as it was
    assert unpacked(moved)["x"].device == moved["x"].data[0].device
    opened = to_device(batch, META)
    assert (opened["x"].device, opened["y"].device) == (CPU if cpu_only else META, META)


def test_containers_are_opened_at_any_depth():
    inner = {"scale": 2}
    batch = [{"metas": DataContainer([[inner]], True)}, DataContainer(tensor())]
    opened = unpacked(batch)
    assert opened[0]["metas"] == [inner]
    assert opened[0]["metas"][0] is inner
    assert opened[1].equal(tensor())
    without = [{"x": tensor()}]
    assert unpacked(without) is without
