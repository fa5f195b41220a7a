"""Ranks, and averages of parameters and gradients over them."""

import pytest
import torch
from torch import nn

from mmhooks import ConfigError
from mmhooks.distributed import allreduce_grads, allreduce_params, get_dist_info, master_only
from mmhooks.distributed.reduce import greatest


def test_ranks(seen):
    assert seen.both("info") == [(0, 2), (1, 2)]
    assert seen.both("master") == [7, None]
    assert seen.both("afterwards") == [(0, 1), (0, 1)]


def test_one_process_is_rank_0_of_1():
    assert get_dist_info() == (0, 1)
    assert master_only(lambda: 5)() == 5


# averages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["coalesced", "one by one", "buckets"])
def test_averages_over_ranks(seen, way):
    for rank, found in enumerate(seen.both("averages", way)):
        floats, more, doubles, whole, flags, last = found["tensors"]
        assert floats.equal(torch.full((2, 2), 1.5))
        assert more.equal(torch.full((3,), 2.5))
        assert doubles.equal(torch.full((2,), 0.5, dtype=torch.float64))
        assert whole.equal(torch.tensor([4, 7]))  # the mean of 4 and 5, rounded down
        assert flags.equal(torch.tensor([rank == 0]))  # as it was
        assert last.equal(torch.full((2,), 5.0))
        averaged, absent, frozen = found["grads"]
        assert averaged.equal(torch.tensor([1.5, 4.5]))
        assert absent is None
        assert frozen.equal(torch.ones(2) * rank)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("coalesced", 3),  # float32, float64, int64
        ("one by one", 5),
        ("buckets", 4),  # 24 bytes: 16 | 12 + 8 of float32, and the other two dtypes
    ],
)
def test_how_many_exchanges_an_average_takes(seen, way, expected):
    assert seen.both("averages", way, "exchanges") == [expected, expected]
    assert seen.both("averages", way, "grad_exchanges") == [1, 1]


def test_one_process_keeps_its_values():
    param = nn.Parameter(torch.ones(2))
    param.grad = torch.full((2,), 3.0)
    allreduce_params([param])
    allreduce_grads([param], coalesce=False)
    assert param.detach().equal(torch.ones(2))
    assert param.grad.equal(torch.full((2,), 3.0))


@pytest.mark.parametrize("function", [allreduce_params, allreduce_grads])
@pytest.mark.parametrize("value", ["x", 1, None])
def test_coalesce_is_a_flag(function, value):
    with pytest.raises(ConfigError, match=f"{function.__name__}'s coalesce must be True or False, not {value!r}"):
        function([], coalesce=value)


@pytest.mark.parametrize("function", [allreduce_params, allreduce_grads])
@pytest.mark.parametrize("size", ["1", None, True])
def test_a_bucket_size_is_a_number(function, size):
    with pytest.raises(ConfigError, match="bucket_size_mb must be a number of MB, or -1"):
        function([], bucket_size_mb=size)


def test_the_greatest_number_is_on_rank_0(seen):
    assert seen.both("runs", "greatest") == [[4, 5], [4, 4]]
    assert greatest(7) == 7
