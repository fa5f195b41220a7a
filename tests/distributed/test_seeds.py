"""Seeds, and the runs that build_run builds in two processes."""

import os
import random

import numpy as np
import pytest
import torch

from mmhooks import ConfigError
from mmhooks.distributed import set_random_seed, sync_random_seed


def test_a_seed_is_for_all_generators(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    drawn = []
    for seed in (4, 4, 5):
        set_random_seed(seed)
        drawn.append((random.random(), float(np.random.rand()), torch.rand(1).item(), os.environ["PYTHONHASHSEED"]))
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[1], drawn[2], strict=True))


def test_deterministic_is_for_cudnn(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    set_random_seed(1)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (False, True)
    set_random_seed(1, deterministic=True)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)


def test_ranks_have_a_seed_of_their_own_or_agree_on_one(seen):
    for rank, found in enumerate(seen.ranks):
        expected = torch.rand(1, generator=torch.Generator().manual_seed(5 + rank)).item()
        assert found["runs"]["shifted"] == expected
        assert found["runs"]["PYTHONHASHSEED"] == str(5 + rank)
    first, second = seen.both("runs", "agreed")
    assert first == second
    assert first[1] == 3  # what rank 0 wanted


def test_one_process_keeps_its_seed_or_draws_one():
    assert sync_random_seed(8) == 8
    assert len({sync_random_seed() for _ in range(3)}) == 3


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "1", True])
@pytest.mark.parametrize("function", [set_random_seed, sync_random_seed])
def test_what_is_no_seed_is_refused(function, seed):
    with pytest.raises(ConfigError, match="seed must be a whole number from 0"):
        function(seed)


@pytest.mark.parametrize("argument", ["deterministic", "use_rank_shift"])
def test_what_is_no_flag_is_refused(argument):
    with pytest.raises(ConfigError, match=f"set_random_seed's {argument} must be True or False, not 'no'"):
        set_random_seed(1, **{argument: "no"})


# build_run --------------------------------------------------------------------------------------------------------


def test_the_model_is_wrapped_as_the_config_says(seen):
    (name, unused, first), (_, _, second) = seen.both("runs", "model")
    assert (name, unused) == ("MMDistributedDataParallel", True)
    assert first.equal(second)
    assert seen.both("runs", "without unused") == [False, False]
    assert seen.both("runs", "owned") == [True, True]


def test_every_rank_trains_on_its_share(seen):
    for key, epoch in (("indices", 0), ("indices of epoch 1", 1)):
        shares = [share if epoch else share[0] for share in seen.both("runs", key)]
        assert [len(share) for share in shares] == [5, 5]
        assert set(shares[0]) | set(shares[1]) == set(range(9))
        order = torch.randperm(9, generator=torch.Generator().manual_seed(3 + epoch)).tolist()
        order.append(order[0])
        assert shares == [order[0::2], order[1::2]]


def test_an_iteration_based_run_shuffles_anew_at_each_pass(seen):
    (count, first, weights), (_, second, other) = seen.both("runs", "by iteration")
    assert count == 5
    assert weights.equal(other)
    orders = [torch.randperm(9, generator=torch.Generator().manual_seed(3 + epoch)).tolist() for epoch in range(2)]
    padded = [[*order, order[0]] for order in orders]
    # three batches of a pass have 2, 2 and 1 rows: five iterations are one pass and two batches more
    for rank, rows in enumerate((first, second)):
        assert rows == padded[0][rank::2] + padded[1][rank::2][:4]


def test_a_sample_is_judged_once(seen):
    assert [share[1:] for share in seen.both("runs", "indices")] == [[[0, 2, 4], 3, 2], [[1, 3], 2, 2]]
    assert seen.both("runs", "evaluated") == [[0, 2, 4], [1, 3]]
    assert seen.both("runs", "evaluated by each") == [[0, 1, 2, 3, 4]] * 2  # an EvalHook brings nothing together


def test_hooks_of_several_processes(seen):
    assert seen.both("runs", "hooks") == [[("DistSamplerSeedHook", "NORMAL"), ("DistEvalHook", "LOW")]] * 2
    assert seen.both("runs", "hooks by iteration") == [[], []]


def test_seeds_of_several_processes(seen):
    assert seen.both("runs", "seed") == [3, 3]
    first, second = seen.both("runs", "unseeded")
    assert first == second
    (drawn, seed, share), (other, other_seed, other_share) = seen.both("runs", "diff seed")
    assert drawn != other
    assert (seed, other_seed) == (3, 3)
    assert not set(share) - {share[0]} & set(other_share)  # the shares are still parts of one order


def test_only_rank_0_speaks(seen):
    assert seen.both("runs", "level") == [20, 40]
