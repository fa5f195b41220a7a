import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from mmhooks import LogBuffer, ModelError

VALUES = st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(1, 64), st.booleans()), min_size=1, max_size=20)


class Operations(TorchDispatchMode):
    """Writes down what PyTorch is asked to do."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@given(VALUES, st.integers(0, 25))
def test_average_equals_numpy(values, n):
    buffer = LogBuffer()
    for value, count, as_tensor in values:
        buffer.update({"loss": torch.tensor(value) if as_tensor else value}, count)
    buffer.average(n)
    latest = values[-n:] if n else values
    expected = np.average([value for value, _, _ in latest], weights=[count for _, count, _ in latest])
    assert float(buffer.output["loss"]) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(1, 64)), min_size=1, max_size=700))
def test_averages_have_the_bits_of_numpys_sum(values):
    buffer = LogBuffer()
    for value, count in values:
        buffer.update({"loss": value}, count)
    buffer.average()
    numbers, counts = (np.array(column) for column in zip(*values, strict=True))
    assert buffer.output["loss"] == np.sum(numbers * counts) / np.sum(counts)


def test_values_of_numpy_and_counts_that_are_tensors():
    buffer = LogBuffer()
    for i in range(5):
        buffer.update({"loss": np.float32(0.1 * i)}, torch.tensor(3))
    buffer.average()
    assert buffer.output["loss"] == np.sum(np.array([np.float32(0.1 * i) for i in range(5)]) * np.array([3] * 5)) / 15
    assert type(buffer.output["loss"]) is float


def test_no_samples_at_all_have_no_average():
    buffer = LogBuffer()
    buffer.update({"loss": 1.0}, 0)
    buffer.average()
    assert np.isnan(buffer.output["loss"])


def test_tensors_become_numbers_only_at_the_average_and_all_at_once():
    buffer = LogBuffer()
    losses = [torch.tensor(float(i)) for i in range(100)]
    with Operations() as work:
        for loss in losses:
            buffer.update({"loss": loss}, 2)
        assert work.names == []
        buffer.average()
    assert work.names.count("stack") == 1
    assert "_local_scalar_dense" not in work.names  # that is item(): a transfer a value
    assert float(buffer.output["loss"]) == 49.5


def test_no_graph_is_kept():
    buffer = LogBuffer()
    weight = torch.ones((), requires_grad=True)
    buffer.update({"loss": weight * 2})
    assert not buffer.val_history["loss"][0].requires_grad


def test_numbers_and_tensors_of_several_types_mix():
    buffer = LogBuffer()
    for value in (1.0, torch.tensor(2.0), torch.tensor(3.0, dtype=torch.float64), torch.tensor(4), torch.tensor([5.0])):
        buffer.update({"x": value})
    buffer.average()
    assert float(buffer.output["x"]) == 3.0


def test_keys_may_come_late_and_seldom():
    buffer = LogBuffer()
    buffer.update({"a": 1.0})
    buffer.update({"a": 3.0, "b": 10.0}, count=3)
    buffer.average(1)
    assert dict(buffer.output) == {"a": 3.0, "b": 10.0}


def test_ready_until_cleared():
    buffer = LogBuffer()
    buffer.update({"a": 1.0})
    assert not buffer.ready
    buffer.average()
    assert buffer.ready
    buffer.clear_output()
    assert (buffer.ready, dict(buffer.output), list(buffer.val_history)) == (False, {}, ["a"])
    buffer.clear()
    assert list(buffer.val_history) == list(buffer.n_history) == []


def test_misuse():
    with pytest.raises(TypeError, match="dict of name to number, not list"):
        LogBuffer().update([1.0])
    with pytest.raises(ValueError, match="not -1"):
        LogBuffer().average(-1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_updating_never_waits_for_the_device():
    buffer = LogBuffer()
    losses = [torch.tensor(float(i), device="cuda") for i in range(4)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for loss in losses:
            buffer.update({"loss": loss})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    buffer.average()
    assert float(buffer.output["loss"]) == 1.5


def test_tensors_are_let_go_of_once_they_are_averaged():
    buffer = LogBuffer()
    for i in range(7):
        buffer.update({"loss": torch.tensor(float(i))}, 2)
    buffer.average(5)
    assert [type(value) for value in buffer.val_history["loss"]] == [torch.Tensor] * 2 + [float] * 5
    assert buffer.output["loss"] == 4.0
    buffer.average()
    assert buffer.val_history["loss"] == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("value", [torch.ones(3), "text", None])
def test_a_value_that_is_no_number_is_named(value):
    buffer = LogBuffer()
    buffer.update({"fine": 1.0, "odd": value})
    with pytest.raises(ModelError, match="'odd' must be numbers or tensors with one element"):
        buffer.average()
