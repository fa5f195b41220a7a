"""MMDistributedDataParallel in two processes, and MMDataParallel in one."""

import distributed_worker as worker
import pytest
import torch
from torch import nn

from mmhooks import ConfigError, EpochBasedRunner
from mmhooks.distributed import MMDataParallel, unwrap


def doubled(both_branches) -> torch.Tensor:
    """Train in one process on the batches of both ranks."""
    model = worker.Net()
    momentum = 0.9 if all(both_branches) else 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    for index, branches in enumerate(both_branches):
        optimizer.zero_grad()
        data = {"x": torch.cat([worker.batch(rank, index)["x"] for rank in range(2)])}
        model.train_step(data, optimizer, both=branches)["loss"].backward()
        optimizer.step()
    return worker.flat(model)


def test_two_ranks_train_as_one_process_with_both_batches(seen):
    first, second = seen.both("wrapped", "weights")
    assert first.equal(second)
    assert torch.allclose(first, doubled([True] * 4), rtol=0, atol=1e-6)


def test_unused_parameters_are_found_in_what_the_step_returns(seen):
    first, second = seen.both("wrapped", "unused weights")
    assert first.equal(second)
    assert torch.allclose(first, doubled([False, True, False]), rtol=0, atol=1e-6)


def test_no_sync_keeps_gradients_until_the_next_exchange(seen):
    own = seen.both("wrapped", "own grads")
    first, second = seen.both("wrapped", "accumulated grads")
    assert not own[0].allclose(own[1])
    assert first.equal(second)
    assert torch.allclose(first, own[0] + own[1], rtol=0, atol=1e-6)  # the mean of twice each


def test_a_step_is_not_a_call_of_the_module(seen):
    # four steps, two with and without no_sync, a val step, a forward, and one more after each of the two
    assert [len(calls) for calls in seen.both("wrapped", "calls")] == [10, 10]
    assert set(seen.ranks[0]["wrapped"]["calls"]) == {torch.Tensor}
    assert all(key.startswith("module.") for key in seen.ranks[0]["wrapped"]["keys"])


def test_an_error_in_a_step_leaves_the_wrapper_whole(seen):
    assert seen.both("wrapped", "error") == ["no data", "no data"]
    assert seen.both("wrapped", "module again") == [True, True]


def test_inputs_leave_their_container_and_kwargs_reach_the_step(seen):
    assert seen.both("wrapped", "val") == [(True, {"flag": 1})] * 2
    assert seen.both("wrapped", "forward") == [True, True]


def test_buffers_are_equal_at_the_start_and_later_if_wanted(seen):
    assert seen.both("wrapped", "buffer at the start") == [1.0, 1.0]
    assert seen.both("wrapped", "buffer") == [0.0, 1.0]
    assert seen.both("wrapped", "following buffer") == [5.0, 5.0]


# MMDataParallel ---------------------------------------------------------------------------------------------------


def test_a_model_on_one_device_is_passed_through(make_model, batches):
    model = make_model()
    wrapper = MMDataParallel(model)
    data = {key: worker.DataContainer(value) for key, value in batches[0].items()}
    assert wrapper.train_step(data, None, extra=1)["loss"].equal(model.loss(batches[0]))
    assert wrapper.val_step(data)["num_samples"] == 5
    assert wrapper(worker.DataContainer(batches[0]["x"]))[0].equal(model(batches[0]["x"])[0])
    assert model.train_kwargs == [{"extra": 1}]
    assert unwrap(wrapper) is model


def test_a_runner_trains_a_wrapped_model_as_it_does_the_model(make_runner, make_model, batches):
    weights = []
    for wrap in (lambda model: model, MMDataParallel):
        runner = make_runner(EpochBasedRunner, model=wrap(make_model()), max_epochs=2)
        runner.register_training_hooks({"policy": "step", "step": [1]}, optimizer_config={})
        runner.run([batches, batches], [("train", 1), ("val", 1)])
        weights.append(worker.flat(runner.model))
    assert weights[0].equal(weights[1])


def test_the_arguments_of_a_wrapper_on_one_device(make_model, batches):
    for arguments in ((), (None,), ([0], 0, 0)):
        model = make_model()
        wrapper = MMDataParallel(model.cuda() if torch.cuda.is_available() else model, *arguments)
        assert (wrapper.module, unwrap(wrapper)) == (model, model)
        assert wrapper.val_step(batches[0])["num_samples"] == 5
    with pytest.raises(ConfigError, match="MMDataParallel's device_ids must be a list of one GPU or None, not 0"):
        MMDataParallel(model, device_ids=0)


def test_several_devices_take_several_processes():
    with pytest.raises(ConfigError, match=r"device_ids=\[0, 1\].*wrap the model in MMDistributedDataParallel"):
        MMDataParallel(nn.Linear(1, 1), device_ids=[0, 1])
